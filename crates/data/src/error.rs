//! What can go wrong while reading photographs and datasets.

use std::fmt;
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
    #[error("{path}: {problem}{cure}", path = path.display(), cure = remedy.as_ref().map(|r| format!(": {r}")).unwrap_or_default())]
    Image {
        /// The file (or the name the caller gave to bytes in memory).
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// What to do about it, where that is one of a few things.
        remedy: Option<Remedy>,
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

/// What to do about an image that cannot be used. As text it is for whoever has the file and runs this program.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remedy {
    /// To bring it here again, whole.
    Again,
    /// The same, or to take the part that is there.
    AgainOrPart,
    /// To make it smaller, for example by this command.
    Smaller(String),
    /// To make another file of it, by this command.
    Convert(String),
    /// To take frames out of a video, by this command.
    Frames(String),
}

impl Remedy {
    /// The same for a sender, who has neither this machine's files nor this program's options.
    pub fn for_sender(&self) -> &'static str {
        match self {
            Self::Again | Self::AgainOrPart => "send it again, whole",
            Self::Smaller(_) => "make it smaller",
            Self::Convert(_) => "send it as JPEG or PNG",
            Self::Frames(_) => "send its frames one by one, as JPEG",
        }
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Again => f.write_str("copy or download it again"),
            Self::AgainOrPart => f.write_str(
                "copy or download it again, or take the part that is there with --accept-truncated",
            ),
            Self::Smaller(command) => write!(f, "make it smaller, for example with: {command}"),
            Self::Convert(command) => write!(f, "convert it with: {command}"),
            Self::Frames(command) => write!(f, "take a frame per second with: {command}"),
        }
    }
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
        Self::Image { path: path.into(), problem: problem.into(), remedy: None }
    }

    /// An image that cannot be used as it is, and what to do about it.
    pub(crate) fn image_to(path: impl Into<PathBuf>, problem: impl Into<String>, remedy: Remedy) -> Self {
        Self::Image { path: path.into(), problem: problem.into(), remedy: Some(remedy) }
    }

    /// What is wrong and what to do about it, without the name of the file that [`Self::Io`] and [`Self::Image`] begin with.
    pub fn reason(&self) -> String {
        match self {
            Self::Io { source, .. } => source.to_string(),
            Self::Image { problem, remedy: None, .. } => problem.clone(),
            Self::Image { problem, remedy: Some(remedy), .. } => format!("{problem}: {remedy}"),
            other => other.to_string(),
        }
    }
}
