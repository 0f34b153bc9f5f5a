//! Photographs with positions, in any layout that the readers know.

use super::{Item, Source};
use crate::random::Rng;
use crate::{Result, TrainError};
use r2former_data::Photo;
use r2former_data::dataset::{self, Dataset, Region, SourceOptions};
use r2former_data::image::{Limits, Rgb8, decode_file};
use std::path::Path;

/// Photographs on disk.
pub(super) struct Photos {
    photos: Vec<Photo>,
    /// So many of the first are queries, where the source tells them from its database.
    queries: usize,
}

impl Photos {
    pub(super) fn open(path: &Path, region: Region) -> Result<Self> {
        let mut listing = dataset::list_photos(path, None, &SourceOptions::default())?;
        region.keep(&mut listing);
        let mut photos = listing.photos;
        photos.retain(|photo| photo.position.is_some());
        if photos.is_empty() {
            return Err(TrainError::run(path, "has no photograph with a position in this region"));
        }
        Ok(Self { photos, queries: 0 })
    }

    /// Both sides of a dataset.
    pub(super) fn of(set: Dataset) -> Self {
        let queries = set.queries.len();
        Self { photos: set.queries.into_iter().chain(set.database).collect(), queries }
    }
}

impl Source for Photos {
    fn items(&self) -> Vec<Item> {
        self.photos.iter().map(|photo| Item { photo: photo.clone(), place: None }).collect()
    }

    fn look(&self, key: usize, _: [usize; 2], _: Option<&mut Rng>) -> Result<Rgb8> {
        Ok(decode_file(&self.photos[key].path, &Limits::default())?)
    }

    fn queries(&self) -> usize {
        self.queries
    }
}
