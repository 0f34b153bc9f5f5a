//! What can go wrong in an evaluation.

use std::path::{Path, PathBuf};

/// Result of this crate.
pub type Result<T, E = EvalError> = std::result::Result<T, E>;

/// What went wrong, and where.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// A photograph, model, index or device.
    #[error(transparent)]
    Engine(#[from] r2former_engine::EngineError),
    /// A file of predictions that cannot be scored or written.
    #[error(transparent)]
    Predictions(#[from] crate::PredictionsError),
    /// Two runs that do not answer the same question.
    #[error(transparent)]
    Compare(#[from] crate::CompareError),
    /// A dataset that cannot be evaluated as asked.
    #[error("{0}")]
    Request(String),
    /// A file of this crate's own that cannot be read or written.
    #[error("{path}: {problem}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },
}

impl From<r2former_data::DataError> for EvalError {
    fn from(error: r2former_data::DataError) -> Self {
        Self::Engine(error.into())
    }
}

impl EvalError {
    pub(crate) fn file(path: &Path, problem: impl ToString) -> Self {
        Self::File { path: path.to_path_buf(), problem: problem.to_string() }
    }
}
