//! The summary of an open index, for the reader and the writer.

use crate::error::Result;
use crate::manifest::Manifest;
use crate::place::Filter;
use crate::query::SearchRequest;
use crate::traits::{Info, ReadPlaces};

/// The summary of an open index.
pub(crate) fn summary(
    places: &impl ReadPlaces,
    request: SearchRequest<'_>,
    manifest: &Manifest,
    pending_bytes: u64,
) -> Result<Info> {
    let about = request.shard.edge("counting", |edge| Ok(edge.info()))?;
    Ok(Info {
        config: manifest.config.clone(),
        created: manifest.created.clone(),
        images: request.count(&Filter::default())?,
        in_graph: about.indexed_vectors_count,
        parts: about.segments_count,
        bytes: places.bytes()?,
        extent: request.extent()?,
        pending_bytes,
    })
}
