//! What the parts of a run take on this machine, measured before a run exists.

use super::{Run, TrainObserver, check_devices};
use crate::batch::{Loader, Pairs, Planner};
use crate::config::TrainConfig;
use crate::mining::describe;
use crate::pool::{Excluded, Pool};
use crate::record::LogEntry;
use crate::validate::reranked_by;
use crate::{Result, TrainError};
use r2former_data::dataset::{Dataset, GroundTruthRule, Sequences};
use r2former_engine::Progress;
use r2former_eval::{EmptyQueries, EvalOptions, Rules, evaluate};
use r2former_model::Device;
use std::time::Instant;

/// Images, queries and candidates that are timed, at most.
const IMAGES: usize = 48;
const QUERIES: usize = 12;
const CANDIDATES: usize = 100;

/// Steps that are timed, and seconds after which no further one is.
const STEPS: u64 = 4;
const PATIENCE_S: f64 = 15.0;

/// Measured times, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Measured {
    /// A step.
    pub(crate) step: f64,
    /// An image that is extracted for mining.
    pub(crate) image: f64,
    /// An extraction of all cached views.
    pub(crate) views: f64,
    /// The validation, if there is one.
    pub(crate) validation: Option<MeasuredValidation>,
}

/// Times of a validation and its extent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct MeasuredValidation {
    /// Queries.
    pub(crate) queries: usize,
    /// References.
    pub(crate) references: usize,
    /// Seconds of all references.
    pub(crate) database: f64,
    /// Seconds of a query: its images, and reranking.
    pub(crate) query: f64,
}

impl MeasuredValidation {
    /// Queries of a validation that uses at most `most`; 0 is all.
    pub(crate) fn queries_of(&self, most: usize) -> usize {
        if most == 0 { self.queries } else { most.min(self.queries) }
    }

    /// Seconds of a validation with a number of queries.
    pub(crate) fn seconds(&self, queries: usize) -> f64 {
        self.database + self.query * queries as f64
    }
}

/// Nothing but the bars of another observer.
struct Silent<'a>(&'a dyn Progress);

impl Progress for Silent<'_> {
    fn start(&self, what: &str, total: u64) {
        self.0.start(what, total);
    }

    fn advance(&self, steps: u64) {
        self.0.advance(steps);
    }

    fn finish(&self) {
        self.0.finish();
    }

    fn note(&self, line: &str) {
        self.0.note(line);
    }
}

impl TrainObserver for Silent<'_> {
    fn logged(&self, _: &LogEntry, _: u64) {}
}

/// Measures the parts of a run with the photographs of `pool`. Nothing is trained and nothing is written that stays.
pub(crate) fn measure(
    config: &TrainConfig,
    pool: &Pool,
    devices: &[Device],
    progress: &dyn Progress,
) -> Result<Measured> {
    check_devices(config, devices)?;
    let scratch = tempfile::tempdir().map_err(TrainError::io(std::env::temp_dir()))?;
    let observer = Silent(progress);
    let mut run = Run::open(config, scratch.path(), false, devices, &observer)?;
    let image = run.time_image(pool)?;
    let validation = run.time_validation()?;
    let preprocess = run.preprocess;
    let mut loader = Loader {
        pool,
        augment: &config.augment,
        preprocess: &preprocess,
        size: run.size,
        seed: config.seed,
        cache: None,
        pairs: Pairs::of(config, run.model_config.stride()),
    };
    let began = Instant::now();
    let cache = run.filled(&loader, 0)?;
    let views = if cache.is_some() { began.elapsed().as_secs_f64() } else { 0.0 };
    loader.cache = cache.as_ref();
    let excluded = cache.as_ref().map_or_else(Excluded::new, |cache| cache.excluded.clone());
    let planner = Planner::new(pool, None, config, excluded);
    observer.note("timing a few steps");
    observer.start("steps timed", STEPS);
    let began = Instant::now();
    let mut times = Vec::new();
    for number in 0..STEPS {
        times.push(run.time_step(&loader, &planner, number)?);
        observer.advance(1);
        if began.elapsed().as_secs_f64() > PATIENCE_S {
            break;
        }
    }
    observer.finish();
    // The first one fills caches and memory pools.
    let warm = if times.len() > 1 { &times[1..] } else { &times[..] };
    let step = warm.iter().sum::<f64>() / warm.len().max(1) as f64;
    Ok(Measured { step, image, views, validation })
}

impl Run<'_> {
    /// Seconds of an image in mining.
    fn time_image(&self, pool: &Pool) -> Result<f64> {
        let extractor = self.extractor()?;
        let count = pool.len().min(IMAGES);
        let mut seconds = 0.0;
        // A GPU's first batch compiles and tunes its kernels.
        for _ in 0..if self.device == Device::flex() { 1 } else { 2 } {
            let mut items: Vec<u32> = (0..count).map(|i| (i * pool.len() / count) as u32).collect();
            let began = Instant::now();
            describe(&extractor, pool, &mut items, &mut Vec::new(), self.observer)?;
            seconds = began.elapsed().as_secs_f64() / count.max(1) as f64;
        }
        Ok(seconds)
    }

    /// Times a part of the validation.
    fn time_validation(&self) -> Result<Option<MeasuredValidation>> {
        let (Some(config), Some(set)) = (&self.config.validation, &self.validation) else { return Ok(None) };
        let candidates = config.candidates.min(set.database.len());
        let (queries, references) =
            (set.queries.len().min(QUERIES), set.database.len().min(candidates.clamp(1, CANDIDATES)));
        let part = Dataset {
            left_out: 0,
            name: set.name.clone(),
            database: set.database[..references].to_vec(),
            queries: set.queries[..queries].to_vec(),
            truth: GroundTruthRule::Listed(vec![vec![0]; queries]),
            notes: Vec::new(),
            sequences: Sequences::default(),
        };
        let method = reranked_by(self.config.stage);
        let rules = Rules { empty_queries: EmptyQueries::Drop, ..Default::default() };
        let options = EvalOptions::new(rules).rerank(method.into_iter().collect()).candidates(references);
        let cost = evaluate(&part, &self.extractor()?, &options, self.observer)?.summary.cost;
        let image = cost.extraction_ms().unwrap_or(0.0) / 1e3;
        let rerank = method.and_then(|method| cost.rerank_ms(method)).unwrap_or(0.0) / 1e3;
        let rerank = rerank * candidates as f64 / references as f64;
        // Of sequences each frame is extracted once.
        let sides = [&set.sequences.database, &set.sequences.queries];
        let [of_database, of_queries] = [set.database.len(), set.queries.len()];
        let images = [(sides[0], of_database), (sides[1], of_queries)]
            .map(|(side, count)| side.as_ref().map_or(count, |side| side.frames.len()) as f64);
        Ok(Some(MeasuredValidation {
            queries: of_queries,
            references: of_database,
            database: images[0] * image,
            query: images[1] * image / of_queries.max(1) as f64 + rerank,
        }))
    }
}
