//! Many photographs through the extractor, decoding ahead while the device computes.

use crate::framing::named;
use crate::{EngineError, Extractor, Framing, ImageFeatures, Progress, Result, View};
use r2former_data::image::{cut_views, decode_bytes_noting};
use r2former_data::{PanoramaView, Photo};
use r2former_index::FileFingerprint;
use rayon::prelude::*;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::mpsc::sync_channel;

/// Approximate size of the inputs of one forward pass, in bytes.
const BATCH_BYTES: usize = 32 << 20;

/// Inputs of one forward pass, unless a device's limits are lower: many, because cores wait for each other at its end; but few
/// where images are large and take long enough to keep all cores busy one at a time.
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
    extractor.files().announce(files, extractor.limits());
    let views: usize = framings.iter().map(|framing| framing.views()).sum();
    let prepare = |file: &&Path| {
        let views = extractor.frame_file(file, framings)?;
        Ok(Prepared { views, about: About::default() })
    };
    extract_prepared(extractor, files, views, prepare, |i, result| {
        each(i, result.map(|extracted| extracted.features))?;
        progress.advance(1);
        Ok(())
    })
}

/// Extracts photographs of which each file is decoded once: `files` are photographs of one file each, either a whole
/// one or views of one panorama. `each` gets their number, their descriptors, and what was seen of the file.
pub(crate) fn extract_photos(
    extractor: &Extractor,
    files: &[&[&Photo]],
    each: impl FnMut(usize, Result<Extracted>) -> Result<()>,
) -> Result<()> {
    let paths: Vec<&Path> = files.iter().filter_map(|photos| Some(photos.first()?.path.as_path())).collect();
    extractor.files().announce(&paths, extractor.limits());
    let most = files.iter().map(|photos| photos.len()).max().unwrap_or(1);
    extract_prepared(extractor, files, most, |photos| prepare_photos(extractor, photos), each)
}

/// Decodes the one file of some photographs.
fn prepare_photos(extractor: &Extractor, photos: &[&Photo]) -> Result<Prepared> {
    let Some(first) = photos.first() else {
        return Ok(Prepared { views: Vec::new(), about: About::default() });
    };
    let (bytes, file) = extractor.files().read(&first.path, extractor.limits())?;
    let decoded = decode_bytes_noting(&bytes, &first.path, extractor.limits())?;
    drop(bytes);
    let views: Vec<PanoramaView> = photos.iter().filter_map(|photo| photo.view).collect();
    let images = match views.len() {
        0 => vec![decoded.image],
        _ => cut_views(decoded.image, &views)?,
    };
    let views = images.iter().map(|image| extractor.prepare(image)).collect::<Result<Vec<_>>>();
    let views = views.map_err(|error| named(&first.path, error))?;
    let about = About { file: Some(file), missing: decoded.missing };
    Ok(Prepared { views, about })
}

/// What was seen of a file while it was decoded.
#[derive(Debug, Default)]
pub(crate) struct About {
    /// Its fingerprint, where it is asked for.
    pub(crate) file: Option<FileFingerprint>,
    /// What is missing of one that was cut short and accepted.
    pub(crate) missing: Option<String>,
}

/// What became of a file.
#[derive(Debug)]
pub(crate) struct Extracted {
    /// Those of each of its images.
    pub(crate) features: Vec<ImageFeatures>,
    pub(crate) about: About,
}

/// The inputs of one file.
struct Prepared {
    views: Vec<View>,
    about: About,
}

/// Prepares items ahead, in batches, and extracts them; an item has at most `most` inputs.
fn extract_prepared<T: Sync>(
    extractor: &Extractor,
    items: &[T],
    most: usize,
    prepare: impl Fn(&T) -> Result<Prepared> + Sync,
    mut each: impl FnMut(usize, Result<Extracted>) -> Result<()>,
) -> Result<()> {
    let batch = (batch(extractor) / most.max(1)).max(1);
    std::thread::scope(|scope| {
        let (send, receive) = sync_channel(AHEAD);
        let prepare = &prepare;
        scope.spawn(move || {
            for (number, chunk) in items.chunks(batch).enumerate() {
                let inputs: Vec<Result<Prepared>> = chunk.par_iter().map(prepare).collect();
                // The receiver is gone when the run ended early.
                if send.send((number * batch, inputs)).is_err() {
                    return;
                }
            }
        });
        // What is known of the files of groups that are on their way: where they start, and each file's views.
        let known = RefCell::new(VecDeque::new());
        let groups = receive.into_iter().map(|(start, inputs)| {
            let mut views = Vec::new();
            let files: Vec<Result<(usize, About)>> = inputs
                .into_iter()
                .map(|input| {
                    let Prepared { views: of_file, about } = input?;
                    let count = of_file.len();
                    views.extend(of_file.into_iter().map(|view| (view.values, view.size)));
                    Ok((count, about))
                })
                .collect();
            known.borrow_mut().push_back((start, files));
            views
        });
        extractor.extract_groups(groups, |features| {
            let Some((start, files)) = known.borrow_mut().pop_front() else { return Err(too_few()) };
            let mut features = features.into_iter();
            for (i, file) in files.into_iter().enumerate() {
                let result = file.and_then(|(views, about)| {
                    let all: Vec<ImageFeatures> = features.by_ref().take(views).collect();
                    let whole = all.len() == views;
                    if whole { Ok(Extracted { features: all, about }) } else { Err(too_few()) }
                });
                each(start + i, result)?;
            }
            Ok(())
        })
    })
}

fn too_few() -> EngineError {
    EngineError::Compute("fewer descriptors than images".into())
}
