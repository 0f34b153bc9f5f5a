//! Visual place recognition: where was this photo taken?

pub use r2former_data::dataset::{Kind, Listing, SourceOptions, list_photos};
pub use r2former_data::{DataError, LatLon, Photo, Rgb8};
pub use r2former_engine::{
    AddReport, Answer, EngineError, Estimate, Extractor, ImageFeatures, LoadedModel, LocateOptions, Match,
    Near, NoProgress, PlaceIndex, Progress, RerankMethod, Result, Settings, add_photos, extract_stream,
    locate, score_pair,
};
pub use r2former_index::{Filter, IndexError, ReadPlaces, Reader, SearchMode, WritePlaces, Writer};
pub use r2former_model::{Device, parse_device};
