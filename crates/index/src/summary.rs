//! The summary of an open index, for the reader and the writer.

use crate::error::Result;
use crate::manifest::Manifest;
use crate::query::Request;
use crate::traits::Info;

/// The summary of an open index.
pub(crate) fn summary(request: Request<'_>, manifest: &Manifest) -> Result<Info> {
    let picture = request.picture;
    let counters = picture.counters();
    Ok(Info {
        config: manifest.config.clone(),
        created: manifest.created.clone(),
        images: counters.images as usize,
        changes: counters.changes,
        bytes: request.store.file_bytes()?,
        bytes_in_use: picture.used_bytes(),
        extent: request.extent()?,
    })
}
