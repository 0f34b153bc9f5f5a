//! The sessions that there are, within bounds, and what each remembers.

use super::documents::{Point, document};
use crate::locate::Question;
use crate::problem::{Problem, Result};
use r2former_engine::{Answer, FrameClock, PositionKind, SequenceFilter, SequenceFrame, SequenceOptions};
use r2former_index::FileFingerprint;
use rand::TryRngCore;
use rand::rngs::OsRng;
use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Which part of all sessions one key may have.
const SHARE: usize = 4;

/// Whose session it is: the sum of a key; `None` of everybody without one.
pub(crate) type Owner = Option<[u8; 32]>;

/// All sessions. They are in memory alone, and end with the service.
#[derive(Debug)]
pub(crate) struct Sessions {
    table: Mutex<HashMap<Uuid, Arc<Session>>>,
    most: usize,
    /// Frames of a session that are remembered for its track.
    frames: usize,
    idle: Duration,
}

/// Frames of one client, in order.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: Uuid,
    pub(crate) question: Question,
    /// Metres per second; none where places only have an order.
    pub(crate) max_speed: Option<f64>,
    /// Metres, or places in their order.
    pub(crate) max_step: f64,
    owner: Owner,
    /// A frame is being answered.
    busy: AtomicBool,
    frames: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(crate) struct State {
    filter: SequenceFilter,
    /// Frames that were taken.
    pub(crate) count: usize,
    pub(crate) points: VecDeque<Point>,
    /// The last frame, and its answer.
    last: Option<(Stated, Value)>,
    /// The time of the last frame that has one.
    time: Option<f64>,
    clock: FrameClock,
    used: Instant,
}

/// What a client says of a frame: the same again is the same frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Stated {
    pub(crate) image: FileFingerprint,
    pub(crate) time: Option<f64>,
    pub(crate) moved_m: Option<f64>,
}

/// Where a frame stands.
pub(crate) enum Pushed {
    /// It is the next one, of this number.
    Next(usize),
    /// It was taken before, and this was the answer.
    Before(Value),
}

/// While it lives, no other frame of the session is taken.
#[derive(Debug)]
pub(crate) struct OneAtATime(Arc<Session>);

impl Drop for OneAtATime {
    fn drop(&mut self) {
        self.0.lock().used = Instant::now();
        self.0.busy.store(false, Ordering::Release);
    }
}

impl Sessions {
    pub(crate) fn new(most: usize, frames: usize, idle: Duration) -> Self {
        Self { table: Mutex::default(), most, frames: frames.max(1), idle }
    }

    /// How long a session stays without a frame.
    pub(crate) fn idle(&self) -> Duration {
        self.idle
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// All sessions that have not been left.
    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<Session>>> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.retain(|_, session| session.unused() < self.idle);
        table
    }

    /// Begins a session. Where there are keys, one of them has a part of all sessions, so that others get some, too.
    ///
    /// # Errors
    /// 429 where there are as many as may be.
    pub(crate) fn begin(
        &self,
        owner: Owner,
        shared: bool,
        question: Question,
        options: SequenceOptions,
    ) -> Result<Arc<Session>> {
        let mut bytes = [0; 16];
        OsRng
            .try_fill_bytes(&mut bytes)
            .map_err(|error| Problem::internal(format!("random numbers: {error}")))?;
        let mut table = self.lock();
        let share = if shared { self.most.div_ceil(SHARE) } else { self.most };
        let own = table.values().filter(|session| session.owner == owner).count();
        if own >= share || table.len() >= self.most {
            let longest = table.values().map(|session| session.unused()).max().unwrap_or_default();
            let (count, whose) = if own >= share { (own, "of this key ") } else { (table.len(), "") };
            return Err(Problem::too_many(
                format!(
                    "there are {count} sessions {whose}already: end one with DELETE, or wait until one is forgotten"
                ),
                self.idle.saturating_sub(longest),
            ));
        }
        let placed = question.index.kind() != PositionKind::None;
        let session = Arc::new(Session {
            id: uuid::Builder::from_random_bytes(bytes).into_uuid(),
            question,
            max_speed: placed.then_some(options.max_speed),
            max_step: if placed { options.max_step_m } else { options.max_places },
            owner,
            busy: AtomicBool::new(false),
            frames: self.frames,
            state: Mutex::new(State {
                filter: SequenceFilter::new(options),
                count: 0,
                points: VecDeque::new(),
                last: None,
                time: None,
                clock: FrameClock::default(),
                used: Instant::now(),
            }),
        });
        table.insert(session.id, session.clone());
        Ok(session)
    }

    /// The session of an address. That of another key is as unknown as one that never was.
    pub(crate) fn find(&self, id: &str, owner: Owner) -> Result<Arc<Session>> {
        let found = Uuid::from_str(id).ok().and_then(|id| self.lock().get(&id).cloned());
        found.filter(|session| session.owner == owner).ok_or_else(unknown)
    }

    /// Forgets a session.
    pub(crate) fn end(&self, id: &str, owner: Owner) -> Result<()> {
        let session = self.find(id, owner)?;
        self.lock().remove(&session.id).map(drop).ok_or_else(unknown)
    }
}

fn unknown() -> Problem {
    Problem::not_found(
        "there is no session of this identifier: it was ended, was left too long, or never was",
    )
}

impl Session {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since when nothing was asked of it.
    fn unused(&self) -> Duration {
        if self.busy.load(Ordering::Acquire) { Duration::ZERO } else { self.lock().used.elapsed() }
    }

    /// Takes the session for one frame.
    ///
    /// # Errors
    /// 409 while another one is being answered.
    pub(crate) fn take(self: &Arc<Self>) -> Result<OneAtATime> {
        match self.busy.swap(true, Ordering::AcqRel) {
            false => Ok(OneAtATime(self.clone())),
            true => Err(Problem::out_of_turn(
                "another frame of this session is being answered: send frames one after the other",
            )),
        }
    }

    /// Which frame this is, if the client states its number; the last one again, because its answer was lost, is not
    /// taken twice.
    ///
    /// # Errors
    /// 409 for a number that is not its turn or of which another frame was taken, or a time before that of the last frame;
    /// 422 for a time of another clock.
    pub(crate) fn expect(&self, number: Option<usize>, stated: Stated) -> Result<Pushed> {
        let state = self.lock();
        if let (Some(number), Some((last, answer))) = (number, &state.last)
            && number == state.count
        {
            return match *last == stated {
                true => Ok(Pushed::Before(answer.clone())),
                false => Err(Problem::out_of_turn(format!(
                    "frame={number} was taken already, with another {}: {} is the next frame",
                    if last.image == stated.image { "time or distance" } else { "image" },
                    number + 1
                ))),
            };
        }
        let next = state.count + 1;
        if let Some(number) = number.filter(|number| *number != next) {
            return Err(Problem::out_of_turn(format!(
                "frame={number} is not its turn: {next} is the next frame"
            )));
        }
        state.clock.next(stated.time, || None)?;
        if let Some((before, now)) = state.time.zip(stated.time).filter(|(before, now)| now < before) {
            return Err(Problem::out_of_turn(format!(
                "time={now} is before that of the last frame, {before}: frames come in order"
            )));
        }
        Ok(Pushed::Next(next))
    }

    /// Puts an answer with all of its candidates behind the frames before it.
    ///
    /// # Errors
    /// 409 where another frame took its place meanwhile, as one whose client had gone.
    pub(crate) fn push(
        &self,
        number: usize,
        mut answer: Answer,
        stated: Stated,
        exif: impl FnOnce() -> Option<f64>,
    ) -> Result<Value> {
        let mut state = self.lock();
        if state.count + 1 != number {
            let next = state.count + 1;
            return Err(Problem::out_of_turn(format!(
                "frame {number} was taken already: {next} is the next frame"
            )));
        }
        let (time, clock) = state.clock.next(stated.time, exif)?;
        let frame = SequenceFrame { matches: answer.matches.clone(), time, moved_m: stated.moved_m };
        answer.matches.truncate(self.question.top());
        let fix = state.filter.push(frame);
        state.count = number;
        state.time = time.or(state.time);
        state.clock = clock;
        state.used = Instant::now();
        if state.points.len() == self.frames {
            state.points.pop_front();
        }
        state.points.push_back(Point::new(number, time, &answer, fix.as_ref()));
        let document = document(self.id, number, time, fix, answer);
        state.last = Some((stated, document.clone()));
        Ok(document)
    }
}
