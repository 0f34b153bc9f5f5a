//! Any supported layout as a flat list of photographs with positions, for indexing.

use super::content::{self, Content};
use super::exif_folder::list_folder;
use super::panoramas::TABLE;
use super::table::not_a_file;
use super::{
    Listing, MslsOptions, Part, SkipKind, Skipped, VgOptions, list_panoramas, list_positions_csv, msls,
    read_msls, vg,
};
use crate::{DataError, PositionKind, Result, UtmZone};
use std::path::Path;

/// The layouts that [`list_photos`] reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A folder of photographs with GPS in their EXIF, or one such photograph.
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
            .ok_or_else(|| format!("'{text}' is not a kind of source: exif, csv, panoramas, vg or msls"))
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
    /// The kind of positions that is needed, as that of the index that is filled: photographs of another kind are left
    /// out or refused, and of [`PositionKind::None`] all are taken, without their positions. By default what a source
    /// has.
    pub positions: Option<PositionKind>,
    /// Zone of a table whose positions are in metres.
    pub utm_zone: Option<UtmZone>,
    /// Part of a datasets_vg tree.
    pub vg: VgOptions,
    /// Part of MSLS.
    pub msls: MslsOptions,
    /// The shard whose photographs are listed; all by default. Of a folder only its own are read, and counted in the notes;
    /// other sources are read whole, and the first shard has their notes.
    pub part: Option<Part>,
}

/// Finds out what a file or folder is: a file by its first bytes.
///
/// # Errors
/// [`DataError::Io`] when it is missing; [`DataError::Request`] for a pipe, socket or device, which is not opened.
pub fn detect(path: &Path) -> Result<Kind> {
    let about = std::fs::metadata(path).map_err(|e| DataError::io(path, e))?;
    Ok(if about.is_file() {
        match content::of_file(path) {
            Content::Photo | Content::Unsupported(_) => Kind::Exif,
            Content::Other => Kind::Csv,
        }
    } else if let Some(what) = not_a_file(&about).filter(|_| !about.is_dir()) {
        return Err(DataError::Request(format!(
            "{}: is {what}: a folder, a photograph or a table (CSV) is needed",
            path.display()
        )));
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

/// Why a file can never be read as a photograph: it is one, or a video, in a format that is not supported. `None` for
/// every other file; what is no regular file is not opened.
pub fn unsupported_format(path: &Path) -> Option<String> {
    match content::of_file(path) {
        Content::Unsupported(reason) => Some(reason),
        Content::Photo | Content::Other => None,
    }
}

/// Lists the photographs of a source; of a dataset with queries, its database.
///
/// ```
/// use r2former_data::dataset::{SourceOptions, list_photos};
///
/// let folder = tempfile::tempdir()?;
/// std::fs::write(folder.path().join("bridge.jpg"), b"a photograph")?;
/// let table = folder.path().join("positions.csv");
/// std::fs::write(&table, "path,lat,lon,heading\nbridge.jpg,52.2054,0.1189,90\nlost.jpg,52.2,0.1,\n")?;
///
/// let listing = list_photos(&table, None, &SourceOptions::default())?;
/// let photo = &listing.photos[0];
/// assert_eq!((photo.name.as_str(), photo.heading), ("bridge.jpg", Some(90.0)));
/// assert_eq!(photo.lat_lon().map(|p| (p.lat, p.lon)), Some((52.2054, 0.1189)));
/// assert_eq!(listing.skipped[0].reason, "positions.csv:3: does not exist");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
        Kind::Exif => {
            list_folder(path, options.positions != Some(PositionKind::None), options.part.as_ref())?
        }
        Kind::Csv => list_positions_csv(path, options.utm_zone, options.positions)?,
        Kind::Panoramas => list_panoramas(path)?,
        Kind::Vg => vg::list_vg(path, &options.vg)?,
        Kind::Msls => {
            let mut listing = database(read_msls(path, &options.msls)?);
            listing.notes.extend(msls::other_cities(path, &options.msls));
            if options.positions == Some(PositionKind::Wgs84) {
                leave_out_withheld_positions(&mut listing);
            }
            listing
        }
    };
    match options.positions {
        Some(PositionKind::Local) if kind == Kind::Exif => leave_out_positions_of_the_globe(&mut listing),
        Some(PositionKind::Local) if kind != Kind::Csv => {
            return Err(DataError::Request(format!(
                "{}: read as {kind}, with WGS84 positions; this index has positions in local metres: give a table with \
                 the columns path,x,y,z",
                path.display()
            )));
        }
        Some(PositionKind::None) => drop_positions(&mut listing),
        _ => {}
    }
    let mut of_shard = String::new();
    if let Some(part) = &options.part {
        // A folder's listing is the part's already.
        if kind != Kind::Exif {
            part.keep(path, &mut listing);
        }
        of_shard = format!(" in shard {}", part.shard);
    }
    let count = listing.photos.len();
    listing.notes.insert(0, format!("{}: read as {kind}, {count} photographs{of_shard}", path.display()));
    Ok(listing)
}

/// Notes on options that say nothing about any of the sources of a command: a zone where none is a table, cities where none
/// is an MSLS tree. What a table makes of a zone, and an address of a store that may be one, its own notes say.
pub fn unused_options<P: AsRef<Path>>(
    options: &SourceOptions,
    kind: Option<Kind>,
    sources: impl IntoIterator<Item = P>,
) -> Vec<String> {
    let kind_of = |path: P| kind.or_else(|| detect(path.as_ref()).ok());
    let kinds: Vec<Option<Kind>> = sources.into_iter().map(kind_of).collect();
    let mut notes = Vec::new();
    if let Some(UtmZone { number, band }) = options.utm_zone
        && kinds.iter().all(|kind| kind.is_some_and(|kind| kind != Kind::Csv))
    {
        notes.push(format!("the UTM zone {number}{band} is not used: it is that of a table (CSV) in metres"));
    }
    let cities = &options.msls.cities;
    if *cities != MslsOptions::default().cities && !kinds.contains(&Some(Kind::Msls)) {
        notes.push(format!("the cities {} are not used: no source is an MSLS tree", cities.join(", ")));
    }
    notes
}

/// Leaves out photographs whose position is on the globe; local metres are not in EXIF. They are not converted, where the
/// map has an origin, either: EXIF's altitude counts from the sea, a map's from the ellipsoid.
fn leave_out_positions_of_the_globe(listing: &mut Listing) {
    let reason = "its EXIF position is in WGS84; this index has positions in local metres: give a table with the \
                  columns path,x,y,z";
    let photos = std::mem::take(&mut listing.photos);
    listing.skipped.extend(photos.into_iter().map(|photo| Skipped {
        path: photo.path,
        reason: reason.into(),
        kind: SkipKind::WithoutPosition,
    }));
}

/// Leaves out photographs without a position, as those of MSLS's challenge.
fn leave_out_withheld_positions(listing: &mut Listing) {
    let (known, withheld) =
        std::mem::take(&mut listing.photos).into_iter().partition(|photo| photo.position.is_some());
    listing.photos = known;
    listing.skipped.extend(withheld.into_iter().map(|photo: crate::Photo| Skipped {
        path: photo.path,
        reason: "its city states no positions (it has no raw.csv)".into(),
        kind: SkipKind::WithoutPosition,
    }));
}

/// Takes positions away, and says of how many photographs.
fn drop_positions(listing: &mut Listing) {
    let mut dropped = 0;
    for photo in &mut listing.photos {
        dropped += usize::from(photo.position.is_some());
        (photo.position, photo.utm, photo.position_error, photo.position_method) = (None, None, None, None);
    }
    if dropped > 0 {
        listing.notes.push(format!("{dropped} photographs have a position, which this index does not keep"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_no_source_uses_are_noted() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("a")).unwrap();
        std::fs::create_dir(at("b")).unwrap();
        std::fs::write(at("t.csv"), "path,easting,northing\n").unwrap();
        let zone = SourceOptions { utm_zone: Some(UtmZone { number: 31, band: 'U' }), ..Default::default() };
        let note = unused_options(&zone, None, [at("a"), at("b")]);
        assert_eq!(note, ["the UTM zone 31U is not used: it is that of a table (CSV) in metres"]);
        assert_eq!(unused_options(&zone, Some(Kind::Exif), [at("t.csv")]), note);
        for sources in [vec![at("a"), at("t.csv")], vec!["s3://bucket/list".into()]] {
            assert!(unused_options(&zone, None, sources).is_empty());
        }
        assert!(unused_options(&zone, Some(Kind::Csv), [at("a")]).is_empty());
        assert!(unused_options(&SourceOptions::default(), None, [at("a")]).is_empty());

        let msls = MslsOptions { cities: vec!["cph".into(), "sf".into()], ..Default::default() };
        let cities = SourceOptions { msls, ..Default::default() };
        let note = unused_options(&cities, None, [at("a"), at("t.csv")]);
        assert_eq!(note, ["the cities cph, sf are not used: no source is an MSLS tree"]);
        assert!(unused_options(&cities, Some(Kind::Msls), [at("a")]).is_empty());
        assert_eq!(unused_options(&SourceOptions { msls: cities.msls, ..zone }, None, [at("a")]).len(), 2);
    }
}
