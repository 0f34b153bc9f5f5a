//! A query as the caller has it: a file, the bytes of one, or pixels.

use crate::{Extractor, Result};
use r2former_data::Rgb8;
use r2former_data::dataset::escaped_path;
use r2former_data::image::{
    PhotoTags, Shape, decode_bytes_noting, decode_file_noting, read_tags, shape, shape_of_bytes,
    tags_of_bytes,
};
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// A query photograph: a path, the bytes of an image file, or decoded pixels.
///
/// ```
/// use r2former_data::Rgb8;
/// use r2former_engine::QueryImage;
///
/// let frame = Rgb8 { width: 1, height: 1, pixels: vec![0, 0, 0] };
/// assert_eq!(QueryImage::from("street.jpg").name(), "street.jpg");
/// assert_eq!(QueryImage::from(&frame).named("frame 12").name(), "frame 12");
/// ```
#[derive(Debug, Clone)]
pub struct QueryImage<'a> {
    name: Cow<'a, str>,
    source: Source<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Source<'a> {
    File(&'a Path),
    Bytes(&'a [u8]),
    Pixels(&'a Rgb8),
}

impl<'a> QueryImage<'a> {
    /// Calls the query `name` in its answer and in messages; by default a file is called by its path.
    #[must_use]
    pub fn named(mut self, name: impl Into<Cow<'a, str>>) -> Self {
        self.name = name.into();
        self
    }

    /// The name in the answer.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file, where it is one.
    pub fn path(&self) -> Option<&'a Path> {
        match self.source {
            Source::File(path) => Some(path),
            Source::Bytes(_) | Source::Pixels(_) => None,
        }
    }

    /// The bytes of an image file, where it is those.
    pub fn bytes(&self) -> Option<&'a [u8]> {
        match self.source {
            Source::Bytes(bytes) => Some(bytes),
            Source::File(_) | Source::Pixels(_) => None,
        }
    }

    /// The pixels, where it is those.
    pub fn pixels(&self) -> Option<&'a Rgb8> {
        match self.source {
            Source::Pixels(pixels) => Some(pixels),
            Source::File(_) | Source::Bytes(_) => None,
        }
    }

    /// What its EXIF says; nothing of pixels and of what cannot be read.
    pub fn tags(&self) -> PhotoTags {
        let tags = match self.source {
            Source::File(path) => read_tags(path),
            Source::Bytes(bytes) => tags_of_bytes(bytes, Path::new(self.name.as_ref())),
            Source::Pixels(_) => Ok(PhotoTags::default()),
        };
        tags.unwrap_or_default()
    }
}

/// A query's pixels, and what speaks against them.
#[derive(Debug, Clone)]
pub struct DecodedQuery<'a> {
    /// Pixels, upright.
    pub pixels: Cow<'a, Rgb8>,
    /// Reasons to distrust the answer: a few pixels, a panorama squeezed into the model's shape, a file that was cut
    /// short and accepted.
    pub notes: Vec<String>,
}

impl Extractor {
    /// Decodes a query, turned upright, within this extractor's limits; pixels are handed back as they are.
    ///
    /// # Errors
    /// [`EngineError::Data`](crate::EngineError::Data) for a file that is missing, or bytes that are no usable
    /// image.
    pub fn decode<'a>(&self, query: &QueryImage<'a>) -> Result<DecodedQuery<'a>> {
        let limits = self.limits();
        let (shape, decoded) = match query.source {
            Source::File(path) => (shape(path, limits), decode_file_noting(path, limits)?),
            Source::Bytes(bytes) => {
                let name = Path::new(query.name.as_ref());
                (shape_of_bytes(bytes, name, limits), decode_bytes_noting(bytes, name, limits)?)
            }
            Source::Pixels(pixels) => {
                let notes = Shape::of_pixels(pixels).note().into_iter().collect();
                return Ok(DecodedQuery { pixels: Cow::Borrowed(pixels), notes });
            }
        };
        // What is wrong with the tags does not matter here.
        let notes = shape.ok().and_then(|shape| shape.note());
        let missing = decoded.missing.map(|what| format!("was cut short and is read in part: {what}"));
        Ok(DecodedQuery {
            pixels: Cow::Owned(decoded.image),
            notes: notes.into_iter().chain(missing).collect(),
        })
    }
}

impl<'a> From<&'a Path> for QueryImage<'a> {
    fn from(path: &'a Path) -> Self {
        Self { name: escaped_path(path).into(), source: Source::File(path) }
    }
}

impl<'a> From<&'a PathBuf> for QueryImage<'a> {
    fn from(path: &'a PathBuf) -> Self {
        path.as_path().into()
    }
}

/// A path.
impl<'a> From<&'a str> for QueryImage<'a> {
    fn from(path: &'a str) -> Self {
        Path::new(path).into()
    }
}

/// The bytes of an image file.
impl<'a> From<&'a [u8]> for QueryImage<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self { name: "image".into(), source: Source::Bytes(bytes) }
    }
}

/// The bytes of an image file.
impl<'a> From<&'a Vec<u8>> for QueryImage<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        bytes.as_slice().into()
    }
}

impl<'a> From<&'a Rgb8> for QueryImage<'a> {
    fn from(pixels: &'a Rgb8) -> Self {
        Self { name: "image".into(), source: Source::Pixels(pixels) }
    }
}
