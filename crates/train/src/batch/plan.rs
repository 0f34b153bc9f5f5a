//! Which photographs a step sees: decided by the seed and the step's number alone.

use crate::config::{BatchConfig, BatchKind, MiningKind, PositiveKind, TrainConfig};
use crate::mining::Mined;
use crate::pool::{Pool, Relation};
use crate::random::{self, Rng, Use};
use rand::Rng as _;
use rand::seq::{IndexedRandom as _, SliceRandom as _};

/// One photograph of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shot {
    /// Which item of the pool.
    pub(crate) item: usize,
    /// Seen in a mirror.
    pub(crate) mirror: bool,
}

/// A batch before anything is decoded.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    /// Its photographs.
    pub(crate) shots: Vec<Shot>,
    /// Query, positive, negative by number in `shots`; empty for batches of places.
    pub(crate) triplets: Vec<[usize; 3]>,
}

/// Tries to find a place that goes with the others of a batch before one is taken that does not.
const TRIES: usize = 64;

/// Draws batches.
pub(crate) struct Planner<'a> {
    pool: &'a Pool,
    mined: Option<&'a Mined>,
    config: &'a TrainConfig,
}

impl<'a> Planner<'a> {
    pub(crate) fn new(pool: &'a Pool, mined: Option<&'a Mined>, config: &'a TrainConfig) -> Self {
        Self { pool, mined, config }
    }

    /// The batch of a step. `part` counts accumulated batches.
    pub(crate) fn plan(&self, step: u64, part: u64) -> Plan {
        let rng = &mut random::at(self.config.seed, Use::Batch, [step, part]);
        match self.config.batch.kind {
            BatchKind::Places => self.places(rng),
            BatchKind::Triplets => self.triplets(rng),
        }
    }

    fn places(&self, rng: &mut Rng) -> Plan {
        let BatchConfig { size, views, hard_places, mirror, .. } = self.config.batch;
        let mut anchors: Vec<Shot> = Vec::with_capacity(size);
        while anchors.len() < size {
            let mut chosen = None;
            for _ in 0..TRIES {
                let shot = match self.look_alike(&anchors, hard_places, rng) {
                    Some(shot) => shot,
                    None => Shot { item: self.pool.draw(rng), mirror: rng.random_bool(mirror) },
                };
                // The same place in a mirror is another one.
                let apart = |a: &Shot| {
                    a.mirror != shot.mirror || self.pool.relation(a.item, shot.item) == Relation::Negative
                };
                if anchors.iter().all(apart) {
                    chosen = Some(shot);
                    break;
                }
                chosen = chosen.or(Some(shot));
            }
            anchors.extend(chosen);
        }
        let mut shots = Vec::with_capacity(size * views);
        for anchor in anchors {
            let mut others = self.pool.positives(anchor.item).to_vec();
            others.shuffle(rng);
            let others = others.into_iter().map(|o| o as usize);
            // A place with few photographs shows some twice, each time changed in another way.
            let members: Vec<usize> = std::iter::once(anchor.item).chain(others).take(views).collect();
            shots.extend(members.iter().cycle().take(views).map(|item| Shot { item: *item, ..anchor }));
        }
        Plan { shots, triplets: Vec::new() }
    }

    /// Sometimes a place that resembles one of the batch, in a mirror where that one is.
    fn look_alike(&self, anchors: &[Shot], share: f64, rng: &mut Rng) -> Option<Shot> {
        let mined = self.mined?;
        let anchor = anchors.choose(rng)?;
        if !rng.random_bool(share) {
            return None;
        }
        let item = *mined.negatives(anchor.item).choose(rng)? as usize;
        (!self.pool.positives(item).is_empty()).then_some(Shot { item, mirror: anchor.mirror })
    }

    fn triplets(&self, rng: &mut Rng) -> Plan {
        let BatchConfig { size, negatives, .. } = self.config.batch;
        let (mut shots, mut triplets) = (Vec::new(), Vec::new());
        for _ in 0..size {
            let query = match self.mined {
                Some(mined) if !mined.queries().is_empty() => {
                    *mined.queries().choose(rng).unwrap_or(&0) as usize
                }
                _ => self.pool.draw(rng),
            };
            let nearest = match self.config.mining.positive {
                PositiveKind::Nearest => self.mined.and_then(|mined| mined.positive(query)),
                PositiveKind::Any => None,
            };
            let positive = nearest.or_else(|| self.pool.positives(query).choose(rng).copied());
            let at = shots.len();
            shots.push(query);
            shots.push(positive.map_or(query, |p| p as usize));
            let mut found: Vec<usize> = self.mined.map_or_else(Vec::new, |mined| {
                let all = mined.negatives(query);
                let drawn: Vec<u32> = match self.config.mining.kind {
                    MiningKind::Global => all.choose_multiple(rng, negatives).copied().collect(),
                    _ => all.iter().copied().take(negatives).collect(),
                };
                drawn.into_iter().map(|n| n as usize).collect()
            });
            while found.len() < negatives {
                found.push(self.any_negative(query, rng));
            }
            for negative in found {
                triplets.push([at, at + 1, shots.len()]);
                shots.push(negative);
            }
        }
        Plan { shots: shots.into_iter().map(|item| Shot { item, mirror: false }).collect(), triplets }
    }

    fn any_negative(&self, query: usize, rng: &mut Rng) -> usize {
        let mut item = self.pool.draw_any(rng);
        for _ in 0..TRIES {
            if self.pool.relation(query, item) == Relation::Negative {
                break;
            }
            item = self.pool.draw_any(rng);
        }
        item
    }
}
