//! Views of every photograph, described once an epoch and drawn from in each step: while the backbone stays as it
//! is, nothing before the local head needs to run again. What is kept is what the local head takes, in 16 bits, so
//! that the head and the reranker learn as they would from the photographs.

use crate::Result;
use crate::batch::Loader;
use crate::step::Frozen;
use burn::tensor::{Tensor, TensorData};
use half::f16;
use half::slice::HalfFloatSliceExt as _;
use r2former_engine::Progress;
use r2former_model::{Device, Features, R2Former};
use rayon::prelude::*;

/// Views that are decoded and described together.
const CHUNK: usize = 64;

/// Views of all items of a pool.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bank {
    /// The epoch whose views these are.
    pub(crate) epoch: u64,
    /// Views of an item.
    pub(crate) views: usize,
    /// Local features of a view.
    count: usize,
    /// Views one after the other, those of an item together: x, y, attention of each local feature,
    places: Vec<f32>,
    /// its token before the local head,
    tokens: Vec<f16>,
    /// and the global descriptor.
    global: Vec<f32>,
}

/// Some views of a bank.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kept {
    places: Vec<f32>,
    tokens: Vec<f32>,
    global: Vec<f32>,
    views: usize,
    count: usize,
}

impl Bank {
    /// Describes `views` views of every item.
    pub(crate) fn fill(
        loader: &Loader<'_>,
        frozen: &Frozen,
        [views, epoch]: [u64; 2],
        progress: &dyn Progress,
    ) -> Result<Self> {
        let all: Vec<u64> = (0..loader.pool.len() as u64 * views).collect();
        let mut bank = Self { epoch, views: views as usize, ..Self::default() };
        progress.start("views described", all.len() as u64);
        for chunk in all.chunks(CHUNK) {
            let inputs = chunk
                .par_iter()
                .map(|view| {
                    let picture = loader.view(epoch, (view / views) as usize, *view)?;
                    Ok(picture.normalised(loader.preprocess))
                })
                .collect::<Result<Vec<_>>>()?;
            for [places, tokens, global] in frozen.describe(&inputs)? {
                bank.count = places.len() / 3;
                bank.places.extend(places);
                bank.tokens.extend(tokens.into_iter().map(f16::from_f32));
                bank.global.extend(global);
            }
            progress.advance(chunk.len() as u64);
        }
        progress.finish();
        Ok(bank)
    }

    /// How many views there are.
    fn len(&self) -> usize {
        self.places.len() / (3 * self.count).max(1)
    }

    /// Views by their numbers: item times views an item, and which of them.
    pub(crate) fn gather(&self, views: &[usize]) -> Kept {
        let [places, tokens, global] =
            [self.places.len(), self.tokens.len(), self.global.len()].map(|all| all / self.len().max(1));
        let mut kept = Kept {
            places: Vec::with_capacity(views.len() * places),
            tokens: vec![0.0; views.len() * tokens],
            global: Vec::with_capacity(views.len() * global),
            views: views.len(),
            count: self.count,
        };
        for (view, into) in views.iter().zip(kept.tokens.chunks_exact_mut(tokens.max(1))) {
            kept.places.extend(&self.places[view * places..][..places]);
            kept.global.extend(&self.global[view * global..][..global]);
            self.tokens[view * tokens..][..tokens].convert_to_f32_slice(into);
        }
        kept
    }

    /// A global descriptor of each item: the mean of its views', at unit length.
    pub(crate) fn described(&self) -> Vec<f32> {
        let dim = self.global.len() / self.len().max(1);
        let of_item = |views: &[f32]| {
            let mut sum = vec![0.0; dim];
            for view in views.chunks_exact(dim) {
                sum.iter_mut().zip(view).for_each(|(sum, value)| *sum += value);
            }
            let length = sum.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-12);
            sum.into_iter().map(move |v| v / length)
        };
        self.global.chunks_exact((self.views * dim).max(1)).flat_map(of_item).collect()
    }
}

impl Kept {
    /// What the model makes of them, with gradients from the local head on.
    pub(crate) fn features(&self, model: &R2Former, device: &Device) -> Features {
        let whole = |values: &[f32], width: usize| -> Tensor<3> {
            Tensor::from_data(TensorData::new(values.to_vec(), [self.views, self.count, width]), device)
        };
        let width = self.tokens.len() / (self.views * self.count).max(1);
        let local = model.project_local(whole(&self.places, 3), whole(&self.tokens, width));
        let dim = self.global.len() / self.views.max(1);
        let global = TensorData::new(self.global.clone(), [self.views, dim]);
        Features { global: Tensor::from_data(global, device), local }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Planner;
    use crate::config::{MiningKind, PositiveKind, SourceConfig, SourceKind, Stage, TrainConfig};
    use crate::mining::mine_kept;
    use crate::pool::{Pool, Relation};
    use r2former_data::image::{Preprocess, ResizeMode};
    use r2former_model::{BackboneConfig, LocalConfig, ModelConfig, RerankerConfig, VitConfig};

    const SIZE: [usize; 2] = [48, 64];

    fn config() -> TrainConfig {
        let mut config = TrainConfig::preset(Stage::Rerank);
        let town = SourceKind::Town { seed: 3, blocks: 2, spacing: 16.0, conditions: Vec::new() };
        config.data = vec![SourceConfig { kind: town, weight: 1.0 }];
        (config.places.positive_m, config.places.heading_deg) = (18.0, 40.0);
        (config.batch.size, config.batch.negatives, config.batch.kept_views) = (4, 2, 2);
        config.mining.positive = PositiveKind::Any;
        (config.augment.noise, config.augment.crop) = (1.0, 0.5);
        config
    }

    fn model() -> R2Former {
        let mut config = ModelConfig::preset("vit-tiny").unwrap();
        if let BackboneConfig::Vit(vit) = &mut config.backbone {
            *vit = VitConfig { dim: 24, depth: 2, heads: 2, patch: 8, grid: [4, 4], ..vit.clone() };
        }
        config.local = Some(LocalConfig { dim: 16, count: 12, official_gather: false, layer: None });
        config.reranker = Some(RerankerConfig { dim: 16, heads: 2, ..Default::default() });
        [config.input.height, config.input.width] = SIZE;
        R2Former::random(&config, 1, &Device::flex()).unwrap()
    }

    fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_to_vec().unwrap()
    }

    struct Quiet;

    impl Progress for Quiet {
        fn start(&self, _: &str, _: u64) {}
        fn advance(&self, _: u64) {}
        fn finish(&self) {}
        fn note(&self, _: &str) {}
    }

    #[test]
    fn what_is_kept_is_what_the_photographs_give() {
        let (config, model) = (config(), model());
        let pool = Pool::open(&config.data, config.places, 5).unwrap();
        let preprocess = Preprocess::half(ResizeMode::Antialias);
        let frozen = Frozen::new(&model, SIZE, &Device::flex()).unwrap();
        let mut loader = Loader {
            pool: &pool,
            augment: &config.augment,
            preprocess: &preprocess,
            size: SIZE,
            seed: 5,
            bank: None,
        };
        let bank = Bank::fill(&loader, &frozen, [2, 5], &Quiet).unwrap();
        assert_eq!((bank.len(), bank.epoch), (2 * pool.len(), 5));
        let mined = mine_kept(&config, &pool, &bank).unwrap();
        let plan = Planner::new(&pool, Some(&mined), &config).plan(3, 0);
        for [query, positive, negative] in &plan.triplets {
            let item = |shot: &usize| plan.shots[*shot].item;
            assert_eq!(pool.relation(item(query), item(positive)), Relation::Positive);
            assert_eq!(pool.relation(item(query), item(negative)), Relation::Negative);
            assert!(mined.negatives(item(query)).contains(&(item(negative) as u32)));
        }
        loader.bank = Some(&bank);
        let batch = loader.load(plan.clone(), 3, 0).unwrap();
        assert!(batch.inputs.is_empty());
        let found = batch.kept.unwrap().features(&model, &Device::flex());
        // The picture of a kept view is the one that was described.
        let pictures = (0..plan.shots.len()).map(|i| loader.picture(&plan, i, 3, 0));
        let inputs: Vec<f32> = pictures.flat_map(|p| p.unwrap().normalised(&preprocess)).collect();
        let shape = [plan.shots.len(), 3, SIZE[0], SIZE[1]];
        let images = Tensor::<4>::from_data(TensorData::new(inputs, shape), &Device::flex());
        let expected = model.extract(images).unwrap();
        let pairs = [
            (floats(found.global), floats(expected.global)),
            (floats(found.local.unwrap()), floats(expected.local.unwrap())),
        ];
        for (found, expected) in pairs {
            assert_eq!(found.len(), expected.len());
            for (f, e) in found.iter().zip(&expected) {
                assert!((f - e).abs() < 2e-3 * e.abs().max(1.0), "{f}, not {e}");
            }
        }
    }

    #[test]
    fn another_epoch_has_other_views() {
        let (config, model) = (config(), model());
        let pool = Pool::open(&config.data, config.places, 5).unwrap();
        let preprocess = Preprocess::half(ResizeMode::Antialias);
        let augment = &config.augment;
        let loader =
            Loader { pool: &pool, augment, preprocess: &preprocess, size: SIZE, seed: 5, bank: None };
        let frozen = Frozen::new(&model, SIZE, &Device::flex()).unwrap();
        let fill = |epoch: u64| Bank::fill(&loader, &frozen, [1, epoch], &Quiet).unwrap();
        assert_eq!(fill(1).global, fill(1).global);
        assert_ne!(fill(1).global, fill(2).global);
        let mut random = config.clone();
        random.mining.kind = MiningKind::Random;
        assert!(mine_kept(&random, &pool, &fill(1)).is_none());
    }
}
