//! Street-view panoramas cut into four tiles each.

use super::names::ordinal;
use super::number::number;
use super::table::Table;
use super::walk::natural_order;
use super::{Dataset, GroundTruthRule, Listing, Sequences, SkipKind, Skipped, folder_name};
use crate::{DataError, LatLon, Photo, Result};
use std::collections::HashMap;
use std::path::Path;

/// Name of the table of panoramas in its folder.
pub(super) const TABLE: &str = "panoramas.csv";
/// Name of the folder of tiles.
pub(super) const TILES: &str = "tiles";
/// Tiles of a panorama, and the turn from one to the next in degrees.
const TURNS: [(u8, f64); 4] = [(0, 0.0), (1, 90.0), (2, 180.0), (3, 270.0)];

/// Lists the tiles of a folder of panoramas: `panoramas.csv` with the columns `id`, `lat`, `lon`
/// (degrees), and `tiles/<id>_<k>.jpg`, k from 0 to 3.
///
/// Tile 0 looks north and the others follow clockwise, so headings are 0, 90, 180 and 270 degrees.
/// Tags: `pano_id` and `tile`. Panoramas come in natural order of their ids. A missing tile is
/// skipped with the reason.
///
/// # Errors
/// [`DataError::Io`]; [`DataError::Format`] with the line for a table that breaks the format, an
/// identifier that is empty, repeated or no file name, or a position out of range.
pub fn list_panoramas(root: &Path) -> Result<Listing> {
    let table = Table::read(&root.join(TABLE))?;
    let (id_at, lat_at, lon_at) = (table.require("id")?, table.require("lat")?, table.require("lon")?);
    let mut first_line = HashMap::new();
    let mut panoramas = Vec::with_capacity(table.rows.len());
    for (line, cells) in &table.rows {
        let id = cells[id_at].as_str();
        if id.is_empty() || id.contains(['/', '\\', '\0']) {
            return Err(table.complain(*line, format!("id \"{id}\" cannot be part of a file name")));
        }
        if let Some(before) = first_line.insert(id, *line) {
            return Err(table.complain(*line, format!("panorama {id} was already on line {before}")));
        }
        let value = |what: &str, at: usize| number(what, &cells[at]).map_err(|e| table.complain(*line, e));
        let position = LatLon::new(value("lat", lat_at)?, value("lon", lon_at)?)
            .map_err(|e| table.complain(*line, e.to_string()))?;
        panoramas.push((id, position));
    }
    if panoramas.is_empty() {
        return Err(table.complain(None, "has a header but no rows"));
    }
    panoramas.sort_by(|a, b| natural_order(a.0, b.0));
    let mut listing = Listing::default();
    for (id, position) in &panoramas {
        for (tile, heading) in TURNS {
            let name = format!("{TILES}/{id}_{tile}.jpg");
            let path = root.join(&name);
            if !path.is_file() {
                let reason = format!("tile {tile} of panorama {id} does not exist");
                listing.skipped.push(Skipped { path, reason, kind: SkipKind::Unreadable });
                continue;
            }
            let mut photo = Photo::new(path, name);
            photo.position = Some((*position).into());
            photo.heading = Some(heading);
            photo.tags.insert("pano_id".into(), (*id).to_owned());
            photo.tags.insert("tile".into(), tile.to_string());
            listing.photos.push(photo);
        }
    }
    listing.notes.push(format!(
        "{} panoramas, {} tiles, {} tiles missing; headings 0, 90, 180, 270 degrees",
        panoramas.len(),
        listing.photos.len(),
        listing.skipped.len()
    ));
    Ok(listing)
}

/// Checks what [`split_panoramas`] is asked for, before a listing is read.
///
/// # Errors
/// [`DataError::Request`] when `every` is below 2 or `offset` is not below it.
pub fn check_panorama_split(every: usize, offset: usize) -> Result<()> {
    if every >= 2 && offset < every {
        return Ok(());
    }
    Err(DataError::Request(format!(
        "cannot take every {} panorama from number {offset} on: the step must be at least 2, and the \
         offset below it",
        ordinal(every)
    )))
}

/// Makes a dataset of one source: every `every`-th panorama, from the one at `offset` (from 0, in
/// natural order of the ids, which is numeric order for numbers), is a query with all of its tiles;
/// the others are the database. Positives are decided by positions.
///
/// # Errors
/// [`DataError::Request`] when `every` is below 2, `offset` is not below it, a photograph has no
/// `pano_id` tag, or a side would be empty.
pub fn split_panoramas(listing: Listing, every: usize, offset: usize) -> Result<Dataset> {
    check_panorama_split(every, offset)?;
    let id_of = |photo: &Photo| -> Result<String> {
        photo.tags.get("pano_id").cloned().ok_or_else(|| {
            DataError::Request(format!("{}: has no pano_id tag, so its panorama is unknown", photo.name))
        })
    };
    let mut ids = listing.photos.iter().map(id_of).collect::<Result<Vec<_>>>()?;
    ids.sort_by(|a, b| natural_order(a, b));
    ids.dedup();
    let chosen = |rank: usize| rank % every == offset;
    let (mut database, mut queries) = (Vec::new(), Vec::new());
    let count = ids.len();
    let ranks: HashMap<String, usize> = ids.into_iter().enumerate().map(|(rank, id)| (id, rank)).collect();
    let root = listing.photos.first().and_then(|photo| photo.path.parent()?.parent()).map(folder_name);
    for photo in listing.photos {
        let side = if chosen(ranks[&id_of(&photo)?]) { &mut queries } else { &mut database };
        side.push(photo);
    }
    if database.is_empty() || queries.is_empty() {
        return Err(DataError::Request(format!(
            "every {} of {count} panoramas from number {offset} on leaves {} query and {} database images: \
             take a smaller step",
            ordinal(every),
            queries.len(),
            database.len()
        )));
    }
    let mut notes = listing.notes;
    notes.extend(super::skipped_note("tiles", &listing.skipped));
    notes.push(format!(
        "every {} panorama (from number {offset}, by id) is a query: {} query and {} database images",
        ordinal(every),
        queries.len(),
        database.len()
    ));
    let name =
        format!("{} (every {} panorama a query)", root.unwrap_or_else(|| "panoramas".into()), ordinal(every));
    let sequences = Sequences::default();
    let truth = GroundTruthRule::Positions;
    Ok(Dataset { left_out: listing.skipped.len(), name, database, queries, truth, notes, sequences })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(table: &str, ids: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(TILES)).unwrap();
        std::fs::write(dir.path().join(TABLE), table).unwrap();
        for id in ids {
            for k in 0..4 {
                std::fs::write(dir.path().join(format!("{TILES}/{id}_{k}.jpg")), b"x").unwrap();
            }
        }
        dir
    }

    #[test]
    fn four_tiles_a_panorama() {
        let dir = folder("id,lat,lon\n10,52.2,0.1\n9,52.3,0.2\n", &["9", "10"]);
        std::fs::remove_file(dir.path().join("tiles/9_2.jpg")).unwrap();
        let listing = list_panoramas(dir.path()).unwrap();
        let names: Vec<_> = listing.photos.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names[..4], ["tiles/9_0.jpg", "tiles/9_1.jpg", "tiles/9_3.jpg", "tiles/10_0.jpg"]);
        let third = &listing.photos[2];
        assert_eq!(
            (third.heading, third.position),
            (Some(270.0), Some(LatLon { lat: 52.3, lon: 0.2 }.into()))
        );
        assert_eq!((third.tags["pano_id"].as_str(), third.tags["tile"].as_str()), ("9", "3"));
        assert_eq!(listing.skipped[0].reason, "tile 2 of panorama 9 does not exist");
        assert!(listing.notes[0].starts_with("2 panoramas, 7 tiles, 1 tiles missing"));
    }

    #[test]
    fn every_third_is_a_query() {
        let ids = ["0", "1", "2", "3", "4", "10", "11"];
        let rows: String = ids.iter().rev().map(|id| format!("{id},52.2,0.1\n")).collect();
        let dir = folder(&format!("id,lat,lon\n{rows}"), &ids);
        let set = split_panoramas(list_panoramas(dir.path()).unwrap(), 3, 1).unwrap();
        let queries: Vec<_> = set.queries.iter().map(|p| p.tags["pano_id"].as_str()).collect();
        assert_eq!(queries, ["1", "1", "1", "1", "4", "4", "4", "4"]);
        assert_eq!((set.database.len(), set.truth, set.left_out), (20, GroundTruthRule::Positions, 0));
        assert!(set.name.ends_with("(every 3rd panorama a query)"), "{}", set.name);
        assert!(set.notes[1].contains("8 query and 20 database"), "{:?}", set.notes);
    }

    #[test]
    fn missing_tiles_are_counted_and_named() {
        let ids = ["0", "1", "2", "3"];
        let rows: String = ids.iter().map(|id| format!("{id},52.2,0.1\n")).collect();
        let dir = folder(&format!("id,lat,lon\n{rows}"), &ids);
        for tile in ["0_1", "1_0", "1_2", "2_3"] {
            std::fs::remove_file(dir.path().join(format!("tiles/{tile}.jpg"))).unwrap();
        }
        let set = split_panoramas(list_panoramas(dir.path()).unwrap(), 2, 0).unwrap();
        assert_eq!((set.left_out, set.queries.len(), set.database.len()), (4, 6, 6));
        let note = set.notes.iter().find(|note| note.starts_with("tiles: 4 skipped: ")).expect("a note");
        assert!(note.contains("0_1.jpg (tile 1 of panorama 0 does not exist), "), "{note}");
        assert!(note.contains("1_2.jpg") && note.ends_with(" and 1 more"), "{note}");
    }

    #[test]
    fn complaints() {
        for (table, wanted) in [
            ("id,lat\n1,2\n", "panoramas.csv:1: has no column \"lon\", only: id, lat"),
            ("id,lat,lon\n", "panoramas.csv: has a header but no rows"),
            ("id,lat,lon\n1,2,3\n1,2,3\n", "panoramas.csv:3: panorama 1 was already on line 2"),
            ("id,lat,lon\n../1,2,3\n", "panoramas.csv:2: id \"../1\" cannot be part of a file name"),
            ("id,lat,lon\n1,91,3\n", "panoramas.csv:2: latitude 91"),
            ("id,lat,lon\n1,nan,3\n", "panoramas.csv:2: lat is nan"),
        ] {
            let dir = folder(table, &[]);
            let message = list_panoramas(dir.path()).expect_err(table).to_string();
            assert!(message.contains(wanted), "{message}");
        }
        let dir = folder("id,lat,lon\n1,2,3\n", &["1"]);
        let listing = list_panoramas(dir.path()).unwrap();
        for (every, offset, wanted) in [
            (1, 0, "at least 2"),
            (0, 0, "at least 2"),
            (5, 5, "offset below it"),
            (2, 0, "0 database images"),
        ] {
            let message = split_panoramas(listing.clone(), every, offset).unwrap_err().to_string();
            assert!(message.contains(wanted), "{message}");
        }
        let untagged = Listing { photos: vec![Photo::new("a", "a.jpg")], ..Listing::default() };
        assert!(split_panoramas(untagged, 2, 0).unwrap_err().to_string().contains("a.jpg: has no pano_id"));
    }
}
