//! Why a service does not start, or ends.

use std::path::PathBuf;

/// Result of this crate.
pub type Result<T, E = ServeError> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The operating system refused: an address in use, a file that is missing.
    #[error("{what}: {source}")]
    Io {
        /// The file, folder or address.
        what: String,
        /// The system's own words.
        source: std::io::Error,
    },
    /// A file of keys that is not understood.
    #[error("{path}:{line}: {problem}", path = path.display())]
    Keys {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// What is wrong, and what to do about it.
        problem: String,
    },
    /// A certificate or its key that cannot be used.
    #[error("{path}: {problem}", path = path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Options that do not fit together.
    #[error("{0}")]
    Options(String),
    /// An index or a photograph.
    #[error(transparent)]
    Engine(#[from] r2former_engine::EngineError),
}

impl ServeError {
    /// Wraps a system error with what it is about.
    pub(crate) fn io(what: impl AsRef<std::path::Path>, source: std::io::Error) -> Self {
        Self::Io { what: what.as_ref().display().to_string(), source }
    }
}

impl From<r2former_index::IndexError> for ServeError {
    fn from(error: r2former_index::IndexError) -> Self {
        Self::Engine(error.into())
    }
}
