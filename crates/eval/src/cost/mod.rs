//! What a query costs, measured: time of each stage, bytes of each image, and how both grow with the database.

mod clock;
mod growth;
mod made_up;
mod memory;
mod rehearsal;
mod report;
mod stages;

pub use clock::Times;
pub use growth::{GROWTH_BATCH, Growth, growth};
pub use made_up::{Random, Views, local_bytes};
pub use memory::{peak_bytes, resident_bytes};
pub use rehearsal::{Rehearsal, RehearsalOptions, rehearse};
pub use report::CostReport;
pub use stages::{CostRow, Stages, StagesOptions, stages};
