//! Errors of evaluations.

use std::path::{Path, PathBuf};

/// Result of this crate.
pub type Result<T, E = EvalError> = std::result::Result<T, E>;

/// Why an evaluation failed; each message says where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// A photograph, model, index or device failed.
    #[error(transparent)]
    Engine(#[from] r2former_engine::EngineError),
    /// A predictions file cannot be scored or written.
    #[error(transparent)]
    Predictions(#[from] crate::PredictionsError),
    /// Two runs cannot be compared.
    #[error(transparent)]
    Compare(#[from] crate::CompareError),
    /// One of several datasets cannot be read.
    #[error("dataset {name}: {source}")]
    Dataset {
        /// Its name in the configuration, or else its path.
        name: String,
        /// Why, with the path.
        source: r2former_data::DataError,
    },
    /// A dataset or configuration that cannot be evaluated.
    #[error("{0}")]
    Request(String),
    /// A file or folder that cannot be read or written.
    #[error("{path}: {problem}", path = path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
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
