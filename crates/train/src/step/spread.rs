//! A step's batches distributed over several devices of one machine: each has a copy of the model and its own batch, and
//! the gradients are gathered on the first.

use super::{Fixed, Losses, step};
use crate::Result;
use crate::batch::Batch;
use crate::config::TrainConfig;
use burn::module::Module;
use burn::optim::GradientsParams;
use r2former_model::{Device, R2Former};

/// Gradients and losses of batches, in order, on the first device; batch `i` runs on device `i`. There are at least as
/// many devices as batches; `place` is the first batch's number in the run.
///
/// # Errors
/// The first error of [`step`].
pub(crate) fn spread(
    model: &R2Former,
    devices: &[Device],
    fixed: Fixed<'_>,
    batches: &[Batch],
    config: &TrainConfig,
    size: [usize; 2],
    place: u64,
) -> Result<Vec<(GradientsParams, Losses)>> {
    if let ([batch], [device, ..]) = (batches, devices) {
        return Ok(vec![step(model, device, fixed, batch, config, size, place)?]);
    }
    std::thread::scope(|scope| {
        let running: Vec<_> = devices
            .iter()
            .zip(batches)
            .zip(place..)
            .enumerate()
            .map(|(i, ((device, batch), place))| {
                // A fork is the root of a separate graph on its own device.
                let model = if i == 0 { model.clone() } else { model.clone().fork(device) };
                scope.spawn(move || step(&model, device, fixed, batch, config, size, place))
            })
            .collect();
        running
            .into_iter()
            .map(|thread| {
                let (grads, losses) =
                    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
                let first = devices.first().map(|device| device.clone().inner());
                Ok((first.map_or_else(GradientsParams::new, |first| grads.to_device(&first, model)), losses))
            })
            .collect()
    })
}
