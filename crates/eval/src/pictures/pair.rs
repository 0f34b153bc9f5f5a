//! Pictures that need the model: attention and matches of photograph files.

use super::{PairSide, Photograph, attention, matches};
use crate::{EvalError, Result};
use r2former_engine::{Extractor, Verifier, contributions, score_pair};
use std::path::Path;

/// Pixels of the longer side of photographs.
const LONGEST: usize = 640;

/// Draws the local features of a photograph, coloured by attention.
///
/// # Errors
/// - [`EvalError::Request`]: the model has no local features.
/// - [`EvalError::Engine`]: the file is not a usable image, or the device fails.
pub fn draw_attention(extractor: &Extractor, path: &Path) -> Result<String> {
    let features = extractor.extract_file(path)?;
    let config = extractor.config();
    if features.local.is_empty() {
        return Err(EvalError::Request(format!(
            "model {} has no local features, so there is no attention to draw",
            config.name
        )));
    }
    let photo = Photograph::open(path, LONGEST)?.seen_by(extractor);
    Ok(attention(&photo, &features.local, config.local_row(), size(extractor), config.stride()))
}

/// Draws which local features of two photographs match, according to the reranker (if it is trained) and to RANSAC.
///
/// # Errors
/// As for [`draw_attention`].
pub fn draw_matches(extractor: &Extractor, query: &Path, reference: &Path) -> Result<String> {
    let features = |path| Ok::<_, EvalError>(extractor.extract_file(path)?.as_indexed(extractor.config()));
    let (a, b) = (features(query)?, features(reference)?);
    let geometric = Verifier::new(extractor, &a.local)?.verify(b.local.as_slice());
    let learned = match extractor.config().trained.reranker {
        true => Some((
            contributions(extractor, &a.local, &b.local)?,
            score_pair(extractor, &a.local, &b.local)?.score,
        )),
        false => None,
    };
    let photo = |path| Ok::<_, EvalError>(Photograph::open(path, LONGEST)?.seen_by(extractor));
    let photos = [photo(query)?, photo(reference)?];
    let names = [query, reference].map(|path| path.display().to_string());
    Ok(matches(
        PairSide { photo: &photos[0], name: &names[0] },
        PairSide { photo: &photos[1], name: &names[1] },
        size(extractor),
        learned.as_ref().map(|(all, score)| (all.as_slice(), *score)),
        &geometric,
    ))
}

fn size(extractor: &Extractor) -> [usize; 2] {
    let settings = extractor.settings();
    [settings.height, settings.width]
}
