//! Time of each stage of a query and bytes per image, for the global ranking, RANSAC and the reranker, with few and many
//! local features, all measured in one run (table 3 of the paper).

use super::{Random, SyntheticDescriptors, Times};
use crate::{EvalError, Result, nearest};
use r2former_engine::{
    Extractor, ImageFeatures, LoadedModel, Progress, RerankMethod, Settings, View, rank_candidates,
};
use r2former_model::{Device, cost, quantize};
use serde::Serialize;
use std::path::Path;
use std::time::Instant;

/// What to measure.
#[derive(Debug, Clone, PartialEq)]
pub struct StagesOptions {
    /// Numbers of local features per image, capped at the number of patches.
    pub local_features: Vec<usize>,
    /// Candidates to rerank.
    pub candidates: usize,
    /// Images of the synthetic database that is searched.
    pub database: usize,
    /// Queries to measure, after one to warm up.
    pub runs: usize,
}

/// Cost of one configuration.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CostRow {
    /// Reranking method.
    pub rerank: RerankMethod,
    /// Local features per image; 0 if none are needed.
    pub local_features: usize,
    /// Milliseconds of the network per image.
    pub extraction_ms: Times,
    /// Milliseconds of exact search per query.
    pub retrieval_ms: Times,
    /// Milliseconds of reranking per query; `None` without reranking.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reranking_ms: Option<Times>,
    /// Milliseconds of a whole query: the sum of the medians of decoding and these stages.
    pub query_ms: f64,
    /// Bytes that an index stores per image: the descriptor in 32 bits, local features in 8.
    pub bytes_per_image: usize,
    /// Bytes of the whole database.
    pub database_bytes: u64,
}

/// Measured stages of a query.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stages {
    /// Photographs that were extracted.
    pub photographs: usize,
    /// Images of the database that was searched.
    pub database: usize,
    /// Candidates that were reranked.
    pub candidates: usize,
    /// Milliseconds of reading, decoding and resizing a photograph.
    pub decode_ms: Times,
    /// A row per configuration.
    pub rows: Vec<CostRow>,
    /// Notes on the numbers.
    pub notes: Vec<String>,
}

/// Measures a model on photographs, one image and one query at a time.
///
/// Candidates of a query are the other photographs in their global ranking, repeated if they are too few: RANSAC's time
/// depends on their content.
///
/// # Errors
/// - [`EvalError::Request`]: fewer than two photographs, or an option of 0.
/// - [`EvalError::Engine`]: a photograph that cannot be read, a failing device.
pub fn stages(
    loaded: &LoadedModel,
    settings: Settings,
    device: &Device,
    photos: &[&Path],
    options: &StagesOptions,
    progress: &dyn Progress,
) -> Result<Stages> {
    if photos.len() < 2 || options.candidates == 0 || options.database == 0 || options.runs == 0 {
        return Err(EvalError::Request(format!(
            "cost: {} photographs, {} candidates, a database of {}, {} runs: at least two photographs and one of \
             each other are needed",
            photos.len(),
            options.candidates,
            options.database,
            options.runs
        )));
    }
    let mut notes = Vec::new();
    if let Some(rule) = settings.rule {
        notes.push(format!(
            "All images have {}x{} pixels, which stand for the image size {rule}.",
            settings.height, settings.width
        ));
    }
    let settings = Settings { rule: None, ..settings };
    let patches = settings.height / loaded.config.stride() * (settings.width / loaded.config.stride());
    let mut counts: Vec<usize> = options.local_features.iter().map(|k| (*k).min(patches)).collect();
    counts.retain(|k| *k > 0);
    counts.sort_unstable();
    counts.dedup();
    if options.local_features.iter().any(|k| *k > patches) {
        notes.push(format!("An image of {}x{} has {patches} patches.", settings.height, settings.width));
    }
    if loaded.config.local.is_none() {
        counts.clear();
        notes.push(format!("Model {} has no local features.", loaded.config.name));
    }
    let mut methods = vec![RerankMethod::Ransac];
    if loaded.config.reranker.is_some() {
        methods.push(RerankMethod::Model);
        if !loaded.config.trained.reranker {
            notes.push("The reranker is not trained; this does not change its time.".into());
        }
    }

    let global = Extractor::new(
        loaded.with(|config, tensors| {
            config.reranker = None;
            tensors.retain(|name, _| !name.starts_with("reranker"));
            // A descriptor that is made of local features needs them.
            if !config.global.is_of_local_features() {
                config.local = None;
                tensors.retain(|name, _| !name.starts_with("local_head"));
            }
        })?,
        settings,
        device,
    )?;
    let dim = global.config().global_dim();
    let measurement = Measurement { options, retrieval: retrieval(dim, options)?, dim };

    progress.start("photographs", (photos.len() * (counts.len() + 1)) as u64);
    let (mut inputs, mut times) = (Vec::new(), Vec::new());
    for photo in photos {
        let start = Instant::now();
        inputs.push(global.prepare_file(photo)?);
        times.push(ms(start));
    }
    let decode_ms = Times::of(times).ok_or_else(|| EvalError::Request("no photographs".into()))?;
    let (_, extraction) = extract(&global, &inputs, progress)?;
    let mut rows = vec![measurement.row(&global, 0, decode_ms, extraction, RerankMethod::None, None)];
    for count in counts {
        let changed = loaded.with(|config, _| {
            if let Some(local) = &mut config.local {
                local.count = count;
            }
        })?;
        let extractor = Extractor::new(changed, settings, device)?;
        let (features, extraction) = extract(&extractor, &inputs, progress)?;
        for method in &methods {
            let reranking = measurement.reranking(&extractor, &features, *method)?;
            rows.push(measurement.row(&extractor, count, decode_ms, extraction, *method, Some(reranking)));
        }
    }
    progress.finish();
    // Grouped by method, like the paper's table.
    rows.sort_by_key(|row| match row.rerank {
        RerankMethod::None => 0,
        RerankMethod::Mutual => 1,
        RerankMethod::Ransac => 2,
        RerankMethod::Model => 3,
    });
    let (photographs, database, candidates) = (photos.len(), options.database, options.candidates);
    Ok(Stages { photographs, database, candidates, decode_ms, rows, notes })
}

fn ms(start: Instant) -> f64 {
    1000.0 * start.elapsed().as_secs_f64()
}

/// Features of all inputs, and the time per image, one at a time.
fn extract(
    extractor: &Extractor,
    inputs: &[View],
    progress: &dyn Progress,
) -> Result<(Vec<ImageFeatures>, Times)> {
    let mut features = Vec::with_capacity(inputs.len());
    // The first input is run twice, once to warm up.
    let mut sequence = std::iter::once(0).chain(0..inputs.len());
    let times = Times::measure(inputs.len(), || {
        let at = sequence.next().unwrap_or(0);
        let start = Instant::now();
        let found = extractor.extract_views(&inputs[at..=at])?;
        let time = ms(start);
        // The features of the warm-up run are replaced.
        features.truncate(at);
        features.extend(found);
        Ok::<_, EvalError>(time)
    })?;
    progress.advance(inputs.len() as u64);
    Ok((features, times))
}

/// Exact search of one query in a synthetic database.
fn retrieval(dim: usize, options: &StagesOptions) -> Result<Times> {
    let descriptors = SyntheticDescriptors::new(dim);
    let database = descriptors.database(options.database);
    let places = options.database.div_ceil(SyntheticDescriptors::PER_PLACE as usize) as u32;
    let mut random = Random::new(4);
    Times::measure(options.runs, || {
        let place = random.bits() % places;
        let query = descriptors.unit(place, &mut random);
        let start = Instant::now();
        std::hint::black_box(nearest(&database, &query, dim, options.candidates));
        Ok(ms(start))
    })
}

/// Shared by all rows.
struct Measurement<'a> {
    options: &'a StagesOptions,
    retrieval: Times,
    dim: usize,
}

impl Measurement<'_> {
    /// The first photographs as queries against the others.
    fn reranking(
        &self,
        extractor: &Extractor,
        features: &[ImageFeatures],
        method: RerankMethod,
    ) -> Result<Times> {
        let row = extractor.config().local_row();
        let globals: Vec<f32> = features.iter().flat_map(|f| &f.global).copied().collect();
        let packed: Vec<Vec<u8>> = features.iter().map(|f| quantize::quantize(&f.local, row)).collect();
        let mut next = 0;
        Times::measure(self.options.runs, || {
            let query = next % features.len();
            next += 1;
            let ranking = nearest(&globals, &features[query].global, self.dim, features.len());
            let others = ranking.iter().flatten().map(|(i, _)| *i as usize).filter(|i| *i != query);
            let others: Vec<&[u8]> = others.map(|i| packed[i].as_slice()).collect();
            let candidates: Vec<&[u8]> =
                others.iter().copied().cycle().take(self.options.candidates).collect();
            let start = Instant::now();
            std::hint::black_box(rank_candidates(
                extractor,
                &features[query].local,
                &candidates,
                method,
                method.cascade(extractor.config(), None)?,
            )?);
            Ok(ms(start))
        })
    }

    fn row(
        &self,
        extractor: &Extractor,
        local_features: usize,
        decode: Times,
        extraction_ms: Times,
        rerank: RerankMethod,
        reranking_ms: Option<Times>,
    ) -> CostRow {
        let settings = extractor.settings();
        let bytes_per_image = match rerank {
            RerankMethod::None => size_of::<f32>() * self.dim,
            _ => cost::cost(extractor.config(), settings.height, settings.width).stored_bytes,
        };
        let stages = [Some(decode), Some(extraction_ms), Some(self.retrieval), reranking_ms];
        CostRow {
            rerank,
            local_features,
            extraction_ms,
            retrieval_ms: self.retrieval,
            reranking_ms,
            query_ms: stages.into_iter().flatten().map(|times| times.median).sum(),
            bytes_per_image,
            database_bytes: bytes_per_image as u64 * self.options.database as u64,
        }
    }
}
