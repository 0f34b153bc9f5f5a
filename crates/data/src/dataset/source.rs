//! Any supported layout as a flat list of photographs with positions, for indexing.

use super::panoramas::TABLE;
use super::{
    Listing, MslsOptions, VgOptions, list_exif_folder, list_panoramas, list_positions_csv, msls, read_msls,
    read_vg, vg,
};
use crate::{DataError, Result, UtmZone};
use std::path::Path;

/// The layouts that [`list_photos`] reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A folder of photographs with GPS in their EXIF.
    Exif,
    /// A table of positions.
    Csv,
    /// A panorama set: `panoramas.csv` and `tiles/`.
    Panoramas,
    /// A datasets_vg tree: its database.
    Vg,
    /// MSLS: the database of its cities.
    Msls,
}

const NAMES: [(Kind, &str); 5] = [
    (Kind::Exif, "exif"),
    (Kind::Csv, "csv"),
    (Kind::Panoramas, "panoramas"),
    (Kind::Vg, "vg"),
    (Kind::Msls, "msls"),
];

impl std::str::FromStr for Kind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        NAMES
            .iter()
            .find(|(_, name)| *name == text)
            .map(|(kind, _)| *kind)
            .ok_or_else(|| format!("'{text}' is no kind of source: exif, csv, panoramas, vg or msls"))
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(NAMES.iter().find(|(kind, _)| kind == self).map_or("", |(_, name)| name))
    }
}

/// What some layouts need to know.
#[derive(Debug, Clone, Default)]
pub struct SourceOptions {
    /// Zone of a table whose positions are in metres.
    pub utm_zone: Option<UtmZone>,
    /// Part of a datasets_vg tree.
    pub vg: VgOptions,
    /// Part of MSLS.
    pub msls: MslsOptions,
}

/// Finds out what a file or folder is.
///
/// # Errors
/// [`DataError::Io`] when it is missing.
pub fn detect(path: &Path) -> Result<Kind> {
    let about = std::fs::metadata(path).map_err(|e| DataError::io(path, e))?;
    Ok(if about.is_file() {
        Kind::Csv
    } else if path.join(TABLE).is_file() {
        Kind::Panoramas
    } else if vg::is_vg(path) {
        Kind::Vg
    } else if msls::is_msls(path) {
        Kind::Msls
    } else {
        Kind::Exif
    })
}

/// Lists the photographs of a source; of a dataset with queries, its database.
///
/// # Errors
/// As the reader of its kind.
pub fn list_photos(path: &Path, kind: Option<Kind>, options: &SourceOptions) -> Result<Listing> {
    let kind = match kind {
        Some(kind) => kind,
        None => detect(path)?,
    };
    let database =
        |set: super::Dataset| Listing { photos: set.database, skipped: Vec::new(), notes: set.notes };
    let mut listing = match kind {
        Kind::Exif => list_exif_folder(path)?,
        Kind::Csv => list_positions_csv(path, options.utm_zone)?,
        Kind::Panoramas => list_panoramas(path)?,
        Kind::Vg => database(read_vg(path, &options.vg)?),
        Kind::Msls => database(read_msls(path, &options.msls)?),
    };
    listing
        .notes
        .insert(0, format!("{}: read as {kind}, {} photographs", path.display(), listing.photos.len()));
    Ok(listing)
}
