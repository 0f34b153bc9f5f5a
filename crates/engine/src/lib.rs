//! From photographs to answers: descriptors, candidates, reranked places.
//!
//! [`Extractor`] turns photographs into descriptors, [`PlaceIndex`] keeps them together with the
//! model that made them, [`locate()`] answers "where was this taken?".
//!
//! ```
//! use r2former_data::dataset::{SourceOptions, list_photos};
//! use r2former_engine::{
//!     AddOptions, Extractor, LoadedModel, LocateOptions, NoProgress, PlaceIndex, RerankMethod, Settings,
//!     add_photos, locate,
//! };
//! use r2former_model::parse_device;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let home = tempfile::tempdir()?;
//! # let (folder, dir) = (home.path().join("photos"), home.path().join("places"));
//! # std::fs::create_dir(&folder)?;
//! # for (i, level) in [(0u8, 40u8), (1, 200)] {
//! #     let pixels = (0..48 * 64 * 3).map(|k| level ^ ((k / 7 % 61) as u8 * (i + 1))).collect();
//! #     let image = r2former_engine::Rgb8 { width: 64, height: 48, pixels };
//! #     let position = Some(r2former_engine::LatLon { lat: 52.0 + f64::from(i), lon: 0.5 });
//! #     let tags = r2former_data::image::PhotoTags { position, ..Default::default() };
//! #     let bytes = r2former_data::image::jpeg_with_tags(&image, 90, &tags)?;
//! #     std::fs::write(folder.join(format!("{i}.jpg")), bytes)?;
//! # }
//! let model = LoadedModel::built_in()?;
//! let settings = Settings::of(&model.config);
//! let index = PlaceIndex::open_or_create(&dir, &model, settings)?;
//! let extractor = Extractor::new(model, settings, &parse_device("cpu")?)?;
//!
//! // Two photos with GPS tags: 0.jpg at 52, 0.5 and 1.jpg at 53, 0.5.
//! let photos = list_photos(&folder, None, &SourceOptions::default())?.photos;
//! let options = AddOptions::default();
//! assert_eq!(add_photos(&mut index.writer()?, &extractor, &photos, &options, &NoProgress)?.added, 2);
//!
//! let query = folder.join("1.jpg");
//! let options = LocateOptions::default().top(1).rerank(RerankMethod::None);
//! let answer = locate(&index.reader()?, &extractor, &query, &options)?;
//! assert_eq!(answer.matches[0].path, "1.jpg");
//! assert_eq!(answer.estimate.unwrap().best.to_string(), "53.000000, 0.500000");
//! # Ok(()) }
//! ```

mod adaptive;
mod answer;
mod answers_geojson;
mod attached;
mod batch_limit;
mod batch_size;
mod by_size;
mod cascade;
mod check;
mod confidence;
mod contribution;
mod copying;
pub mod doctor;
mod error;
mod estimate;
mod extract;
mod files;
mod frame_clock;
mod framing;
mod fused;
mod fused_aggregate;
mod fused_conv;
mod geometry;
mod host;
mod index_access;
mod index_address;
mod indexing;
mod loaded_model;
mod locate;
#[cfg(feature = "cluster")]
mod model_cache;
mod open_index;
mod open_sequence;
mod place_fields;
mod place_index;
mod precision;
mod progress;
mod query_image;
mod query_options;
mod query_result;
mod rerank;
mod rerank_method;
mod sequence;
mod sequence_evidence;
mod shards;
mod sizes;
mod stream;
mod track;
mod unknown_tags;
mod user_cache;

pub use adaptive::top1_margin;
pub use answer::{Answer, Match, ScoreKind, Status, Timing};
pub use answers_geojson::{answers_geojson, geojson_coordinates};
pub use cascade::{RankedCandidates, best_first, cascade_split, rank_candidates};
pub use check::{ModelCheck, check_model};
pub use confidence::Evidence;
pub use contribution::{Contribution, contributions};
pub use copying::{CopyOptions, CopyReport, Difference, Verified, VerifySamples, copy_index};
pub use error::{EngineError, FailureKind, Result};
pub use estimate::{Ellipse, Estimate};
pub use extract::{Extractor, ImageFeatures, Settings};
pub use files::{Disk, PhotoFiles};
pub use frame_clock::{FrameClock, check_motion};
pub use framing::{Framing, View};
pub use fused::{FusedBackbone, fused_reranker};
pub use fused_aggregate::FusedAggregate;
pub use geometry::{MutualPair, TOLERANCE_PX, Verification, Verifier};
pub use index_access::{IndexReader, IndexWriter};
pub use index_address::IndexAddress;
pub use indexing::{
    AddOptions, AddReport, Changed, Duplicate, FieldChange, MemoryImage, add_images, add_photos,
    check_renamed, check_sources,
};
pub use loaded_model::LoadedModel;
pub use locate::{LocateOptions, locate};
pub use open_index::{OpenIndex, extractor_on};
pub use open_sequence::OpenSequence;
pub use place_fields::PlaceFields;
pub use place_index::PlaceIndex;
pub use precision::PrecisionChoice;
pub use progress::{NoProgress, Progress};
pub use query_image::{DecodedQuery, QueryImage};
pub use query_options::{QueryOptions, SearchFilter};
pub use query_result::{QueryResult, answers_json};
pub use r2former_data::{LatLon, LocalPoint, Photo, Position, Rgb8};
pub use r2former_index::{
    CollectionOptions, Filter, Near, Origin, PositionKind, Positions, Quantization, Source,
};
pub use rerank::{LocalRows, PairScore, rerank, score_pair};
pub use rerank_method::RerankMethod;
pub use sequence::{Fix, SequenceFilter, SequenceFrame, SequenceOptions, best_track};
pub use shards::{JobReport, LeftOut, ShardManifest, ShardWork, Unfinished, check_job};
pub use stream::{extract_framed, extract_stream};
pub use track::{Track, TrackPoint, sequence_json, track_geojson};
pub use unknown_tags::{unknown_tags, why_nothing};
