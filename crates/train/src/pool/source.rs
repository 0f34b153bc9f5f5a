//! What a source of training photographs is to the pool.

use crate::random::Rng;
use crate::{Result, TrainError};
use r2former_data::image::Rgb8;
use r2former_data::{DataError, Photo};
use std::path::PathBuf;

/// A source of training photographs.
pub(crate) trait Source: Send + Sync {
    /// Its items, in an order that never changes.
    fn items(&self) -> Vec<Item>;

    /// The image of an item: always the same without `vary`, else a random view of it where the source knows its
    /// geometry. `size` (height, width) is what the image will be scaled to; sources that render may use it.
    fn image(&self, key: usize, size: [usize; 2], vary: Option<&mut Rng>) -> Result<Rgb8>;

    /// How many of the first items are queries, where the source separates them from its database; else 0.
    fn queries(&self) -> usize {
        0
    }

    /// For each item, the other items that are listed as showing the same place, ascending, where the source lists
    /// pairs: then neither places nor distances decide.
    fn pairs(&self) -> Option<Vec<Vec<u32>>> {
        None
    }

    /// Whether its items are the same in every epoch, so that mining them once is worth it.
    fn is_static(&self) -> bool {
        true
    }

    /// With which photograph stage `local` pairs one of its items.
    fn partner(&self) -> Partner {
        Partner::Itself
    }

    /// Points that an item shares with its partner, if that is [`Partner::Matched`]: x and y in the item, x and y in the
    /// partner, in shares of the sides.
    fn matches(&self, _key: usize) -> Vec<[f64; 4]> {
        Vec::new()
    }

    /// Photographs of the source that cannot be used, as far as listing it shows.
    fn left_out(&self) -> &[LeftOut] {
        &[]
    }
}

/// A photograph that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeftOut {
    pub(crate) path: PathBuf,
    pub(crate) reason: String,
}

impl LeftOut {
    /// A photograph that is missing or damaged; any other error comes back.
    pub(crate) fn of(error: TrainError) -> Result<Self> {
        match error {
            TrainError::Data(
                ref data @ (DataError::Image { ref path, .. } | DataError::Io { ref path, .. }),
            ) if !matches!(data, DataError::Io { source, .. } if !is_of_file(source)) => {
                Ok(Self { path: path.clone(), reason: data.reason() })
            }
            TrainError::Tile { path, problem } => Ok(Self { path, reason: problem }),
            other => Err(other),
        }
    }
}

/// Whether the file itself is at fault, and not the machine's memory or its number of open files.
fn is_of_file(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidData, IsADirectory, NotFound, PermissionDenied, UnexpectedEof};
    matches!(error.kind(), InvalidData | IsADirectory | NotFound | PermissionDenied | UnexpectedEof)
}

/// A photograph, or a direction of a panorama.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    /// Position and heading, where known; also tags.
    pub(crate) photo: Photo,
    /// Number of the place within the source, where the source names places.
    pub(crate) place: Option<u32>,
}

/// The photograph with which stage `local` pairs an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Partner {
    /// Its own.
    Itself,
    /// Another of its place, aligned with it pixel by pixel.
    Aligned,
    /// The other of its place, with listed matches.
    Matched,
}
