//! A stage of the network, compared on several inputs.

use super::{Compute, Extent};
use crate::{EngineError, LoadedModel, Result};
use r2former_model::{Device, Precision};
use serde::Serialize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// A stage that can be compared.
pub trait Stage: Sync {
    /// Its name in reports.
    fn name(&self) -> &'static str;

    /// Whether the model's precision changes it: then it is compared in f32 and in bf16.
    fn has_precision(&self) -> bool {
        false
    }

    /// Compares the device with the reference, once for each input. Empty where the model has no such stage.
    ///
    /// # Errors
    /// [`EngineError::Compute`] where the device cannot compute the stage.
    fn compare(&self, setup: &Setup<'_>) -> Result<Vec<Comparison>>;
}

/// What is compared with what.
pub struct Setup<'a> {
    /// The model.
    pub loaded: &'a LoadedModel,
    /// Arithmetic of the products.
    pub precision: Precision,
    /// The device that is checked.
    pub device: &'a Device,
    /// How much is compared.
    pub extent: Extent,
    /// The reference.
    pub reference: &'a dyn Compute,
    /// What is checked.
    pub subject: &'a dyn Compute,
}

/// A stage on one input.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The input, for people.
    pub input: String,
    /// Largest deviation, relative to the largest value of the reference. Infinite (null in JSON) where a value is not finite or
    /// the wrong number of values came back.
    pub deviation: f32,
    /// The largest deviation that rounding explains.
    pub tolerance: f32,
    /// Milliseconds of the device, transfers included.
    pub device_ms: f64,
    /// Milliseconds of the reference.
    pub reference_ms: f64,
}

impl Comparison {
    /// Whether the deviation is within the tolerance.
    pub fn agrees(&self) -> bool {
        self.deviation <= self.tolerance
    }
}

/// The largest difference between two sets of values, over the largest value of `expected`; infinite where they
/// differ in number or one is not finite.
pub fn deviation(found: &[f32], expected: &[f32]) -> f32 {
    if found.len() != expected.len() || !found.iter().chain(expected).all(|v| v.is_finite()) {
        return f32::INFINITY;
    }
    let largest = expected.iter().fold(f32::MIN_POSITIVE, |a, b| a.max(b.abs()));
    found.iter().zip(expected).fold(0.0, |worst: f32, (f, e)| worst.max((f - e).abs())) / largest
}

impl Setup<'_> {
    /// Runs both sides and compares them by `deviation`.
    ///
    /// # Errors
    /// [`EngineError::Compute`] where the device fails or panics.
    pub fn compare<T>(
        &self,
        input: String,
        tolerance: f32,
        run: impl Fn(&dyn Compute) -> Result<T>,
        deviation: impl Fn(&T, &T) -> f32,
    ) -> Result<Comparison> {
        let (expected, reference_ms) = timed(|| run(self.reference))?;
        let (found, device_ms) = timed(|| guarded(|| run(self.subject)))?;
        let deviation = deviation(&found, &expected);
        Ok(Comparison { input, deviation, tolerance, device_ms, reference_ms })
    }
}

/// The value and the milliseconds that it took.
///
/// # Errors
/// Those of `run`.
pub fn timed<T>(run: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    let start = Instant::now();
    let value = run()?;
    Ok((value, start.elapsed().as_secs_f64() * 1e3))
}

/// Burn reports a device that cannot do an operation by a panic: it becomes an error.
///
/// # Errors
/// Those of `run`, and [`EngineError::Compute`] with the message of a panic.
pub fn guarded<T>(run: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text =
            text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it stopped without a message");
        Err(EngineError::Compute(text.to_string()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deviations_are_relative_to_the_largest_value() {
        assert_eq!(deviation(&[2.0, 0.5], &[2.0, 1.0]), 0.25);
        assert_eq!(deviation(&[1.0], &[1.0, 1.0]), f32::INFINITY);
        assert_eq!(deviation(&[f32::NAN], &[1.0]), f32::INFINITY);
        assert_eq!(deviation(&[0.0], &[0.0]), 0.0);
    }

    #[test]
    fn a_panic_is_an_error_with_its_message() {
        let error = guarded(|| -> Result<()> { panic!("no such buffer") }).unwrap_err();
        assert!(error.to_string().contains("no such buffer"));
    }
}
