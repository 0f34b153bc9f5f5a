//! Errors of an export.

use r2former_model::ModelError;
use std::path::PathBuf;

/// Result of this crate.
pub type Result<T, E = OnnxError> = std::result::Result<T, E>;

/// Why a model cannot be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// The model itself is not valid, takes no such image size, or a file cannot be written.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The model lacks what is asked for.
    #[error("{0}")]
    Request(String),
    /// A file that cannot be named inside the model, next to which it has to lie.
    #[error("{path}: {problem}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}
