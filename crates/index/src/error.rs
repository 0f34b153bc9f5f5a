//! What can go wrong with a place index, and what kind of error it is.

use std::io;
use std::path::{Path, PathBuf};

/// Result of this crate.
pub type Result<T, E = IndexError> = std::result::Result<T, E>;

/// The kind of an error: what makes the request succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request itself is wrong: whoever made it changes it.
    Caller,
    /// Nothing is wrong: the same request later succeeds.
    Retry,
    /// The machine is in the way: a full disk, missing rights, a failing device.
    Machine,
    /// The stored data is damaged: restore an export, or build the index again.
    Repair,
}

/// An error that names the index directory, what happened, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The directory holds no place index.
    #[error("{dir}: this is no place index (it has no manifest.json); make one with `r2former index create`", dir = dir.display())]
    NotAnIndex {
        /// The directory.
        dir: PathBuf,
    },
    /// Creation or import into a directory that already holds something.
    #[error("{dir}: this directory exists and is not empty; choose another, or remove it first", dir = dir.display())]
    Exists {
        /// The directory.
        dir: PathBuf,
    },
    /// The index was built by another model.
    #[error(
        "{dir}: this index was built by the model {index}, and the model given is {given}; descriptors of two \
         models cannot be compared: use the first model, or build another index",
        dir = dir.display()
    )]
    OtherModel {
        /// The index directory.
        dir: PathBuf,
        /// Fingerprint in the index's manifest.
        index: String,
        /// Fingerprint of the caller's model.
        given: String,
    },
    /// The index was written by another version of this program.
    #[error(
        "{dir}: the index has format {found}, and this program knows format {known}; {}",
        if found < known { "create a new index and add the photographs again" } else { "use the program that wrote it" },
        dir = dir.display()
    )]
    OtherFormat {
        /// The index directory.
        dir: PathBuf,
        /// Format number found.
        found: u32,
        /// Format number that this crate reads and writes.
        known: u32,
    },
    /// A request that can never succeed: a wrong width, a number out of range.
    #[error("{dir}: {problem}", dir = dir.display())]
    Request {
        /// The index directory.
        dir: PathBuf,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// Another process (or another part of this one) is writing.
    #[error("{dir}: another writer has this index open: {holder}; wait for it to end, or stop it", dir = dir.display())]
    Busy {
        /// The index directory.
        dir: PathBuf,
        /// Who holds the lock and since when, as far as is known.
        holder: String,
    },
    /// The directory cannot be written.
    #[error("{dir}: cannot write here ({source}); give this user the right to write, or copy the index elsewhere", dir = dir.display())]
    ReadOnly {
        /// The directory.
        dir: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The disk, quota or file size limit is reached.
    #[error("{dir}: no room left ({problem}); free some space and try again: what was acknowledged is safe", dir = dir.display())]
    Full {
        /// The index directory.
        dir: PathBuf,
        /// What was being written, and what was missing.
        problem: String,
    },
    /// The operating system refused something else.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Stored bytes that break their format.
    #[error("{dir}: the index is damaged: {problem}; verify lists all damage: restore an export, or build the index again", dir = dir.display())]
    Damaged {
        /// The index directory.
        dir: PathBuf,
        /// What was found where.
        problem: String,
    },
    /// The vector store failed inside.
    #[error("{dir}: the vector store failed while {doing}: {problem}", dir = dir.display())]
    Store {
        /// The index directory.
        dir: PathBuf,
        /// What it was doing.
        doing: &'static str,
        /// Its error message.
        problem: String,
    },
    /// An earlier failure left this writer unusable.
    #[error("{dir}: an earlier failure stopped this writer; open the index again: every acknowledged image is kept", dir = dir.display())]
    Stopped {
        /// The index directory.
        dir: PathBuf,
    },
    /// No node of a cluster answers, or none does securely.
    #[error(
        "{address}: no node answers ({problem}); check the address (the ports are those of gRPC), that the nodes run, and the network between"
    )]
    Unreachable {
        /// The collection's address.
        address: String,
        /// What the nodes said, each by its name.
        problem: String,
    },
    /// A cluster refuses the key, or the lack of one.
    #[error(
        "{address}: the cluster refuses {key} ({problem}); set R2FORMER_QDRANT_KEY, or R2FORMER_QDRANT_KEY_FILE to a file that holds it"
    )]
    KeyRefused {
        /// The collection's address.
        address: String,
        /// Which key: where it came from.
        key: &'static str,
        /// The cluster's words.
        problem: String,
    },
    /// There is no such collection.
    #[error("{address}: the cluster has no such collection; make one with `r2former index create`")]
    NoCollection {
        /// The collection's address.
        address: String,
    },
    /// Creation under a name that is taken.
    #[error(
        "{address}: the cluster has a collection {collection:?}; choose another name, or delete it there first"
    )]
    CollectionExists {
        /// The address of the index to create.
        address: String,
        /// The collection that is there.
        collection: String,
    },
    /// A collection that another program created.
    #[error(
        "{address}: this collection is no place index (its metadata has no \"r2former\"); choose another name, and make an index with `r2former index create`"
    )]
    OtherCollection {
        /// The collection's address.
        address: String,
    },
    /// A creation that did not come to its end.
    #[error(
        "{address}: its creation did not come to its end: delete {leftover} of the cluster, and create it again"
    )]
    HalfCreated {
        /// The collection's address.
        address: String,
        /// The collections that are there.
        leftover: String,
    },
    /// A cluster did not finish in time.
    #[error(
        "{address}: {doing} took longer than {seconds} s ({problem}); try again later: what was acknowledged is kept, and a repeated change does no harm"
    )]
    Deadline {
        /// The collection's address.
        address: String,
        /// What took that long.
        doing: &'static str,
        /// The deadline in seconds.
        seconds: u64,
        /// What the last attempt ended with.
        problem: String,
    },
    /// An exported file that cannot be trusted or read.
    #[error("{file}: {problem}", file = file.display())]
    Archive {
        /// The exported file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

impl IndexError {
    /// What makes the request succeed.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotAnIndex { .. }
            | Self::Exists { .. }
            | Self::OtherModel { .. }
            | Self::OtherFormat { .. }
            | Self::Request { .. }
            | Self::KeyRefused { .. }
            | Self::NoCollection { .. }
            | Self::CollectionExists { .. }
            | Self::OtherCollection { .. }
            | Self::HalfCreated { .. } => ErrorKind::Caller,
            Self::Busy { .. } | Self::Stopped { .. } | Self::Unreachable { .. } | Self::Deadline { .. } => {
                ErrorKind::Retry
            }
            Self::ReadOnly { .. } | Self::Full { .. } | Self::Io { .. } | Self::Store { .. } => {
                ErrorKind::Machine
            }
            Self::Damaged { .. } | Self::Archive { .. } => ErrorKind::Repair,
        }
    }

    /// A wrong request about the index at `dir`.
    pub(crate) fn request(dir: &Path, problem: impl Into<String>) -> Self {
        Self::Request { dir: dir.into(), problem: problem.into() }
    }

    /// Damage found in the index at `dir`.
    pub(crate) fn damaged(dir: &Path, problem: impl Into<String>) -> Self {
        Self::Damaged { dir: dir.into(), problem: problem.into() }
    }

    /// An error about an unfinished file is one about what it was to become: nobody has heard of the other name.
    pub(crate) fn about(mut self, unfinished: &[&Path], path: &Path) -> Self {
        let (Self::Full { dir: named, .. }
        | Self::ReadOnly { dir: named, .. }
        | Self::Io { path: named, .. }) = &mut self
        else {
            return self;
        };
        if unfinished.iter().any(|unfinished| named.starts_with(unfinished)) {
            *named = path.into();
        }
        self
    }

    /// Sorts a system error about `path` by its kind.
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        use io::ErrorKind::{FileTooLarge, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        match source.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => {
                Self::Full { dir: path.into(), problem: source.to_string() }
            }
            PermissionDenied | ReadOnlyFilesystem => Self::ReadOnly { dir: path.into(), source },
            _ => Self::Io { path: path.into(), source },
        }
    }
}

/// Adds the path to a system error: `io_result.at(path)?`.
pub(crate) trait At<T> {
    fn at(self, path: &Path) -> Result<T>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T> {
        self.map_err(|source| IndexError::io(path, source))
    }
}
