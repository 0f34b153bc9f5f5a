//! The place index: one folder of images' descriptors, positions and local features.
//!
//! An index belongs to one model, which is known here by a fingerprint alone. It stands on the embedded
//! vector store `qdrant-edge`: one point per image with the vector `global` (cosine), the multivector
//! `local` (8-bit rows, on disk, without a graph) and a payload whose `location` has a geographic index.
//!
//! - One [`Writer`] at a time, any number of [`Reader`]s meanwhile; a reader sees the last commit,
//!   whole.
//! - [`WritePlaces::add`] returns when the images would survive a killed process and a power cut: they are
//!   in a synced journal. New readers see them from the next [`WritePlaces::flush`] on, which also happens
//!   at the writer's end and every 96 MiB of journal. After a crash the next opening commits them.
//!
//! ```no_run
//! use r2former_index::{Filter, IndexConfig, NewPlace, Place, ReadPlaces, Reader, WritePlaces, Writer};
//!
//! # fn example(config: IndexConfig) -> Result<(), r2former_index::IndexError> {
//! let mut writer = Writer::create("streets", config)?;
//! let place = Place { name: "street.jpg".into(), ..Default::default() };
//! writer.add(&[NewPlace { place, global: vec![0.1; 256], local: Vec::new() }])?;
//! writer.close()?;
//! println!("{} images", Reader::open("streets", None)?.count(&Filter::default())?);
//! # Ok(()) }
//! ```

mod archive;
mod attachment;
mod clock;
mod error;
mod files;
mod generation;
mod journal;
mod lock;
mod manifest;
mod payload;
mod place;
mod query;
mod reader;
mod shard;
mod summary;
mod traits;
mod verify;
mod view;
mod writer;

pub use archive::{export, import};
pub use attachment::attachment_path;
pub use error::{ErrorKind, IndexError, Result};
pub use manifest::{FORMAT, IndexConfig, MANIFEST, Manifest};
pub use place::{Extent, Filter, Hit, LocalFeatures, Near, NewPlace, Page, Place, SearchMode, place_id};
pub use r2former_geo::LatLon;
pub use reader::Reader;
pub use traits::{Info, ReadPlaces, WritePlaces};
pub use verify::{Problem, Report, verify};
pub use writer::Writer;
