//! A dry run: an evaluation of any size with synthetic features, to measure its memory.
//!
//! Only extraction is left out. Features are stored in memory or a file, searched, reranked and scored as in a real
//! evaluation.

use super::{Random, SyntheticDescriptors, peak_bytes, random_local_features};
use crate::extracted::Extracted;
use crate::features::Side;
use crate::layout::Layout;
use crate::run::{rank_extracted, score_rankings};
use crate::units::Units;
use crate::{EvalError, EvalOptions, EvalSummary, Result};
use r2former_data::Photo;
use r2former_data::dataset::{Dataset, GroundTruthRule, Sequences};
use r2former_engine::{Extractor, Progress};
use r2former_model::Bits;
use serde::Serialize;
use std::path::Path;
use std::time::Instant;

/// Size of a dry run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DryRunOptions {
    /// Images of the database.
    pub images: usize,
    /// Queries.
    pub queries: usize,
}

/// Cost of a dry run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DryRun {
    /// Bytes of all features.
    pub feature_bytes: u64,
    /// Seconds to generate and store them.
    pub writing_s: f64,
    /// Seconds of search, reranking and scoring.
    pub evaluation_s: f64,
    /// Peak memory of the process in bytes; `None` if the system does not report it.
    pub peak_bytes: Option<u64>,
    /// The evaluation. Its recall belongs to the synthetic descriptors, not to the model.
    pub summary: EvalSummary,
}

/// Evaluates synthetic features of a model's sizes under `eval` (whose radius and heading limit have no effect).
/// `temporary` is the folder of the file for features beyond
/// [`FeatureStorage::memory_bytes`](crate::FeatureStorage::memory_bytes).
///
/// # Errors
/// - [`EvalError::Request`]: no image or no query.
/// - [`EvalError::File`]: a folder that cannot be written, or is full.
/// - [`EvalError::Engine`]: a failing device.
pub fn measure_memory(
    extractor: &Extractor,
    options: DryRunOptions,
    eval: &EvalOptions,
    temporary: &Path,
    progress: &dyn Progress,
) -> Result<DryRun> {
    let DryRunOptions { images, queries } = options;
    let per_place = SyntheticDescriptors::PER_PLACE as usize;
    let places = images.div_ceil(per_place);
    let (Ok(_), true) = (u32::try_from(images), images > 0 && queries > 0) else {
        return Err(EvalError::Request(format!(
            "{images} images and {queries} queries: both must be at least 1, and at most {} images",
            u32::MAX
        )));
    };
    // Queries are spread evenly over all places.
    let place_of = |query: usize| query * places / queries % places;
    let photos = |side: &str, count: usize| -> Vec<Photo> {
        (0..count).map(|i| Photo::new(format!("{side}/{i}"), format!("{side}/{i}"))).collect()
    };
    let positives = |query: usize| -> Vec<u32> {
        let first = place_of(query) * per_place;
        (first..images.min(first + per_place)).map(|i| i as u32).collect()
    };
    let dataset = Dataset {
        left_out: 0,
        name: format!("synthetic features of {images} images"),
        database: photos("database", images),
        queries: photos("queries", queries),
        truth: GroundTruthRule::Listed((0..queries).map(positives).collect()),
        notes: vec!["synthetic features: recall says nothing about the model".into()],
        sequences: Sequences::default(),
    };
    let ruled = eval.rules.apply(&dataset)?;
    let layout = Layout::of(extractor, !eval.rerank.is_empty(), Bits::Eight);
    let started = Instant::now();
    progress.start("synthetic images", (images + queries) as u64);
    let descriptors = SyntheticDescriptors::new(layout.dim);
    let side = |count: usize, seed: u64, place: &dyn Fn(usize) -> usize| -> Result<Units> {
        let mut side = Side::new(count, layout, None, &eval.storage, temporary)?;
        for i in 0..count {
            let mut random = Random::new(seed + i as u64);
            let global = descriptors.unit(place(i) as u32, &mut random);
            side.put(i, &global, random_local_features(&mut random, layout.local_bytes()))?;
            progress.advance(1);
        }
        side.flush()?;
        Ok(Units::of_images(side))
    };
    let extracted = Extracted {
        database: side(images, 1, &|i| i / per_place)?,
        queries: side(queries, 1 << 40, &place_of)?,
        chosen: ruled.counted.clone(),
        unusable: Vec::new(),
        images_per_second: None,
    };
    progress.finish();
    let writing_s = started.elapsed().as_secs_f64();
    let started = Instant::now();
    let ranked = rank_extracted(&dataset, &extracted, None, extractor, eval, progress)?;
    let summary = score_rankings(&dataset, &ruled, ranked, extractor, eval).summary;
    let image_bytes = layout.dim * size_of::<f32>() + layout.local_bytes();
    Ok(DryRun {
        feature_bytes: ((images + queries) * image_bytes) as u64,
        writing_s,
        evaluation_s: started.elapsed().as_secs_f64(),
        peak_bytes: peak_bytes(),
        summary,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FeatureStorage;
    use r2former_engine::{LoadedModel, NoProgress, RerankMethod, Settings};
    use r2former_model::{Device, ModelConfig};

    #[test]
    fn memory_and_file_give_the_same_result() {
        let mut config = ModelConfig::preset("vit-tiny").unwrap();
        (config.input.height, config.input.width) = (32, 64);
        let loaded = LoadedModel::random(&config, 1).unwrap();
        let settings = Settings::of(&loaded.config);
        let extractor = Extractor::new(loaded, settings, &Device::flex()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let run = |memory_bytes| {
            let storage = FeatureStorage { memory_bytes, dir: None };
            let eval =
                EvalOptions::default().rerank(vec![RerankMethod::Model]).candidates(20).storage(storage);
            let options = DryRunOptions { images: 200, queries: 7 };
            measure_memory(&extractor, options, &eval, dir.path(), &NoProgress).unwrap()
        };
        let (memory, file) = (run(1 << 30), run(0));
        assert_eq!(memory.summary.recall, file.summary.recall);
        assert_eq!(memory.feature_bytes, 207 * (4 * 256 + 8 * 131));
        assert!(memory.summary.recall.global.at(10) > 0.9, "{:?}", memory.summary.recall);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the file is removed");
    }
}
