//! EXIF orientation: cameras store the sensor's rows and say how to turn them.

use super::Rgb8;
use super::format::Format;
use exif::{In, Reader, Tag};
use std::io::{BufRead, Seek};

/// The EXIF orientation, 1 to 8; 1 (as stored) when there is none or it cannot be read: a broken
/// EXIF block does not make a photograph unusable.
pub(super) fn orientation(format: Format, reader: &mut (impl BufRead + Seek)) -> u8 {
    if matches!(format, Format::Bmp | Format::Pnm) {
        return 1;
    }
    let read = Reader::new().continue_on_error(true).read_from_container(reader);
    let Ok(exif) = read.or_else(|e| e.distill_partial_result(|_| ())) else { return 1 };
    let value = exif.get_field(Tag::Orientation, In::PRIMARY).and_then(|field| field.value.get_uint(0));
    match value {
        Some(value @ 1..=8) => value as u8,
        _ => 1,
    }
}

/// Whether an orientation exchanges width and height.
pub(super) fn swaps_sides(orientation: u8) -> bool {
    orientation >= 5
}

/// The image as it should be looked at.
pub(super) fn upright(image: Rgb8, orientation: u8) -> Rgb8 {
    if orientation <= 1 {
        return image;
    }
    let (w, h) = (image.width, image.height);
    let (width, height) = if swaps_sides(orientation) { (h, w) } else { (w, h) };
    let mut pixels = Vec::with_capacity(image.pixels.len());
    for y in 0..height {
        for x in 0..width {
            let (row, column) = match orientation {
                2 => (y, w - 1 - x),
                3 => (h - 1 - y, w - 1 - x),
                4 => (h - 1 - y, x),
                5 => (x, y),
                6 => (h - 1 - x, y),
                7 => (h - 1 - x, w - 1 - y),
                _ => (x, w - 1 - y),
            };
            let at = (row * w + column) * 3;
            pixels.extend_from_slice(&image.pixels[at..at + 3]);
        }
    }
    Rgb8 { width, height, pixels }
}
