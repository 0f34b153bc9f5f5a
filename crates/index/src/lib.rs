//! The place index: one folder of images' descriptors, positions and local features.
//!
//! An index belongs to one model, which is known here by a fingerprint alone. It is one file of LMDB beside a
//! manifest: places by identifier, 8-bit codes of the descriptors in blocks, descriptors in f32, and local features
//! as they were added.
//!
//! - One [`Writer`] at a time, any number of [`Reader`]s meanwhile. [`WritePlaces::add`] is one commit: when it
//!   returns, the images would survive a killed process and a power cut, and every reader's next call sees them.
//! - A search scans the codes of all places and scores what can be among the best again: its answer is that of a
//!   comparison with every descriptor.
//! - No byte is trusted: the file's structure is checked as it is read, every value has a checksum, and a flipped bit
//!   is an error and never an answer. [`verify`] looks at everything.
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
mod begun;
mod blocks;
mod change;
mod check;
mod clock;
mod copy;
mod error;
mod files;
mod filter;
mod fingerprint;
mod lmdb;
mod lock;
mod manifest;
mod options;
mod picture;
mod place;
mod query;
mod read_places;
mod reader;
mod record;
mod schema;
mod slots;
mod store;
mod traits;
mod verify;
mod writer;

pub use archive::{export, import};
pub use attachment::{Attachment, attachment_path};
pub use clock::now_utc;
pub use error::{ErrorKind, IndexError, Result};
pub use fingerprint::FileFingerprint;
pub use manifest::{FORMAT, IndexConfig, MANIFEST, Manifest};
pub use options::{CollectionOptions, Quantization};
pub use place::{
    Extent, FeatureBytes, Filter, Hit, LocalFeatures, Near, NewPlace, Page, Place, Source, place_id,
};
pub use query::unit_length;
pub use r2former_geo::{LatLon, LocalPoint, Origin, Position, PositionKind, Positions};
pub use reader::Reader;
pub use traits::{Batch, Info, ReadPlaces, WritePlaces};
pub use verify::{Problem, Report, verify};
pub use writer::Writer;
