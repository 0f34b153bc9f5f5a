//! Visual place recognition: where was this photo taken?
//!
//! Photographs with known positions become an index on disk; the index then names the places that another photograph
//! may show, and estimates its position. This crate re-exports what a first program needs:
//!
//! ```no_run
//! use r2former::{
//!     AddOptions, Extractor, LoadedModel, LocateOptions, NoProgress, PlaceIndex, Settings, SourceOptions,
//!     add_photos, list_photos, locate, parse_device,
//! };
//! use std::path::Path;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // The model that comes with the library; `LoadedModel::open` reads another.
//!     let model = LoadedModel::built_in()?;
//!     let settings = Settings::of(&model.config);
//!     let index = PlaceIndex::open_or_create(Path::new("places"), &model, settings)?;
//!     let extractor = Extractor::new(model, settings, &parse_device("cpu")?)?;
//!
//!     // A folder of photos with GPS tags, or a CSV table of path, lat, lon.
//!     let photos = list_photos(Path::new("photos"), None, &SourceOptions::default())?.photos;
//!     let options = AddOptions::default();
//!     let report = add_photos(&mut index.writer()?, &extractor, &photos, &options, &NoProgress)?;
//!     println!("{} added, {} were there already", report.added, report.already_indexed);
//!
//!     let answer = locate(&index.reader()?, &extractor, "holiday.jpg", &LocateOptions::default())?;
//!     match answer.estimate {
//!         Some(estimate) => println!(
//!             "taken near {}: {} of {} matches agree",
//!             estimate.best, estimate.agreeing, estimate.considered
//!         ),
//!         None => println!("no match"),
//!     }
//!     Ok(())
//! }
//! ```
//!
//! A query may also be [bytes or pixels](QueryImage), as of a camera's frame. The crates behind this one have more:
//! `r2former-engine` (descriptors, reranking, streams), `r2former-index` (the index itself), `r2former-data`
//! (photographs, positions, datasets), `r2former-model` (the network), `r2former-onnx` (models for other runtimes), `r2former-eval`
//! (recall) and `r2former-train`.
//!
//! # Features
//! `cuda`, `metal`, `rocm`, `vulkan` and `wgpu` add the device of that name to [`parse_device`].

pub use r2former_data::dataset::{
    Kind, Listing, SkipKind, Skipped, SourceOptions, SourceRoot, list_images, list_photos, source_root,
};
pub use r2former_data::{DataError, LatLon, PanoramaMode, PanoramaOptions, Photo, Rgb8, expand_panoramas};
pub use r2former_engine::{
    AddOptions, AddReport, Answer, Changed, Duplicate, Ellipse, EngineError, Estimate, Extractor,
    FailureKind, FieldChange, Fix, ImageFeatures, LoadedModel, LocateOptions, Match, MemoryImage, Near,
    NoProgress, OpenIndex, OpenSequence, PairScore, PlaceFields, PlaceIndex, Progress, QueryImage,
    QueryOptions, QueryResult, RerankMethod, Result, ScoreKind, SearchFilter, SequenceFilter, SequenceFrame,
    SequenceOptions, Settings, Status, Timing, Track, TrackPoint, add_images, add_photos, answers_geojson,
    answers_json, best_track, extract_stream, extractor_on, locate, score_pair, sequence_json, track_geojson,
};
pub use r2former_index::{
    Batch, FileFingerprint, Filter, IndexError, ReadPlaces, Reader, Source, WritePlaces, Writer,
};
pub use r2former_model::{Device, ModelError, parse_device};
