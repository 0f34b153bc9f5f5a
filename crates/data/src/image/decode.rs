//! From a file or bytes to pixels, whatever the format.

use super::format::{self, Format};
use super::open::{head_format, open, stored_dimensions};
use super::xmp::Xmp;
use super::{Limits, Panorama, Rgb8, Shape, jpeg, metadata, orient, other, panorama};
use crate::{DataError, Result};
use std::io::{BufReader, Cursor, Read, Seek};
use std::path::Path;

/// A decoded photograph.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// Its pixels, upright.
    pub image: Rgb8,
    /// What is missing of a JPEG that was cut short, where [`Limits::accept_truncated`] let it pass.
    pub missing: Option<String>,
    /// Whether it is a panorama.
    pub panorama: Option<Panorama>,
}

impl Decoded {
    /// Reasons to distrust what a network makes of the image as a whole: missing parts, a panorama that is squeezed to
    /// the model's shape, too few pixels.
    pub fn notes(&self) -> Vec<String> {
        let cut = self.missing.as_ref().map(|what| format!("is cut short: {what}; the rest is grey"));
        let Rgb8 { width, height, .. } = self.image;
        let shape = Shape { width, height, panorama: self.panorama.clone() }.note();
        cut.into_iter().chain(shape).collect()
    }
}

/// Decodes a photograph, turned upright as its EXIF orientation asks.
///
/// The format is recognised by the first bytes, never by the extension: JPEG (sequential and progressive; grey,
/// colour, CMYK and YCCK), PNG, WebP, TIFF, GIF, BMP, PPM and similar, QOI. Transparency is dropped, not blended;
/// 16-bit samples keep their high byte; of an animation or several pages the first picture is taken. A JPEG of which
/// blocks or scans are missing is an error unless `limits` accept it; one that lacks only its end marker is read;
/// what follows a complete one (a phone's video, a second picture) is ignored.
///
/// # Errors
/// [`DataError::Io`] for a file that cannot be read; [`DataError::Image`] for one that is empty, a
/// folder, not an image, in an unsupported format, damaged, cut short, or beyond `limits`. The limits
/// are checked on the header, before pixels are allocated.
pub fn decode_file(path: &Path, limits: &Limits) -> Result<Rgb8> {
    Ok(decode_file_noting(path, limits)?.image)
}

/// As [`decode_file`], with what is missing of a photograph that was cut short.
///
/// # Errors
/// As [`decode_file`].
pub fn decode_file_noting(path: &Path, limits: &Limits) -> Result<Decoded> {
    decode_bytes_noting(&read_file(path, limits)?, path, limits)
}

/// The bytes of an image file, for a caller that needs them besides the pixels: [`decode_bytes_noting`] continues.
///
/// # Errors
/// [`DataError::Io`] for a file that cannot be read; [`DataError::Image`] for a folder, pipe or device, and for a file
/// beyond `limits`.
pub fn read_file(path: &Path, limits: &Limits) -> Result<Vec<u8>> {
    let (file, length) = open(path, limits)?;
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    // The file may grow while it is read: never take more than was checked.
    file.take(length).read_to_end(&mut bytes).map_err(|e| DataError::io(path, e))?;
    Ok(bytes)
}

/// As [`decode_file`], of bytes in memory; `name` stands for them in messages.
///
/// # Errors
/// As [`decode_file`].
pub fn decode_bytes(bytes: &[u8], name: &Path, limits: &Limits) -> Result<Rgb8> {
    Ok(decode_bytes_noting(bytes, name, limits)?.image)
}

/// As [`decode_file_noting`], of bytes in memory.
///
/// # Errors
/// As [`decode_file`].
pub fn decode_bytes_noting(bytes: &[u8], name: &Path, limits: &Limits) -> Result<Decoded> {
    limits.check_bytes(name, bytes.len() as u64)?;
    let format = format::readable(bytes, name)?;
    let (image, missing) = match format {
        Format::Jpeg => jpeg::decode(bytes, name, limits)?,
        _ => (other::decode(format, bytes, name, limits)?, None),
    };
    let metadata = metadata::read(format, &mut Cursor::new(bytes), name).unwrap_or_default();
    let image = orient::upright(image, metadata.orientation());
    let xmp = Xmp(metadata.xmp.as_deref().unwrap_or_default());
    let panorama = panorama::recognise(image.width, image.height, xmp);
    Ok(Decoded { image, missing, panorama })
}

/// Width and height after the EXIF orientation, from the header alone: pixels are not decoded.
///
/// # Errors
/// As [`decode_file`], as far as the header shows it.
pub fn dimensions(path: &Path, limits: &Limits) -> Result<(usize, usize)> {
    let (file, _) = open(path, limits)?;
    let mut reader = BufReader::new(file);
    let format = head_format(&mut reader, path)?;
    let stored = stored_dimensions(format, &mut reader, path, limits)?;
    reader.rewind().map_err(|e| DataError::io(path, e))?;
    let metadata = metadata::read(format, &mut reader, path);
    Ok(orient::turned(stored, metadata.map_or(1, |m| m.orientation())))
}
