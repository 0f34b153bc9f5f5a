//! A run from its first step to its last.

mod measure;
mod open;
mod write;

#[cfg(test)]
pub(crate) use measure::MeasuredValidation;
pub(crate) use measure::{Measured, measure};

use crate::batch::{Batch, Loader, Pairs, Planner};
use crate::config::{MiningKind, Stage, TrainConfig};
use crate::estimate::Estimate;
use crate::extract_views::extract_views;
use crate::mining::{Mined, mine, mine_cached, refresh_steps};
use crate::optim::{Optimizer, learning_rate, towards};
use crate::pool::{Excluded, LeftOut, Pool};
use crate::preview::sheet;
use crate::record::{Log, LogEntry};
use crate::state::{BestRecall, Ranking, RunDir, RunState};
use crate::step::{Fixed, Frozen, Losses, spread};
use crate::validate::{Validated, validate};
use crate::view_cache::ViewCache;
use crate::{Result, TrainError};
use burn::optim::GradientsAccumulator;
use r2former_data::dataset::Dataset;
use r2former_data::image::Preprocess;
use r2former_engine::Progress;
use r2former_model::{Device, ModelConfig, R2Former};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Receives the progress of a run. [`Progress::note`] gets what happens before the first step: the data sources,
/// photographs that are left out, and an estimate of the duration.
pub trait TrainObserver: Progress {
    /// An entry has been written to the log.
    fn logged(&self, entry: &LogEntry, total_steps: u64);
}

/// The result of a run.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct TrainOutcome {
    /// Steps, of all processes together.
    pub steps: u64,
    /// Whether the run stopped because the recall no longer rose.
    pub stopped_early: bool,
    /// The best validation, if the run was validated.
    pub best: Option<BestRecall>,
    /// The same recall of the start model.
    pub baseline: Option<f64>,
    /// Training photographs that were left out because they cannot be read or used; the log names them.
    pub left_out: usize,
    /// The best model, or the last if the run was not validated.
    pub model: PathBuf,
}

/// The state of a running process.
struct Run<'a> {
    config: &'a TrainConfig,
    dir: RunDir,
    log: Log,
    observer: &'a dyn TrainObserver,
    model_config: ModelConfig,
    model: Option<R2Former>,
    ema: Option<R2Former>,
    optimizer: Optimizer,
    frozen: Option<Frozen>,
    /// The start model, where the tokens are held to it.
    teacher: Option<Frozen>,
    mined: Option<Mined>,
    cache: Option<ViewCache>,
    state: RunState,
    validation: Option<Dataset>,
    size: [usize; 2],
    device: Device,
    /// Autodiff devices; the batches of a step are distributed over them.
    learning: Vec<Device>,
    preprocess: Preprocess,
    clock: Instant,
    /// Seconds of the last validation and the last mining pass.
    timed: [f64; 2],
    /// Whether the duration has been estimated.
    estimated: bool,
    /// Photographs that this process has named.
    named: usize,
}

/// Photographs left out that are named on the way; the log names all.
const NAMED: usize = 10;

/// Executes a configuration in the folder `out`; `resume` continues the run in it. The first device holds the model;
/// the batches that a step accumulates ([`BatchConfig::accumulate`](crate::BatchConfig)) are distributed over all.
///
/// Before the first step it validates the start model and estimates the duration. Training photographs that cannot be
/// read are replaced by others, and logged.
///
/// # Errors
/// [`TrainError::Config`] for a value out of range, no device, or more devices than batches; [`TrainError::Io`] and
/// [`TrainError::Run`] for a folder that cannot be written or resumed; [`TrainError::Data`], [`TrainError::Model`],
/// [`TrainError::Engine`] and [`TrainError::Eval`] for data and models that cannot be used;
/// [`TrainError::Unreadable`] if too few photographs can be read; [`TrainError::NotFinite`] if the loss becomes NaN or
/// infinite.
pub fn train(
    config: &TrainConfig,
    out: &Path,
    resume: bool,
    devices: &[Device],
    observer: &dyn TrainObserver,
) -> Result<TrainOutcome> {
    config.check()?;
    check_devices(config, devices)?;
    let mut run = Run::open(config, out, resume, devices, observer)?;
    run.go(resume)
}

/// Checks that each device gets a batch of every step.
fn check_devices(config: &TrainConfig, devices: &[Device]) -> Result<()> {
    if !devices.is_empty() && devices.len() <= config.batch.accumulate {
        return Ok(());
    }
    Err(TrainError::Config(format!(
        "{} devices for batch.accumulate = {}: every step needs a batch per device, so set batch.accumulate to a \
         multiple of the number of devices",
        devices.len(),
        config.batch.accumulate
    )))
}

impl<'a> Run<'a> {
    fn go(&mut self, resume: bool) -> Result<TrainOutcome> {
        let config = self.config;
        let (steps, epochs) = (config.schedule.steps, config.schedule.epochs);
        let mut pool: Option<(u64, Pool)> = None;
        let mut stopped = false;
        let mut fresh = !resume;
        loop {
            let done = self.state.step / steps;
            // The end of an epoch comes before the next one's first step, also if a process was killed in between.
            if done > self.state.validated {
                stopped = self.end_epoch(done - 1)?;
            }
            if stopped || self.state.step >= epochs * steps {
                break;
            }
            let epoch = self.state.step / steps;
            if pool.as_ref().is_none_or(|(of, pool)| *of != epoch && !pool.is_static()) {
                let first = pool.is_none();
                if first {
                    self.observer.note("listing the training photographs");
                }
                let opened = Pool::of(config, epoch)?;
                if first {
                    opened.notes().iter().for_each(|note| self.observer.note(note));
                }
                self.leave_out(self.state.step, opened.left_out())?;
                pool = Some((epoch, opened));
            }
            if std::mem::take(&mut fresh) {
                self.baseline()?;
            }
            if let Some((_, pool)) = &pool {
                self.segment(pool, epoch)?;
            }
        }
        let best = self.dir.file("best.safetensors");
        if !best.is_file() {
            self.save_model(&best, None)?;
        }
        self.curves()?;
        Ok(TrainOutcome {
            steps: self.state.step,
            stopped_early: stopped,
            best: self.state.best,
            baseline: self.state.baseline,
            left_out: self.log.left_out().len(),
            model: best,
        })
    }

    /// Logs photographs that are left out, each once, and names the first of them.
    fn leave_out(&mut self, step: u64, found: &[LeftOut]) -> Result<()> {
        for one in found {
            let entry = LogEntry::left_out(step, one);
            let LogEntry::LeftOut { path, reason, .. } = &entry else { continue };
            if self.log.left_out().contains(&(path.clone(), reason.clone())) {
                continue;
            }
            self.named += 1;
            if self.named <= NAMED {
                self.observer.note(&format!("left out: {path}: {reason}"));
            } else if self.named == NAMED + 1 {
                self.observer.note("more photographs are left out; log.jsonl lists them all");
            }
            self.log.write(&entry)?;
        }
        Ok(())
    }

    /// Validates the start model.
    fn baseline(&mut self) -> Result<()> {
        let Some(set) = &self.validation else { return Ok(()) };
        let (queries, references) = (set.queries.len(), set.database.len());
        self.observer
            .note(&format!("validating the start model: {queries} queries, {references} references"));
        let Some(found) = self.validate()? else { return Ok(()) };
        self.state.baseline = Some(found.deciding[0]);
        let entry = LogEntry::Baseline {
            step: self.state.step,
            global_recall: found.global,
            reranked_recall: found.reranked,
        };
        self.log.write(&entry)?;
        self.observer.logged(&entry, self.total_steps());
        Ok(())
    }

    /// What steps run besides the model.
    fn fixed(&self) -> Fixed<'_> {
        Fixed { backbone: self.frozen.as_ref(), teacher: self.teacher.as_ref() }
    }

    fn total_steps(&self) -> u64 {
        self.config.schedule.epochs * self.config.schedule.steps
    }

    /// Validates the model as it is.
    fn validate(&mut self) -> Result<Option<Validated>> {
        let (Some(config), Some(set)) = (&self.config.validation, &self.validation) else { return Ok(None) };
        let start = Instant::now();
        let extractor = self.extractor()?;
        let found = validate(config, set, &extractor, self.config.stage, self.observer)?;
        self.timed[0] = start.elapsed().as_secs_f64();
        Ok(Some(found))
    }

    /// Steps until the end of the epoch or the next mining pass.
    fn segment(&mut self, pool: &Pool, epoch: u64) -> Result<()> {
        let config = self.config;
        let steps = config.schedule.steps;
        let start = self.state.step;
        let mut end = (epoch + 1) * steps;
        let due = match refresh_steps(config) {
            None => self.mined.is_none() && config.batch.cached_views == 0,
            Some(refresh) => {
                let since = start % steps;
                end = end.min(start + refresh - since % refresh);
                since.is_multiple_of(refresh)
            }
        };
        let began = Instant::now();
        if due {
            let extractor = self.extractor()?;
            let (mined, left_out) =
                mine(config, pool, &extractor, self.mined.as_ref(), start, self.observer)?;
            self.mined = mined;
            self.leave_out(start, &left_out)?;
            self.timed[1] = began.elapsed().as_secs_f64();
        }
        let preprocess = self.preprocess;
        let mut loader = Loader {
            pool,
            augment: &config.augment,
            preprocess: &preprocess,
            size: self.size,
            seed: config.seed,
            cache: None,
            pairs: Pairs::of(config, self.model_config.stride()),
        };
        let cache = self.filled(&loader, epoch)?;
        if let Some(cache) = &cache {
            if self.mined.is_none() || start.is_multiple_of(steps) {
                self.mined = mine_cached(config, pool, cache);
            }
            self.timed[1] = began.elapsed().as_secs_f64();
        }
        loader.cache = cache.as_ref();
        let mined = self.mined.take();
        let excluded = cache.as_ref().map_or_else(Excluded::new, |cache| cache.excluded.clone());
        let planner = Planner::new(pool, mined.as_ref(), config, excluded);
        if !std::mem::replace(&mut self.estimated, true) {
            self.estimate(&loader, &planner, start)?;
        }
        self.clock = Instant::now();
        let parts = config.batch.accumulate as u64;
        let result = loader.run(&planner, [start, end], parts, |number, batches| {
            for batch in &batches {
                self.leave_out(number + 1, &batch.left_out)?;
            }
            self.one(&loader, number, epoch, &batches)?;
            let every = config.checkpoint.every;
            if every > 0 && self.state.step.is_multiple_of(every) && self.state.step < end {
                self.checkpoint(mined.as_ref(), false)?;
            }
            Ok(true)
        });
        self.mined = mined;
        self.cache = cache;
        result
    }

    /// Reports how long the rest of the run will take.
    fn estimate(&self, loader: &Loader<'_>, planner: &Planner<'_>, step: u64) -> Result<()> {
        self.observer.note("timing a step");
        let each = self.time_step(loader, planner, step)?;
        let (config, schedule) = (self.config, &self.config.schedule);
        let epochs = schedule.epochs - self.state.validated;
        let validations = config.validation.as_ref().map_or(0, |v| epochs.div_ceil(v.every_epochs.max(1)));
        let estimate = Estimate {
            steps: (self.total_steps() - step, each),
            validations: (validations, self.timed[0]),
            mining: (passes(config, epochs).saturating_sub(1), self.timed[1]),
        };
        self.observer.note(&estimate.to_string());
        Ok(())
    }

    /// Seconds of a step, loading included, without taking it.
    fn time_step(&self, loader: &Loader<'_>, planner: &Planner<'_>, step: u64) -> Result<f64> {
        let Some(model) = &self.model else { return Ok(0.0) };
        let (config, parts) = (self.config, self.config.batch.accumulate as u64);
        let began = Instant::now();
        let batches = (0..parts).map(|part| loader.load(planner, step, part)).collect::<Result<Vec<_>>>()?;
        let loading = began.elapsed().as_secs_f64();
        let on_cpu = self.device == Device::flex();
        let mut computing = 0.0;
        // A GPU's first step compiles and tunes its kernels.
        for _ in 0..if on_cpu { 1 } else { 2 } {
            let began = Instant::now();
            for (round, together) in batches.chunks(self.learning.len()).enumerate() {
                let place = step * parts + (round * self.learning.len()) as u64;
                spread(model, &self.learning, self.fixed(), together, config, self.size, place)?;
            }
            computing = began.elapsed().as_secs_f64();
        }
        // On a CPU loading and computing share the cores, elsewhere they overlap.
        Ok(if on_cpu { loading + computing } else { loading.max(computing) })
    }

    /// The cached views of the epoch: existing or new ones.
    fn filled(&mut self, loader: &Loader<'_>, epoch: u64) -> Result<Option<ViewCache>> {
        let views = self.config.batch.cached_views as u64;
        match (self.cache.take(), &self.frozen) {
            (Some(cache), _) if cache.epoch == epoch => Ok(Some(cache)),
            (_, Some(frozen)) if views > 0 => {
                let (cache, left_out) = extract_views(loader, frozen, [views, epoch], self.observer)?;
                self.leave_out(self.state.step, &left_out)?;
                Ok(Some(cache))
            }
            _ => Ok(None),
        }
    }

    /// One step.
    fn one(&mut self, loader: &Loader<'_>, number: u64, epoch: u64, batches: &[Batch]) -> Result<()> {
        let config = self.config;
        let Some(model) = self.model.take() else { return Err(TrainError::Config("no model".into())) };
        let mut gathered = GradientsAccumulator::new();
        let mut sum = Losses::default();
        let share = 1.0 / batches.len() as f32;
        let first = number * batches.len() as u64;
        for (round, together) in batches.chunks(self.learning.len()).enumerate() {
            let part = round * self.learning.len();
            let place = first + part as u64;
            let found = spread(&model, &self.learning, self.fixed(), together, config, self.size, place)?;
            for ((batch, part), (grads, losses)) in together.iter().zip(part as u64..).zip(found) {
                if !losses.total.is_finite() {
                    let path = self.dir.file(&format!("not-finite-step-{}.png", number + 1));
                    sheet(loader, &batch.plan, number, part, &path)?;
                    self.model = Some(model);
                    return Err(TrainError::NotFinite { step: number + 1, loss: losses.total, batch: path });
                }
                gathered.accumulate(&model, grads);
                let mean = |a: Option<f32>, b: Option<f32>| b.map(|b| a.unwrap_or(0.0) + b * share);
                sum = Losses {
                    global: mean(sum.global, losses.global),
                    rerank: mean(sum.rerank, losses.rerank),
                    rerank_accuracy: mean(sum.rerank_accuracy, losses.rerank_accuracy),
                    local: mean(sum.local, losses.local),
                    local_accuracy: mean(sum.local_accuracy, losses.local_accuracy),
                    distillation: mean(sum.distillation, losses.distillation),
                    total: sum.total + losses.total * share,
                };
            }
        }
        // The accumulated gradients are a sum; the learning rate is for their mean.
        let grads = crate::optim::scaled(gathered.grads(), &model, share);
        let lr = learning_rate(config.optimizer.lr, &config.schedule, number);
        let (model, norm) = self.optimizer.step(lr, model, grads);
        if let Some(ema) = self.ema.take() {
            // The decay is smaller at first, so that the average soon forgets the start model.
            let decay =
                (config.optimizer.ema_decay as f32).min((1.0 + number as f32) / (10.0 + number as f32));
            self.ema = Some(towards(ema, &model, decay));
        }
        self.model = Some(model);
        self.state.step = number + 1;
        let parts = [
            1.0,
            sum.total,
            sum.global.unwrap_or(0.0),
            sum.rerank.unwrap_or(0.0),
            sum.rerank_accuracy.unwrap_or(0.0),
        ];
        self.state.sums.iter_mut().zip(parts).for_each(|(total, value)| *total += f64::from(value));
        let images: usize = batches.iter().map(|b| b.plan.shots.len()).sum();
        let speed = images as f64 / self.clock.elapsed().as_secs_f64();
        self.clock = Instant::now();
        let entry = LogEntry::of_step(self.state.step, epoch, lr, &sum, norm, speed);
        self.log.write(&entry)?;
        self.observer.logged(&entry, self.total_steps());
        Ok(())
    }

    /// Validates, logs and saves; returns whether to stop early.
    fn end_epoch(&mut self, epoch: u64) -> Result<bool> {
        let config = self.config;
        let loss = self.state.sums[1] / self.state.sums[0].max(1.0);
        let (mut global_recall, mut reranked_recall, mut best) = (None, None, false);
        if let Some(validation) = &config.validation
            && ((epoch + 1).is_multiple_of(validation.every_epochs.max(1))
                || epoch + 1 == config.schedule.epochs)
            && let Some(found) = self.validate()?
        {
            (global_recall, reranked_recall) = (Some(found.global), found.reranked);
            best = self.state.best.is_none_or(|before| found.deciding > [before.recall, before.first]);
            if best {
                let ranking = match (found.reranked, config.stage) {
                    (None, _) => Ranking::Global,
                    (Some(_), Stage::Local) => Ranking::Ransac,
                    (Some(_), _) => Ranking::Reranked,
                };
                let ([recall, first], n) = (found.deciding, validation.best_by);
                self.state.best = Some(BestRecall { recall, n, first, ranking, epoch });
                self.state.since_best = 0;
                self.save_model(&self.dir.file("best.safetensors"), Some((epoch, recall)))?;
            } else {
                self.state.since_best += 1;
            }
        }
        let entry =
            LogEntry::Epoch { step: self.state.step, epoch, loss, global_recall, reranked_recall, best };
        self.log.write(&entry)?;
        self.observer.logged(&entry, self.total_steps());
        self.state.sums = [0.0; 5];
        self.state.validated = epoch + 1;
        let mined = self.mined.take();
        self.checkpoint(mined.as_ref(), true)?;
        self.mined = mined;
        self.curves()?;
        let patience = config.schedule.patience;
        Ok(patience > 0 && self.state.since_best >= patience)
    }
}

/// Mining passes of a number of epochs, or extractions of cached views.
pub(crate) fn passes(config: &TrainConfig, epochs: u64) -> u64 {
    match (refresh_steps(config), config.mining.kind) {
        (Some(refresh), _) => epochs * config.schedule.steps.div_ceil(refresh),
        (None, _) if config.batch.cached_views > 0 => epochs,
        (None, MiningKind::Global) => 1,
        (None, _) => 0,
    }
}
