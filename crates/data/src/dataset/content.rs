//! What a file holds, by its first bytes.

use crate::Remedy;
use crate::image::format::{self, Format};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// What some first bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// A picture in a format that is read.
    Photo,
    /// A picture or video in a format that is not, with what to do about it.
    Unsupported(String),
    /// Anything else.
    Other,
}

/// Looks at the first bytes of a file; `path` stands for it in messages.
pub(super) fn of_bytes(head: &[u8], path: &Path) -> Content {
    of_format(format::sniff(head), path)
}

/// Formats of pictures whose first bytes say little, by their extension.
const BY_EXTENSION: [(&str, &str); 7] = [
    ("tga", "TGA"),
    ("pcx", "PCX"),
    ("sgi", "SGI"),
    ("dds", "DDS"),
    ("psd", "Photoshop"),
    ("exr", "OpenEXR"),
    ("xcf", "GIMP"),
];

fn of_format(format: Format, path: &Path) -> Content {
    match format.unsupported(path) {
        Some(reason) => Content::Unsupported(reason),
        None if format.is_readable() => Content::Photo,
        None => named(path).map_or(Content::Other, |name| {
            let remedy = Remedy::Convert(format::to_jpeg(path));
            Content::Unsupported(format!("is {name}, which is not supported: {remedy}"))
        }),
    }
}

fn named(path: &Path) -> Option<&'static str> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    BY_EXTENSION.iter().find(|(known, _)| *known == extension).map(|(_, name)| *name)
}

/// Looks at a regular file; other kinds are never opened. One that cannot be read is [`Content::Other`].
pub(super) fn of_file(path: &Path) -> Content {
    let mut head = Vec::with_capacity(format::SNIFF_BYTES);
    let regular = std::fs::metadata(path).is_ok_and(|about| about.is_file());
    let limit = format::SNIFF_BYTES as u64;
    let read = regular && File::open(path).is_ok_and(|file| file.take(limit).read_to_end(&mut head).is_ok());
    if read { of_bytes(&head, path) } else { Content::Other }
}
