//! Which values are chosen for keys that a file leaves out.

use super::estimate;
use crate::Result;
use crate::config::{MiningKind, Schedule, Stage, TrainConfig};
use crate::pool::Pool;
use crate::run::Measured;
use crate::start::starting_model;
use r2former_model::BackboneConfig;

/// Share of the time for validations where their number is free, and for a single one where its queries are.
const VALIDATIONS: f64 = 0.4;
const VALIDATION: f64 = 1.0 / 6.0;

/// Queries of a validation below which recall says little.
const FEW_QUERIES: usize = 50;

/// Epochs that are chosen, at most, and steps of each, at least, if it is one of several.
const EPOCHS: u64 = 8;
const FEW_STEPS: u64 = 10;

/// Steps per epoch that are chosen, at most.
const MANY_STEPS: u64 = 1_000_000;

/// Queries between two mining passes, at most: the paper's.
const REFRESH: u64 = 10_000;

/// A configuration, the keys that its file sets, and those that are chosen.
pub(super) struct Choices {
    pub(super) config: TrainConfig,
    pub(super) given: toml::Table,
    pub(super) chosen: Vec<&'static str>,
}

impl Choices {
    pub(super) fn new(config: TrainConfig, given: toml::Table) -> Self {
        Self { config, given, chosen: Vec::new() }
    }

    /// The value that the file gives to a key, as in `optimizer.lr`.
    pub(super) fn given(&self, key: &str) -> Option<&toml::Value> {
        let (section, name) = key.split_once('.')?;
        self.given.get(section)?.get(name)
    }

    /// Changes the value of a key unless the file sets it.
    fn choose(&mut self, key: &'static str, change: impl FnOnce(&mut TrainConfig)) {
        if self.given(key).is_none() {
            change(&mut self.config);
            if !self.chosen.contains(&key) {
                self.chosen.push(key);
            }
        }
    }

    /// What a step's time depends on: blocks to freeze and the pool of mining, in stage `finetune`.
    pub(super) fn before_timing(&mut self, photographs: usize) -> Result<()> {
        if self.config.stage != Stage::Finetune {
            return Ok(());
        }
        let pool = self.config.mining.pool.min(photographs);
        self.choose("mining.pool", |config| config.mining.pool = pool);
        if let Some(layer) = self.early_layer()? {
            let freed = self.given("model.freeze_local_head").and_then(toml::Value::as_bool) == Some(false);
            if !freed {
                self.choose("model.freeze_blocks", |config| config.model.freeze_blocks = layer);
            }
            if self.config.model.freeze_blocks >= layer {
                self.choose("model.freeze_local_head", |config| config.model.freeze_local_head = true);
            }
        }
        Ok(())
    }

    /// The block after which the start model takes local features that are to stay: an early one, or one of a model whose
    /// global descriptor is made of them.
    fn early_layer(&self) -> Result<Option<usize>> {
        let changes = &self.config.model;
        if changes.fresh_reranker || changes.local_layer.is_some() {
            return Ok(None);
        }
        let start = starting_model(&self.config)?.0.config;
        let BackboneConfig::Vit(vit) = &start.backbone else { return Ok(None) };
        let layer = start.local.as_ref().map(|local| vit.local_layer(local.layer));
        let stays = |layer: &usize| start.global.is_of_local_features() || layer + 1 < vit.depth;
        Ok(layer.filter(|layer| start.trained.local && stays(layer)))
    }

    /// Sizes schedule, validation and mining to `budget` seconds.
    pub(super) fn size(&mut self, pool: &Pool, measured: &Measured, budget: f64) -> Result<()> {
        if let Some(queries) = self.queries(measured, budget) {
            let limit = |config: &mut TrainConfig| {
                if let Some(validation) = &mut config.validation {
                    validation.max_queries = queries;
                }
            };
            self.choose("validation.max_queries", limit);
        }
        let free = |key: &str| self.given(key).is_none();
        let (epochs_free, steps_free) = (free("schedule.epochs"), free("schedule.steps"));
        if epochs_free && steps_free {
            let mut epochs = self.epochs_by_validation(pool, measured, budget)?;
            let mut steps = self.steps(epochs, pool, measured, budget)?;
            while epochs > 1 && steps < FEW_STEPS {
                epochs -= 1;
                steps = self.steps(epochs, pool, measured, budget)?;
            }
            self.schedule(epochs, steps);
        } else if steps_free {
            let epochs = self.config.schedule.epochs;
            let steps = self.steps(epochs, pool, measured, budget)?;
            self.schedule(epochs, steps);
        } else {
            let (mut epochs, steps) = (self.config.schedule.epochs, self.config.schedule.steps);
            if epochs_free {
                epochs = largest(MANY_STEPS, |epochs| self.lasts(epochs, steps, pool, measured, budget))?;
            }
            self.schedule(epochs, steps);
        }
        Ok(())
    }

    /// Queries of a validation, where all of them would take too much of the time.
    fn queries(&self, measured: &Measured, budget: f64) -> Option<usize> {
        let timed = measured.validation?;
        let most = budget * VALIDATION;
        if self.given("validation.max_queries").is_some() || timed.seconds(timed.queries) <= most {
            return None;
        }
        let fit = ((most - timed.database) / timed.query.max(1e-9)).max(0.0) as usize;
        let queries = (fit / 10 * 10).max(FEW_QUERIES);
        (queries < timed.queries).then_some(queries)
    }

    fn epochs_by_validation(&self, pool: &Pool, measured: &Measured, budget: f64) -> Result<u64> {
        let (_, each) = estimate(&self.config, pool, measured)?.validations;
        Ok(match each > 0.0 {
            // The start model is validated as well.
            true => ((budget * VALIDATIONS / each) as u64).saturating_sub(1).clamp(1, EPOCHS),
            false => 2,
        })
    }

    /// The most steps per epoch that the time holds, rounded down.
    fn steps(&self, epochs: u64, pool: &Pool, measured: &Measured, budget: f64) -> Result<u64> {
        Ok(round(largest(MANY_STEPS, |steps| self.lasts(epochs, steps, pool, measured, budget))?))
    }

    /// Whether a run with a schedule lasts `budget` seconds or less.
    fn lasts(&self, epochs: u64, steps: u64, pool: &Pool, measured: &Measured, budget: f64) -> Result<bool> {
        let mut config = self.config.clone();
        (config.schedule.epochs, config.schedule.steps) = (epochs, steps);
        if self.mines_again() {
            config.mining.refresh = refresh(&config);
        }
        Ok(estimate(&config, pool, measured)?.seconds() <= budget)
    }

    /// Whether the time between two mining passes is free.
    fn mines_again(&self) -> bool {
        self.given("mining.refresh").is_none()
            && !matches!(self.config.mining.kind, MiningKind::Random | MiningKind::Global)
    }

    /// Sets the schedule and what follows from it.
    fn schedule(&mut self, epochs: u64, steps: u64) {
        self.choose("schedule.epochs", |config| config.schedule.epochs = epochs);
        self.choose("schedule.steps", |config| config.schedule.steps = steps);
        if self.mines_again() {
            self.choose("mining.refresh", |config| config.mining.refresh = refresh(config));
        }
        // The presets' are for many epochs.
        if self.config.schedule.kind == Schedule::Cosine {
            self.choose("schedule.kind", |config| config.schedule.kind = Schedule::CosineSteps);
        }
        if self.config.schedule.warmup > 0.1 * epochs as f64 {
            let warmup = (epochs as f64).round() / 10.0;
            self.choose("schedule.warmup", |config| config.schedule.warmup = warmup);
        }
        if self.config.stage == Stage::Finetune {
            let decay = ema_decay(epochs.saturating_mul(steps));
            self.choose("optimizer.ema_decay", |config| config.optimizer.ema_decay = decay);
        }
    }
}

/// One mining pass per epoch.
fn refresh(config: &TrainConfig) -> usize {
    let queries = config.schedule.steps.saturating_mul(config.batch.size as u64);
    queries.clamp(config.batch.size as u64, REFRESH.max(config.batch.size as u64)) as usize
}

/// The largest number from 1 to `most` that `fits`, which holds for all smaller ones if for any; 1 if none does.
fn largest(most: u64, fits: impl Fn(u64) -> Result<bool>) -> Result<u64> {
    let (mut low, mut high) = (1, most + 1);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        match fits(middle)? {
            true => low = middle,
            false => high = middle,
        }
    }
    Ok(low)
}

/// Down to a number that is easy to read: two digits.
fn round(steps: u64) -> u64 {
    match steps {
        0..20 => steps,
        20..100 => steps / 5 * 5,
        _ => {
            let unit = 10u64.pow(steps.ilog10() - 1);
            steps / unit * unit
        }
    }
}

/// The decay of the moving average for a number of steps: 0.9 for 30, 0.99 for 1000.
fn ema_decay(steps: u64) -> f64 {
    let forgotten = 0.1 * (steps.max(1) as f64 / 30.0).powf(-0.657);
    let decay = 1.0 - forgotten.clamp(0.001, 0.1);
    (decay * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_searched_and_rounded() {
        assert_eq!(largest(1000, |n| Ok(n <= 137)).unwrap(), 137);
        assert_eq!(largest(1000, |_| Ok(false)).unwrap(), 1);
        assert_eq!(largest(1000, |_| Ok(true)).unwrap(), 1000);
        assert_eq!([7, 19, 44, 137, 1999, 25_999].map(round), [7, 19, 40, 130, 1900, 25_000]);
        assert_eq!([1, 30, 1000].map(ema_decay), [0.9, 0.9, 0.99]);
        assert!((0.95..0.98).contains(&ema_decay(150)) && ema_decay(u64::MAX) <= 0.999);
    }
}
