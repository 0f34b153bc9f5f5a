//! Which photographs are in a step's batch: decided by the seed and the step's number alone.

use crate::Result;
use crate::config::{BatchConfig, BatchKind, MiningKind, PositiveKind, TrainConfig};
use crate::mining::Mined;
use crate::pool::{Excluded, Partner, Pool, Relation};
use crate::random::{self, Rng, Use};
use rand::Rng as _;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use std::collections::BTreeSet;

/// One photograph of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shot {
    /// Its item in the pool.
    pub(crate) item: usize,
    /// Flipped horizontally.
    pub(crate) flipped: bool,
}

/// A batch before anything is decoded.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    /// Its photographs.
    pub(crate) shots: Vec<Shot>,
    /// Query, positive, negative as indices of `shots`; empty for batches of places.
    pub(crate) triplets: Vec<[usize; 3]>,
}

impl Plan {
    /// The query whose positive is photograph `number`.
    pub(crate) fn query_of(&self, number: usize) -> Option<usize> {
        // Positives follow their queries.
        let query = number.checked_sub(1)?;
        self.triplets.iter().any(|[q, p, _]| [*q, *p] == [query, number]).then_some(query)
    }
}

/// Draws of a place that is different from the others of a batch, or of a negative, before any is taken.
const TRIES: usize = 64;

/// Draws batches.
pub(crate) struct Planner<'a> {
    pool: &'a Pool,
    mined: Option<&'a Mined>,
    config: &'a TrainConfig,
    excluded: Excluded,
}

impl<'a> Planner<'a> {
    /// `excluded` items are in no batch.
    pub(crate) fn new(
        pool: &'a Pool,
        mined: Option<&'a Mined>,
        config: &'a TrainConfig,
        excluded: Excluded,
    ) -> Self {
        Self { pool, mined, config, excluded }
    }

    /// Items that are in no batch.
    pub(crate) fn excluded(&self) -> &Excluded {
        &self.excluded
    }

    /// The batch of a step. `part` counts accumulated batches.
    ///
    /// # Errors
    /// [`TrainError::Unreadable`](crate::TrainError::Unreadable) if a source has no usable photographs left.
    pub(crate) fn plan(&self, step: u64, part: u64) -> Result<Plan> {
        let rng = &mut random::at(self.config.seed, Use::Batch, [step, part]);
        match self.config.batch.kind {
            BatchKind::Places => self.places(rng),
            BatchKind::Triplets => self.triplets(rng),
            BatchKind::Warps => self.warps(rng),
        }
    }

    /// Replaces the photographs `broken` (indices of shots) of a plan by others, none of them `excluded`; attempts at
    /// the same batch draw differently. Returns the indices of all shots that have changed.
    ///
    /// # Errors
    /// As [`Planner::plan`].
    pub(crate) fn replace(
        &self,
        plan: &mut Plan,
        broken: &BTreeSet<usize>,
        excluded: &Excluded,
        [step, part, attempt]: [u64; 3],
    ) -> Result<BTreeSet<usize>> {
        let place = part.wrapping_mul(1 << 32).wrapping_add(attempt);
        let rng = &mut random::at(self.config.seed, Use::Replacement, [step, place]);
        let BatchConfig { kind, negatives, views, .. } = self.config.batch;
        let each = match kind {
            BatchKind::Places => views,
            BatchKind::Triplets => negatives + 2,
            BatchKind::Warps => 2,
        };
        let groups: BTreeSet<usize> = broken.iter().map(|shot| shot / each * each).collect();
        let mut changed = BTreeSet::new();
        for first in groups {
            let old = plan.shots[first..first + each].to_vec();
            let bad = |shot: &usize| broken.contains(&(first + shot));
            let lead = old[0].item;
            // Its positive is its own photograph.
            let own = old[1].item == lead;
            let new = match kind {
                // A query or first photograph that is lost takes the others with it.
                BatchKind::Triplets if bad(&0) || !(own || self.pool.usable(lead, excluded)) => {
                    let (query, own) = self.query(rng, excluded)?;
                    self.triplet(query, own, rng, excluded)
                }
                BatchKind::Warps if bad(&0) => {
                    let first = self.pool.draw_alone(rng, excluded)?;
                    self.pair(first, rng, excluded).to_vec()
                }
                BatchKind::Warps => self.pair(lead, rng, excluded).to_vec(),
                BatchKind::Triplets => {
                    let fresh = self.triplet(lead, own, rng, excluded);
                    (0..each).map(|i| if bad(&i) { fresh[i] } else { old[i].item }).collect()
                }
                BatchKind::Places if bad(&0) => {
                    let others = (0..plan.shots.len()).step_by(each).filter(|i| *i != first);
                    let others: Vec<Shot> = others.map(|i| plan.shots[i]).collect();
                    let anchor = self.anchor(&others, rng, excluded)?;
                    plan.shots[first] = anchor;
                    self.members(anchor.item, rng, excluded)
                }
                BatchKind::Places => {
                    let fresh = self.members(lead, rng, excluded);
                    let used =
                        |item: &usize| old.iter().enumerate().any(|(i, s)| !bad(&i) && s.item == *item);
                    let mut unused = fresh.iter().copied().filter(|item| !used(item));
                    let mut pick = |i: usize| unused.next().unwrap_or(fresh[i % fresh.len()]);
                    (0..each).map(|i| if bad(&i) { pick(i) } else { old[i].item }).collect()
                }
            };
            let flipped = plan.shots[first].flipped;
            for (i, item) in new.into_iter().enumerate() {
                let shot = Shot { item, flipped };
                if old[i] != shot || bad(&i) {
                    changed.insert(first + i);
                }
                plan.shots[first + i] = shot;
            }
        }
        Ok(changed)
    }

    fn places(&self, rng: &mut Rng) -> Result<Plan> {
        let BatchConfig { size, views, .. } = self.config.batch;
        let mut anchors: Vec<Shot> = Vec::with_capacity(size);
        while anchors.len() < size {
            let anchor = self.anchor(&anchors, rng, &self.excluded)?;
            anchors.push(anchor);
        }
        let mut shots = Vec::with_capacity(size * views);
        for anchor in anchors {
            let members = self.members(anchor.item, rng, &self.excluded);
            shots.extend(members.into_iter().map(|item| Shot { item, ..anchor }));
        }
        Ok(Plan { shots, triplets: Vec::new() })
    }

    /// The first photograph of a place that is different from `others`, if one is found in a number of tries.
    fn anchor(&self, others: &[Shot], rng: &mut Rng, excluded: &Excluded) -> Result<Shot> {
        let BatchConfig { hard_places, horizontal_flip, .. } = self.config.batch;
        let mut chosen = None;
        for _ in 0..TRIES {
            let shot = match self.hard_place(others, hard_places, rng, excluded) {
                Some(shot) => shot,
                None => {
                    Shot { item: self.pool.draw(rng, excluded)?, flipped: rng.random_bool(horizontal_flip) }
                }
            };
            // A place and its mirror image are different places.
            let apart = |a: &Shot| {
                a.flipped != shot.flipped || self.pool.relation(a.item, shot.item) == Relation::Negative
            };
            if others.iter().all(apart) {
                return Ok(shot);
            }
            chosen = chosen.or(Some(shot));
        }
        match chosen {
            Some(shot) => Ok(shot),
            None => Ok(Shot { item: self.pool.draw(rng, excluded)?, flipped: false }),
        }
    }

    /// The photographs of a place, the first given. A place with few of them shows some twice, each time augmented
    /// differently.
    fn members(&self, first: usize, rng: &mut Rng, excluded: &Excluded) -> Vec<usize> {
        let views = self.config.batch.views;
        let mut others = self.positives(first, excluded);
        others.shuffle(rng);
        let members: Vec<usize> = std::iter::once(first).chain(others).take(views).collect();
        members.iter().copied().cycle().take(views).collect()
    }

    fn positives(&self, item: usize, excluded: &Excluded) -> Vec<usize> {
        let all = self.pool.positives(item).iter().map(|other| *other as usize);
        all.filter(|other| !excluded.contains(other)).collect()
    }

    /// With probability `share`, a hard negative of a place in the batch, flipped if that one is.
    fn hard_place(&self, anchors: &[Shot], share: f64, rng: &mut Rng, excluded: &Excluded) -> Option<Shot> {
        let mined = self.mined?;
        let anchor = anchors.choose(rng)?;
        if !rng.random_bool(share) {
            return None;
        }
        let item = *mined.negatives(anchor.item).choose(rng)? as usize;
        self.pool.usable(item, excluded).then_some(Shot { item, flipped: anchor.flipped })
    }

    fn triplets(&self, rng: &mut Rng) -> Result<Plan> {
        let BatchConfig { size, negatives, .. } = self.config.batch;
        let (mut shots, mut triplets) = (Vec::new(), Vec::new());
        for _ in 0..size {
            let at = shots.len();
            let (query, own) = self.query(rng, &self.excluded)?;
            shots.extend(self.triplet(query, own, rng, &self.excluded));
            triplets.extend((0..negatives).map(|n| [at, at + 1, at + 2 + n]));
        }
        let shots = shots.into_iter().map(|item| Shot { item, flipped: false }).collect();
        Ok(Plan { shots, triplets })
    }

    /// Pairs of photographs that are the same, aligned, or have listed matches.
    fn warps(&self, rng: &mut Rng) -> Result<Plan> {
        let mut shots = Vec::with_capacity(2 * self.config.batch.size);
        for _ in 0..self.config.batch.size {
            let first = self.pool.draw_alone(rng, &self.excluded)?;
            let pair = self.pair(first, rng, &self.excluded);
            shots.extend(pair.map(|item| Shot { item, flipped: false }));
        }
        Ok(Plan { shots, triplets: Vec::new() })
    }

    /// A photograph, and another one aligned or matched with it if there is one.
    fn pair(&self, first: usize, rng: &mut Rng, excluded: &Excluded) -> [usize; 2] {
        let second = match self.pool.partner(first) {
            Partner::Itself => None,
            Partner::Aligned | Partner::Matched => self.positives(first, excluded).choose(rng).copied(),
        };
        [first, second.unwrap_or(first)]
    }

    /// A query, among the mined ones where queries are mined, and whether its positive is to be its own photograph.
    fn query(&self, rng: &mut Rng, excluded: &Excluded) -> Result<(usize, bool)> {
        let share = self.config.batch.same_photo;
        if share > 0.0 && rng.random_bool(share) {
            return Ok((self.pool.draw_alone(rng, excluded)?, true));
        }
        Ok((self.paired_query(rng, excluded)?, false))
    }

    fn paired_query(&self, rng: &mut Rng, excluded: &Excluded) -> Result<usize> {
        let mined = self.mined.map_or(&[][..], Mined::queries);
        for _ in 0..TRIES {
            match mined.choose(rng) {
                Some(query) if self.pool.usable(*query as usize, excluded) => return Ok(*query as usize),
                Some(_) => {}
                None => break,
            }
        }
        self.pool.draw(rng, excluded)
    }

    /// A query, its positive and its negatives.
    fn triplet(&self, query: usize, own: bool, rng: &mut Rng, excluded: &Excluded) -> Vec<usize> {
        let negatives = self.config.batch.negatives;
        let nearest = match self.config.mining.positive {
            PositiveKind::Nearest => self.mined.and_then(|mined| mined.positive(query)),
            PositiveKind::Any => None,
        };
        let nearest = if own { Some(query as u32) } else { nearest };
        let nearest = nearest.map(|item| item as usize).filter(|item| !excluded.contains(item));
        let positive = nearest.or_else(|| self.positives(query, excluded).choose(rng).copied());
        let mut items = vec![query, positive.unwrap_or(query)];
        if let Some(mined) = self.mined {
            let all = mined.negatives(query).iter().map(|item| *item as usize);
            let all: Vec<usize> = all.filter(|item| !excluded.contains(item)).collect();
            match self.config.mining.kind {
                MiningKind::Global => items.extend(all.choose_multiple(rng, negatives)),
                _ => items.extend(all.iter().take(negatives)),
            }
        }
        while items.len() < negatives + 2 {
            items.push(self.any_negative(query, rng, excluded));
        }
        items
    }

    fn any_negative(&self, query: usize, rng: &mut Rng, excluded: &Excluded) -> usize {
        let mut item = self.pool.draw_any(rng);
        for _ in 0..TRIES {
            if self.pool.relation(query, item) == Relation::Negative && !excluded.contains(&item) {
                break;
            }
            item = self.pool.draw_any(rng);
        }
        item
    }
}
