//! Frames in order: a hidden Markov model over the index's places fuses their candidates.
//!
//! The states are the places that the frames' searches found. A frame's scores say how well each place explains it, and
//! between two frames nobody moves farther than a bound. Frames in a row err alike, in the same light and season: where
//! places only have an order, those that resemble every frame lose most of what they have in common with them.
//! [`SequenceFilter`] takes one frame at a time, [`best_track`] looks at all frames at once (Viterbi): a place is as probable as
//! the best way to it, so that where references lie densely makes no difference.

use crate::sequence_evidence::{Common, Evidence};
use crate::{Estimate, Match, Result};
use r2former_data::{Position, PositionKind};
use r2former_index::{Filter, ReadPlaces};
use serde::Serialize;
use std::collections::{HashMap, VecDeque};

/// States that are carried from frame to frame, at most: the most probable ones.
const CARRIED: usize = 120;
/// Frames that are looked at together: what a place has in common with all of them.
const MEMORY: usize = 5;

/// How frames are fused.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SequenceOptions {
    /// Metres per second that are not exceeded, where frames have times.
    pub max_speed: f64,
    /// Metres between two frames that are not exceeded, where a time is missing.
    pub max_step_m: f64,
    /// Metres that references lie off the route, or apart along it: added to each bound.
    pub slack_m: f64,
    /// Probability that a frame is anywhere, whatever the frames before say.
    pub jump: f64,
    /// For an index without positions: the number of each reference along its own recording, by its name.
    pub order: HashMap<String, f64>,
    /// Numbers between two frames that are not exceeded, where these count.
    pub max_places: f64,
}

impl SequenceOptions {
    /// With other bounds where they are stated: a speed in metres per second, and a step in metres or, without positions,
    /// in places.
    #[must_use]
    pub fn bounded(mut self, [max_speed, max_step]: [Option<f64>; 2]) -> Self {
        self.max_speed = max_speed.unwrap_or(self.max_speed);
        self.max_step_m = max_step.unwrap_or(self.max_step_m);
        self.max_places = max_step.unwrap_or(self.max_places);
        self
    }

    /// The options for an index, [`bounded`](Self::bounded); places without positions are numbered in the order of their
    /// names.
    ///
    /// # Errors
    /// [`EngineError::Index`](crate::EngineError::Index) for an index that cannot be read.
    pub fn of_index(index: &impl ReadPlaces, kind: PositionKind, bounds: [Option<f64>; 2]) -> Result<Self> {
        let mut options = Self::default().bounded(bounds);
        if kind == PositionKind::None {
            let mut names = Vec::new();
            index.any_place(&Filter::default(), &mut |_, place| {
                names.push(place.name);
                false
            })?;
            names.sort_unstable();
            options.order = names.into_iter().enumerate().map(|(i, name)| (name, i as f64)).collect();
        }
        Ok(options)
    }
}

impl Default for SequenceOptions {
    /// 15 m/s, 15 m or 3 places between frames, 10 m of slack, a jump in 50 frames.
    fn default() -> Self {
        let order = HashMap::new();
        Self { max_speed: 15.0, max_step_m: 15.0, slack_m: 10.0, jump: 0.02, order, max_places: 3.0 }
    }
}

/// One frame: the candidates of its search, and what is known of the motion since the frame before.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SequenceFrame {
    /// Its matches, best first: as many as there are, not only those that an answer shows.
    pub matches: Vec<Match>,
    /// Its time in seconds, from any start.
    pub time: Option<f64>,
    /// Metres travelled since the frame before, by odometry.
    pub moved_m: Option<f64>,
}

/// Where a frame was taken, by the frames together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fix {
    /// The most probable place.
    pub place: Match,
    /// Where it is: the mean of the probable places within [`Estimate::AGREEMENT_M`] of the most probable one.
    pub position: Option<Position>,
    /// The probability that the model gives to all of these. It is no calibrated confidence: it knows only the places found.
    pub probability: f64,
}

/// A place that may be where the latest frame was taken.
#[derive(Debug, Clone)]
struct State {
    place: Match,
    /// Log-likelihood of the frame here, less that of the frame's best candidate.
    emission: f64,
    /// Probability after this frame; of [`best_track`] the log-probability of the best way here.
    weight: f64,
    /// The state before on the best way.
    back: Option<usize>,
}

/// Fuses frames as they come.
///
/// ```
/// use r2former_engine::{LatLon, Match, SequenceFilter, SequenceFrame, SequenceOptions};
/// use std::collections::BTreeMap;
///
/// let found = |path: &str, lat, similarity| Match {
///     rank: 1,
///     id: String::new(),
///     path: path.into(),
///     tags: BTreeMap::new(),
///     position: Some(LatLon { lat, lon: 0.0 }.into()),
///     heading: None,
///     time: None,
///     distance_m: None,
///     similarity,
///     score: None,
///     score_kind: None,
/// };
/// let frame = |matches| SequenceFrame { matches, ..SequenceFrame::default() };
/// let mut filter = SequenceFilter::new(SequenceOptions::default());
/// filter.push(frame(vec![found("a", 52.0, 0.9), found("far", 52.5, 0.5)]));
/// // Another place 55 km away is a little more similar than the place next door.
/// let fix = filter.push(frame(vec![found("far", 52.5, 0.71), found("b", 52.0001, 0.7)])).unwrap();
/// assert_eq!(fix.place.path, "b");
/// ```
#[derive(Debug, Clone)]
pub struct SequenceFilter {
    options: SequenceOptions,
    /// After the frames that are older than the memory.
    before: Vec<State>,
    /// The latest frames, and what each allows of motion since the one before.
    frames: VecDeque<(Evidence, Motion)>,
    states: Vec<State>,
    time: Option<f64>,
}

impl SequenceFilter {
    /// Before the first frame: everywhere is equally probable.
    pub fn new(options: SequenceOptions) -> Self {
        let (before, states, frames) = (Vec::new(), Vec::new(), VecDeque::new());
        Self { options, before, frames, states, time: None }
    }

    /// Takes the next frame; `None` while no frame had a candidate.
    pub fn push(&mut self, frame: SequenceFrame) -> Option<Fix> {
        let motion = self.options.motion(self.time, &frame);
        self.time = frame.time.or(self.time);
        self.frames.push_back((Evidence::of(frame.matches), motion));
        let common = Common::of(self.frames.iter().map(|(evidence, _)| evidence));
        if !common.counts() {
            // Frames before stay what they were.
            if let Some((evidence, motion)) = self.frames.pop_back() {
                self.states = self.options.forward(&self.states, &evidence, &common, &motion);
            }
            self.frames.clear();
            self.before.clone_from(&self.states);
            return self.fix();
        }
        if self.frames.len() > MEMORY
            && let Some((evidence, motion)) = self.frames.pop_front()
        {
            self.before = self.options.forward(&self.before, &evidence, &common, &motion);
        }
        // All of them again: the latest frame changes what is common to the others, too.
        self.states.clone_from(&self.before);
        for (evidence, motion) in &self.frames {
            self.states = self.options.forward(&self.states, evidence, &common, motion);
        }
        self.fix()
    }

    /// The places of the latest frame with their probabilities, most probable first.
    pub fn places(&self) -> impl Iterator<Item = (&Match, f64)> {
        self.states.iter().map(|state| (&state.place, state.weight))
    }

    fn fix(&self) -> Option<Fix> {
        let best = self.states.first()?;
        let weights = self.states.iter().map(|state| (&state.place, state.weight));
        Some(around(&best.place, weights))
    }
}

/// The most probable way through all frames (Viterbi): a fix for each frame; `None` for frames before the first candidate.
pub fn best_track(frames: Vec<SequenceFrame>, options: &SequenceOptions) -> Vec<Option<Fix>> {
    let mut columns: Vec<Vec<State>> = Vec::with_capacity(frames.len());
    let mut time = None;
    let all: Vec<(Evidence, Motion)> = frames
        .into_iter()
        .map(|frame| {
            let motion = options.motion(time, &frame);
            time = frame.time.or(time);
            (Evidence::of(frame.matches), motion)
        })
        .collect();
    for (i, (evidence, motion)) in all.iter().enumerate() {
        let around = i.saturating_sub(MEMORY / 2)..all.len().min(i + MEMORY / 2 + 1);
        let common = Common::of(all[around].iter().map(|(evidence, _)| evidence));
        let before = columns.last().map_or(&[][..], Vec::as_slice);
        // Logarithms of ways: the best one counts 0, so that carrying compares them alike.
        let mut states = next_states(before, evidence, &common);
        let mut best: Vec<(f64, Option<usize>)> = vec![(f64::NEG_INFINITY, None); states.len()];
        for (i, (from, shares)) in before.iter().zip(options.transitions(before, &states, motion)).enumerate()
        {
            for (own, share) in best.iter_mut().zip(shares) {
                let way = from.weight + share.ln();
                if way > own.0 {
                    *own = (way, Some(i));
                }
            }
        }
        for (state, (way, back)) in states.iter_mut().zip(best) {
            let way = if before.is_empty() { 0.0 } else { way };
            (state.weight, state.back) = (way + state.emission, back);
        }
        let most = states.iter().map(|state| state.weight).fold(f64::NEG_INFINITY, f64::max);
        states.iter_mut().for_each(|state| state.weight -= most);
        states.sort_by(|a, b| b.weight.total_cmp(&a.weight));
        states.truncate(CARRIED);
        columns.push(states);
    }
    let mut at = columns.last().and_then(|states| (!states.is_empty()).then_some(0));
    let mut track: Vec<Option<Fix>> = Vec::with_capacity(columns.len());
    for states in columns.iter().rev() {
        let state = at.and_then(|at| states.get(at));
        track.push(state.map(|state| {
            let total: f64 = states.iter().map(|other| other.weight.exp()).sum();
            around(&state.place, states.iter().map(|other| (&other.place, other.weight.exp() / total)))
        }));
        at = state.and_then(|state| state.back);
    }
    track.reverse();
    track
}

/// How far it may be from the frame before.
#[derive(Debug, Clone)]
struct Motion {
    least_m: f64,
    most_m: f64,
}

impl SequenceOptions {
    fn motion(&self, before: Option<f64>, frame: &SequenceFrame) -> Motion {
        if let Some(moved) = frame.moved_m.filter(|metres| metres.is_finite() && *metres >= 0.0) {
            return Motion { least_m: moved - 2.0 * self.slack_m, most_m: moved + self.slack_m };
        }
        let seconds = before.zip(frame.time).map(|(before, now)| (now - before).abs());
        let metres = seconds.map_or(self.max_step_m, |seconds| seconds * self.max_speed);
        Motion { least_m: 0.0, most_m: metres + self.slack_m }
    }

    /// The states after one more frame: each by the best way to it.
    fn forward(&self, before: &[State], evidence: &Evidence, common: &Common, motion: &Motion) -> Vec<State> {
        let mut states = next_states(before, evidence, common);
        let even = 1.0 / states.len().max(1) as f64;
        let mut best = vec![if before.is_empty() { even } else { 0.0 }; states.len()];
        for (from, shares) in before.iter().zip(self.transitions(before, &states, motion)) {
            for (own, share) in best.iter_mut().zip(shares) {
                *own = own.max(from.weight * share);
            }
        }
        for (state, best) in states.iter_mut().zip(best) {
            state.weight = best * state.emission.exp();
        }
        let total: f64 = states.iter().map(|state| state.weight).sum();
        states.iter_mut().for_each(|state| state.weight /= total);
        states.sort_by(|a, b| b.weight.total_cmp(&a.weight));
        states.truncate(CARRIED);
        states
    }

    /// What the motion says of each state after each of those before, the possibility of a jump included.
    ///
    /// All steps that the motion allows count alike. Divided by how many places are in reach of one, a step among many views
    /// would cost more than to stay where there is a single one, and frames that say the same of both would drift there.
    fn transitions(&self, before: &[State], to: &[State], motion: &Motion) -> Vec<Vec<f64>> {
        let one = |from: &State, state: &State| {
            let excess = self.excess(&from.place, &state.place, motion);
            (-0.5 * excess * excess).exp()
        };
        let mut steps: Vec<Vec<f64>> =
            before.iter().map(|from| to.iter().map(|state| one(from, state)).collect()).collect();
        // Beside a jump to any of them they count as the places that a step reaches on average.
        let reached = steps.iter().flatten().sum::<f64>() / before.len().max(1) as f64;
        let even = self.jump / to.len().max(1) as f64;
        for step in steps.iter_mut().flatten() {
            *step = if reached > 0.0 { (1.0 - self.jump) * *step / reached } else { 0.0 } + even;
        }
        steps
    }

    /// By how many standard deviations a step is longer or shorter than the motion allows.
    fn excess(&self, from: &Match, to: &Match, motion: &Motion) -> f64 {
        if let Some(metres) = from.position.zip(to.position).and_then(|(from, to)| from.distance_m(to)) {
            let sigma = (motion.most_m / 4.0).max(2.0);
            return (metres - motion.most_m).max(motion.least_m - metres).max(0.0) / sigma;
        }
        match self.order.get(&from.path).zip(self.order.get(&to.path)) {
            Some((from, to)) => {
                ((from - to).abs() - self.max_places).max(0.0) / (self.max_places / 2.0).max(1.0)
            }
            // Where a distance is unknown, only staying is known.
            None if from.path == to.path => 0.0,
            None => f64::INFINITY,
        }
    }
}

/// The candidates of a frame, and the places before it that it did not find.
fn next_states(before: &[State], evidence: &Evidence, common: &Common) -> Vec<State> {
    let carried = before.iter().map(|state| &state.place);
    let unfound = carried.filter(|place| !evidence.has(&place.path));
    let mut states: Vec<State> = evidence
        .places
        .iter()
        .chain(unfound)
        .map(|place| {
            let emission = evidence.value(&place.path) - common.value(&place.path);
            State { place: place.clone(), emission, weight: 0.0, back: None }
        })
        .collect();
    // Relative to the best one, so that no exponential overflows.
    let best = states.iter().map(|state| state.emission).fold(f64::NEG_INFINITY, f64::max);
    states.iter_mut().for_each(|state| state.emission -= best);
    states
}

/// A fix at a place, with the probable ones around it.
fn around<'a>(best: &Match, places: impl Iterator<Item = (&'a Match, f64)>) -> Fix {
    let mut probability = 0.0;
    let mut near = Vec::new();
    for (place, weight) in places {
        let metres = best.position.zip(place.position).and_then(|(best, own)| best.distance_m(own));
        if place.path == best.path || metres.is_some_and(|metres| metres <= Estimate::AGREEMENT_M) {
            probability += weight;
            near.extend(place.position.map(|position| (position, weight)));
        }
    }
    let position = best.position.map(|position| Estimate::mean_of(position, &near));
    Fix { place: best.clone(), position, probability: probability.min(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use r2former_data::LocalPoint;

    fn at(path: &str, x: f64, similarity: f32) -> Match {
        Match { position: Some(LocalPoint { x, y: 0.0, z: None }.into()), ..Match::named(path, similarity) }
    }

    /// A walk of 10 m per frame along a street of places 10 m apart; frame 2 mistakes a place 500 m away for its own.
    fn walk() -> Vec<SequenceFrame> {
        (0..5)
            .map(|i| {
                let here = f64::from(i) * 10.0;
                let name = |x: f64| format!("{x:.0}");
                let mut matches = vec![at(&name(here), here, 0.8), at(&name(here + 10.0), here + 10.0, 0.7)];
                let wrong = if i == 2 { 0.85 } else { 0.5 };
                matches.push(at("500", 500.0, wrong));
                matches.sort_by(|a, b| b.similarity.total_cmp(&a.similarity));
                SequenceFrame { matches, ..SequenceFrame::default() }
            })
            .collect()
    }

    fn paths(fixes: &[Option<Fix>]) -> Vec<&str> {
        fixes.iter().map(|fix| fix.as_ref().map_or("", |fix| fix.place.path.as_str())).collect()
    }

    #[test]
    fn a_mistaken_frame_is_outvoted_live_and_afterwards() {
        let mut filter = SequenceFilter::new(SequenceOptions::default());
        let live: Vec<Option<Fix>> = walk().into_iter().map(|frame| filter.push(frame)).collect();
        assert_eq!(paths(&live), ["0", "10", "20", "30", "40"]);
        assert_eq!(paths(&best_track(walk(), &SequenceOptions::default())), ["0", "10", "20", "30", "40"]);
        let last = live[4].as_ref().expect("a fix");
        assert!(last.probability > 0.9 && last.probability <= 1.0, "{last:?}");
        let total: f64 = filter.places().map(|(_, weight)| weight).sum();
        assert!((total - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_lonely_place_is_no_better_than_one_among_many() {
        // Views of one spot, of which one looks like the query, as a photograph elsewhere does a little less.
        let frame = || {
            let mut matches = vec![at("here", 0.0, 0.735), at("lonely", 11_000.0, 0.709)];
            matches.extend((0..8).map(|i| at(&format!("view {i}"), f64::from(i), 0.3)));
            SequenceFrame { matches, ..SequenceFrame::default() }
        };
        let mut filter = SequenceFilter::new(SequenceOptions::default());
        for i in 0..12 {
            assert_eq!(filter.push(frame()).expect("a fix").place.path, "here", "frame {i}");
        }
        let track = best_track((0..12).map(|_| frame()).collect(), &SequenceOptions::default());
        assert_eq!(paths(&track), ["here"; 12]);
    }

    #[test]
    fn later_frames_correct_the_first_one_only_afterwards() {
        let mut frames = walk();
        frames[0].matches = vec![at("500", 500.0, 0.82), at("0", 0.0, 0.8)];
        let mut filter = SequenceFilter::new(SequenceOptions::default());
        let live = filter.push(frames[0].clone()).expect("a fix");
        assert_eq!(live.place.path, "500");
        assert_eq!(paths(&best_track(frames, &SequenceOptions::default()))[0], "0");
    }

    #[test]
    fn times_and_odometry_bound_the_motion() {
        let two = |time, moved_m, x: f64| {
            let first = SequenceFrame { matches: vec![at("a", 0.0, 0.9)], time: Some(0.0), moved_m: None };
            // 0.02 more similar, but farther away.
            let matches = vec![at("far", x, 0.72), at("near", 5.0, 0.7)];
            let mut filter = SequenceFilter::new(SequenceOptions::default());
            filter.push(first);
            filter.push(SequenceFrame { matches, time, moved_m }).expect("a fix").place.path
        };
        // 200 m in one second, and in a minute.
        assert_eq!(two(Some(1.0), None, 200.0), "near");
        assert_eq!(two(Some(60.0), None, 200.0), "far");
        // The odometer knows better than the clock.
        assert_eq!(two(Some(60.0), Some(4.0), 200.0), "near");
        assert_eq!(two(Some(1.0), Some(200.0), 200.0), "far");
    }

    #[test]
    fn a_jump_is_believed_when_frames_insist() {
        let mut filter = SequenceFilter::new(SequenceOptions::default());
        let frame = |x: f64| SequenceFrame {
            matches: vec![at(&format!("{x}"), x, 0.8), at("other", 2000.0, 0.5)],
            ..SequenceFrame::default()
        };
        filter.push(frame(0.0));
        let fixes: Vec<Fix> = (0..4).filter_map(|_| filter.push(frame(900.0))).collect();
        assert_eq!(fixes[3].place.path, "900");
    }

    #[test]
    fn without_positions_the_order_of_references_counts() {
        let bare = |path: &str, similarity| Match { position: None, ..at(path, 0.0, similarity) };
        let order = (0..100).map(|i| (format!("{i}"), f64::from(i))).collect();
        let options = SequenceOptions { order, ..SequenceOptions::default() };
        let mut filter = SequenceFilter::new(options);
        filter.push(SequenceFrame { matches: vec![bare("10", 0.8)], ..SequenceFrame::default() });
        let matches = vec![bare("90", 0.72), bare("12", 0.7)];
        let fix = filter.push(SequenceFrame { matches, ..SequenceFrame::default() }).expect("a fix");
        assert_eq!((fix.place.path.as_str(), fix.position), ("12", None));
    }

    #[test]
    fn in_an_order_a_place_that_resembles_every_frame_does_not_win() {
        let bare = |path: String, similarity| Match { position: None, ..at(&path, 0.0, similarity) };
        let order = (0..100).map(|i| (format!("{i}"), f64::from(i))).collect();
        let options = SequenceOptions { order, ..SequenceOptions::default() };
        let frames: Vec<SequenceFrame> = (0..5)
            .map(|i| {
                let mut matches = vec![bare("90".into(), 0.75), bare(format!("{}", 10 + i), 0.73)];
                // Everything else is as unlike it.
                matches.extend((0..80).filter(|j| *j != 10 + i).map(|j| bare(format!("{j}"), 0.5)));
                SequenceFrame { matches, ..SequenceFrame::default() }
            })
            .collect();
        let mut filter = SequenceFilter::new(options.clone());
        let live: Vec<Option<Fix>> = frames.iter().map(|frame| filter.push(frame.clone())).collect();
        assert_eq!(live[4].as_ref().expect("a fix").place.path, "14");
        assert_eq!(best_track(frames, &options)[4].as_ref().expect("a fix").place.path, "14");
    }

    #[test]
    fn frames_without_candidates_change_nothing_much() {
        let mut filter = SequenceFilter::new(SequenceOptions::default());
        assert_eq!(filter.push(SequenceFrame::default()), None);
        filter.push(SequenceFrame { matches: vec![at("a", 0.0, 0.9)], ..SequenceFrame::default() });
        let fix = filter.push(SequenceFrame::default()).expect("the place before");
        assert_eq!(fix.place.path, "a");
        let empty = vec![SequenceFrame::default(); 2];
        assert_eq!(best_track(empty, &SequenceOptions::default()), [None, None]);
    }
}
