//! Photographs with positions, in any layout that `r2former_data` reads.

use super::{Item, LeftOut, Source};
use crate::random::Rng;
use crate::{Result, TrainError};
use r2former_data::Photo;
use r2former_data::dataset::{self, Dataset, Region, SourceOptions};
use r2former_data::image::{Limits, Rgb8, decode_file};
use std::path::Path;

/// Photographs on disk.
pub(super) struct Photos {
    photos: Vec<Photo>,
    /// How many of the first are queries, where the source separates them from its database.
    queries: usize,
    left_out: Vec<LeftOut>,
}

impl Photos {
    pub(super) fn open(path: &Path, region: Region) -> Result<Self> {
        let mut listing = dataset::list_photos(path, None, &SourceOptions::default())?;
        if listing.photos.iter().any(|photo| photo.position.is_some_and(|p| p.local().is_some())) {
            let why = "has positions in local metres; photographs to train on need WGS84 or UTM: give latitude and longitude, or a \
                       column zone";
            return Err(TrainError::run(path, why));
        }
        region.keep(&mut listing);
        let mut left_out: Vec<LeftOut> =
            listing.skipped.into_iter().map(|s| LeftOut { path: s.path, reason: s.reason }).collect();
        let (photos, without): (Vec<Photo>, Vec<Photo>) =
            listing.photos.into_iter().partition(|photo| photo.position.is_some());
        left_out.extend(
            without.into_iter().map(|photo| LeftOut { path: photo.path, reason: "has no position".into() }),
        );
        if photos.is_empty() {
            let place = if region == Region::default() { "" } else { " in this region" };
            let why = left_out.first().map_or_else(String::new, |first| {
                format!("; left out: {}: {}", first.path.display(), first.reason)
            });
            return Err(TrainError::run(path, format!("has no photograph with a position{place}{why}")));
        }
        Ok(Self { photos, queries: 0, left_out })
    }

    /// Both sides of a dataset.
    pub(super) fn of(set: Dataset) -> Self {
        let queries = set.queries.len();
        let photos = set.queries.into_iter().chain(set.database).collect();
        Self { photos, queries, left_out: Vec::new() }
    }
}

impl Source for Photos {
    fn items(&self) -> Vec<Item> {
        self.photos.iter().map(|photo| Item { photo: photo.clone(), place: None }).collect()
    }

    fn image(&self, key: usize, _: [usize; 2], _: Option<&mut Rng>) -> Result<Rgb8> {
        Ok(decode_file(&self.photos[key].path, &Limits::default())?)
    }

    fn queries(&self) -> usize {
        self.queries
    }

    fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }
}
