//! Photographs elsewhere, by their first bytes: what a listing of files reads from the disk.

use super::content::{self, Content};
use super::exif_folder::{Read, Why, tally};
use super::others::is_backup;
use super::walk::{is_hidden, is_photo_by_name};
use super::{Listing, SkipKind};
use crate::image::{Limits, Shape, jpeg_header_ends, shape_of_bytes, sound_tags_of_bytes};
use std::path::{Path, PathBuf};

/// First bytes that nearly always hold the tags of a JPEG: two segments of them, and its dimensions.
pub const HEAD_BYTES: u64 = 256 << 10;

/// What the first bytes of a file say.
#[derive(Debug)]
pub enum Head {
    /// It is a photograph, or called one.
    Photo(Box<HeadOfPhoto>),
    /// It is something else.
    Other,
    /// They do not reach far enough: all bytes are needed.
    Short,
}

/// What the first bytes of a photograph say.
#[derive(Debug)]
pub struct HeadOfPhoto {
    read: Read,
    shape: Option<Shape>,
}

impl HeadOfPhoto {
    /// One that cannot be used for this reason.
    pub fn unreadable(path: PathBuf, name: String, reason: String) -> Self {
        Self { read: (Err(Why::File(SkipKind::Unreadable, reason)), path, name), shape: None }
    }

    /// Width, height and panorama, where it can be read.
    pub fn shape(&self) -> Option<&Shape> {
        self.shape.as_ref()
    }

    /// Why it cannot be used.
    pub fn problem(&self) -> Option<(SkipKind, &str)> {
        self.read.0.as_ref().err().map(Why::told)
    }
}

/// Looks at the first bytes of a file, or at all of them. JPEGs keep their tags at the start; others may keep them anywhere.
pub fn look_at_head(path: &Path, name: &str, bytes: &[u8], all: bool) -> Head {
    let tags = match content::of_bytes(bytes, path) {
        Content::Unsupported(reason) => Err(Why::File(SkipKind::Unsupported, reason)),
        Content::Other if !is_photo_by_name(Path::new(name)) => return Head::Other,
        Content::Photo if !all && !jpeg_header_ends(bytes) => return Head::Short,
        Content::Photo | Content::Other => sound_tags_of_bytes(bytes, path).map_err(Why::from),
    };
    let shape = shape_of_bytes(bytes, path, &Limits::default()).ok();
    Head::Photo(Box::new(HeadOfPhoto { read: (tags, path.to_owned(), name.to_owned()), shape }))
}

/// A listing of photographs by their heads, as [`list_exif_folder`](super::list_exif_folder) makes one of a folder;
/// without `positions` those that have none are in it as well.
pub fn list_heads(heads: Vec<HeadOfPhoto>, what: &str, positions: bool) -> Listing {
    tally(heads.into_iter().map(|head| head.read).collect(), Listing::default(), what, positions).0
}

/// Whether a folder's listing leaves out the file of this name within it, unread: it is hidden, a backup, or lies in a
/// folder of thumbnails.
pub fn is_left_out(name: &str) -> bool {
    name.split('/').any(is_hidden) || name.rsplit('/').next().is_some_and(is_backup)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{PhotoTags, jpeg_with_tags};
    use crate::{LatLon, Rgb8};

    #[test]
    fn heads_say_what_files_would() {
        let rgb = Rgb8 { width: 64, height: 48, pixels: (0..64 * 48 * 3).map(|i| (i % 251) as u8).collect() };
        let tags = PhotoTags { position: Some(LatLon { lat: 52.0, lon: 0.5 }), ..PhotoTags::default() };
        let jpeg = jpeg_with_tags(&rgb, 90, &tags).unwrap();
        let look = |name: &str, bytes: &[u8], all| look_at_head(Path::new(name), name, bytes, all);
        let Head::Photo(head) = look("a", &jpeg[..jpeg.len() - 100], false) else { panic!("a JPEG's head") };
        assert_eq!(head.shape().map(|shape| (shape.width, shape.height)), Some((64, 48)));
        assert!(matches!(look("a", &jpeg[..60], false), Head::Short));
        assert!(matches!(look("a.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", false), Head::Short));
        assert!(matches!(look("a.txt", b"hello", true), Head::Other));
        let mut heads = vec![*head];
        for (name, bytes) in [("b.jpg", &b"hello"[..]), ("c.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")] {
            let Head::Photo(head) = look(name, bytes, true) else { panic!("{name}") };
            assert!(head.problem().is_some());
            heads.push(*head);
        }
        let listing = list_heads(heads, "prefix", true);
        assert_eq!(listing.photos[0].lat_lon(), tags.position);
        let kinds: Vec<_> = listing.skipped.iter().map(|skipped| skipped.kind).collect();
        assert_eq!(kinds, [SkipKind::Unreadable, SkipKind::Unsupported]);
        assert!(is_left_out("a/.thumbs/b.jpg") && is_left_out("@eaDir/x.jpg") && !is_left_out("a.b/c.jpg"));
    }
}
