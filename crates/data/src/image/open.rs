//! Opens image files, and reads what their first bytes say: format and dimensions.

use super::format::{self, Format, SNIFF_BYTES};
use super::{Limits, jpeg, other};
use crate::{DataError, Result};
use std::fs::File;
use std::io::{BufRead, Read, Seek};
use std::path::Path;

/// Width and height as the header states them.
pub(super) fn stored_dimensions(
    format: Format,
    reader: &mut (impl BufRead + Seek),
    path: &Path,
    limits: &Limits,
) -> Result<(usize, usize)> {
    match format {
        Format::Jpeg => jpeg::dimensions(reader, path, limits),
        _ => other::dimensions(format, reader, path, limits),
    }
}

/// Opens a file that is not a folder, not empty and not too large; with its length in bytes.
pub(super) fn open(path: &Path, limits: &Limits) -> Result<(File, u64)> {
    // Opening a pipe that nobody writes to would wait for ever.
    let metadata = std::fs::metadata(path).map_err(|e| DataError::io(path, e))?;
    if metadata.is_dir() {
        return Err(DataError::image(path, "is a folder, expected an image file"));
    }
    if !metadata.is_file() {
        return Err(DataError::image(path, "is a pipe or a device, expected an image file"));
    }
    limits.check_bytes(path, metadata.len())?;
    let file = File::open(path).map_err(|e| DataError::io(path, e))?;
    Ok((file, metadata.len()))
}

/// The format by the first bytes; the reader is left at the start.
pub(super) fn head_format(reader: &mut (impl BufRead + Seek), path: &Path) -> Result<Format> {
    let mut head = Vec::with_capacity(SNIFF_BYTES);
    reader
        .by_ref()
        .take(SNIFF_BYTES as u64)
        .read_to_end(&mut head)
        .and_then(|_| reader.rewind())
        .map_err(|e| DataError::io(path, e))?;
    format::readable(&head, path)
}
