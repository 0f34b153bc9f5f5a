//! Photographs that carry their position in EXIF: a folder of them, or one.

use super::content::{self, Content};
use super::names::{escaped_name, relative_name};
use super::table::not_a_file;
use super::walk::images_under;
use super::{Listing, Part, SkipKind, Skipped};
use crate::image::{PhotoTags, TagNote, TagProblem, sound_tags, summarise_notes};
use crate::{DataError, Photo, Result};
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// Lists the photographs under `root`, at any depth, sorted by name (their path relative to `root`); or the one
/// photograph that `root` is, named as its file.
///
/// Files are photographs by their content, not by their extension. One without a GPS position, in a format that is
/// not read, or with a damaged or impossible position is skipped with the reason; damage beside a position is noted.
/// Hidden files are left out; links are followed, but not in circles, and a file counts once, whatever links lead to it.
/// Tables of positions and sidecars beside the photographs are noted.
///
/// # Errors
/// [`DataError::Io`] when `root` cannot be read; [`DataError::Request`] when it is neither a folder nor a regular file,
/// or holds no image at all.
pub fn list_exif_folder(root: &Path) -> Result<Listing> {
    list_folder(root, true, None)
}

/// As [`list_exif_folder`] where `positions` are needed; else with the photographs that have no position, or one that cannot
/// be read. Of a part only its own photographs are read.
///
/// # Errors
/// As [`list_exif_folder`].
pub(super) fn list_folder(root: &Path, positions: bool, part: Option<&Part>) -> Result<Listing> {
    let about = std::fs::metadata(root).map_err(|e| DataError::io(root, e))?;
    if about.is_file() {
        let name = root.file_name().map(escaped_name).unwrap_or_default();
        let mut images = vec![(root.to_owned(), name)];
        images.retain(|(_, name)| part.is_none_or(|part| part.holds(name)));
        return Ok(read(images, Listing::default(), "photograph", positions).0);
    }
    if let Some(what) = not_a_file(&about).filter(|_| !about.is_dir()) {
        return Err(DataError::Request(format!("{}: is {what}, a folder or file is needed", root.display())));
    }
    let mut found = images_under(root)?;
    let linked = found.each_file_once();
    if found.images.is_empty() && found.skipped.is_empty() {
        let mut hints = found.companions.hints(root, true, &found.extensions());
        hints.extend(found.others.notes());
        return Err(DataError::Request(format!(
            "{}: no image in this folder{}",
            root.display(),
            hints.first().map(|hint| format!("; {hint}")).unwrap_or_default()
        )));
    }
    let extensions = found.extensions();
    if let Some(part) = part {
        found.images.retain(|(_, name)| part.holds(name));
        found.skipped.retain(|skipped| part.holds(&relative_name(root, &skipped.path)));
    }
    let listing = Listing { skipped: found.skipped, ..Listing::default() };
    let (mut listing, without) = read(found.images, listing, "EXIF folder", positions);
    if part.is_none_or(|part| part.shard.is_first()) {
        listing.notes.extend(found.companions.hints(root, positions && without > 0, &extensions));
        listing.notes.extend(found.others.notes());
        listing.notes.extend(linked);
    }
    Ok(listing)
}

/// Reads the tags of images into a listing; returns how many lack a position as well.
fn read(images: Vec<(PathBuf, String)>, listing: Listing, what: &str, positions: bool) -> (Listing, usize) {
    let of = |path: &Path| match content::of_file(path) {
        Content::Unsupported(reason) => Err(Why::File(SkipKind::Unsupported, reason)),
        Content::Photo | Content::Other => sound_tags(path).map_err(Why::from),
    };
    let read = images.into_par_iter().map(|(path, name)| (of(&path), path, name)).collect();
    tally(read, listing, what, positions)
}

/// Why the tags of a file are not known, without the file's name.
#[derive(Debug)]
pub(super) enum Why {
    /// The file cannot be used.
    File(SkipKind, String),
    /// Its tags alone are damaged.
    Tags(String),
}

impl Why {
    /// As a reason to leave it out.
    pub(super) fn told(&self) -> (SkipKind, &str) {
        match self {
            Self::File(kind, reason) => (*kind, reason),
            Self::Tags(reason) => (SkipKind::Unreadable, reason),
        }
    }
}

impl From<TagProblem> for Why {
    fn from(problem: TagProblem) -> Self {
        let reason = match problem {
            TagProblem::Tags(reason) => return Self::Tags(reason),
            TagProblem::File(error) => error.reason(),
        };
        Self::File(SkipKind::Unreadable, reason)
    }
}

/// What the tags of a photograph said, or why that is not known.
pub(super) type Read = (Result<PhotoTags, Why>, PathBuf, String);

/// Puts photographs whose tags were read into a listing, and counts them; returns how many lack a position as well.
pub(super) fn tally(read: Vec<Read>, mut listing: Listing, what: &str, positions: bool) -> (Listing, usize) {
    let mut without = 0;
    let mut notes = Vec::new();
    for (tags, path, name) in read {
        let (kind, reason) = match tags {
            Ok(tags) if tags.position.is_some() => {
                if positions {
                    notes.extend(tags.notes.iter().map(|note| (name.clone(), note.clone())));
                }
                listing.photos.push(tags.photo(path, name));
                continue;
            }
            Ok(tags) if !positions => {
                without += 1;
                listing.photos.push(tags.photo(path, name));
                continue;
            }
            Ok(tags) => {
                without += 1;
                let reason = tags.no_position.unwrap_or_else(|| "has no GPS position in its EXIF".into());
                (SkipKind::WithoutPosition, reason)
            }
            // The pixels may be fine.
            Err(Why::Tags(detail)) if !positions => {
                without += 1;
                notes.push((name.clone(), TagNote { kind: "added without its damaged tags", detail }));
                listing.photos.push(Photo::new(path, name));
                continue;
            }
            Err(why) => {
                let (kind, reason) = why.told();
                (kind, reason.to_owned())
            }
        };
        listing.skipped.push(Skipped { path, reason, kind });
    }
    if positions {
        listing.notes.push(format!(
            "{what}: {} with a GPS position, {} of them with a heading; {without} without a position, {} skipped for \
             other reasons",
            listing.photos.len(),
            listing.photos.iter().filter(|p| p.heading.is_some()).count(),
            listing.skipped.len() - without
        ));
    }
    listing.notes.extend(summarise_notes(notes.iter().map(|(name, note)| (name.as_str(), note))));
    (listing, without)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::jpeg_with_tags;
    use crate::{LatLon, Rgb8};

    fn jpeg(tags: &PhotoTags) -> Vec<u8> {
        let rgb = Rgb8 { width: 8, height: 8, pixels: vec![100; 8 * 8 * 3] };
        jpeg_with_tags(&rgb, 80, tags).unwrap()
    }

    #[test]
    fn positions_are_read_and_gaps_listed() {
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
        std::fs::write(root.join("heic.jpg"), b"\0\0\0\x18ftypheic\0\0\0\0mif1heic").unwrap();
        // Latitude 52 degrees (52/1 at the start of its three rationals) made 91.
        let mut impossible = jpeg(&full);
        let at = impossible.windows(8).position(|w| w == [0, 0, 0, 52, 0, 0, 0, 1]).unwrap();
        impossible[at + 3] = 91;
        std::fs::write(root.join("pole.jpg"), impossible).unwrap();

        let listing = list_exif_folder(root).unwrap();
        let names: Vec<_> = listing.photos.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["a.jpg", "sub/b.JPG"]);
        let b = &listing.photos[1];
        assert!((b.lat_lon().unwrap().lat - 52.2).abs() < 1e-9 && b.heading == Some(90.0));
        assert_eq!((b.altitude, b.time, b.utm), (Some(12.0), Some(1_700_000_000), None));
        let reason = |name: &str| &listing.skipped.iter().find(|s| s.path.ends_with(name)).unwrap().reason;
        assert_eq!(reason("bare.jpg"), "has no GPS position in its EXIF");
        assert!(reason("pole.jpg").contains("latitude 91"), "{}", reason("pole.jpg"));
        assert!(reason("text.jpg").contains("is not an image"));
        assert!(reason("empty.jpg").contains("is empty"));
        let kind = |name: &str| listing.skipped.iter().find(|s| s.path.ends_with(name)).unwrap().kind;
        assert_eq!(kind("bare.jpg"), SkipKind::WithoutPosition);
        assert_eq!(kind("text.jpg"), SkipKind::Unreadable);
        assert_eq!(kind("heic.jpg"), SkipKind::Unsupported);
        assert!(listing.notes[0].contains("2 with a GPS") && listing.notes[0].contains("1 without"));

        let one = list_exif_folder(&root.join("sub/b.JPG")).unwrap();
        assert_eq!((one.photos.len(), one.photos[0].name.as_str()), (1, "b.JPG"));
        let one = list_exif_folder(&root.join("bare.jpg")).unwrap();
        assert_eq!(one.skipped[0].kind, SkipKind::WithoutPosition);
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
        assert!(listing.skipped[0].reason.contains("EXIF block is damaged"), "{:?}", listing.skipped);
        // Its pixels are fine, and nobody asks for its position.
        std::fs::write(dir.path().join("y.jpg"), "no picture").unwrap();
        let listing = list_folder(dir.path(), false, None).unwrap();
        assert_eq!(listing.photos, [Photo::new(dir.path().join("x.jpg"), "x.jpg")]);
        assert_eq!(listing.skipped.len(), 1);
        assert!(listing.notes[0].starts_with("1 photograph added without its damaged tags: x.jpg"));
    }

    #[test]
    fn what_is_no_photograph_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let position = Some(LatLon { lat: 52.2, lon: 0.1 });
        let bytes = jpeg(&PhotoTags { position, ..PhotoTags::default() });
        for name in ["a.jpg", "a.jpg_original", "a.jpg~", "b.jpg.bak"] {
            std::fs::write(dir.path().join(name), &bytes).unwrap();
        }
        for name in ["notes.txt", "plan.pdf", "logo.svg", "t.tga", "walk.gpx"] {
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        let listing = list_exif_folder(dir.path()).unwrap();
        assert_eq!(listing.photos.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["a.jpg"]);
        let [tga] = listing.skipped.as_slice() else { panic!("{:?}", listing.skipped) };
        assert_eq!(tga.kind, SkipKind::Unsupported);
        assert!(tga.reason.starts_with("is TGA") && tga.reason.contains("magick "), "{}", tga.reason);
        assert_eq!(
            listing.notes[1..],
            [
                "3 backups of photographs left out, the first a.jpg_original",
                "3 files that are no photographs this program reads: .pdf 1, .svg 1, .txt 1"
            ]
        );
    }

    #[test]
    fn an_empty_folder_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let message = list_exif_folder(dir.path()).unwrap_err().to_string();
        assert!(message.contains("no image in this folder"), "{message}");
    }
}
