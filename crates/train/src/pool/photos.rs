//! Photographs with positions, in any layout that the readers know.

use super::{Item, Source};
use crate::random::Rng;
use crate::{Result, TrainError};
use r2former_data::Photo;
use r2former_data::dataset::{self, Region, SourceOptions};
use r2former_data::image::{Limits, Rgb8, decode_file};
use std::path::Path;

/// Photographs on disk.
pub(super) struct Photos(Vec<Photo>);

impl Photos {
    pub(super) fn open(path: &Path, region: Region) -> Result<Self> {
        let mut listing = dataset::list_photos(path, None, &SourceOptions::default())?;
        region.keep(&mut listing);
        let mut photos = listing.photos;
        photos.retain(|photo| photo.position.is_some());
        if photos.is_empty() {
            return Err(TrainError::run(path, "has no photograph with a position in this region"));
        }
        Ok(Self(photos))
    }
}

impl Source for Photos {
    fn items(&self) -> Vec<Item> {
        self.0.iter().map(|photo| Item { photo: photo.clone(), place: None }).collect()
    }

    fn look(&self, key: usize, _: [usize; 2], _: Option<&mut Rng>) -> Result<Rgb8> {
        Ok(decode_file(&self.0[key].path, &Limits::default())?)
    }
}
