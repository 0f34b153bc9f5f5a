//! Batches decoded and augmented on another thread, ahead of the step that needs them.

use super::{PairBatch, Pairs, Plan, Planner};
use crate::Result;
use crate::augment::{AugmentConfig, Picture};
use crate::pool::{LeftOut, Pool, Relation};
use crate::random::{self, Use};
use crate::view_cache::{CachedViews, ViewCache};
use r2former_data::image::{Preprocess, ResizeMode};
use r2former_model::InputConfig;
use rand::Rng as _;
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::sync::mpsc::sync_channel;

/// Batches decoded ahead.
const AHEAD: usize = 2;

/// Times that unreadable photographs of one batch are replaced.
pub(super) const ATTEMPTS: u64 = 100;

/// A batch in the network's form.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    /// Its photographs.
    pub(crate) plan: Plan,
    /// `[3, height, width]` of each photograph, normalised; empty where views are cached.
    pub(crate) inputs: Vec<Vec<f32>>,
    /// Views extracted at the beginning of the epoch.
    pub(crate) cached: Option<CachedViews>,
    /// Which patches of the photographs correspond, in stage `local`.
    pub(crate) pairs: Option<PairBatch>,
    /// The relation of each pair of photographs, row by row; empty where they are pairs.
    pub(crate) relations: Vec<Relation>,
    /// Photographs that could not be read and were replaced.
    pub(crate) left_out: Vec<LeftOut>,
}

/// Preprocessing of training pictures: the model's normalisation, and the resize mode of the published training, whatever
/// the model is evaluated with.
pub(crate) fn preprocessing(input: &InputConfig) -> Preprocess {
    Preprocess { mean: input.mean, std: input.std, resize: ResizeMode::Antialias }
}

/// Loads the photographs of plans.
#[derive(Clone, Copy)]
pub(crate) struct Loader<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) augment: &'a AugmentConfig,
    pub(crate) preprocess: &'a Preprocess,
    pub(crate) size: [usize; 2],
    pub(crate) seed: u64,
    /// Views to draw from instead of decoding photographs.
    pub(crate) cache: Option<&'a ViewCache>,
    /// How photographs become pairs, in stage `local`.
    pub(crate) pairs: Option<Pairs<'a>>,
}

impl Loader<'_> {
    /// A photograph of a plan, augmented.
    pub(crate) fn picture(&self, plan: &Plan, number: usize, step: u64, part: u64) -> Result<Picture> {
        if let Some(cache) = self.cache {
            let view = self.drawn(cache, plan, number, step, part);
            return self.view(cache.epoch, plan.shots[number].item, view as u64);
        }
        let place = part * plan.shots.len() as u64 + number as u64;
        let rng = &mut random::at(self.seed, Use::Image, [step, place]);
        let shot = plan.shots[number];
        let image = self.pool.image(shot.item, self.size, Some(rng))?;
        self.augment.apply(&image, self.size, shot.flipped, rng)
    }

    /// A view of an item that is cached for an epoch; `view` counts those of all items.
    pub(crate) fn view(&self, epoch: u64, item: usize, view: u64) -> Result<Picture> {
        let rng = &mut random::at(self.seed, Use::View, [epoch, view]);
        let image = self.pool.image(item, self.size, Some(rng))?;
        self.augment.apply(&image, self.size, false, rng)
    }

    /// The number of the cached view for a photograph of a plan.
    fn drawn(&self, cache: &ViewCache, plan: &Plan, number: usize, step: u64, part: u64) -> usize {
        let place = |number: usize| part * plan.shots.len() as u64 + number as u64;
        let rng = |number: usize| random::at(self.seed, Use::Image, [step, place(number)]);
        let item = plan.shots[number].item;
        let view = match plan.query_of(number).filter(|query| plan.shots[*query].item == item) {
            // A positive that is the query's own photograph is another view of it.
            Some(query) if cache.views > 1 => {
                let first = rng(query).random_range(0..cache.views);
                (first + rng(number).random_range(1..cache.views)) % cache.views
            }
            _ => rng(number).random_range(0..cache.views),
        };
        item * cache.views + view
    }

    /// Decodes a batch on all cores, or takes it from the cache. Photographs that cannot be read are replaced by
    /// others, which depend on the seed, the step and the files alone.
    pub(crate) fn load(&self, planner: &Planner<'_>, step: u64, part: u64) -> Result<Batch> {
        if let Some(pairs) = &self.pairs {
            return self.load_pairs(pairs, planner, step, part);
        }
        let mut plan = planner.plan(step, part)?;
        let cached = self.cache.map(|cache| {
            let drawn = (0..plan.shots.len()).map(|i| self.drawn(cache, &plan, i, step, part));
            cache.gather(&drawn.collect::<Vec<_>>())
        });
        let (mut inputs, mut left_out) = (Vec::new(), Vec::new());
        if cached.is_none() {
            (inputs, left_out) = self.decode(planner, &mut plan, step, part)?;
        }
        let relations = plan.shots.iter().flat_map(|a| {
            plan.shots.iter().map(move |b| match a.flipped == b.flipped {
                true => self.pool.relation(a.item, b.item),
                false => Relation::Negative,
            })
        });
        let relations = relations.collect();
        Ok(Batch { plan, inputs, cached, pairs: None, relations, left_out })
    }

    /// The inputs of a plan, in which photographs that cannot be read are replaced.
    fn decode(
        &self,
        planner: &Planner<'_>,
        plan: &mut Plan,
        step: u64,
        part: u64,
    ) -> Result<(Vec<Vec<f32>>, Vec<LeftOut>)> {
        let mut inputs = vec![Vec::new(); plan.shots.len()];
        let mut missing: BTreeSet<usize> = (0..inputs.len()).collect();
        let mut excluded = planner.excluded().clone();
        let mut left_out: Vec<LeftOut> = Vec::new();
        for attempt in 0.. {
            let decoded: Vec<_> =
                missing.par_iter().map(|i| (*i, self.picture(plan, *i, step, part))).collect();
            let mut broken = BTreeSet::new();
            for (i, picture) in decoded {
                match picture {
                    Ok(picture) => inputs[i] = picture.normalised(self.preprocess),
                    Err(error) => {
                        let found = LeftOut::of(error)?;
                        excluded.insert(plan.shots[i].item);
                        broken.insert(i);
                        if !left_out.contains(&found) {
                            left_out.push(found);
                        }
                    }
                }
            }
            let Some(first) = broken.first() else { break };
            if attempt == ATTEMPTS {
                return Err(self.pool.unreadable(self.pool.source_of(plan.shots[*first].item)));
            }
            missing = planner.replace(plan, &broken, &excluded, [step, part, attempt])?;
        }
        Ok((inputs, left_out))
    }

    /// Runs `step` with the batches of each step from `first` to before `end`; each step has `parts`.
    pub(crate) fn run(
        &self,
        planner: &Planner<'_>,
        [first, end]: [u64; 2],
        parts: u64,
        mut step: impl FnMut(u64, Vec<Batch>) -> Result<bool>,
    ) -> Result<()> {
        std::thread::scope(|scope| {
            let (sender, receiver) = sync_channel::<Result<(u64, Vec<Batch>)>>(AHEAD);
            scope.spawn(move || {
                for number in first..end {
                    let batches = (0..parts).map(|part| self.load(planner, number, part));
                    // The receiver has stopped: nobody waits for more.
                    if sender.send(batches.collect::<Result<_>>().map(|b| (number, b))).is_err() {
                        return;
                    }
                }
            });
            for batches in receiver {
                let (number, batches) = batches?;
                if !step(number, batches)? {
                    break;
                }
            }
            Ok(())
        })
    }
}
