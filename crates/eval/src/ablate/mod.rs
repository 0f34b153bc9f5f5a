//! Ablations: what each choice that can be made at evaluation time is worth, one change at a time against a baseline,
//! on models that were trained before. What training decides (no block-1, no xy, ...) is another model.

mod config;
mod orders;
mod plan;
mod report;
mod together;

pub use config::{AblationConfig, Axes, Baseline, DatasetEntry, ModelEntry, Selection};
pub use orders::{Ablation, AblationRow, DatasetRows, ablate};
pub use plan::Setting;
pub use together::TogetherRows;
