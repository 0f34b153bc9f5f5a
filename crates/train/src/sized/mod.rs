//! A preset sized to the photographs, the machine and the time that there is.

mod choose;
mod write;

use crate::config::{Stage, TrainConfig};
use crate::estimate::Estimate;
use crate::mining::images_per_pass;
use crate::pool::Pool;
use crate::run::{Measured, measure, passes};
use crate::{Result, TrainError};
use choose::Choices;
use r2former_engine::Progress;
use r2former_model::Device;
use std::path::Path;

/// A stage's preset with the keys of a configuration file put in, sized so that the run takes about `minutes` on these
/// devices, as a commented TOML file that [`TrainConfig::read`] reads wherever it lies: its paths are absolute.
///
/// The photographs are listed, and a few steps and a part of the validation are timed. Keys of the file are never
/// changed; what is chosen is listed at the top, with the times. Stage `finetune` keeps local features of an early block
/// as they are.
///
/// # Errors
/// As [`TrainConfig::read`] and [`train`](crate::train); [`TrainError::Config`] for a time that is not above 0.
pub fn sized_preset(
    stage: Stage,
    file: &Path,
    minutes: f64,
    devices: &[Device],
    progress: &dyn Progress,
) -> Result<String> {
    if !(minutes.is_finite() && minutes > 0.0) {
        return Err(TrainError::Config(format!("{minutes} minutes: must be above 0")));
    }
    let (mut config, given) = TrainConfig::read_with_keys(stage, file, &[])?;
    let here = std::env::current_dir().map_err(TrainError::io("."))?;
    config.anchor(&here);
    progress.note("listing the training photographs");
    let pool = Pool::of(&config, 0)?;
    pool.notes().iter().for_each(|note| progress.note(note));
    let mut choices = Choices::new(config, given);
    choices.before_timing(pool.len())?;
    choices.config.check()?;
    let measured = measure(&choices.config, &pool, devices, progress)?;
    choices.size(&pool, &measured, 60.0 * minutes)?;
    choices.config.check()?;
    let total = estimate(&choices.config, &pool, &measured)?;
    progress.note(&total.to_string());
    write::text(&choices, file, minutes, &pool, &measured, &total)
}

/// How long a run takes, with the validation of the start model and the first mining pass.
fn estimate(config: &TrainConfig, pool: &Pool, measured: &Measured) -> Result<Estimate> {
    let schedule = &config.schedule;
    let mut validations = (0, 0.0);
    if let (Some(validation), Some(timed)) = (&config.validation, &measured.validation) {
        let queries = timed.queries_of(validation.max_queries);
        let count = 1 + schedule.epochs.div_ceil(validation.every_epochs.max(1));
        validations = (count, timed.seconds(queries));
    }
    let pass = match config.batch.cached_views {
        0 => images_per_pass(config, pool)? as f64 * measured.image,
        _ => measured.views,
    };
    let steps = schedule.epochs.saturating_mul(schedule.steps);
    Ok(Estimate {
        steps: (steps, measured.step),
        validations,
        mining: (passes(config, schedule.epochs), pass),
    })
}

#[cfg(test)]
mod tests;
