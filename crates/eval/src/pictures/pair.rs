//! From files to the pictures that need the model: what it attends to, what it matches.

use super::{Photograph, Side, attention, matches};
use crate::{EvalError, Result};
use r2former_engine::{Extractor, Verifier, contributions, score_pair};
use std::path::Path;

/// Pixels of the longer side of photographs in such pictures.
const LONGEST: usize = 640;

/// What the model attends to in a photograph.
///
/// # Errors
/// A file that is no usable image; a model without local features.
pub fn draw_attention(extractor: &Extractor, path: &Path) -> Result<String> {
    let features = extractor.extract_file(path)?;
    let config = extractor.config();
    if features.local.is_empty() {
        return Err(EvalError::Request(format!(
            "model {} has no local features, and so no attention to show",
            config.name
        )));
    }
    let photo = Photograph::open(path, LONGEST)?;
    Ok(attention(&photo, &features.local, config.local_row(), size(extractor), config.stride()))
}

/// What speaks for two photographs' being one place: to the reranker, where it is trained, and to RANSAC.
///
/// # Errors
/// As [`draw_attention`].
pub fn draw_matches(extractor: &Extractor, query: &Path, reference: &Path) -> Result<String> {
    let (a, b) = (extractor.extract_file(query)?, extractor.extract_file(reference)?);
    let geometric = Verifier::new(extractor, &a.local)?.verify(&b.local);
    let learned = match extractor.config().trained.reranker {
        true => Some((
            contributions(extractor, &a.local, &b.local)?,
            score_pair(extractor, &a.local, &b.local)?.score,
        )),
        false => None,
    };
    let photos = [Photograph::open(query, LONGEST)?, Photograph::open(reference, LONGEST)?];
    let names = [query, reference].map(|path| path.display().to_string());
    Ok(matches(
        Side { photo: &photos[0], name: &names[0] },
        Side { photo: &photos[1], name: &names[1] },
        size(extractor),
        learned.as_ref().map(|(all, score)| (all.as_slice(), *score)),
        &geometric,
    ))
}

fn size(extractor: &Extractor) -> [usize; 2] {
    let settings = extractor.settings();
    [settings.height, settings.width]
}
