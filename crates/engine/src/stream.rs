//! Many photographs through the extractor, decoding ahead while the device computes.

use crate::{EngineError, Extractor, ImageFeatures, Progress, Result};
use rayon::prelude::*;
use std::path::Path;
use std::sync::mpsc::sync_channel;

/// Images of one pass through the network.
pub(crate) const BATCH: usize = 8;

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
    std::thread::scope(|scope| {
        let (send, receive) = sync_channel(AHEAD);
        scope.spawn(move || {
            for (number, chunk) in files.chunks(BATCH).enumerate() {
                let inputs: Vec<Result<Vec<f32>>> =
                    chunk.par_iter().map(|path| extractor.prepare_file(path)).collect();
                // The receiver is gone when the run ended early.
                if send.send((number * BATCH, inputs)).is_err() {
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
