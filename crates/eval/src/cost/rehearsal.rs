//! An evaluation of any size with made-up features: does it stay within its memory?
//!
//! Features take the way of extracted ones from where they are put onto a side: into memory or a file, through search
//! and reranking, to recall and intervals.

use super::{Random, Views, local_bytes, peak_bytes};
use crate::extracted::Extracted;
use crate::features::{Layout, Side};
use crate::run::{count, rank_extracted};
use crate::units::Units;
use crate::{EvalError, EvalOptions, EvalReport, Result};
use r2former_data::Photo;
use r2former_data::dataset::{Dataset, GroundTruthRule, Sequences};
use r2former_engine::{Extractor, Progress};
use r2former_model::Bits;
use serde::Serialize;
use std::path::Path;
use std::time::Instant;

/// The size of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RehearsalOptions {
    /// Images of the database.
    pub images: usize,
    /// Queries.
    pub queries: usize,
}

/// What it took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rehearsal {
    /// Bytes of all features.
    pub feature_bytes: u64,
    /// Seconds to make them up and put them where they are kept.
    pub writing_s: f64,
    /// Seconds of everything after that.
    pub evaluation_s: f64,
    /// The most memory that this program ever had, in bytes; none where the system does not tell.
    pub peak_bytes: Option<u64>,
    /// The evaluation. Its recall says how alike the made-up descriptors are, nothing of the model.
    pub report: EvalReport,
}

/// Evaluates made-up features of a model's sizes under `eval` (whose radius and heading rule do not matter).
/// `temporary` is the folder of the file that takes what exceeds [`Keeping::memory_bytes`](crate::Keeping).
///
/// # Errors
/// No image or no query; a folder that cannot be written, or is full; what [`crate::evaluate`] refuses.
pub fn rehearse(
    extractor: &Extractor,
    options: RehearsalOptions,
    eval: &EvalOptions,
    temporary: &Path,
    progress: &dyn Progress,
) -> Result<Rehearsal> {
    let RehearsalOptions { images, queries } = options;
    let of_a_place = Views::OF_A_PLACE as usize;
    let places = images.div_ceil(of_a_place);
    let (Ok(_), true) = (u32::try_from(images), images > 0 && queries > 0) else {
        return Err(EvalError::Request(format!(
            "{images} images and {queries} queries: both must be at least 1, and at most {} images",
            u32::MAX
        )));
    };
    // Queries are spread over all places, more than one of a place where they are many.
    let place_of = |query: usize| query * places / queries % places;
    let photos = |side: &str, count: usize| -> Vec<Photo> {
        (0..count).map(|i| Photo::new(format!("{side}/{i}"), format!("{side}/{i}"))).collect()
    };
    let positives = |query: usize| -> Vec<u32> {
        let first = place_of(query) * of_a_place;
        (first..images.min(first + of_a_place)).map(|i| i as u32).collect()
    };
    let dataset = Dataset {
        name: format!("made-up features of {images} images"),
        database: photos("database", images),
        queries: photos("queries", queries),
        truth: GroundTruthRule::Listed((0..queries).map(positives).collect()),
        notes: vec!["made-up features: recall says nothing of the model".into()],
        sequences: Sequences::default(),
    };
    let judged = eval.rules.judge(&dataset)?;
    let layout = Layout::of(extractor, !eval.rerank.is_empty(), Bits::Eight);
    let started = Instant::now();
    progress.start("images made up", (images + queries) as u64);
    let views = Views::new(layout.dim);
    let side = |count: usize, seed: u64, place: &dyn Fn(usize) -> usize| -> Result<Units> {
        let mut side = Side::new(count, layout, None, &eval.keeping, temporary)?;
        for i in 0..count {
            let mut random = Random::new(seed + i as u64);
            let global = views.unit(place(i) as u32, &mut random);
            side.put(i, &global, local_bytes(&mut random, layout.local_bytes()))?;
            progress.advance(1);
        }
        side.flush()?;
        Ok(Units::of_images(side))
    };
    let extracted = Extracted {
        database: side(images, 1, &|i| i / of_a_place)?,
        queries: side(queries, 1 << 40, &place_of)?,
        chosen: judged.counted.clone(),
        unusable: Vec::new(),
        images_per_second: None,
    };
    progress.finish();
    let writing_s = started.elapsed().as_secs_f64();
    let started = Instant::now();
    let ranked = rank_extracted(&dataset, &extracted, None, extractor, eval, progress)?;
    let report = count(&dataset, &judged, ranked, extractor, eval).report;
    let image_bytes = layout.dim * size_of::<f32>() + layout.local_bytes();
    Ok(Rehearsal {
        feature_bytes: ((images + queries) * image_bytes) as u64,
        writing_s,
        evaluation_s: started.elapsed().as_secs_f64(),
        peak_bytes: peak_bytes(),
        report,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Keeping, QueriesAs, Rules};
    use r2former_engine::{LoadedModel, Rerank, Settings, Silent};
    use r2former_model::{Device, ModelConfig};

    #[test]
    fn memory_and_file_come_to_the_same_result() {
        let mut config = ModelConfig::preset("vit-tiny").unwrap();
        (config.input.height, config.input.width) = (32, 64);
        let loaded = LoadedModel::random(&config, 1).unwrap();
        let settings = Settings::of(&loaded.config);
        let extractor = Extractor::new(loaded, settings, &Device::flex()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let run = |memory_bytes| {
            let eval = EvalOptions {
                rules: Rules::default(),
                rerank: vec![Rerank::Model],
                candidates: 20,
                adaptive: None,
                keeping: Keeping { memory_bytes, dir: None },
                queries_as: QueriesAs::default(),
            };
            let options = RehearsalOptions { images: 200, queries: 7 };
            rehearse(&extractor, options, &eval, dir.path(), &Silent).unwrap()
        };
        let (memory, file) = (run(1 << 30), run(0));
        assert_eq!(memory.report.recall, file.report.recall);
        assert_eq!(memory.feature_bytes, 207 * (4 * 256 + 8 * 131));
        assert!(memory.report.recall.global.at(10) > 0.9, "{:?}", memory.report.recall);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the file is gone");
    }
}
