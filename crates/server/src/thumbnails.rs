//! Thumbnails, and the memory of those that were asked for last.

use crate::index::PlaceId;
use crate::problem::Result;
use axum::body::Bytes;
use r2former_data::image::{Limits, PhotoTags, decode_bytes, jpeg_with_tags};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Bytes of all thumbnails that are kept.
const ROOM: usize = 64 << 20;

/// JPEG quality.
const QUALITY: u8 = 82;

/// Which thumbnail: the index's number among those served, the place, its file, the longer side.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ThumbnailKey {
    pub(crate) index: String,
    pub(crate) id: PlaceId,
    pub(crate) file: String,
    pub(crate) size: usize,
}

/// Thumbnails in memory.
#[derive(Debug, Default)]
pub(crate) struct Thumbnails(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    thumbnails: HashMap<ThumbnailKey, (Bytes, u64)>,
    bytes: usize,
    /// Counts uses.
    clock: u64,
}

impl Thumbnails {
    pub(crate) fn get(&self, key: &ThumbnailKey) -> Option<Bytes> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clock += 1;
        let now = kept.clock;
        let (bytes, used) = kept.thumbnails.get_mut(key)?;
        *used = now;
        Some(bytes.clone())
    }

    pub(crate) fn put(&self, key: ThumbnailKey, bytes: Bytes) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clock += 1;
        let now = kept.clock;
        kept.bytes += bytes.len();
        if let Some((old, _)) = kept.thumbnails.insert(key, (bytes, now)) {
            kept.bytes -= old.len();
        }
        while kept.bytes > ROOM {
            let oldest =
                kept.thumbnails.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| key.clone());
            let Some((bytes, _)) = oldest.and_then(|key| kept.thumbnails.remove(&key)) else { return };
            kept.bytes -= bytes.len();
        }
    }
}

/// A photograph as a JPEG whose longer side has at most `size` pixels, upright, without its tags.
pub(crate) fn thumbnail(photo: &[u8], size: usize) -> Result<Bytes> {
    let image = decode_bytes(photo, crate::body::in_memory(), &Limits::default())?.thumbnail(size)?;
    Ok(jpeg_with_tags(&image, QUALITY, &PhotoTags::default())?.into())
}
