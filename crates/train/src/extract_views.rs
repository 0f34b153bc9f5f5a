//! Fills a [`ViewCache`] at the beginning of an epoch.

use crate::Result;
use crate::batch::Loader;
use crate::pool::LeftOut;
use crate::step::Frozen;
use crate::view_cache::ViewCache;
use r2former_engine::Progress;
use rayon::prelude::*;

/// Views that are decoded and extracted together.
const CHUNK: usize = 64;

/// Extracts `views` views of every item. Items of photographs that cannot be read are excluded.
pub(crate) fn extract_views(
    loader: &Loader<'_>,
    frozen: &Frozen,
    [views, epoch]: [u64; 2],
    progress: &dyn Progress,
) -> Result<(ViewCache, Vec<LeftOut>)> {
    let all: Vec<u64> = (0..loader.pool.len() as u64 * views).collect();
    let mut cache = ViewCache::new(views as usize, epoch, frozen.is_projecting());
    let mut left_out: Vec<LeftOut> = Vec::new();
    let blank = vec![0.0; 3 * loader.size[0] * loader.size[1]];
    progress.start("views extracted", all.len() as u64);
    for chunk in all.chunks(CHUNK) {
        let pictures: Vec<_> =
            chunk.par_iter().map(|view| loader.view(epoch, (view / views) as usize, *view)).collect();
        let mut inputs = Vec::with_capacity(chunk.len());
        for (view, picture) in chunk.iter().zip(pictures) {
            match picture {
                Ok(picture) => inputs.push(picture.normalised(loader.preprocess)),
                Err(error) => {
                    let found = LeftOut::of(error)?;
                    if !left_out.contains(&found) {
                        left_out.push(found);
                    }
                    cache.excluded.insert((view / views) as usize);
                    inputs.push(blank.clone());
                }
            }
        }
        frozen.describe(&inputs)?.into_iter().for_each(|view| cache.push(view));
        progress.advance(chunk.len() as u64);
    }
    progress.finish();
    Ok((cache, left_out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Planner;
    use crate::config::{MiningKind, PositiveKind, SourceConfig, SourceKind, Stage, TrainConfig};
    use crate::mining::mine_cached;
    use crate::pool::{Excluded, Pool, Relation};
    use burn::tensor::{Tensor, TensorData};
    use r2former_data::image::{Preprocess, ResizeMode};
    use r2former_model::{
        BackboneConfig, Device, LocalConfig, ModelConfig, R2Former, RerankerConfig, VitConfig,
    };

    const SIZE: [usize; 2] = [48, 64];

    fn config() -> TrainConfig {
        let mut config = TrainConfig::preset(Stage::Rerank);
        let town = SourceKind::Town { seed: 3, blocks: 2, spacing: 16.0, conditions: Vec::new() };
        config.data = vec![SourceConfig { kind: town, weight: 1.0 }];
        (config.places.positive_m, config.places.heading_deg) = (18.0, 40.0);
        (config.batch.size, config.batch.negatives, config.batch.cached_views) = (4, 2, 2);
        config.mining.positive = PositiveKind::Any;
        (config.augment.noise, config.augment.crop) = (1.0, 0.5);
        config
    }

    fn model() -> R2Former {
        let mut config = ModelConfig::preset("vit-tiny").unwrap();
        if let BackboneConfig::Vit(vit) = &mut config.backbone {
            *vit = VitConfig { dim: 24, depth: 2, heads: 2, patch: 8, grid: [4, 4], ..vit.clone() };
        }
        config.local = Some(LocalConfig { dim: 16, count: 12, ..Default::default() });
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
    fn cached_views_have_the_features_of_their_photographs() {
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
            cache: None,
            pairs: None,
        };
        let (cache, left_out) = extract_views(&loader, &frozen, [2, 5], &Quiet).unwrap();
        assert!(left_out.is_empty());
        assert_eq!((cache.len(), cache.epoch), (2 * pool.len(), 5));
        let mined = mine_cached(&config, &pool, &cache).unwrap();
        let planner = Planner::new(&pool, Some(&mined), &config, Excluded::new());
        let plan = planner.plan(3, 0).unwrap();
        for [query, positive, negative] in &plan.triplets {
            let item = |shot: &usize| plan.shots[*shot].item;
            assert_eq!(pool.relation(item(query), item(positive)), Relation::Positive);
            assert_eq!(pool.relation(item(query), item(negative)), Relation::Negative);
            assert!(mined.negatives(item(query)).contains(&(item(negative) as u32)));
        }
        loader.cache = Some(&cache);
        let batch = loader.load(&planner, 3, 0).unwrap();
        assert!(batch.inputs.is_empty());
        let found = batch.cached.unwrap().features(&model, &Device::flex());
        // The picture of a cached view is the one that was extracted.
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
        let loader = Loader {
            pool: &pool,
            augment,
            preprocess: &preprocess,
            size: SIZE,
            seed: 5,
            cache: None,
            pairs: None,
        };
        let frozen = Frozen::new(&model, SIZE, &Device::flex()).unwrap();
        let fill = |epoch: u64| extract_views(&loader, &frozen, [1, epoch], &Quiet).unwrap().0;
        assert_eq!(fill(1).described(), fill(1).described());
        assert_ne!(fill(1).described(), fill(2).described());
        let mut random = config.clone();
        random.mining.kind = MiningKind::Random;
        assert!(mine_cached(&random, &pool, &fill(1)).is_none());
    }
}
