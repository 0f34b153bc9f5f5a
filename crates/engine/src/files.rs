//! Where the bytes of photographs are: in files, or wherever else somebody fetches them from.

use r2former_data::image::{self, Limits};
use r2former_data::{DataError, Result};
use r2former_index::FileFingerprint;
use rayon::prelude::*;
use std::fmt::Debug;
use std::path::Path;

/// Reads photographs by the paths that their sources give them. Any number of threads read at once.
///
/// [`Disk`] reads files; a store elsewhere has addresses for paths.
pub trait PhotoFiles: Debug + Send + Sync {
    /// All bytes of a photograph, and what identifies them.
    ///
    /// # Errors
    /// As [`read_file`](image::read_file).
    fn read(&self, path: &Path, limits: &Limits) -> Result<(Vec<u8>, FileFingerprint)>;

    /// What identifies the bytes of each of some photographs, if possible without reading them: the same that
    /// [`read`](Self::read) says.
    fn fingerprints(&self, paths: &[&Path]) -> Vec<Result<FileFingerprint>>;

    /// These are read next, about in this order: a store that is far away fetches the first of them.
    fn announce(&self, paths: &[&Path], limits: &Limits) {
        let _ = (paths, limits);
    }
}

/// Files of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl PhotoFiles for Disk {
    fn read(&self, path: &Path, limits: &Limits) -> Result<(Vec<u8>, FileFingerprint)> {
        let bytes = image::read_file(path, limits)?;
        // Of the bytes that are decoded: the file may be another by the next time that it is read.
        let file = FileFingerprint::of(&bytes);
        Ok((bytes, file))
    }

    fn fingerprints(&self, paths: &[&Path]) -> Vec<Result<FileFingerprint>> {
        let of = |path: &&Path| FileFingerprint::of_file(path).map_err(|error| DataError::io(*path, error));
        paths.par_iter().map(of).collect()
    }
}
