//! What can go wrong while reading photographs and datasets.

use std::path::PathBuf;

/// Result of this crate.
pub type Result<T, E = DataError> = std::result::Result<T, E>;

/// An error that names the thing, the place in it, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The operating system refused: missing, unreadable, full disk.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },
    /// The bytes are not a photograph that can be used.
    #[error("{path}: {problem}", path = path.display())]
    Image {
        /// The file (or the name the caller gave to bytes in memory).
        path: PathBuf,
        /// What is wrong, and what to do about it.
        problem: String,
    },
    /// A table, list or file name that does not say what its format promises.
    #[error("{path}{place}: {problem}", path = path.display(), place = line.map(|n| format!(":{n}")).unwrap_or_default())]
    Format {
        /// The file or folder.
        path: PathBuf,
        /// Line number, from 1, where there is one.
        line: Option<u64>,
        /// What is wrong, and what to do about it.
        problem: String,
    },
    /// A coordinate outside its range, or not a number.
    #[error("{0}")]
    Position(String),
    /// A request that cannot be met: an empty set, an option out of range.
    #[error("{0}")]
    Request(String),
}

impl From<r2former_geo::InvalidPosition> for DataError {
    fn from(invalid: r2former_geo::InvalidPosition) -> Self {
        Self::Position(invalid.to_string())
    }
}

impl DataError {
    /// Wraps a system error with the path that it is about.
    pub fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { path: path.into(), source }
    }

    /// A file's content that breaks its format; `line` counts from 1.
    pub fn format(
        path: impl Into<PathBuf>,
        line: impl Into<Option<u64>>,
        problem: impl Into<String>,
    ) -> Self {
        Self::Format { path: path.into(), line: line.into(), problem: problem.into() }
    }

    /// An image that cannot be used.
    pub fn image(path: impl Into<PathBuf>, problem: impl Into<String>) -> Self {
        Self::Image { path: path.into(), problem: problem.into() }
    }
}
