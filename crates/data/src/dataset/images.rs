//! The image files of a folder, whatever is known of their positions.

use super::Listing;
use super::walk::images_under;
use crate::{DataError, Photo, Result};
use std::path::Path;

/// Lists the image files under `root`, at any depth, sorted by name (their path relative to `root`), with or
/// without a position; their tags are not read. Hidden files are left out, and each file is listed once, whatever links lead to it.
///
/// # Errors
/// [`DataError::Io`] when `root` cannot be read; [`DataError::Request`] when it is not a folder or holds no
/// image at all.
pub fn list_images(root: &Path) -> Result<Listing> {
    let mut found = images_under(root)?;
    let notes = found.each_file_once().into_iter().collect();
    if found.images.is_empty() && found.skipped.is_empty() {
        return Err(DataError::Request(format!("{}: no image in this folder", root.display())));
    }
    let photos = found.images.into_iter().map(|(path, name)| Photo::new(path, name)).collect();
    Ok(Listing { photos, skipped: found.skipped, notes })
}
