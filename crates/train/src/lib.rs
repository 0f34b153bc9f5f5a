//! Training: every stage of the paper, and improvements from later work.
//!
//! A run is a [`TrainConfig`]; [`train`] executes it in a folder from which it can be resumed after any interruption.
//! [`preview`] draws a batch, and [`sized_preset`] sizes a configuration to photographs, machine and time.

mod all_patches;
mod augment;
mod batch;
mod config;
mod curves;
pub mod doctor;
mod error;
mod estimate;
mod extract_views;
mod heads;
mod local_pca;
mod local_vlad;
mod loss;
mod mining;
mod optim;
mod pool;
mod preview;
mod principal;
mod random;
mod record;
mod run;
mod sized;
mod start;
mod state;
mod step;
mod timing;
mod validate;
mod view_cache;
mod warp;

pub use augment::AugmentConfig;
pub use config::{
    BatchConfig, BatchKind, CheckpointConfig, GlobalLoss, LossConfig, MiningConfig, MiningKind, ModelChanges,
    OptimizerConfig, OptimizerKind, PlaceRules, PositiveKind, Schedule, ScheduleConfig, SourceConfig,
    SourceKind, Stage, StartModel, TrainConfig, ValidationConfig, WarpConfig,
};
pub use error::{Result, TrainError};
pub use local_pca::fit_local_pca;
pub use local_vlad::{LocalVladOptions, fit_local_vlad};
pub use loss::{cross_entropy, triplet};
pub use preview::preview;
pub use record::{LogEntry, read as read_log};
pub use run::{TrainObserver, TrainOutcome, train};
pub use sized::sized_preset;
pub use state::{BestRecall, Ranking};
pub use step::Losses;
pub use timing::{StepTime, time_global_step, time_rerank_step};
