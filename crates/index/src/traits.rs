//! What a place index can do, wherever it is kept. Reading and writing are apart: most callers only read.

use serde::Serialize;
use uuid::Uuid;

use crate::error::Result;
use crate::manifest::IndexConfig;
use crate::place::{Extent, Filter, Hit, LocalFeatures, NewPlace, Page, Place};

/// Reading from a place index.
pub trait ReadPlaces {
    /// The model and the shape of the vectors.
    fn config(&self) -> &IndexConfig;

    /// The `top` places most similar to `global` (`global_dim` finite values, of any length above 0) among
    /// those that pass `filter`, the most similar first. Local features are not touched. The answer is that of a
    /// comparison with every place.
    ///
    /// # Errors
    /// [`IndexError::Request`](crate::IndexError::Request) if the query or the filter cannot be used.
    fn search(&self, global: &[f32], top: usize, filter: &Filter) -> Result<Vec<Hit>> {
        Ok(self.search_many(&[global], top, filter)?.pop().unwrap_or_default())
    }

    /// Like [`search`](Self::search) for several queries, which share one pass over the descriptors; an answer
    /// per query.
    ///
    /// # Errors
    /// As for [`search`](Self::search).
    fn search_many(&self, globals: &[&[f32]], top: usize, filter: &Filter) -> Result<Vec<Vec<Hit>>>;

    /// Local features in the order of `ids`: `None` for an unknown image, no rows for an image without any.
    ///
    /// # Errors
    /// The store's.
    fn locals(&self, ids: &[Uuid]) -> Result<Vec<Option<LocalFeatures>>>;

    /// Global descriptors at unit length in the order of `ids`: `None` for an unknown image.
    ///
    /// # Errors
    /// The store's.
    fn globals(&self, ids: &[Uuid]) -> Result<Vec<Option<Vec<f32>>>>;

    /// Up to `limit` places that pass `filter`, in the order of the identifiers, from the identifier `from`
    /// on (`None`: the first). Vectors are not touched.
    ///
    /// # Errors
    /// [`IndexError::Request`](crate::IndexError::Request) for a limit of 0 or an unusable filter.
    fn list(&self, from: Option<Uuid>, limit: usize, filter: &Filter) -> Result<Page>;

    /// Places in the order of `ids`: `None` for an unknown image.
    ///
    /// # Errors
    /// [`IndexError::Damaged`](crate::IndexError::Damaged) for an unreadable place.
    fn get(&self, ids: &[Uuid]) -> Result<Vec<Option<Place>>>;

    /// Which of `ids` are in the index, in their order.
    ///
    /// # Errors
    /// The store's.
    fn contains(&self, ids: &[Uuid]) -> Result<Vec<bool>>;

    /// How many images pass `filter`, exactly.
    ///
    /// # Errors
    /// [`IndexError::Request`](crate::IndexError::Request) for an unusable filter.
    fn count(&self, filter: &Filter) -> Result<usize>;

    /// The box around all positions; `None` if no image has one. Reads every position.
    ///
    /// # Errors
    /// The store's.
    fn extent(&self) -> Result<Option<Extent>>;

    /// Bytes that images take where the index is kept, with what finds them; without attachments.
    ///
    /// # Errors
    /// The system's.
    fn bytes(&self) -> Result<u64>;

    /// A summary for people. Reads every position.
    ///
    /// # Errors
    /// The store's.
    fn info(&self) -> Result<Info>;
}

/// Writing to a place index.
pub trait WritePlaces {
    /// Adds images and returns when they are durable: all of them, or, on an error, none. An image of the
    /// same name is replaced. Readers see them at once.
    ///
    /// # Errors
    /// [`IndexError::Request`](crate::IndexError::Request) names the image that cannot be added;
    /// [`IndexError::Full`](crate::IndexError::Full) before the disk overflows.
    fn add(&mut self, places: &[NewPlace]) -> Result<()>;

    /// Removes images durably and returns how many there were.
    ///
    /// # Errors
    /// As for [`add`](Self::add).
    fn remove(&mut self, ids: &[Uuid]) -> Result<usize>;

    /// Writes the index again without the room that removed images left, and gives that back to the disk. Takes, for a
    /// while, room for another copy.
    ///
    /// # Errors
    /// [`IndexError::Full`](crate::IndexError::Full), [`IndexError::Damaged`](crate::IndexError::Damaged), or the
    /// store's.
    fn compact(&mut self) -> Result<()>;
}

/// A summary of an index.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Info {
    /// The model and the shape of the vectors.
    pub config: IndexConfig,
    /// When the index was created, UTC.
    pub created: String,
    /// Images in it.
    pub images: usize,
    /// Changes since the index was created.
    pub changes: u64,
    /// Bytes of the data file.
    pub bytes: u64,
    /// Bytes of the data file that hold something; the rest is used by later images, or given back by
    /// [`WritePlaces::compact`].
    pub bytes_in_use: u64,
    /// Box around all positions.
    pub extent: Option<Extent>,
}

impl Info {
    /// Bytes per image; 0 for an empty index.
    pub fn bytes_per_image(&self) -> f64 {
        if self.images == 0 { 0.0 } else { self.bytes as f64 / self.images as f64 }
    }
}
