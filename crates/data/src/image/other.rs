//! Every format but JPEG, through the `image` crate.

use super::format::{Format, is_raw_tiff};
use super::{Limits, Rgb8};
use crate::{DataError, Remedy, Result};
use ::image::error::ImageError;
use ::image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader};
use std::error::Error;
use std::io::{BufRead, Cursor, ErrorKind, Seek};
use std::path::Path;

/// What a decoder may allocate beside the pixels.
const WORKSPACE: u64 = 64 << 20;

/// Width and height as stored, from the header.
pub(super) fn dimensions(
    format: Format,
    reader: &mut (impl BufRead + Seek),
    name: &Path,
    limits: &Limits,
) -> Result<(usize, usize)> {
    let decoder = open(format, reader, name, limits)?;
    let (width, height) = decoder.dimensions();
    Ok((width as usize, height as usize))
}

/// Decodes a whole image, as stored (not yet turned).
pub(super) fn decode(format: Format, bytes: &[u8], name: &Path, limits: &Limits) -> Result<Rgb8> {
    // The directory may lie beyond what was sniffed.
    if format == Format::Tiff
        && is_raw_tiff(bytes)
        && let Some((problem, remedy)) = Format::Raw.conversion(name)
    {
        return Err(DataError::image_to(name, problem, remedy));
    }
    let decoder = open(format, Cursor::new(bytes), name, limits)?;
    let (width, height) = decoder.dimensions();
    let most = format.most_pixels(bytes.len());
    if most.is_some_and(|most| most < u64::from(width) * u64::from(height)) {
        let problem = format!(
            "is cut short: its header promises {width} x {height} pixels, more than its {} bytes can hold",
            bytes.len()
        );
        return Err(DataError::image_to(name, problem, Remedy::Again));
    }
    let image = DynamicImage::from_decoder(decoder).map_err(|e| failed(format, name, &e))?;
    Ok(Rgb8 { width: width as usize, height: height as usize, pixels: to_rgb8(image) })
}

/// The XMP packet of a PNG or WebP; `None` where there is none that can be read.
pub(super) fn xmp(format: Format, reader: &mut (impl BufRead + Seek)) -> Option<String> {
    let mut reader = ImageReader::with_format(reader, kind(format)?);
    let mut own = ::image::Limits::no_limits();
    own.max_alloc = Some(WORKSPACE);
    reader.limits(own);
    let packet = reader.into_decoder().ok()?.xmp_metadata().ok()??;
    Some(String::from_utf8_lossy(&packet).into_owned())
}

fn kind(format: Format) -> Option<ImageFormat> {
    Some(match format {
        Format::Jpeg => ImageFormat::Jpeg,
        Format::Png => ImageFormat::Png,
        Format::WebP => ImageFormat::WebP,
        Format::Bmp => ImageFormat::Bmp,
        Format::Pnm => ImageFormat::Pnm,
        Format::Tiff => ImageFormat::Tiff,
        Format::Gif => ImageFormat::Gif,
        Format::Qoi => ImageFormat::Qoi,
        _ => return None,
    })
}

/// Reads the header and checks what it promises.
fn open<'a>(
    format: Format,
    reader: impl BufRead + Seek + 'a,
    name: &Path,
    limits: &Limits,
) -> Result<impl ImageDecoder + 'a> {
    let kind = kind(format)
        .ok_or_else(|| DataError::image(name, format!("is {}, which is not read", format.name())))?;
    // Eight bytes a pixel: four channels of 16 bits.
    let mut own = ::image::Limits::no_limits();
    own.max_alloc = Some(limits.max_pixels.saturating_mul(8).saturating_add(WORKSPACE));
    let mut reader = ImageReader::with_format(reader, kind);
    reader.limits(own.clone());
    let mut decoder = reader.into_decoder().map_err(|e| failed(format, name, &e))?;
    let (width, height) = decoder.dimensions();
    limits.check_size(name, width, height)?;
    own.max_image_width = Some(limits.max_side);
    own.max_image_height = Some(limits.max_side);
    decoder.set_limits(own).map_err(|e| failed(format, name, &e))?;
    Ok(decoder)
}

fn failed(format: Format, name: &Path, error: &ImageError) -> DataError {
    let format = format.name();
    let (problem, remedy) = match error {
        ImageError::Limits(e) => {
            (format!("is a {format} that needs too much memory ({e})"), super::shrink(name))
        }
        ImageError::Unsupported(e) => {
            let command = super::format::to_jpeg(name);
            (format!("is a {format} of a rare kind ({e})"), Remedy::Convert(command))
        }
        e if ends_early(e) => (format!("is cut short: the {format} data stop early"), Remedy::Again),
        e => (format!("is a damaged {format} ({e})"), Remedy::Again),
    };
    DataError::image_to(name, problem, remedy)
}

/// Whether the end of the file is at the root of an error.
fn ends_early(error: &ImageError) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(e) = cause {
        if e.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == ErrorKind::UnexpectedEof) {
            return true;
        }
        cause = e.source();
    }
    false
}

/// Eight-bit colour: greys are repeated, alpha is dropped, 16-bit samples keep their high byte.
fn to_rgb8(image: DynamicImage) -> Vec<u8> {
    match image {
        DynamicImage::ImageRgb8(i) => i.into_raw(),
        DynamicImage::ImageRgba8(i) => i.pixels().flat_map(|p| [p[0], p[1], p[2]]).collect(),
        DynamicImage::ImageLuma8(i) => i.pixels().flat_map(|p| [p[0]; 3]).collect(),
        DynamicImage::ImageLumaA8(i) => i.pixels().flat_map(|p| [p[0]; 3]).collect(),
        DynamicImage::ImageRgb16(i) => i.pixels().flat_map(|p| [p[0], p[1], p[2]].map(high_byte)).collect(),
        DynamicImage::ImageRgba16(i) => i.pixels().flat_map(|p| [p[0], p[1], p[2]].map(high_byte)).collect(),
        DynamicImage::ImageLuma16(i) => i.pixels().flat_map(|p| [high_byte(p[0]); 3]).collect(),
        DynamicImage::ImageLumaA16(i) => i.pixels().flat_map(|p| [high_byte(p[0]); 3]).collect(),
        other => other.to_rgb8().into_raw(),
    }
}

fn high_byte(sample: u16) -> u8 {
    (sample >> 8) as u8
}
