//! The error of this crate.

use std::path::PathBuf;

/// Result of this crate.
pub type Result<T, E = TrainError> = std::result::Result<T, E>;

/// A training error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A photograph, position or dataset.
    #[error(transparent)]
    Data(#[from] r2former_data::DataError),
    /// A model or checkpoint.
    #[error(transparent)]
    Model(#[from] r2former_model::ModelError),
    /// Extraction.
    #[error(transparent)]
    Engine(#[from] r2former_engine::EngineError),
    /// Validation.
    #[error(transparent)]
    Eval(#[from] r2former_eval::EvalError),
    /// A configuration value that is out of range or contradicts another.
    #[error("{0}")]
    Config(String),
    /// A file or folder that cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A file or folder with unusable content.
    #[error("{path}: {problem}", path = path.display())]
    Run {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A tile of a panorama that does not go with the others.
    #[error("{path}: {problem}", path = path.display())]
    Tile {
        /// The tile.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// No batch can be composed because too many photographs cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// The loss is NaN or infinite.
    #[error(
        "step {step}: the loss is {loss}, not a finite number; the batch is saved in {batch}: inspect it, then lower \
         the learning rate or clip gradients, and resume from the last checkpoint", batch = batch.display()
    )]
    NotFinite {
        /// The step, from 1.
        step: u64,
        /// The loss.
        loss: f32,
        /// Picture of the batch.
        batch: PathBuf,
    },
}

impl TrainError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn run(path: impl Into<PathBuf>, problem: impl Into<String>) -> Self {
        Self::Run { path: path.into(), problem: problem.into() }
    }
}
