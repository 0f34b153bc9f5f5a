//! The image files of a folder, whatever is known of their positions.

use super::Listing;
use super::walk::{Found, images_under};
use crate::{DataError, Photo, Result};
use std::path::Path;

/// Lists the image files under `root`, at any depth, sorted by name (their path relative to `root`), with or
/// without a position; their tags are not read. Hidden files are left out, and each file is listed once, whatever links
/// lead to it.
///
/// # Errors
/// [`DataError::Io`] when `root` cannot be read; [`DataError::Request`] when it is not a folder or holds no
/// image at all.
pub fn list_images(root: &Path) -> Result<Listing> {
    let mut found = images_under(root)?;
    let notes = found.each_file_once().into_iter().collect();
    listing(root, found, notes)
}

/// As [`list_images`] of the frames of a sequence: a file that links show again is a frame again, at each of its names.
///
/// # Errors
/// As [`list_images`].
pub fn list_frames(root: &Path) -> Result<Listing> {
    listing(root, images_under(root)?, Vec::new())
}

fn listing(root: &Path, found: Found, mut notes: Vec<String>) -> Result<Listing> {
    if found.images.is_empty() && found.skipped.is_empty() {
        return Err(DataError::Request(format!("{}: no image in this folder", root.display())));
    }
    notes.extend(found.others.special_note());
    let photos = found.images.into_iter().map(|(path, name)| Photo::new(path, name)).collect();
    Ok(Listing { photos, skipped: found.skipped, notes })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_a_link_repeats_is_a_frame() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("1.jpg"), "x").unwrap();
        std::os::unix::fs::symlink("1.jpg", dir.path().join("2.jpg")).unwrap();
        let names = |listing: &Listing| listing.photos.iter().map(|p| p.name.clone()).collect::<Vec<_>>();
        let frames = list_frames(dir.path()).unwrap();
        assert_eq!((names(&frames), frames.notes.len()), (vec!["1.jpg".into(), "2.jpg".into()], 0));
        let images = list_images(dir.path()).unwrap();
        assert_eq!(names(&images), ["1.jpg"]);
        let note = "1 photograph that links show under a second name counts once: the first is 2.jpg, which is 1.jpg";
        assert_eq!(images.notes, [note]);
        std::fs::remove_file(dir.path().join("1.jpg")).unwrap();
        std::fs::remove_file(dir.path().join("2.jpg")).unwrap();
        assert!(list_frames(dir.path()).unwrap_err().to_string().contains("no image in this folder"));
    }
}
