//! A folder of photographs that carry their position in EXIF.

use super::Listing;
use super::walk::images_under;
use crate::image::{read_tags, summarise_notes};
use crate::{DataError, Result};
use rayon::prelude::*;
use std::path::Path;

/// Lists the photographs under `root`, at any depth, sorted by name (their path relative to `root`).
///
/// A photograph without a GPS position, with damaged EXIF, or with an impossible position is skipped
/// with the reason. Hidden files are left out; links are followed, but not in circles.
///
/// # Errors
/// [`DataError::Io`] when `root` cannot be read; [`DataError::Request`] when it is not a folder or
/// holds no image at all.
pub fn list_exif_folder(root: &Path) -> Result<Listing> {
    let found = images_under(root)?;
    if found.images.is_empty() {
        return Err(DataError::Request(format!(
            "{}: no image in this folder (JPEG, PNG, WebP, BMP or PPM){}",
            root.display(),
            found
                .skipped
                .first()
                .map(|(path, why)| format!("; {}: {why}", path.display()))
                .unwrap_or_default()
        )));
    }
    let mut listing = Listing { skipped: found.skipped, ..Listing::default() };
    let read: Vec<_> =
        found.images.into_par_iter().map(|(path, name)| (read_tags(&path), path, name)).collect();
    let mut without = 0;
    let mut notes = Vec::new();
    for (tags, path, name) in read {
        match tags {
            Ok(tags) if tags.position.is_some() => {
                notes.extend(tags.notes.iter().map(|note| (name.clone(), note.clone())));
                listing.photos.push(tags.photo(path, name));
            }
            Ok(tags) => {
                without += 1;
                let reason = tags.no_position.unwrap_or_else(|| "has no GPS position in its EXIF".into());
                listing.skipped.push((path, reason));
            }
            Err(DataError::Image { problem, .. }) => listing.skipped.push((path, problem)),
            Err(DataError::Io { source, .. }) => listing.skipped.push((path, source.to_string())),
            Err(other) => listing.skipped.push((path, other.to_string())),
        }
    }
    listing.notes.push(format!(
        "EXIF folder: {} photographs with a GPS position, {} with a heading; {without} without a position, {} \
         skipped for other reasons",
        listing.photos.len(),
        listing.photos.iter().filter(|p| p.heading.is_some()).count(),
        listing.skipped.len() - without
    ));
    listing.notes.extend(summarise_notes(notes.iter().map(|(name, note)| (name.as_str(), note))));
    Ok(listing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{PhotoTags, jpeg_with_tags};
    use crate::{LatLon, Rgb8};

    fn jpeg(tags: &PhotoTags) -> Vec<u8> {
        let rgb = Rgb8 { width: 8, height: 8, pixels: vec![100; 8 * 8 * 3] };
        jpeg_with_tags(&rgb, 80, tags).unwrap()
    }

    #[test]
    fn positions_are_read_and_gaps_told() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let position = Some(LatLon { lat: 52.2, lon: 0.1 });
        let full = PhotoTags {
            position,
            heading: Some(90.0),
            altitude: Some(12.0),
            time: Some(1_700_000_000),
            ..PhotoTags::default()
        };
        std::fs::create_dir(root.join("sub")).unwrap();
        std::fs::write(root.join("sub/b.JPG"), jpeg(&full)).unwrap();
        std::fs::write(root.join("a.jpg"), jpeg(&PhotoTags { position, ..PhotoTags::default() })).unwrap();
        std::fs::write(root.join("bare.jpg"), jpeg(&PhotoTags::default())).unwrap();
        std::fs::write(root.join("text.jpg"), "hello there").unwrap();
        std::fs::write(root.join("empty.jpg"), "").unwrap();
        // Latitude 52 degrees (52/1 at the start of its three rationals) made 91.
        let mut impossible = jpeg(&full);
        let at = impossible.windows(8).position(|w| w == [0, 0, 0, 52, 0, 0, 0, 1]).unwrap();
        impossible[at + 3] = 91;
        std::fs::write(root.join("pole.jpg"), impossible).unwrap();

        let listing = list_exif_folder(root).unwrap();
        let names: Vec<_> = listing.photos.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["a.jpg", "sub/b.JPG"]);
        let b = &listing.photos[1];
        assert!((b.position.unwrap().lat - 52.2).abs() < 1e-9 && b.heading == Some(90.0));
        assert_eq!((b.altitude, b.time, b.utm), (Some(12.0), Some(1_700_000_000), None));
        let reason = |name: &str| &listing.skipped.iter().find(|s| s.0.ends_with(name)).unwrap().1;
        assert_eq!(reason("bare.jpg"), "has no GPS position in its EXIF");
        assert!(reason("pole.jpg").contains("latitude 91"), "{}", reason("pole.jpg"));
        assert!(reason("text.jpg").contains("is not an image"));
        assert!(reason("empty.jpg").contains("is empty"));
        assert!(listing.notes[0].contains("2 photographs") && listing.notes[0].contains("1 without"));
    }

    #[test]
    fn damaged_exif_is_a_reason() {
        let dir = tempfile::tempdir().unwrap();
        let position = Some(LatLon { lat: 52.2, lon: 0.1 });
        let mut bytes = jpeg(&PhotoTags { position, ..PhotoTags::default() });
        let at = bytes.windows(4).position(|w| w == b"MM\0*").unwrap();
        bytes[at..at + 8].fill(0xee);
        std::fs::write(dir.path().join("x.jpg"), bytes).unwrap();
        let listing = list_exif_folder(dir.path()).unwrap();
        assert!(listing.photos.is_empty());
        assert!(listing.skipped[0].1.contains("EXIF block is damaged"), "{:?}", listing.skipped);
    }

    #[test]
    fn an_empty_folder_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let message = list_exif_folder(dir.path()).unwrap_err().to_string();
        assert!(message.contains("no image in this folder"), "{message}");
    }
}
