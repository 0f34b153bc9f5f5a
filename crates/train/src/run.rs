//! A run from its first step to its last.

use crate::bank::Bank;
use crate::batch::{Batch, Loader, Planner};
use crate::config::TrainConfig;
use crate::mining::{Mined, mine, mine_kept, refresh_steps};
use crate::optim::{Freeze, Optimizer, learning_rate, towards};
use crate::pool::Pool;
use crate::preview::sheet;
use crate::record::{Line, Log, read, write_csv};
use crate::start::{frozen_parameters, starting_model};
use crate::state::{Progressed, RunDir, Snapshot};
use crate::step::{Frozen, Losses, spread};
use crate::validate::{dataset, validate};
use crate::{Result, TrainError};
use burn::module::Module;
use burn::optim::GradientsAccumulator;
use r2former_data::dataset::Dataset;
use r2former_data::image::{Preprocess, ResizeMode};
use r2former_engine::{Extractor, LoadedModel, Progress, Settings};
use r2former_model::checkpoint::{Storage, save};
use r2former_model::{Device, ModelConfig, R2Former};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What a run reports while it goes.
pub trait Watch: Progress {
    /// A line of the log, as it is written.
    fn line(&self, line: &Line, total_steps: u64);
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Outcome {
    /// Steps that were taken, all processes together.
    pub steps: u64,
    /// Whether it stopped because the recall did not rise any more.
    pub stopped_early: bool,
    /// The best recall, where validated.
    pub best: Option<f64>,
    /// The best model, or the last where none was validated.
    pub model: PathBuf,
}

/// Everything that changes while a run goes.
struct Run<'a> {
    config: &'a TrainConfig,
    dir: RunDir,
    log: Log,
    watch: &'a dyn Watch,
    model_config: ModelConfig,
    model: Option<R2Former>,
    average: Option<R2Former>,
    optimizer: Optimizer,
    frozen: Option<Frozen>,
    mined: Option<Mined>,
    bank: Option<Bank>,
    at: Progressed,
    validation: Option<Dataset>,
    size: [usize; 2],
    device: Device,
    /// With gradients; batches of a step are spread over them.
    learning: Vec<Device>,
    preprocess: Preprocess,
    clock: Instant,
}

/// Runs a configuration in the folder `out`; `resume` goes on with what is there. The first device holds the model;
/// the batches that a step adds up ([`BatchConfig::accumulate`](crate::BatchConfig)) are spread over all of them.
///
/// # Errors
/// No device, or more devices than batches; a configuration, dataset, model or folder that cannot be used; a loss
/// that is not finite.
pub fn train(
    config: &TrainConfig,
    out: &Path,
    resume: bool,
    devices: &[Device],
    watch: &dyn Watch,
) -> Result<Outcome> {
    config.check()?;
    if devices.is_empty() || devices.len() > config.batch.accumulate {
        return Err(TrainError::Config(format!(
            "{} devices for batch.accumulate {}: each device takes a batch of every step, so set batch.accumulate to \
             a multiple of their number",
            devices.len(),
            config.batch.accumulate
        )));
    }
    let mut run = Run::open(config, out, resume, devices, watch)?;
    run.go()
}

impl<'a> Run<'a> {
    fn open(
        config: &'a TrainConfig,
        out: &Path,
        resume: bool,
        devices: &[Device],
        watch: &'a dyn Watch,
    ) -> Result<Self> {
        let device = &devices[0];
        let validation = config.validation.as_ref().map(dataset).transpose()?;
        let learning = |device: &Device| match config.save_memory {
            true => device.clone().autodiff().gradient_checkpointing(),
            false => device.clone().autodiff(),
        };
        let learning: Vec<Device> = devices.iter().map(learning).collect();
        let dir = RunDir::open(out, resume)?;
        let (checkpoint, average, optimizer, at, mined) = match resume {
            true => {
                let mut resumed = dir.resume(config)?;
                // What made the model that the run began with; the run itself is told anew with each model.
                let provenance = &mut resumed.model.config.provenance;
                *provenance = provenance.get_mut("before").map(serde_json::Value::take).unwrap_or_default();
                (resumed.model, resumed.average, Some(resumed.optimizer), resumed.progressed, resumed.mined)
            }
            false => {
                let text = config.to_toml()?;
                r2former_model::checkpoint::write_atomically(&dir.file("config.toml"), text.as_bytes())?;
                let at = Progressed { step: 0, best: None, since_best: 0, validated: 0, sums: [0.0; 5] };
                (starting_model(config)?, None, None, at, None)
            }
        };
        let model_config = checkpoint.config.clone();
        let tensors = checkpoint.tensors.clone();
        let optimizer = optimizer.unwrap_or_else(|| Optimizer::new(config.optimizer, &tensors));
        let model = checkpoint.model(&learning[0])?;
        let model = model.map(&mut Freeze(&frozen_parameters(config, &model_config, &tensors)));
        let average = match (config.optimizer.average > 0.0, average) {
            (true, Some(average)) => Some(average.model(device)?),
            (true, None) => Some(R2Former::from_tensors(&model_config, tensors, device)?),
            _ => None,
        };
        let size = [model_config.input.height, model_config.input.width];
        // Where batches spread over devices, each runs the backbone of its own copy of the model.
        let alone = !config.stage.trains_global() && (learning.len() == 1 || config.batch.kept_views > 0);
        let frozen = alone.then(|| Frozen::new(&model, size, device)).transpose()?;
        let preprocess = Preprocess {
            mean: model_config.input.mean,
            std: model_config.input.std,
            resize: ResizeMode::Antialias,
        };
        Ok(Self {
            config,
            log: Log::open(dir.file("log.jsonl"), at.step)?,
            dir,
            watch,
            model_config,
            model: Some(model),
            average,
            optimizer,
            frozen,
            mined,
            bank: None,
            at,
            validation,
            size,
            device: device.clone(),
            learning,
            preprocess,
            clock: Instant::now(),
        })
    }

    fn go(&mut self) -> Result<Outcome> {
        let config = self.config;
        let (steps, epochs) = (config.schedule.steps, config.schedule.epochs);
        let mut pool: Option<(u64, Pool)> = None;
        let mut stopped = false;
        loop {
            let done = self.at.step / steps;
            // The end of an epoch comes before the next one's first step, also where a process was killed between.
            if done > self.at.validated {
                stopped = self.end_epoch(done - 1)?;
            }
            if stopped || self.at.step >= epochs * steps {
                break;
            }
            let epoch = self.at.step / steps;
            if pool.as_ref().is_none_or(|(of, pool)| *of != epoch && !pool.stays_all()) {
                pool = Some((epoch, Pool::open(&config.data, config.places, epoch)?));
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
        Ok(Outcome { steps: self.at.step, stopped_early: stopped, best: self.at.best, model: best })
    }

    /// Steps until the epoch ends or negatives are mined anew.
    fn segment(&mut self, pool: &Pool, epoch: u64) -> Result<()> {
        let config = self.config;
        let steps = config.schedule.steps;
        let start = self.at.step;
        let mut end = (epoch + 1) * steps;
        let due = match refresh_steps(config) {
            None => self.mined.is_none() && config.batch.kept_views == 0,
            Some(refresh) => {
                let since = start % steps;
                end = end.min(start + refresh - since % refresh);
                since.is_multiple_of(refresh)
            }
        };
        if due {
            let extractor = self.extractor()?;
            self.mined = mine(config, pool, &extractor, self.mined.as_ref(), start, self.watch)?;
        }
        let preprocess = self.preprocess;
        let mut loader = Loader {
            pool,
            augment: &config.augment,
            preprocess: &preprocess,
            size: self.size,
            seed: config.seed,
            bank: None,
        };
        let bank = self.filled(&loader, epoch)?;
        if let Some(bank) = &bank
            && (self.mined.is_none() || start.is_multiple_of(steps))
        {
            self.mined = mine_kept(config, pool, bank);
        }
        loader.bank = bank.as_ref();
        let mined = self.mined.take();
        let planner = Planner::new(pool, mined.as_ref(), config);
        self.clock = Instant::now();
        let result = loader.run(&planner, [start, end], config.batch.accumulate as u64, |number, batches| {
            self.one(&loader, number, epoch, &batches)?;
            let every = config.keep.every;
            if every > 0 && self.at.step.is_multiple_of(every) && self.at.step < end {
                self.checkpoint(mined.as_ref(), false)?;
            }
            Ok(true)
        });
        self.mined = mined;
        self.bank = bank;
        result
    }

    /// The epoch's views, where views are kept: those that are there, or new ones.
    fn filled(&mut self, loader: &Loader<'_>, epoch: u64) -> Result<Option<Bank>> {
        let views = self.config.batch.kept_views as u64;
        match (self.bank.take(), &self.frozen) {
            (Some(bank), _) if bank.epoch == epoch => Ok(Some(bank)),
            (_, Some(frozen)) if views > 0 => {
                Ok(Some(Bank::fill(loader, frozen, [views, epoch], self.watch)?))
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
            let (frozen, place) = (self.frozen.as_ref(), first + part as u64);
            let found = spread(&model, &self.learning, frozen, together, config, self.size, place)?;
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
                    rerank_right: mean(sum.rerank_right, losses.rerank_right),
                    total: sum.total + losses.total * share,
                };
            }
        }
        // The accumulated gradients are a sum; the rate is meant for their mean.
        let grads = crate::optim::scaled(gathered.grads(), &model, share);
        let lr = learning_rate(config.optimizer.lr, &config.schedule, number);
        let (model, length) = self.optimizer.step(lr, model, grads);
        if let Some(average) = self.average.take() {
            // At first the average forgets quickly: its own beginning says nothing yet.
            let keep = config.optimizer.average.min((1.0 + number as f32) / (10.0 + number as f32));
            self.average = Some(towards(average, &model, keep));
        }
        self.model = Some(model);
        self.at.step = number + 1;
        let parts = [
            1.0,
            sum.total,
            sum.global.unwrap_or(0.0),
            sum.rerank.unwrap_or(0.0),
            sum.rerank_right.unwrap_or(0.0),
        ];
        self.at.sums.iter_mut().zip(parts).for_each(|(total, value)| *total += f64::from(value));
        let images: usize = batches.iter().map(|b| b.plan.shots.len()).sum();
        let speed = images as f64 / self.clock.elapsed().as_secs_f64();
        self.clock = Instant::now();
        let line = Line::of_step(self.at.step, epoch, lr, &sum, length, speed);
        self.log.write(&line)?;
        self.watch.line(&line, config.schedule.epochs * config.schedule.steps);
        Ok(())
    }

    /// Validates, logs and keeps; whether to stop early comes back.
    fn end_epoch(&mut self, epoch: u64) -> Result<bool> {
        let config = self.config;
        let loss = self.at.sums[1] / self.at.sums[0].max(1.0);
        let (mut global_recall, mut reranked_recall, mut best) = (None, None, false);
        if let (Some(validation), Some(set)) = (&config.validation, &self.validation)
            && ((epoch + 1).is_multiple_of(validation.every_epochs.max(1))
                || epoch + 1 == config.schedule.epochs)
        {
            let extractor = self.extractor()?;
            let rerank = config.stage.trains_reranker();
            let report = validate(validation, set, &extractor, rerank, self.watch)?;
            let three = |recall: &r2former_eval::Recall| [1, 5, 10].map(|n| recall.at(n));
            global_recall = Some(three(&report.recall.global));
            reranked_recall = report.recall.reranked.as_ref().map(three);
            let deciding =
                report.recall.reranked.as_ref().unwrap_or(&report.recall.global).at(validation.best_by);
            best = self.at.best.is_none_or(|before| deciding > before);
            if best {
                self.at.best = Some(deciding);
                self.at.since_best = 0;
                self.save_model(&self.dir.file("best.safetensors"), Some((epoch, deciding)))?;
            } else {
                self.at.since_best += 1;
            }
        }
        let line = Line::Epoch { step: self.at.step, epoch, loss, global_recall, reranked_recall, best };
        self.log.write(&line)?;
        self.watch.line(&line, config.schedule.epochs * config.schedule.steps);
        self.at.sums = [0.0; 5];
        self.at.validated = epoch + 1;
        let mined = self.mined.take();
        self.checkpoint(mined.as_ref(), true)?;
        self.mined = mined;
        self.curves()?;
        let patience = config.schedule.patience;
        Ok(patience > 0 && self.at.since_best >= patience)
    }

    /// The weights that count: their average where one is kept.
    fn weights(&self) -> Result<r2former_model::weights::Tensors> {
        match self.average.as_ref().or(self.model.as_ref()) {
            Some(model) => Ok(model.to_tensors()?),
            None => Err(TrainError::Config("no model".into())),
        }
    }

    /// The model so far, ready to describe photographs.
    fn extractor(&self) -> Result<Extractor> {
        let loaded = LoadedModel::of(&self.model_config, &self.weights()?)?;
        Ok(Extractor::new(loaded, Settings::of(&self.model_config), &self.device)?)
    }

    fn save_model(&self, path: &Path, validated: Option<(u64, f64)>) -> Result<()> {
        Ok(save(path, &self.described(validated), &self.weights()?, Storage::F32)?)
    }

    /// The model as it is now, with what made it.
    fn described(&self, validated: Option<(u64, f64)>) -> ModelConfig {
        let mut config = self.model_config.clone();
        config.trained.global |= self.config.stage.trains_global();
        config.trained.local |= self.config.stage.trains_reranker();
        config.trained.reranker |= self.config.stage.trains_reranker();
        let before = config.provenance.take();
        config.provenance = serde_json::json!({
            "trained": {
                "stage": self.config.stage,
                "steps": self.at.step,
                "validated": validated.map(|(epoch, recall)| serde_json::json!({"epoch": epoch, "recall": recall})),
                "config": self.config,
            },
            "before": before,
        });
        config
    }

    fn checkpoint(&self, mined: Option<&Mined>, stays: bool) -> Result<()> {
        let Some(model) = &self.model else { return Err(TrainError::Config("no model".into())) };
        let average = self.average.as_ref().map(R2Former::to_tensors).transpose()?;
        let snapshot = Snapshot {
            config: self.config,
            model_config: &self.described(None),
            tensors: &model.to_tensors()?,
            average: average.as_ref(),
            optimizer: &self.optimizer,
            progressed: &self.at,
            mined,
        };
        self.dir.save(&snapshot, stays)
    }

    /// The log as a table and as a picture.
    fn curves(&self) -> Result<()> {
        if !self.log.path().is_file() {
            return Ok(());
        }
        let lines = read(self.log.path())?;
        write_csv(&lines, &self.dir.file("curves.csv"))?;
        crate::curves::draw(&lines, &self.dir.file("curves.svg"))
    }
}
