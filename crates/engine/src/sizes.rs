//! The backbone at the sizes of photographs that differ in size.

use crate::{FusedBackbone, Result};
use std::sync::{Arc, Mutex, PoisonError};

/// Sizes that are kept: a camera's two orientations, and another one's. Each holds a token per patch.
const KEPT: usize = 4;

/// The last few sizes at which the backbone was used, the latest first.
#[derive(Debug, Default)]
pub(crate) struct SizeCache(Mutex<Vec<Arc<FusedBackbone>>>);

impl SizeCache {
    /// The backbone for a size (height, width), made if it is not kept.
    ///
    /// # Errors
    /// Those of `make`.
    pub(crate) fn get(
        &self,
        size: [usize; 2],
        make: impl FnOnce() -> Result<FusedBackbone>,
    ) -> Result<Arc<FusedBackbone>> {
        if let Some(found) = self.latest(size) {
            return Ok(found);
        }
        // Not under the lock: it computes on the thread pool, whose other work may wait for this lock. Two threads that
        // miss the same size both make it.
        let made = Arc::new(make()?);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(0, made.clone());
        kept.truncate(KEPT);
        Ok(made)
    }

    /// One that is kept, which becomes the latest.
    fn latest(&self, size: [usize; 2]) -> Option<Arc<FusedBackbone>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|backbone| backbone.size() == size)?;
        kept[..=at].rotate_right(1);
        kept.first().cloned()
    }
}
