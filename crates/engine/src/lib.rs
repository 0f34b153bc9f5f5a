//! From photographs to answers: descriptors, candidates, reranked places.
//!
//! [`Extractor`] turns photographs into descriptors, [`PlaceIndex`] keeps them together with the
//! model that made them, [`locate()`] answers "where was this taken?".
//!
//! ```
//! use r2former_engine::{
//!     Extractor, LoadedModel, LocateOptions, NoProgress, PlaceIndex, RerankMethod, Settings, add_photos, locate,
//! };
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let home = tempfile::tempdir()?;
//! # let (photos, dir) = (r2former_engine::doc_photos(home.path()), home.path().join("places"));
//! let model = LoadedModel::built_in()?;
//! let settings = Settings::of(&model.config);
//! let index = PlaceIndex::open_or_create(&dir, &model, settings)?;
//! let extractor = Extractor::new(model, settings, &r2former_model::Device::flex())?;
//! let added = add_photos(&mut index.writer()?, &extractor, &photos, &NoProgress)?;
//! assert_eq!(added.added, 2);
//!
//! let options = LocateOptions::default().rerank(RerankMethod::None);
//! let answer = locate(&index.reader()?, &extractor, &photos[1].path, &options)?;
//! assert_eq!(answer.matches[0].path, photos[1].name);
//! # Ok(()) }
//! ```

mod adaptive;
mod answer;
mod batch_limit;
mod contribution;
pub mod doctor;
mod error;
mod extract;
mod framing;
mod fused;
mod geometry;
mod host;
mod indexing;
mod locate;
mod place_index;
mod progress;
mod query_image;
mod rerank;
mod rerank_method;
mod size_note;
mod stream;

pub use adaptive::top1_margin;
pub use answer::{Answer, Estimate, Match, ScoreKind, Status, Timing};
pub use contribution::{Contribution, contributions};
pub use error::{EngineError, Result};
pub use extract::{Extractor, ImageFeatures, LoadedModel, Settings};
pub use framing::{Framing, View};
pub use fused::{FusedBackbone, fused_reranker};
pub use geometry::{MutualPair, TOLERANCE_PX, Verification, Verifier};
pub use indexing::{AddReport, add_photos};
pub use locate::{LocateOptions, locate};
pub use place_index::PlaceIndex;
pub use progress::{NoProgress, Progress};
pub use query_image::QueryImage;
pub use r2former_data::{LatLon, Photo, Rgb8};
pub use r2former_index::{Near, SearchMode};
pub use rerank::{LocalRows, PairScore, rerank, score_pair};
pub use rerank_method::RerankMethod;
pub use size_note::size_note;
pub use stream::{extract_framed, extract_stream};
