//! Photographs, positions and place-recognition datasets as they lie on disk.
//!
//! This crate knows pixels, positions and file layouts; it knows nothing of models or indexes.
//!
//! - [`image`]: decode a photograph safely, resize it, turn it into the network's input.
//! - [`geo`]: latitude and longitude, UTM, distances, headings.
//! - [`dataset`]: readers for every supported layout, and ground truth.
//! - [`views`]: panoramas cut into perspective views.

pub mod dataset;
pub mod error;
pub mod geo;
pub mod image;
mod period;
pub mod photo;
mod shell;
pub mod views;

pub use error::{DataError, Remedy, Result};
pub use geo::{LatLon, LocalPoint, Position, PositionKind, Utm, UtmZone};
pub use image::Rgb8;
pub use period::period;
pub use photo::{PanoramaView, Photo, tag_refusal};
pub use shell::{shell_path, shell_word};
pub use views::{ExpandedPhotos, PanoramaMode, PanoramaOptions, expand_panoramas, expand_panoramas_by};
