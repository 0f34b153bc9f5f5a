//! The paper's table 3: what each stage of a query takes, and what an image takes in the index, for the global order
//! alone, RANSAC and the reranker, with few and many local features; all measured in the same run.

use super::{Random, Times, Views};
use crate::{EvalError, Result, nearest};
use r2former_engine::{Extractor, ImageFeatures, LoadedModel, Progress, RerankMethod, Settings};
use r2former_model::{Device, cost, quantize};
use serde::Serialize;
use std::path::Path;
use std::time::Instant;

/// What is measured.
#[derive(Debug, Clone, PartialEq)]
pub struct StagesOptions {
    /// Numbers of local features an image; more than an image has patches means all of them.
    pub local_features: Vec<usize>,
    /// Candidates that are reranked.
    pub candidates: usize,
    /// Images of the (made-up) database that is searched.
    pub database: usize,
    /// Queries that are measured, after one that is not.
    pub runs: usize,
}

/// One way to answer a query.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CostRow {
    /// How candidates are put in order.
    pub rerank: RerankMethod,
    /// Local features of an image; 0 where none are needed.
    pub local_features: usize,
    /// Milliseconds of the network, an image.
    pub extraction_ms: Times,
    /// Milliseconds of exact search, a query.
    pub retrieval_ms: Times,
    /// Milliseconds of reranking, a query; none where nothing is reranked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reranking_ms: Option<Times>,
    /// Milliseconds of a whole query: the medians of decoding and of these stages together.
    pub query_ms: f64,
    /// Bytes that an index stores of an image: the descriptor in 32 bits, local features in 8.
    pub bytes_per_image: usize,
    /// The same of the whole database.
    pub database_bytes: u64,
}

/// The stages of a query, measured.
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
    /// A row for each way to answer.
    pub rows: Vec<CostRow>,
    /// What the numbers do not say by themselves.
    pub notes: Vec<String>,
}

/// Measures a model on photographs, one image and one query at a time.
///
/// Candidates of a query are the other photographs in their global order, again and again where they are too few:
/// their content decides how long RANSAC searches.
///
/// # Errors
/// Fewer than two photographs, one that cannot be read, options of 0, a failing device.
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
            "cost: {} photographs, {} candidates, a database of {}, {} runs: two photographs and one of each are the \
             least",
            photos.len(),
            options.candidates,
            options.database,
            options.runs
        )));
    }
    let patches = settings.height / loaded.config.stride() * (settings.width / loaded.config.stride());
    let mut counts: Vec<usize> = options.local_features.iter().map(|k| (*k).min(patches)).collect();
    counts.retain(|k| *k > 0);
    counts.sort_unstable();
    counts.dedup();
    let mut notes = Vec::new();
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
            notes.push("The reranker is not trained: its time is that of a trained one.".into());
        }
    }

    let global = Extractor::new(
        loaded.with(|config, tensors| {
            (config.local, config.reranker) = (None, None);
            tensors.retain(|name, _| !name.starts_with("local_head") && !name.starts_with("reranker"));
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
    // As the paper's table has it: all of one method together.
    rows.sort_by_key(|row| match row.rerank {
        RerankMethod::None => 0,
        RerankMethod::Ransac => 1,
        RerankMethod::Model => 2,
    });
    let (photographs, database, candidates) = (photos.len(), options.database, options.candidates);
    Ok(Stages { photographs, database, candidates, decode_ms, rows, notes })
}

fn ms(start: Instant) -> f64 {
    1000.0 * start.elapsed().as_secs_f64()
}

/// Features of all inputs, one at a time, and what an image took.
fn extract(
    extractor: &Extractor,
    inputs: &[Vec<f32>],
    progress: &dyn Progress,
) -> Result<(Vec<ImageFeatures>, Times)> {
    let mut features = Vec::with_capacity(inputs.len());
    // The first is run twice: once to warm up.
    let mut order = std::iter::once(0).chain(0..inputs.len());
    let times = Times::measure(inputs.len(), || {
        let at = order.next().unwrap_or(0);
        let start = Instant::now();
        let found = extractor.extract(&inputs[at..=at])?;
        let time = ms(start);
        // What the uncounted run found is replaced.
        features.truncate(at);
        features.extend(found);
        Ok::<_, EvalError>(time)
    })?;
    progress.advance(inputs.len() as u64);
    Ok((features, times))
}

/// Exact search of one query in a made-up database.
fn retrieval(dim: usize, options: &StagesOptions) -> Result<Times> {
    let views = Views::new(dim);
    let database = views.database(options.database);
    let places = options.database.div_ceil(Views::OF_A_PLACE as usize) as u32;
    let mut random = Random::new(4);
    Times::measure(options.runs, || {
        let place = random.bits() % places;
        let query = views.unit(place, &mut random);
        let start = Instant::now();
        std::hint::black_box(nearest(&database, &query, dim, options.candidates));
        Ok(ms(start))
    })
}

/// What all rows share.
struct Measurement<'a> {
    options: &'a StagesOptions,
    retrieval: Times,
    dim: usize,
}

impl Measurement<'_> {
    /// Each of the first photographs as a query against the others.
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
            let order = nearest(&globals, &features[query].global, self.dim, features.len());
            let others = order.iter().flatten().map(|(i, _)| *i as usize).filter(|i| *i != query);
            let others: Vec<&[u8]> = others.map(|i| packed[i].as_slice()).collect();
            let candidates: Vec<&[u8]> =
                others.iter().copied().cycle().take(self.options.candidates).collect();
            let start = Instant::now();
            std::hint::black_box(method.scores(extractor, &features[query].local, &candidates)?);
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
        let bytes_per_image = cost::cost(extractor.config(), settings.height, settings.width).stored_bytes;
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
