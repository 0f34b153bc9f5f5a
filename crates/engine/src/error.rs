//! One error for the whole pipeline; the message is that of the part that failed.

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
    /// The device failed while computing.
    #[error("the device failed: {0}")]
    Compute(String),
}
