//! What a place index can do, wherever it is kept. Reading and writing are apart: most callers only read.

use serde::Serialize;
use uuid::Uuid;

use crate::error::Result;
use crate::fingerprint::FileFingerprint;
use crate::manifest::IndexConfig;
use crate::place::{Extent, Filter, Hit, LocalFeatures, NewPlace, Page, Place, Source};

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

    /// Like [`search`](Self::search) by the store's approximate search, which may miss some of the most similar places.
    /// A store whose search is always exact refuses it.
    ///
    /// # Errors
    /// As for [`search`](Self::search).
    fn search_approximate(&self, global: &[f32], top: usize, filter: &Filter) -> Result<Vec<Hit>>;

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

    /// Whether `wanted` says so of any place that passes `filter`, in the order of the identifiers; places after that one
    /// are not read. One that never does sees them all.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    fn any_place(&self, filter: &Filter, wanted: &mut dyn FnMut(Uuid, Place) -> bool) -> Result<bool> {
        const PAGE: usize = 4096;
        let mut from = None;
        loop {
            let page = self.list(from, PAGE, filter)?;
            for (id, place) in page.places {
                if wanted(id, place) {
                    return Ok(true);
                }
            }
            from = page.next;
            if from.is_none() {
                return Ok(false);
            }
        }
    }

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

    /// The places of the images that were read from each of `files`, in their order; none of an unknown file.
    ///
    /// # Errors
    /// The store's.
    fn with_file(&self, files: &[FileFingerprint]) -> Result<Vec<Vec<Place>>>;

    /// The folders and tables whose images are in the index, in the order of their labels.
    ///
    /// # Errors
    /// The store's.
    fn sources(&self) -> Result<Vec<Source>>;

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

    /// How many changes the index has seen: another number says that there is something new. `None` where nobody counts
    /// them.
    ///
    /// # Errors
    /// The store's.
    fn changes(&self) -> Result<Option<u64>>;

    /// A summary for people. Reads every position.
    ///
    /// # Errors
    /// The store's.
    fn info(&self) -> Result<Info>;
}

/// Writing to a place index.
pub trait WritePlaces {
    /// Makes one change and returns when it is durable: all of it, or, on an error, nothing. Readers see it at once.
    ///
    /// # Errors
    /// [`IndexError::Request`](crate::IndexError::Request) names the image that cannot be added or described, or a
    /// source without a usable label; [`IndexError::Full`](crate::IndexError::Full) before the disk overflows.
    fn write(&mut self, batch: &Batch<'_>) -> Result<()>;

    /// Adds images: a [`Batch`] of nothing else. An image of the same name is replaced.
    ///
    /// # Errors
    /// As for [`write`](Self::write).
    fn add(&mut self, places: &[NewPlace]) -> Result<()> {
        self.write(&Batch { add: places, ..Batch::default() })
    }

    /// Removes images durably and returns how many there were.
    ///
    /// # Errors
    /// As for [`write`](Self::write).
    fn remove(&mut self, ids: &[Uuid]) -> Result<usize>;

    /// Writes the index again without the room that removed images left, and gives that back to the disk. Takes, for a
    /// while, room for another copy.
    ///
    /// # Errors
    /// [`IndexError::Full`](crate::IndexError::Full), [`IndexError::Damaged`](crate::IndexError::Damaged), or the
    /// store's.
    fn compact(&mut self) -> Result<()>;
}

/// One change of an index. A name stands in it once.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Batch<'a> {
    /// Images to add; one of the same name is replaced, vectors and all.
    pub add: &'a [NewPlace],
    /// What is known from now on about images that are in the index: they keep their vectors.
    pub describe: &'a [Place],
    /// Folders and tables to remember; one of the same label is replaced.
    pub sources: &'a [Source],
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
    /// Changes since the index was created; `None` where nobody counts them.
    pub changes: Option<u64>,
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
