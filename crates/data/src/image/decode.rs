//! From a file or bytes to pixels, whatever the format.

use super::format::{self, Format};
use super::{Limits, Rgb8, jpeg, orient, other};
use crate::{DataError, Result};
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read, Seek};
use std::path::Path;

/// Decodes a photograph, turned upright as its EXIF orientation asks.
///
/// The format is told from the first bytes, never from the extension: JPEG (baseline, progressive,
/// grey, CMYK), PNG, WebP, BMP, PPM and its kin. Transparency is dropped, not blended; 16-bit samples keep
/// their high byte; of an animation the first picture is taken. A JPEG that ends early is an error,
/// never half an image; what follows a complete one (a phone's video, a second picture) is ignored.
///
/// # Errors
/// [`DataError::Io`] for a file that cannot be read; [`DataError::Image`] for one that is empty, a
/// folder, not an image, in an unsupported format, damaged, cut short, or beyond `limits`. The limits
/// are checked on the header, before pixels are allocated.
pub fn decode_file(path: &Path, limits: &Limits) -> Result<Rgb8> {
    let (file, length) = open(path, limits)?;
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    // The file may grow while it is read: never take more than was checked.
    file.take(length).read_to_end(&mut bytes).map_err(|e| DataError::io(path, e))?;
    decode_bytes(&bytes, path, limits)
}

/// As [`decode_file`], of bytes in memory; `name` stands for them in messages.
///
/// # Errors
/// As [`decode_file`].
pub fn decode_bytes(bytes: &[u8], name: &Path, limits: &Limits) -> Result<Rgb8> {
    limits.check_bytes(name, bytes.len() as u64)?;
    let format = format::recognise(bytes, name)?;
    let upright = |image| orient::upright(image, orient::orientation(format, &mut Cursor::new(bytes)));
    Ok(upright(match format {
        Format::Jpeg => jpeg::decode(bytes, name, limits)?,
        _ => other::decode(format, bytes, name, limits)?,
    }))
}

/// Width and height after the EXIF orientation, from the header alone: pixels are not decoded.
///
/// # Errors
/// As [`decode_file`], as far as the header shows it.
pub fn dimensions(path: &Path, limits: &Limits) -> Result<(usize, usize)> {
    let (file, _) = open(path, limits)?;
    let mut reader = BufReader::new(file);
    let format = head_format(&mut reader, path)?;
    let (width, height) = match format {
        Format::Jpeg => jpeg::dimensions(&mut reader, path, limits)?,
        _ => other::dimensions(format, &mut reader, path, limits)?,
    };
    reader.rewind().map_err(|e| DataError::io(path, e))?;
    Ok(if orient::swaps_sides(orient::orientation(format, &mut reader)) {
        (height, width)
    } else {
        (width, height)
    })
}

/// Opens a file that is not a folder, not empty and not too large; with its length in bytes.
pub(super) fn open(path: &Path, limits: &Limits) -> Result<(File, u64)> {
    let file = File::open(path).map_err(|e| DataError::io(path, e))?;
    let metadata = file.metadata().map_err(|e| DataError::io(path, e))?;
    if metadata.is_dir() {
        return Err(DataError::image(path, "is a folder, expected an image file"));
    }
    limits.check_bytes(path, metadata.len())?;
    Ok((file, metadata.len()))
}

/// The format by the first bytes; the reader is left at the start.
pub(super) fn head_format(reader: &mut (impl BufRead + Seek), path: &Path) -> Result<Format> {
    let mut head = Vec::with_capacity(format::HEAD);
    reader
        .by_ref()
        .take(format::HEAD as u64)
        .read_to_end(&mut head)
        .and_then(|_| reader.rewind())
        .map_err(|e| DataError::io(path, e))?;
    format::recognise(&head, path)
}
