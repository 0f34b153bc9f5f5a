//! Measured cost of a query: time of each stage, bytes per image, and how search scales with the database.

mod clock;
mod dry_run;
mod memory;
mod report;
mod search_scaling;
mod stages;
mod synthetic;

pub use clock::Times;
pub use dry_run::{DryRun, DryRunOptions, measure_memory};
pub use memory::{ResidentParts, peak_bytes, resident_bytes, resident_parts};
pub use report::CostReport;
pub use search_scaling::{SCALING_BATCH, SearchScaling, search_scaling};
pub use stages::{CostRow, Stages, StagesOptions, stages};
pub use synthetic::{Random, SyntheticDescriptors, random_local_features};
