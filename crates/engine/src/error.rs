//! One error for the whole pipeline; the message is that of the part that failed.

use r2former_data::DataError;
use r2former_index::{ErrorKind, IndexError};
use r2former_model::ModelError;

/// Result of this crate.
pub type Result<T, E = EngineError> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A photograph, position or dataset.
    #[error(transparent)]
    Data(#[from] r2former_data::DataError),
    /// A model or checkpoint.
    #[error(transparent)]
    Model(#[from] r2former_model::ModelError),
    /// A place index.
    #[error(transparent)]
    Index(#[from] r2former_index::IndexError),
    /// A request that cannot be met: a model without what it needs, an input of the wrong length.
    #[error("{0}")]
    Request(String),
    /// A device that computes something else than the CPU.
    #[error(
        "{device} is not used: in the stage \"{stage}\" {fault}. Use --device cpu; `r2former doctor` with this device \
         shows every stage (and is what a bug report needs); --trust-device uses it all the same"
    )]
    Untrusted {
        /// The device, with adapter and driver.
        device: String,
        /// The first stage that disagrees.
        stage: &'static str,
        /// By how much, or how it failed.
        fault: String,
    },
    /// The device failed while computing.
    #[error("the device failed: {0}")]
    Compute(String),
}

/// What failed, for callers that have no types of this library: other languages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureKind {
    /// A request that cannot be met: an option out of range, a model without what it needs.
    Request,
    /// A photograph, table or dataset that cannot be used.
    Data,
    /// A file or folder that does not exist, or a folder that holds no index.
    NotFound,
    /// A model or checkpoint that is damaged or not supported.
    Model,
    /// A device that is unknown, fails, or disagrees with the CPU.
    Device,
    /// An index that cannot be read or written.
    Index,
    /// Another writer has the index, or a cluster does not answer: try again.
    Busy,
    /// A damaged index.
    Damaged,
}

impl EngineError {
    /// What failed.
    pub fn failure(&self) -> FailureKind {
        let by_io = |error: &std::io::Error, other| match error.kind() {
            std::io::ErrorKind::NotFound => FailureKind::NotFound,
            _ => other,
        };
        match self {
            Self::Data(DataError::Io { source, .. }) => by_io(source, FailureKind::Data),
            Self::Data(DataError::Request(_) | DataError::Position(_)) | Self::Request(_) => {
                FailureKind::Request
            }
            Self::Data(_) => FailureKind::Data,
            Self::Model(ModelError::Io { source, .. }) => by_io(source, FailureKind::Model),
            Self::Model(ModelError::Device(_)) | Self::Untrusted { .. } | Self::Compute(_) => {
                FailureKind::Device
            }
            Self::Model(_) => FailureKind::Model,
            Self::Index(IndexError::NotAnIndex { .. } | IndexError::NoCollection { .. }) => {
                FailureKind::NotFound
            }
            Self::Index(IndexError::Request { .. }) => FailureKind::Request,
            Self::Index(IndexError::Io { source, .. }) => by_io(source, FailureKind::Index),
            Self::Index(error) => match error.kind() {
                ErrorKind::Retry => FailureKind::Busy,
                ErrorKind::Repair => FailureKind::Damaged,
                ErrorKind::Caller | ErrorKind::Machine => FailureKind::Index,
            },
        }
    }
}
