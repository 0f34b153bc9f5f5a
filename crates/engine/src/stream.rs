//! Many photographs through the extractor, decoding ahead while the device computes.

use crate::{EngineError, Extractor, Framing, ImageFeatures, Progress, Result, View};
use rayon::prelude::*;
use std::path::Path;
use std::sync::mpsc::sync_channel;

/// Approximate size of the inputs of one forward pass, in bytes.
const BATCH_BYTES: usize = 32 << 20;

/// Images of one forward pass: many, because cores wait for each other at its end; but few where images are large
/// and take long enough to keep all cores busy one at a time.
fn batch(extractor: &Extractor) -> usize {
    let settings = extractor.settings();
    (BATCH_BYTES / (3 * size_of::<f32>() * settings.height * settings.width)).clamp(8, 32)
}

/// Batches decoded ahead: one being computed, one waiting.
const AHEAD: usize = 2;

/// Extracts every file in order and hands each result to `each` with its number. A file that cannot be read is handed
/// over as its error, and does not end the run.
///
/// # Errors
/// [`EngineError::Compute`] for a failing device, or whatever `each` returns; both end the run.
pub fn extract_stream(
    extractor: &Extractor,
    files: &[&Path],
    progress: &dyn Progress,
    mut each: impl FnMut(usize, Result<ImageFeatures>) -> Result<()>,
) -> Result<()> {
    extract_framed(extractor, files, &[Framing::Whole], progress, |i, views| {
        each(i, views.and_then(|views| views.into_iter().next().ok_or_else(too_few)))
    })
}

/// As [`extract_stream`], with the views of every framing for each file, one after the other.
///
/// # Errors
/// As [`extract_stream`].
pub fn extract_framed(
    extractor: &Extractor,
    files: &[&Path],
    framings: &[Framing],
    progress: &dyn Progress,
    mut each: impl FnMut(usize, Result<Vec<ImageFeatures>>) -> Result<()>,
) -> Result<()> {
    let views: usize = framings.iter().map(|framing| framing.views()).sum();
    let batch = (batch(extractor) / views.max(1)).max(1);
    std::thread::scope(|scope| {
        let (send, receive) = sync_channel(AHEAD);
        scope.spawn(move || {
            for (number, chunk) in files.chunks(batch).enumerate() {
                let inputs: Vec<Result<Vec<View>>> =
                    chunk.par_iter().map(|path| extractor.frame_file(path, framings)).collect();
                // The receiver is gone when the run ended early.
                if send.send((number * batch, inputs)).is_err() {
                    return;
                }
            }
        });
        for (start, inputs) in receive {
            let count = inputs.len();
            let good: Vec<(&[f32], [usize; 2])> =
                inputs.iter().flatten().flatten().map(|view| (view.values.as_slice(), view.size)).collect();
            let mut features = extractor.extract_sized(&good)?.into_iter();
            for (i, input) in inputs.into_iter().enumerate() {
                let result = input.and_then(|views| {
                    let all: Vec<ImageFeatures> = features.by_ref().take(views.len()).collect();
                    if all.len() == views.len() { Ok(all) } else { Err(too_few()) }
                });
                each(start + i, result)?;
            }
            progress.advance(count as u64);
        }
        Ok(())
    })
}

fn too_few() -> EngineError {
    EngineError::Compute("fewer descriptors than images".into())
}
