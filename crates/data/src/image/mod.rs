//! Photographs as pixels: decode a file safely, resize it, turn it into the network's input; read and
//! write what its EXIF says of where and when.
//!
//! ```no_run
//! use r2former_data::image::{decode_file, to_input, Limits, Preprocess, ResizeMode};
//!
//! let photo = decode_file("street.jpg".as_ref(), &Limits::default())?;
//! let input = to_input(&photo, 480, 640, &Preprocess::imagenet(ResizeMode::Direct))?;
//! assert_eq!(input.len(), 3 * 480 * 640);
//! # Ok::<(), r2former_data::DataError>(())
//! ```

mod chunks;
mod crop;
mod decode;
mod exif_tags;
mod filter;
pub mod format;
mod input;
mod interpolate;
mod jpeg;
mod jpeg_bits;
mod jpeg_scan;
mod mapillary;
mod metadata;
mod open;
mod orient;
mod other;
mod panorama;
mod perspective;
mod photo_tags;
#[cfg(test)]
mod reference;
mod resample;
mod smooth;
mod tags;
mod tags_write;
mod thumbnail;
pub(crate) mod time;
mod xmp;

pub use crop::crop_input;
pub use decode::{
    Decoded, decode_bytes, decode_bytes_noting, decode_file, decode_file_noting, dimensions, read_file,
};
pub use input::{Preprocess, ResizeMode, to_input, to_input_into};
pub use metadata::jpeg_header_ends;
pub use panorama::{PANORAMA_MIN_WIDTH, Panorama, Shape, cut_views, shape, shape_of_bytes};
pub use perspective::{AngularGrid, DirectedView, render_view};
pub use photo_tags::{HeadingReference, PhotoTags, TagNote, summarise_notes};
pub(crate) use tags::{TagProblem, sound_tags, sound_tags_of_bytes};
pub use tags::{read_tags, tags_of_bytes};
pub use tags_write::jpeg_with_tags;

use crate::{DataError, Remedy, Result};
use std::path::Path;

/// An image of 8-bit red, green and blue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rgb8 {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `height * width * 3` bytes: rows from the top, pixels from the left, each as R, G, B.
    pub pixels: Vec<u8>,
}

impl Rgb8 {
    /// Refuses an image without pixels, or whose fields contradict each other.
    pub(crate) fn check(&self) -> Result<()> {
        let wanted = self.width.checked_mul(self.height).and_then(|n| n.checked_mul(3));
        if wanted == Some(self.pixels.len()) && !self.pixels.is_empty() {
            return Ok(());
        }
        Err(DataError::Request(format!(
            "an image of {} x {} pixels needs width x height x 3 bytes, at least 3, and has {}",
            self.width,
            self.height,
            self.pixels.len()
        )))
    }
}

/// What a photograph may cost, decided from its header before any pixel is allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Width times height; 150 million by default (a decoded image of 450 MB).
    pub max_pixels: u64,
    /// The longer side; 30,000 by default.
    pub max_side: u32,
    /// The file's size in bytes; 512 MiB by default.
    pub max_bytes: u64,
    /// Whether a JPEG that was cut short is read as far as it goes, its missing blocks grey; not by default.
    pub accept_truncated: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_pixels: 150_000_000, max_side: 30_000, max_bytes: 512 << 20, accept_truncated: false }
    }
}

impl Limits {
    /// Checks what a header promises.
    fn check_size(&self, name: &Path, width: u32, height: u32) -> Result<()> {
        if width == 0 || height == 0 {
            let problem = format!("its header says {width} x {height} pixels: a side of 0 is no image");
            return Err(DataError::image(name, problem));
        }
        let problem = if width.max(height) > self.max_side {
            let most = self.max_side;
            format!("is {width} x {height} pixels; the limit is {most} a side")
        } else if u64::from(width) * u64::from(height) > self.max_pixels {
            let most = self.max_pixels as f64 / 1e6;
            format!("is {width} x {height} pixels; the limit is {most} million in all")
        } else {
            return Ok(());
        };
        Err(DataError::image_to(name, problem, shrink(name)))
    }

    /// Checks a file's size.
    fn check_bytes(&self, name: &Path, bytes: u64) -> Result<()> {
        if bytes == 0 {
            return Err(DataError::image_to(name, "is empty (0 bytes)", Remedy::Again));
        }
        if bytes > self.max_bytes {
            let problem = format!("has {bytes} bytes; the limit for an image file is {}", self.max_bytes);
            return Err(DataError::image_to(name, problem, shrink(name)));
        }
        Ok(())
    }
}

/// What to do about an image that is too large.
fn shrink(name: &Path) -> Remedy {
    Remedy::Smaller(format!(
        "magick {} -resize 4000x4000 {}",
        crate::shell::shell_path(name),
        format::beside(name, ".smaller.jpg")
    ))
}

/// Images whose shorter side has fewer pixels show too little of a place.
const SMALLEST_SIDE: usize = 32;

/// Images whose one side is longer than the other by more are unrecognisable once they have a model's shape.
const MOST_ELONGATED: f64 = 4.0;

/// A note for an image that is decoded, but hardly shows a place once it has a model's size: one that is tiny, or
/// many times as long as it is high. `None` for ordinary images.
///
/// ```
/// use r2former_data::image::degenerate;
/// assert_eq!(degenerate(640, 480), None);
/// assert!(degenerate(1, 5000).is_some_and(|note| note.contains("1 x 5000 pixels")));
/// ```
pub fn degenerate(width: usize, height: usize) -> Option<String> {
    let (short, long) = (width.min(height), width.max(height));
    let times = long as f64 / short.max(1) as f64;
    if short < SMALLEST_SIDE {
        Some(format!("is {width} x {height} pixels: too few to recognise a place by"))
    } else if times > MOST_ELONGATED {
        Some(format!(
            "is {width} x {height} pixels: one side is {times:.0} times the other, and it is squeezed to the model's \
             shape; cut it into parts"
        ))
    } else {
        None
    }
}
