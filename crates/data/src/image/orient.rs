//! EXIF orientation: cameras store the sensor's rows and say how to turn them.

use super::Rgb8;

/// Width and height of an image of this size once it is upright.
pub(super) fn turned((width, height): (usize, usize), orientation: u8) -> (usize, usize) {
    if orientation >= 5 { (height, width) } else { (width, height) }
}

/// The image as it should be looked at.
pub(super) fn upright(image: Rgb8, orientation: u8) -> Rgb8 {
    if orientation <= 1 {
        return image;
    }
    let (w, h) = (image.width, image.height);
    let (width, height) = turned((w, h), orientation);
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
