//! What a copy did, and how it is asked for.

use crate::FieldChange;
use r2former_index::Problem;
use serde::Serialize;

/// How [`copy_index`](super::copy_index) treats what the target has already, and what it compares at the end. The default
/// replaces nothing and compares a thousand images.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyOptions {
    /// Replaces images of the same name whose content is another; of several indexes the last one decides.
    pub update: bool,
    /// A label that stands for another folder in one of the indexes is that of a source that was moved: the last one counts.
    pub moved: bool,
    /// Images that are compared at the end.
    pub verify: VerifySamples,
}

impl CopyOptions {
    /// Replaces what differs.
    pub fn update(self, update: bool) -> Self {
        Self { update, ..self }
    }

    /// Says that sources which the indexes know in several places were moved.
    pub fn moved(self, moved: bool) -> Self {
        Self { moved, ..self }
    }

    /// Sets which images are compared at the end.
    pub fn verify(self, verify: VerifySamples) -> Self {
        Self { verify, ..self }
    }
}

/// Which images are compared after a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerifySamples {
    /// At most this many, spread over all of them; none with 0.
    Some(usize),
    /// All: everything is read once more from both sides.
    All,
}

impl VerifySamples {
    /// Images that are compared unless asked otherwise.
    pub const USUAL: usize = 1000;
}

impl Default for VerifySamples {
    fn default() -> Self {
        Self::Some(Self::USUAL)
    }
}

/// What [`copy_index`](super::copy_index) did.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CopyReport {
    /// Images of the indexes that were copied; one that is in two of them counts twice.
    pub images: usize,
    /// Images that were written and are new in the target.
    pub copied: usize,
    /// Images that the target had as they are.
    pub already_there: usize,
    /// Images that the target had with another content, and which were replaced ([`CopyOptions::update`]).
    pub updated: usize,
    /// Images that the target has with another content, and keeps.
    pub differing: usize,
    /// What differs of the first [`NAMED`](Self::NAMED) of those.
    pub differences: Vec<Difference>,
    /// Folders and tables that the target knows now, and did not before.
    pub sources: usize,
    /// Bytes of the vectors that were written.
    pub bytes: u64,
    /// What was compared at the end.
    pub verified: Verified,
}

impl CopyReport {
    /// How many images that differ are named.
    pub const NAMED: usize = 100;
}

/// An image that the target has with another content.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Its name.
    pub name: String,
    /// The index that has it otherwise.
    pub from: String,
    /// What differs: from what the target has to what that index has.
    pub changes: Vec<FieldChange>,
}

/// What was compared after a copy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Images in the target.
    pub images: usize,
    /// Images that were compared with what was read: metadata, descriptor, local features.
    pub samples: usize,
    /// What is wrong; empty if everything arrived.
    pub problems: Vec<Problem>,
}
