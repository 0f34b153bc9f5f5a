//! The place index in a Qdrant cluster: the same traits and answers as the folder of `r2former-index`, kept on many
//! machines.
//!
//! An index is a collection NAME, of one point per image, and a collection NAME-files, of the model's file, the settings
//! and the sources. Both are created by [`create`] and deleted by their owner alone, with Qdrant's own tools.
//!
//! | of a point | |
//! |---|---|
//! | identifier | [`place_id`](r2former_index::place_id) of the name |
//! | vector `global` | the descriptor at unit length, f32, compared by dot product |
//! | payload `place` | the place as JSON: what answers hold, to the last bit |
//! | payload `local` | the local features as base64; none if the image has none |
//! | payload `geo`, `at`, `time`, `tags`, `file` | what filters read, indexed |
//!
//! Local features are no vectors: gRPC has floats alone. Of 1000 images with 500 rows of 131 bytes in one node (Qdrant
//! 1.18, on a busy machine), those of 100 came in 1180 ms as vectors of 8-bit numbers, in 363 ms as floats that hold
//! three bytes each, and in 65 ms from the payload; images were added at 52, 100 and 335 per second, and took 65, 86 and
//! 86 kB each. Segments of the graph are then measured by the descriptors alone, too. The price: to list places reads past
//! the features, 0.18 ms per image with 500 rows.
//!
//! # What is promised
//!
//! - When [`WritePlaces::write`](r2former_index::WritePlaces::write) returns, as many replicas as the collection's write
//!   consistency asks for have applied the change, and replicas that missed it are out of use until they have
//!   caught up: a read finds it, whichever node answers.
//! - A batch is **not** one change of the whole cluster: it is sent in parts, which are shared among shards. After an
//!   error some of it may be there. Every part can be repeated safely, since it names its points and what they become:
//!   repeat the batch.
//! - Writers are not kept apart. Two that say different things of one image at the same time may leave its replicas
//!   different; so may a change that was not acknowledged, if a node that hung for a third of the deadline applies it
//!   after a later one. Give each writer images of its own.
//! - Qdrant writes changes to disk every few seconds. A killed process loses nothing (the system has its pages); a
//!   power cut of *all* replicas of a shard within these seconds can lose acknowledged images. Two replicas or more on
//!   machines that do not fail together are the protection.
//! - Reads ask one replica of each shard, of those that are not behind. More would not help: of several answers
//!   Qdrant returns what they have in common, so that a replica that lacks an image would hide it.
//! - A call that cannot be answered within its deadline is an error and never an incomplete answer.

mod address;
mod attachments;
mod backoff;
mod collection;
mod connection;
mod create;
mod failure;
mod filters;
mod payload;
mod read;
mod read_places;
mod reader;
mod runtime;
mod sources;
mod verify;
mod writer;

pub use address::Address;
pub use attachments::{attachment, attachment_to};
pub use create::create;
pub use r2former_index::{CollectionOptions, Quantization};
pub use reader::ClusterReader;
pub use verify::verify;
pub use writer::ClusterWriter;
