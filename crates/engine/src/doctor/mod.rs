//! Whether a device computes what the CPU's reference computes, stage by stage.
//!
//! Every stage of extraction and reranking runs on the device and in the model's plain operations on the CPU, on the
//! same input, so that a wrong one is named and does not hide behind those after it. On the CPU itself the kernels
//! are compared with the plain operations. [`check`] makes the report that `r2former doctor` prints; [`trust`] checks
//! a device in short before it is first used, and remembers it.
//!
//! Stages of crates above this one join in as [`Stage`]s (a training step does).
//!
//! ```
//! use r2former_engine::{LoadedModel, NoProgress, doctor};
//! use r2former_model::Device;
//!
//! let model = LoadedModel::built_in()?;
//! let options = doctor::Options::new(doctor::Extent::Short);
//! let report = doctor::check(&model, &Device::flex(), &options, &NoProgress)?;
//! assert!(report.agrees());
//! # Ok::<(), r2former_engine::EngineError>(())
//! ```

mod array;
mod compute;
mod environment;
mod inputs;
mod kernels;
mod plain;
mod reference;
mod report;
mod stage;
mod stages;
#[cfg(test)]
mod tests;
mod trust;

pub use array::Array;
pub use compute::{BackboneOutput, BestMatches, Compute};
pub use environment::Environment;
pub use inputs::{Kind, images};
pub use report::{Report, StageReport, Verdict};
pub use stage::{Comparison, Setup, Stage, deviation, guarded, timed};
pub use trust::{Trust, TrustCache, trust};

use crate::{LoadedModel, Progress, Result};
use burn::tensor::DType;
use kernels::Kernels;
use plain::Plain;
use r2former_model::{Device, Precision};
use reference::Reference;
use std::time::Instant;

/// How much is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// Every stage on noise and on what looks like photographs, in batches of 1, 2, 7 and 100: under a minute on two
    /// cores with the built-in model.
    #[default]
    Full,
    /// Every stage once, in f32: a few seconds.
    Short,
}

/// What [`check`] compares.
#[derive(Default)]
#[non_exhaustive]
pub struct Options<'a> {
    /// How much.
    pub extent: Extent,
    /// Arithmetic of the products; `None`: f32 and, in full, bf16.
    pub precision: Option<Precision>,
    /// Stages of other crates, after those of this one.
    pub stages: Vec<&'a dyn Stage>,
}

impl<'a> Options<'a> {
    /// Options with an extent.
    pub fn new(extent: Extent) -> Self {
        Self { extent, ..Self::default() }
    }

    /// Compares in one precision only.
    #[must_use]
    pub fn precision(mut self, precision: Precision) -> Self {
        self.precision = Some(precision);
        self
    }

    /// Adds a stage of another crate.
    #[must_use]
    pub fn stage(mut self, stage: &'a dyn Stage) -> Self {
        self.stages.push(stage);
        self
    }

    fn precisions(&self) -> Vec<Precision> {
        match (self.precision, self.extent) {
            (Some(precision), _) => vec![precision],
            (None, Extent::Full) => vec![Precision::F32, Precision::Bf16],
            (None, Extent::Short) => vec![Precision::F32],
        }
    }
}

/// Makes what is checked, in a precision.
type Subject<'a> = dyn Fn(Precision) -> Result<Box<dyn Compute>> + 'a;

/// Compares every stage of a model on a device with the reference on the CPU.
///
/// A stage that the device cannot compute is reported as failed, with the reason; so is one that panics there.
///
/// # Errors
/// [`EngineError::Model`](crate::EngineError::Model) for a model that cannot be loaded, and whatever the reference
/// fails with.
pub fn check(
    loaded: &LoadedModel,
    device: &Device,
    options: &Options<'_>,
    progress: &dyn Progress,
) -> Result<Report> {
    let subject = |precision| -> Result<Box<dyn Compute>> {
        match *device == Device::flex() {
            true => Ok(Box::new(Kernels::new(loaded, precision)?)),
            false => Ok(Box::new(guarded(|| Plain::new(loaded, precision, device))?)),
        }
    };
    examine(loaded, device, &subject, options, progress)
}

/// [`check`], of any implementation.
fn examine(
    loaded: &LoadedModel,
    device: &Device,
    subject: &Subject<'_>,
    options: &Options<'_>,
    progress: &dyn Progress,
) -> Result<Report> {
    let start = Instant::now();
    let mut stages: Vec<&dyn Stage> = stages::all().to_vec();
    stages.extend(&options.stages);
    let precisions = options.precisions();
    let wanted =
        |stage: &&dyn Stage, precision: Precision| precision == precisions[0] || stage.has_precision();
    let total: usize = precisions.iter().map(|p| stages.iter().filter(|s| wanted(s, *p)).count()).sum();
    progress.start("stages", total as u64);
    let mut found = Vec::with_capacity(total);
    for precision in &precisions {
        let reference = Reference::new(loaded, *precision)?;
        let subject = subject(*precision);
        for stage in stages.iter().filter(|stage| wanted(stage, *precision)) {
            let compared = match &subject {
                Ok(subject) => {
                    let setup = Setup {
                        loaded,
                        precision: *precision,
                        device,
                        extent: options.extent,
                        reference: &reference,
                        subject: subject.as_ref(),
                    };
                    stage.compare(&setup).map_err(|error| error.to_string())
                }
                Err(error) => Err(error.to_string()),
            };
            let lacks = *precision == Precision::Bf16 && !device.supports_dtype(DType::BF16);
            found.push(StageReport::of(stage.name(), *precision, compared, lacks));
            progress.advance(1);
        }
    }
    progress.finish();
    Ok(Report {
        extent: options.extent,
        model: loaded.config.name.clone(),
        fingerprint: loaded.fingerprint.clone(),
        stages: found,
        seconds: start.elapsed().as_secs_f64(),
    })
}
