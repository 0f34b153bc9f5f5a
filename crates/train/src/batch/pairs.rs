//! Pairs of pictures that a known homography maps onto each other, for stage `local`.

use super::load::{ATTEMPTS, Batch, Loader};
use super::{Plan, Planner};
use crate::augment::{Picture, warped};
use crate::config::{Stage, TrainConfig, WarpConfig};
use crate::pool::{Excluded, LeftOut, Partner};
use crate::random::{self, Rng, Use};
use crate::warp::Warp;
use crate::{Result, TrainError};
use r2former_data::image::Rgb8;
use rand::seq::IndexedRandom as _;
use rayon::prelude::*;
use std::collections::BTreeSet;

/// Photographs of an aligned place of which the teacher sees the brightest.
const BRIGHTEST_OF: usize = 4;

/// The identity.
const SAME: crate::augment::Homography = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

/// How pairs are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pairs<'a> {
    warp: &'a WarpConfig,
    /// Pixels per side of a patch.
    stride: usize,
    /// Whether a teacher needs the pictures without the change of light.
    teacher: bool,
}

impl<'a> Pairs<'a> {
    /// For stage `local`; `stride` is the model's.
    pub(crate) fn of(config: &'a TrainConfig, stride: usize) -> Option<Self> {
        let teacher = config.loss.distillation_weight > 0.0;
        (config.stage == Stage::Local).then_some(Self { warp: &config.warp, stride, teacher })
    }
}

impl Pairs<'_> {
    /// Rows and columns of patches of pictures of a size.
    pub(crate) fn grid(&self, size: [usize; 2]) -> [usize; 2] {
        size.map(|side| side / self.stride)
    }
}

/// The pairs of a batch: pictures 2 i and 2 i + 1 are pair i.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct PairBatch {
    /// For each patch of a pair's first picture, the patch of the second that it is seen in.
    pub(crate) matches: Vec<Vec<Option<u32>>>,
    /// What a teacher sees of each picture, normalised; empty without one.
    pub(crate) teacher: Vec<Vec<f32>>,
}

/// A pair.
pub(crate) struct Pair {
    pub(crate) pictures: [Picture; 2],
    pub(crate) matches: Vec<Option<u32>>,
    teacher: Option<[Picture; 2]>,
}

/// An error, and the item whose photograph it is about.
type OfItem<T> = std::result::Result<T, (usize, TrainError)>;

impl Loader<'_> {
    /// Pair `number` of a plan; `excluded` photographs are not shown to a teacher.
    pub(crate) fn pair(
        &self,
        pairs: &Pairs<'_>,
        plan: &Plan,
        number: usize,
        excluded: &Excluded,
        [step, part]: [u64; 2],
    ) -> OfItem<Pair> {
        let place = part * plan.shots.len() as u64 + 2 * number as u64;
        let rng = &mut random::at(self.seed, Use::Image, [step, place]);
        let [a, b] = [0, 1].map(|i| plan.shots[2 * number + i].item);
        let first = self.pool.image(a, self.size, Some(rng)).map_err(|e| (a, e))?;
        let warp = pairs.warp.draw(self.size, rng);
        let second = match a == b {
            // Sources that render would turn the camera.
            true => None,
            false => Some(self.pool.image(b, self.size, Some(rng)).map_err(|e| (b, e))?),
        };
        let views = self.views(&first, second.as_ref().unwrap_or(&first), &warp).map_err(|e| (a, e))?;
        let mut pictures = views.clone();
        for picture in &mut pictures {
            self.augment.relight(picture, rng).map_err(|e| (a, e))?;
        }
        let partner = self.pool.partner(a);
        let teacher = match (pairs.teacher, partner) {
            (false, _) => None,
            (true, Partner::Aligned) => Some(self.brightest(a, first, &warp, excluded, rng)?),
            (true, Partner::Itself | Partner::Matched) => Some(views),
        };
        let grid = pairs.grid(self.size);
        let matches = match partner {
            // Without a readable partner it is paired with itself.
            Partner::Matched if a != b => warp.listed(&self.pool.matches(a), grid),
            _ => warp.matches(grid),
        };
        Ok(Pair { pictures, matches, teacher })
    }

    /// Both pictures of a pair before the change of light.
    fn views(&self, first: &Rgb8, second: &Rgb8, warp: &Warp) -> Result<[Picture; 2]> {
        Ok([warped(first, &SAME, 1.0, self.size)?, warped(second, &warp.to_a, warp.zoom, self.size)?])
    }

    /// The same of the brightest of some photographs of a place.
    fn brightest(
        &self,
        item: usize,
        own: Rgb8,
        warp: &Warp,
        excluded: &Excluded,
        rng: &mut Rng,
    ) -> OfItem<[Picture; 2]> {
        let mut all: Vec<usize> = self.pool.positives(item).iter().map(|other| *other as usize).collect();
        all.push(item);
        all.retain(|other| !excluded.contains(other));
        let light = |image: &Rgb8| {
            let sum: u64 = image.pixels.iter().map(|byte| u64::from(*byte)).sum();
            sum as f64 / image.pixels.len().max(1) as f64
        };
        let mut best: Option<(f64, Rgb8)> = None;
        for other in all.choose_multiple(rng, BRIGHTEST_OF) {
            let image = self.pool.image(*other, self.size, None).map_err(|e| (*other, e))?;
            let bright = light(&image);
            if best.as_ref().is_none_or(|(most, _)| bright > *most) {
                best = Some((bright, image));
            }
        }
        let image = best.map_or(own, |(_, image)| image);
        self.views(&image, &image, warp).map_err(|e| (item, e))
    }

    /// Decodes a batch of pairs on all cores. Photographs that cannot be read are replaced by others, which depend on
    /// the seed, the step and the files alone.
    pub(super) fn load_pairs(
        &self,
        pairs: &Pairs<'_>,
        planner: &Planner<'_>,
        step: u64,
        part: u64,
    ) -> Result<Batch> {
        let mut plan = planner.plan(step, part)?;
        let mut found: Vec<Option<Pair>> = (0..plan.shots.len() / 2).map(|_| None).collect();
        let mut missing: BTreeSet<usize> = (0..found.len()).collect();
        let mut excluded = planner.excluded().clone();
        let mut left_out: Vec<LeftOut> = Vec::new();
        for attempt in 0.. {
            let load = |i: &usize| (*i, self.pair(pairs, &plan, *i, &excluded, [step, part]));
            let loaded: Vec<_> = missing.par_iter().map(load).collect();
            missing.clear();
            let mut broken = BTreeSet::new();
            for (i, pair) in loaded {
                match pair {
                    Ok(pair) => found[i] = Some(pair),
                    Err((item, error)) => {
                        let one = LeftOut::of(error)?;
                        excluded.insert(item);
                        missing.insert(i);
                        broken.extend([2 * i, 2 * i + 1].into_iter().filter(|s| plan.shots[*s].item == item));
                        if !left_out.contains(&one) {
                            left_out.push(one);
                        }
                    }
                }
            }
            let Some(first) = missing.first() else { break };
            if attempt == ATTEMPTS {
                return Err(self.pool.unreadable(self.pool.source_of(plan.shots[2 * first].item)));
            }
            let changed = planner.replace(&mut plan, &broken, &excluded, [step, part, attempt])?;
            missing.extend(changed.into_iter().map(|shot| shot / 2));
        }
        let (mut inputs, mut batch) = (Vec::with_capacity(plan.shots.len()), PairBatch::default());
        for pair in found.into_iter().flatten() {
            inputs.extend(pair.pictures.map(|picture| picture.normalised(self.preprocess)));
            batch.teacher.extend(
                pair.teacher.into_iter().flatten().map(|picture| picture.normalised(self.preprocess)),
            );
            batch.matches.push(pair.matches);
        }
        Ok(Batch { plan, inputs, cached: None, pairs: Some(batch), relations: Vec::new(), left_out })
    }
}
