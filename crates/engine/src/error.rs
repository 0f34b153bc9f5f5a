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
