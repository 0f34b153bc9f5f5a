//! What can go wrong with models and checkpoints.

use std::path::PathBuf;

/// Result of this crate.
pub type Result<T, E = ModelError> = std::result::Result<T, E>;

/// An error that names the file or tensor, what is wrong with it, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The operating system refused.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },
    /// The file is not a checkpoint that can be read: truncated, another format, hostile.
    #[error("{path}: {problem}", path = path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do about it.
        problem: String,
    },
    /// Tensors that are missing, unexpected or of another shape than the architecture needs.
    #[error("the tensors do not fit the architecture:\n  {}", .0.join("\n  "))]
    Tensors(Vec<String>),
    /// A configuration that no model can have.
    #[error("model configuration: {0}")]
    Config(String),
    /// An input whose shape or values the model cannot take.
    #[error("{0}")]
    Input(String),
    /// A device that is not there or not compiled in.
    #[error("{0}")]
    Device(String),
}

impl ModelError {
    pub(crate) fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { path: path.into(), source }
    }

    pub(crate) fn checkpoint(path: impl Into<PathBuf>, problem: impl Into<String>) -> Self {
        Self::Checkpoint { path: path.into(), problem: problem.into() }
    }
}
