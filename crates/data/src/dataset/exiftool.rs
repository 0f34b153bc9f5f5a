//! The commands that write positions from beside photographs into them.

use crate::shell::shell_word;
use std::collections::BTreeSet;
use std::path::Path;

/// The arguments that copy a position out of an XMP sidecar: XMP keeps the hemisphere in the value, EXIF in a tag of its
/// own, and a star writes both.
pub(super) fn of_xmp(sidecar: &str) -> String {
    format!(
        "-tagsfromfile {} '-GPSLatitude*<XMP:GPSLatitude' '-GPSLongitude*<XMP:GPSLongitude' \
         '-GPSAltitude<XMP:GPSAltitude' '-GPSAltitudeRef<XMP:GPSAltitudeRef' '-GPSImgDirection<XMP:GPSImgDirection' \
         '-GPSImgDirectionRef<XMP:GPSImgDirectionRef'",
        shell_word(sidecar)
    )
}

/// The arguments that copy a position out of a sidecar of Google Takeout.
pub(super) fn of_takeout(sidecar: &str) -> String {
    format!(
        "-tagsfromfile {} '-GPSLatitude*<GeoDataLatitude' '-GPSLongitude*<GeoDataLongitude'",
        shell_word(sidecar)
    )
}

/// The command for a folder: `arguments` for its photographs that have no position, by these extensions. The sidecars
/// themselves are files that exiftool would write to, too.
pub(super) fn command(extensions: &BTreeSet<String>, arguments: &str, folder: &Path) -> String {
    let kinds: String = extensions.iter().map(|ext| format!(" -ext {}", shell_word(ext))).collect();
    let folder = crate::shell::shell_path(folder);
    format!("exiftool -r{kinds} -if 'not $GPSLatitude#' {arguments} {folder}")
}
