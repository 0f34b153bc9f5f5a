//! What a check found.

use super::{Comparison, Extent};
use r2former_model::Precision;
use serde::Serialize;

/// A stage's result.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "verdict", content = "reason")]
#[non_exhaustive]
pub enum Verdict {
    /// Every deviation is within its tolerance.
    Agrees,
    /// At least one is not.
    Disagrees,
    /// The device could not compute the stage.
    Failed(String),
    /// The device has no bfloat16, and the stage was to use it: `--precision f32` is unaffected.
    Unsupported(String),
    /// The model has no such stage.
    Absent,
}

/// One stage in one precision.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageReport {
    /// The stage.
    pub stage: &'static str,
    /// Arithmetic of its products.
    pub precision: Precision,
    /// Whether it agrees.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Each input.
    pub comparisons: Vec<Comparison>,
}

impl StageReport {
    pub(super) fn of(
        stage: &'static str,
        precision: Precision,
        compared: Result<Vec<Comparison>, String>,
        lacks: bool,
    ) -> Self {
        let (verdict, comparisons) = match compared {
            Ok(comparisons) if comparisons.is_empty() => (Verdict::Absent, comparisons),
            Ok(comparisons) if comparisons.iter().all(Comparison::agrees) => (Verdict::Agrees, comparisons),
            // What a device without the type computes in it means nothing.
            _ if lacks => (Verdict::Unsupported("this device has no bfloat16".into()), Vec::new()),
            Ok(comparisons) => (Verdict::Disagrees, comparisons),
            Err(reason) => (Verdict::Failed(reason), Vec::new()),
        };
        Self { stage, precision, verdict, comparisons }
    }

    /// The comparison that comes closest to its tolerance, or exceeds it most.
    pub fn worst(&self) -> Option<&Comparison> {
        let share = |c: &Comparison| c.deviation / c.tolerance;
        self.comparisons.iter().max_by(|a, b| share(a).total_cmp(&share(b)))
    }

    /// Milliseconds of the device and of the reference, over all inputs.
    pub fn milliseconds(&self) -> [f64; 2] {
        self.comparisons
            .iter()
            .fold([0.0; 2], |[device, reference], c| [device + c.device_ms, reference + c.reference_ms])
    }

    /// What is wrong with it, in a few words; empty where nothing is.
    pub fn fault(&self) -> String {
        match (&self.verdict, self.worst()) {
            (Verdict::Failed(reason), _) => format!("it failed: {reason}"),
            (Verdict::Unsupported(reason), _) => format!("{reason} (--precision f32 needs none)"),
            (Verdict::Disagrees, Some(worst)) => {
                format!(
                    "its results deviate by {:.1e}, more than {:.1e} ({})",
                    worst.deviation, worst.tolerance, worst.input
                )
            }
            _ => String::new(),
        }
    }

    /// Whether the device may compute in this precision: every comparison agrees, or there is none to make.
    pub(super) fn is_usable(&self) -> bool {
        matches!(self.verdict, Verdict::Agrees | Verdict::Absent)
    }

    /// Whether nothing is wrong with the device. One without bfloat16 is sound.
    pub fn is_sound(&self) -> bool {
        !matches!(self.verdict, Verdict::Disagrees | Verdict::Failed(_))
    }
}

/// Every stage of a model on a device.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// How much was compared.
    pub extent: Extent,
    /// The model's name.
    pub model: String,
    /// SHA-256 of its checkpoint.
    pub fingerprint: String,
    /// The stages, in the order of the pipeline.
    pub stages: Vec<StageReport>,
    /// Seconds that the check took.
    pub seconds: f64,
}

impl Report {
    /// Whether no stage disagrees or failed.
    pub fn agrees(&self) -> bool {
        self.stages.iter().all(StageReport::is_sound)
    }

    /// The first stage that disagrees or failed.
    pub fn first_fault(&self) -> Option<&StageReport> {
        self.stages.iter().find(|stage| !stage.is_sound())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_without_bfloat16_is_sound_and_not_used_for_it() {
        let comparison = Comparison {
            input: "random".into(),
            deviation: 0.5,
            tolerance: 0.1,
            device_ms: 1.0,
            reference_ms: 1.0,
        };
        let of = |compared, lacks| StageReport::of("block", Precision::Bf16, compared, lacks);
        let wrong = of(Ok(vec![comparison.clone()]), false);
        assert!(
            !wrong.is_sound() && !wrong.is_usable() && wrong.fault().contains("5.0e-1"),
            "{}",
            wrong.fault()
        );
        for lacking in [of(Ok(vec![comparison]), true), of(Err("no such type".into()), true)] {
            assert!(lacking.is_sound() && !lacking.is_usable() && lacking.fault().contains("bfloat16"));
        }
        let absent = of(Ok(Vec::new()), false);
        assert!(absent.is_sound() && absent.is_usable() && absent.fault().is_empty());
    }
}
