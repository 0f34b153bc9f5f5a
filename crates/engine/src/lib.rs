//! The journey from photographs to answers: descriptors, candidates, reranked places.
//!
//! [`Extractor`] turns photographs into descriptors, [`PlaceIndex`] keeps them together with the
//! model that made them, [`locate()`] answers "where was this taken?".

mod adaptive;
mod answer;
mod contribution;
pub mod doctor;
mod error;
mod extract;
mod framing;
mod fused;
mod geometry;
mod indexing;
mod locate;
mod order;
mod place_index;
mod progress;
mod rerank;
mod stream;

pub use adaptive::margin;
pub use answer::{Answer, Estimate, PlaceMatch, Timing};
pub use contribution::{Contribution, contributions};
pub use error::{EngineError, Result};
pub use extract::{Extractor, ImageFeatures, LoadedModel, Settings};
pub use framing::{Framing, View};
pub use fused::{FusedBackbone, fused_reranker};
pub use geometry::{MutualPair, TOLERANCE_PX, Verification, Verifier};
pub use indexing::{AddReport, add_photos};
pub use locate::{LocateOptions, Near, locate};
pub use order::Rerank;
pub use place_index::PlaceIndex;
pub use progress::{Progress, Silent};
pub use rerank::{LocalRows, PairScore, rerank, score_pair};
pub use stream::{extract_framed, extract_stream};
