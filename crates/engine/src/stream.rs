//! Many photographs through the extractor, decoding ahead while the device computes.

use crate::{EngineError, Extractor, ImageFeatures, Progress, Result};
use rayon::prelude::*;
use std::path::Path;
use std::sync::mpsc::sync_channel;

/// Bytes of prepared images in one pass through the network, about.
const BATCH_BYTES: usize = 32 << 20;

/// Images of one pass through the network: many, because cores wait for each other at its end; but few where
/// images are large and take long enough to keep all cores busy one at a time.
fn batch(extractor: &Extractor) -> usize {
    let settings = extractor.settings();
    (BATCH_BYTES / (3 * size_of::<f32>() * settings.height * settings.width)).clamp(8, 32)
}

/// Batches decoded ahead: one being computed, one waiting.
const AHEAD: usize = 2;

/// Extracts every file in order and hands each result to `each` with its number. A file that
/// cannot be read is handed over as its error, and the run goes on.
///
/// # Errors
/// A failing device, or whatever `each` returns; both end the run.
pub fn extract_stream(
    extractor: &Extractor,
    files: &[&Path],
    progress: &dyn Progress,
    mut each: impl FnMut(usize, Result<ImageFeatures>) -> Result<()>,
) -> Result<()> {
    let batch = batch(extractor);
    std::thread::scope(|scope| {
        let (send, receive) = sync_channel(AHEAD);
        scope.spawn(move || {
            for (number, chunk) in files.chunks(batch).enumerate() {
                let inputs: Vec<Result<Vec<f32>>> =
                    chunk.par_iter().map(|path| extractor.prepare_file(path)).collect();
                // The receiver is gone when the run ended early.
                if send.send((number * batch, inputs)).is_err() {
                    return;
                }
            }
        });
        for (start, inputs) in receive {
            let count = inputs.len();
            let (mut good, mut outcome) = (Vec::with_capacity(count), Vec::with_capacity(count));
            for input in inputs {
                outcome.push(input.map(|values| good.push(values)));
            }
            let mut features = extractor.extract(&good)?.into_iter();
            for (i, result) in outcome.into_iter().enumerate() {
                let result = result.and_then(|()| {
                    features
                        .next()
                        .ok_or_else(|| EngineError::Compute("fewer descriptors than images".into()))
                });
                each(start + i, result)?;
            }
            progress.advance(count as u64);
        }
        Ok(())
    })
}
