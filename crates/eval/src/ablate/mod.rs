//! Ablations of trained models: the effect of each choice made at evaluation time, one change at a time against a
//! baseline. Choices made by training (no block-1, no xy, ...) are other models.

mod config;
mod evaluate;
mod plan;
mod pooled;
mod report;
mod results;

pub(crate) use config::{hundred, twenty_five};
pub(crate) use evaluate::{Evaluated, Row, Subject, dataset_of, evaluate_on, subject};
pub(crate) use plan::plan_rankings;
pub(crate) use pooled::recall;
pub(crate) use results::{Hits, RANKS};

pub use config::{AblationConfig, Axes, Baseline, DatasetEntry, ModelEntry, Selection, read_datasets};
pub use evaluate::ablate;
pub use plan::Setting;
pub use results::{Ablation, AblationRow, DatasetResults, PooledResults};
