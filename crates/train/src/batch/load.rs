//! Batches decoded and changed ahead of the step that needs them, on another thread.

use super::{Plan, Planner};
use crate::Result;
use crate::augment::{AugmentConfig, Picture};
use crate::bank::{Bank, Kept};
use crate::pool::{Pool, Relation};
use crate::random::{self, Use};
use r2former_data::image::Preprocess;
use rand::Rng as _;
use rayon::prelude::*;
use std::sync::mpsc::sync_channel;

/// Batches that wait.
const AHEAD: usize = 2;

/// A batch as the network takes it.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    /// What is in it.
    pub(crate) plan: Plan,
    /// `[3, height, width]` of each photograph, normalised; empty where views are kept.
    pub(crate) inputs: Vec<Vec<f32>>,
    /// Views that were described before.
    pub(crate) kept: Option<Kept>,
    /// How each two photographs relate, row after row.
    pub(crate) relations: Vec<Relation>,
}

/// What makes batches out of plans.
#[derive(Clone, Copy)]
pub(crate) struct Loader<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) augment: &'a AugmentConfig,
    pub(crate) preprocess: &'a Preprocess,
    pub(crate) size: [usize; 2],
    pub(crate) seed: u64,
    /// Views to draw from, instead of looking at photographs.
    pub(crate) bank: Option<&'a Bank>,
}

impl Loader<'_> {
    /// A photograph of a plan as the network sees it.
    pub(crate) fn picture(&self, plan: &Plan, number: usize, step: u64, part: u64) -> Result<Picture> {
        if let Some(bank) = self.bank {
            let view = self.drawn(bank, plan, number, step, part);
            return self.view(bank.epoch, plan.shots[number].item, view as u64);
        }
        let place = part * plan.shots.len() as u64 + number as u64;
        let rng = &mut random::at(self.seed, Use::Image, [step, place]);
        let shot = plan.shots[number];
        let image = self.pool.look(shot.item, self.size, Some(rng))?;
        self.augment.apply(&image, self.size, shot.mirror, rng)
    }

    /// A view of an item that is kept for an epoch; `view` counts those of all items.
    pub(crate) fn view(&self, epoch: u64, item: usize, view: u64) -> Result<Picture> {
        let rng = &mut random::at(self.seed, Use::View, [epoch, view]);
        let image = self.pool.look(item, self.size, Some(rng))?;
        self.augment.apply(&image, self.size, false, rng)
    }

    /// The number of the kept view that stands for a photograph of a plan.
    fn drawn(&self, bank: &Bank, plan: &Plan, number: usize, step: u64, part: u64) -> usize {
        let place = part * plan.shots.len() as u64 + number as u64;
        let view = random::at(self.seed, Use::Image, [step, place]).random_range(0..bank.views);
        plan.shots[number].item * bank.views + view
    }

    /// Decodes a batch on all cores, or takes it from the bank.
    pub(crate) fn load(&self, plan: Plan, step: u64, part: u64) -> Result<Batch> {
        let kept = self.bank.map(|bank| {
            let drawn = (0..plan.shots.len()).map(|i| self.drawn(bank, &plan, i, step, part));
            bank.gather(&drawn.collect::<Vec<_>>())
        });
        let seen = if kept.is_some() { 0 } else { plan.shots.len() };
        let inputs = (0..seen)
            .into_par_iter()
            .map(|i| Ok(self.picture(&plan, i, step, part)?.normalised(self.preprocess)))
            .collect::<Result<Vec<_>>>()?;
        let relations = plan.shots.iter().flat_map(|a| {
            plan.shots.iter().map(move |b| match a.mirror == b.mirror {
                true => self.pool.relation(a.item, b.item),
                false => Relation::Negative,
            })
        });
        let relations = relations.collect();
        Ok(Batch { plan, inputs, kept, relations })
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
                    let batches = (0..parts).map(|part| self.load(planner.plan(number, part), number, part));
                    // The other side has stopped: nobody waits any more.
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
