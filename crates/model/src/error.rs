//! Errors of models, checkpoints and devices.

use std::path::PathBuf;

/// Result of this crate.
pub type Result<T, E = ModelError> = std::result::Result<T, E>;

/// Why a model, checkpoint or device cannot be used. Messages name the file or tensor and say what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A file could not be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// A file is not a readable checkpoint: truncated, of another format, or malicious.
    #[error("{path}: {problem}", path = path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do about it.
        problem: String,
    },
    /// Tensors that are missing, unexpected, non-finite or of a shape that does not fit the architecture; one line each.
    #[error("the tensors do not fit the architecture:\n  {}", .0.join("\n  "))]
    Tensors(Vec<String>),
    /// Two models to be averaged have a tensor in different shapes.
    #[error(
        "tensor {name} is {first:?} in the first model and {second:?} in the second: only models of the same \
         architecture and grid of position embeddings can be averaged"
    )]
    Shapes {
        /// Name of the tensor.
        name: String,
        /// Its shape in the first model.
        first: Vec<usize>,
        /// Its shape in the second.
        second: Vec<usize>,
    },
    /// An invalid model configuration.
    #[error("model configuration: {0}")]
    Config(String),
    /// An input whose shape does not suit the model.
    #[error("{0}")]
    Input(String),
    /// A device that is unknown, missing, not compiled in, or that failed.
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
