//! Ablations of trained models: the effect of each choice made at evaluation time, one change at a time against a
//! baseline. Choices made by training (no block-1, no xy, ...) are other models.

mod config;
mod evaluate;
mod plan;
mod pooled;
mod report;
mod results;

pub use config::{AblationConfig, Axes, Baseline, DatasetEntry, ModelEntry, Selection};
pub use evaluate::ablate;
pub use plan::Setting;
pub use results::{Ablation, AblationRow, DatasetResults, PooledResults};
