//! datasets_vg trees: positions in the file names, between `@` signs.

use super::walk::images_under;
use super::{Dataset, Listing, SkipKind, Skipped, folder_name, from_listings};
use crate::geo::from_utm;
use crate::{DataError, LatLon, Photo, Result, Utm, UtmZone};
use std::path::{Path, PathBuf};

/// Which part of a tree is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VgOptions {
    /// `train`, `val` or `test`.
    pub split: String,
}

impl Default for VgOptions {
    fn default() -> Self {
        Self { split: "test".into() }
    }
}

/// What a datasets_vg file name says:
/// `@UTM_east@UTM_north@zone_number@zone_letter@lat@lon@pano_id@tile_num@heading@pitch@roll@height@timestamp@note@.jpg`.
/// Any field but east and north may be empty.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct VgName {
    /// Metres east in the zone.
    pub easting: f64,
    /// Metres north in the zone.
    pub northing: f64,
    /// The zone, where both number and letter are given.
    pub zone: Option<UtmZone>,
    /// Position in degrees, where given.
    pub position: Option<LatLon>,
    /// Degrees clockwise from north, 0 to 360.
    pub heading: Option<f64>,
    /// Metres; the datasets do not say above what.
    pub height: Option<f64>,
    /// The other fields in their order: pano_id, tile_num, pitch, roll, timestamp, note.
    pub other: [String; 6],
}

/// How many files a note names.
const NAMED: usize = 3;

/// Names of [`VgName::other`].
const OTHER: [&str; 6] = ["pano_id", "tile_num", "pitch", "roll", "timestamp", "note"];

/// Reads a file's base name (a folder may hold `@` too).
///
/// # Errors
/// [`DataError::Position`] when east or north is missing, or a number or zone cannot be read.
pub fn parse_vg_name(base: &str) -> Result<VgName> {
    let bad = |problem: String| DataError::Position(format!("file name {base}: {problem}"));
    match read_name(base).map_err(bad)? {
        (name, None) => Ok(name),
        (_, Some(problem)) => Err(bad(problem)),
    }
}

/// As [`parse_vg_name`], without a heading or a height that cannot be read: what is wrong with it comes beside the rest.
fn read_name(base: &str) -> Result<(VgName, Option<String>), String> {
    let fields: Vec<&str> = base.split('@').collect();
    // The text before the first sign and the extension after the last do not count.
    if fields.len() < 3 || !fields[0].is_empty() {
        return Err("does not start with @UTM_east@UTM_north@".into());
    }
    let field = |i: usize| fields.get(i).filter(|_| i + 1 < fields.len()).copied().unwrap_or("").trim();
    let number = |i: usize, what: &str| match field(i) {
        "" => Ok(None),
        text => match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Some(value)),
            _ => Err(format!("{what} '{text}' is not a number")),
        },
    };
    let (Some(easting), Some(northing)) = (number(1, "UTM_east")?, number(2, "UTM_north")?) else {
        return Err("UTM_east or UTM_north is empty".into());
    };
    let zone = match (field(3), field(4).chars().next()) {
        ("", _) | (_, None) => None,
        (number, Some(letter)) => match number.parse() {
            Ok(number) if (1..=60).contains(&number) && letter.is_ascii_alphabetic() => {
                Some(UtmZone { number, band: letter.to_ascii_uppercase() })
            }
            _ => return Err(format!("'{number}{letter}' is not a UTM zone")),
        },
    };
    let position = match (number(5, "latitude")?, number(6, "longitude")?) {
        (Some(lat), Some(lon)) => Some(LatLon::new(lat, lon).map_err(|e| e.to_string())?),
        _ => None,
    };
    let mut problem = None;
    let mut optional = |i: usize, what: &str| {
        number(i, what).unwrap_or_else(|why| {
            problem.get_or_insert(why);
            None
        })
    };
    let heading = optional(9, "heading").map(|h| h.rem_euclid(360.0));
    let height = optional(12, "height");
    let other = [7, 8, 10, 11, 13, 14].map(|i| field(i).to_string());
    Ok((VgName { easting, northing, zone, position, heading, height, other }, problem))
}

/// The file name that [`parse_vg_name`] reads, with this extension (without its dot).
pub fn format_vg_name(name: &VgName, extension: &str) -> String {
    let number = |value: Option<f64>| value.map_or(String::new(), |v| v.to_string());
    let [pano_id, tile_num, pitch, roll, timestamp, note] = &name.other;
    let fields = [
        format!("{:.2}", name.easting),
        format!("{:.2}", name.northing),
        name.zone.map_or(String::new(), |z| z.number.to_string()),
        name.zone.map_or(String::new(), |z| z.band.to_string()),
        number(name.position.map(|p| p.lat)),
        number(name.position.map(|p| p.lon)),
        pano_id.clone(),
        tile_num.clone(),
        number(name.heading),
        pitch.clone(),
        roll.clone(),
        number(name.height),
        timestamp.clone(),
        note.clone(),
    ];
    format!("@{}@.{extension}", fields.join("@"))
}

/// Reads a tree: `<root>/images/<split>/{database,queries}/**`. The root may also be the `images` folder or
/// the split's own. A file whose name says no position is left out, and counted in the notes.
///
/// # Errors
/// A folder that has no such parts, or of which no file's name can be read.
pub fn read_vg(root: &Path, options: &VgOptions) -> Result<Dataset> {
    let split = find_split(root, &options.split)?;
    let [database, queries] = ["database", "queries"].map(|name| side(&split.join(name)));
    Ok(from_listings(format!("{} ({})", folder_name(root), options.split), database?, queries?))
}

/// Lists the database of a tree; queries are not looked at.
pub(super) fn list_vg(root: &Path, options: &VgOptions) -> Result<Listing> {
    side(&find_split(root, &options.split)?.join("database"))
}

/// Whether a folder looks like such a tree.
pub(super) fn is_vg(root: &Path) -> bool {
    ["train", "val", "test"].iter().any(|split| find_split(root, split).is_ok())
}

fn find_split(root: &Path, split: &str) -> Result<PathBuf> {
    let places = [root.join("images").join(split), root.join(split), root.to_path_buf()];
    places.into_iter().find(|p| p.join("database").is_dir() && p.join("queries").is_dir()).ok_or_else(|| {
        DataError::format(
            root,
            None,
            format!("has no images/{split}/database and images/{split}/queries: is this a datasets_vg tree?"),
        )
    })
}

/// The photographs of one folder, each placed by its name.
fn side(folder: &Path) -> Result<Listing> {
    let found = images_under(folder)?;
    let mut listing = Listing { skipped: found.skipped, ..Listing::default() };
    let mut without = Vec::new();
    for (path, name) in found.images {
        let base = name.rsplit('/').next().unwrap_or(&name);
        match read_name(base) {
            Ok((vg, problem)) => {
                without.extend(problem.map(|problem| format!("{name}: {problem}")));
                listing.photos.push(photo(path, name, vg));
            }
            Err(problem) => {
                let reason = format!("its name {problem}");
                listing.skipped.push(Skipped { path, reason, kind: SkipKind::WithoutPosition });
            }
        }
    }
    if let (true, Some(first)) = (listing.photos.is_empty(), listing.skipped.first()) {
        return Err(DataError::format(
            &first.path,
            None,
            format!("{}, and no other file's does", first.reason),
        ));
    }
    if !without.is_empty() {
        let (count, named) =
            (without.len(), without.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; "));
        let more = if count > NAMED { format!(" and {} more", count - NAMED) } else { String::new() };
        listing.notes.push(format!("{count} without their heading or height ({named}{more})"));
    }
    Ok(listing)
}

fn photo(path: PathBuf, name: String, vg: VgName) -> Photo {
    let utm = Utm { easting: vg.easting, northing: vg.northing, zone: vg.zone };
    let mut photo = Photo::new(path, name);
    // Names without degrees still say where, if they say the zone.
    photo.position = vg.position.or_else(|| from_utm(&utm).ok()).map(Into::into);
    photo.utm = Some(utm);
    photo.heading = vg.heading;
    photo.altitude = vg.height;
    let said = OTHER.iter().zip(vg.other).filter(|(_, value)| !value.is_empty());
    photo.tags = said.map(|(key, value)| ((*key).to_string(), value)).collect();
    photo
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FULL: &str = "@0585000.50@4477000.25@17@T@40.44@-79.99@pano1@03@270@5@0@2.5@20150403@sunny@.jpg";

    #[test]
    fn every_field_is_read() {
        let name = parse_vg_name(FULL).expect("a full name");
        assert_eq!((name.easting, name.northing), (585_000.5, 4_477_000.25));
        assert_eq!(name.zone, Some(UtmZone { number: 17, band: 'T' }));
        assert_eq!((name.heading, name.height), (Some(270.0), Some(2.5)));
        assert_eq!(name.other, ["pano1", "03", "5", "0", "20150403", "sunny"]);
    }

    #[test]
    fn all_but_east_and_north_may_be_empty() {
        let name = parse_vg_name("@1.5@2.5@@@@@@@@@@@@@.jpg").expect("a bare name");
        assert_eq!(name, VgName { easting: 1.5, northing: 2.5, ..Default::default() });
        for bad in ["photo.jpg", "@@2@@@@@@@@@@@@@.jpg", "@a@2@@@@@@@@@@@@@.jpg", "@1@2@61@T@@@@@@@@@@@.jpg"]
        {
            assert!(parse_vg_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tree_is_read_from_any_of_its_levels() {
        let dir = tempfile::tempdir().expect("temporary folder");
        for side in ["database", "queries"] {
            // A folder with a sign in its name must not confuse the reader.
            let folder = dir.path().join("images/test").join(side).join("@place@");
            std::fs::create_dir_all(&folder).expect("temporary folders can be written");
            std::fs::write(folder.join(FULL), b"").expect("temporary folders can be written");
        }
        for root in ["", "images", "images/test"] {
            let set = read_vg(&dir.path().join(root), &VgOptions::default()).expect("a sound tree");
            assert_eq!((set.database.len(), set.queries.len()), (1, 1));
            assert_eq!(set.database[0].tags["pano_id"], "pano1");
        }
        assert!(read_vg(&dir.path().join("images/test/database"), &VgOptions::default()).is_err());
    }

    #[test]
    fn one_odd_name_costs_one_photograph() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let write = |side: &str, name: &str| {
            let folder = dir.path().join("test").join(side);
            std::fs::create_dir_all(&folder).expect("temporary folders can be written");
            std::fs::write(folder.join(name), b"").expect("temporary folders can be written");
        };
        for side in ["database", "queries"] {
            write(side, FULL);
        }
        write("database", "cover.jpg");
        write("database", "@x@2@@@@@@@@@@@@@.jpg");
        write("queries", "@1@2@@@@@@@north@@@@@@.jpg");
        let set = read_vg(dir.path(), &VgOptions::default()).expect("a tree with strays");
        assert_eq!((set.database.len(), set.queries.len(), set.left_out), (1, 2, 2));
        assert_eq!((set.queries[0].heading, set.queries[1].heading), (Some(270.0), None));
        let notes = set.notes.join("\n");
        assert!(notes.contains("database: 2 skipped") && notes.contains("cover.jpg"), "{notes}");
        assert!(notes.contains("queries: 1 without their heading or height (@1@2@@@@@@@north"), "{notes}");
        let listing = list_vg(dir.path(), &VgOptions::default()).expect("a tree with strays");
        assert_eq!((listing.photos.len(), listing.skipped.len()), (1, 2));
        std::fs::remove_file(dir.path().join("test/database").join(FULL)).expect("was written above");
        let said = read_vg(dir.path(), &VgOptions::default()).expect_err("nothing left").to_string();
        assert!(said.contains("and no other file's does"), "{said}");
    }

    proptest! {
        #[test]
        fn any_name_is_read_or_refused(name in "\\PC*") {
            let _ = parse_vg_name(&name);
        }

        #[test]
        fn names_survive(east in 100_000i32..900_000, north in 0i32..9_000_000, heading in prop::option::of(0u16..360)) {
            let name = VgName {
                easting: f64::from(east) / 4.0,
                northing: f64::from(north) / 4.0,
                zone: Some(UtmZone { number: 30, band: 'U' }),
                heading: heading.map(f64::from),
                ..Default::default()
            };
            prop_assert_eq!(parse_vg_name(&format_vg_name(&name, "jpg")).expect("own name"), name);
        }
    }
}
