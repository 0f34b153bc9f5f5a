//! Training: every stage of the paper and what later work found better.
//!
//! A run is a [`TrainConfig`]; [`train`] takes it from its first step to its last, in a folder that can be gone on
//! with after any interruption. [`preview`] shows what the network would see.

mod augment;
mod bank;
mod batch;
mod config;
mod curves;
pub mod doctor;
mod error;
mod loss;
mod mining;
mod optim;
mod pool;
mod preview;
mod random;
mod record;
mod run;
mod start;
mod state;
mod step;
mod timing;
mod validate;

pub use augment::AugmentConfig;
pub use config::{
    BatchConfig, BatchKind, GlobalLoss, KeepConfig, LossConfig, MiningConfig, MiningKind, ModelChanges,
    OptimizerConfig, OptimizerKind, PlaceRules, PositiveKind, Schedule, ScheduleConfig, SourceConfig,
    SourceKind, Stage, TrainConfig, ValidationConfig,
};
pub use error::{Result, TrainError};
pub use loss::{cross_entropy, triplet};
pub use preview::preview;
pub use record::{Line, read as read_log};
pub use run::{Outcome, Watch, train};
pub use step::Losses;
pub use timing::{StepTime, time_global_step, time_rerank_step};
