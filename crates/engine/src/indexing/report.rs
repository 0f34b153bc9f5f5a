//! What adding photographs did, and how it is asked for.

use r2former_index::Source;
use serde::Serialize;
use std::path::PathBuf;

/// How [`add_photos`](super::add_photos) treats what the index knows already. The default replaces nothing.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct AddOptions {
    /// Takes what has changed: a position, a tag, or the file behind a name.
    pub update: bool,
    /// Leaves out photographs whose file is in the index, or in the same run, under another name.
    pub skip_duplicates: bool,
    /// The folders and tables that the photographs are from, whose labels begin their names. The index remembers them.
    pub sources: Vec<Source>,
    /// A source that the index knows in another place was moved from there.
    pub moved: bool,
}

impl AddOptions {
    /// Takes what has changed.
    pub fn update(self, update: bool) -> Self {
        Self { update, ..self }
    }

    /// Leaves out photographs whose file has another name already.
    pub fn skip_duplicates(self, skip_duplicates: bool) -> Self {
        Self { skip_duplicates, ..self }
    }

    /// Sets the folders and tables that the photographs are from.
    pub fn sources(self, sources: Vec<Source>) -> Self {
        Self { sources, ..self }
    }

    /// Says that sources which the index knows in another place were moved.
    pub fn moved(self, moved: bool) -> Self {
        Self { moved, ..self }
    }
}

/// What [`add_photos`](super::add_photos) did.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AddReport {
    /// Images added.
    pub added: usize,
    /// Images that were in the index already: same name, same file, same position, heading, altitude, time and tags.
    pub already_indexed: usize,
    /// Images that were in the index with another file or other metadata, and now are as their source says
    /// ([`AddOptions::update`]).
    pub updated: Vec<Changed>,
    /// Images that are in the index with another file or other metadata, and stay as they are.
    pub changed: Vec<Changed>,
    /// Files that were added although another name stands for the same bytes.
    pub duplicates: Vec<Duplicate>,
    /// Files that were left out because another name stands for the same bytes ([`AddOptions::skip_duplicates`]).
    pub skipped_duplicates: Vec<Duplicate>,
    /// Files that could not be read, each with the reason.
    pub unreadable: Vec<(PathBuf, String)>,
    /// Files that were cut short and are among the added all the same, with what is missing: see
    /// [`Extractor::with_limits`](crate::Extractor::with_limits).
    pub truncated: Vec<(PathBuf, String)>,
}

/// An image whose source says something else than the index.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Changed {
    /// Its name.
    pub name: String,
    /// What differs.
    pub changes: Vec<FieldChange>,
}

/// One difference between the index and a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldChange {
    /// `file` (its bytes), `position`, `heading`, `altitude`, `time`, or `tag` and its key.
    pub what: String,
    /// What the index has; none if it has nothing.
    pub from: Option<String>,
    /// What the source says; none if it says nothing.
    pub to: Option<String>,
}

/// A file under two names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Duplicate {
    /// Its name in this run; of a panorama, the panorama's.
    pub name: String,
    /// The other name.
    pub of: String,
}
