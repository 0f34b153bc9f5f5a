//! One error for training; each part speaks for itself.

use std::path::PathBuf;

/// Result of this crate.
pub type Result<T, E = TrainError> = std::result::Result<T, E>;

/// What went wrong, in the words of the part where it did.
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
    /// A configuration that says something impossible.
    #[error("{0}")]
    Config(String),
    /// The operating system refused.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },
    /// A file of a run that cannot be gone on with.
    #[error("{path}: {problem}", path = path.display())]
    Run {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The loss is not a number any more.
    #[error(
        "step {step}: the loss is {loss}, not a finite number; the batch is saved in {batch}: look at it, then \
         lower the learning rate or clip gradients, and go on from the last checkpoint", batch = batch.display()
    )]
    NotFinite {
        /// Where.
        step: u64,
        /// What it was.
        loss: f32,
        /// A picture of the batch and its list.
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
