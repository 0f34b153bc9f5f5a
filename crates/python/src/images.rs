//! Images as Python hands them over.

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use r2former_engine::{QueryImage, Rgb8};
use std::path::PathBuf;

use crate::errors::Failure;

/// Images with their names. They can be used without the interpreter.
pub(crate) struct Images(Vec<(String, Image)>);

enum Image {
    Path(PathBuf),
    /// Those of an image file.
    Bytes(PyBackedBytes),
    Pixels(Rgb8),
}

impl Images {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn name(&self, number: usize) -> &str {
        &self.0[number].0
    }

    /// An image under its name.
    pub(crate) fn query(&self, number: usize) -> QueryImage<'_> {
        let (name, image) = &self.0[number];
        let query = match image {
            Image::Path(path) => QueryImage::from(path),
            Image::Bytes(bytes) => QueryImage::from(&**bytes),
            Image::Pixels(pixels) => QueryImage::from(pixels),
        };
        query.named(name.as_str())
    }
}

/// A list of `(name, image)`, where an image is a path (`str`), the bytes of a file (`bytes`), or `(height, width, bytes)` of
/// red, green and blue.
impl<'py> FromPyObject<'_, 'py> for Images {
    type Error = PyErr;

    fn extract(list: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let mut images = Vec::new();
        for item in list.try_iter()? {
            let (name, image): (String, Bound<'py, PyAny>) = item?.extract()?;
            let image = if let Ok(bytes) = image.extract::<PyBackedBytes>() {
                Image::Bytes(bytes)
            } else if let Ok((height, width, bytes)) = image.extract::<(usize, usize, PyBackedBytes)>() {
                Image::Pixels(pixels(&name, [height, width], &bytes)?)
            } else {
                Image::Path(image.extract()?)
            };
            images.push((name, image));
        }
        Ok(Self(images))
    }
}

fn pixels(name: &str, [height, width]: [usize; 2], bytes: &[u8]) -> Result<Rgb8, Failure> {
    let wanted = height.checked_mul(width).and_then(|pixels| pixels.checked_mul(3));
    if bytes.is_empty() || wanted != Some(bytes.len()) {
        return Err(Failure::request(format!("{name}: has no pixels, or not three bytes for each")));
    }
    Ok(Rgb8 { width, height, pixels: bytes.to_vec() })
}
