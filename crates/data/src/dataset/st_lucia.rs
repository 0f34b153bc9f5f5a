//! St Lucia: passes over one road, each a folder of frames and one line of `fGPS.txt` per frame.

use super::number::number;
use super::walk::{images_under, natural_order};
use super::{Dataset, GroundTruthRule, Sequences, folder_name};
use crate::geo::to_utm;
use crate::{DataError, LatLon, Photo, Result, Utm};
use std::path::{Path, PathBuf};

/// A pass's table of positions.
const POSITIONS: &str = "fGPS.txt";
/// Share by which frames and lines may differ: videos drop some, another frame rate is another share.
const MISSING: f64 = 0.01;

/// Which passes, and how densely.
#[derive(Debug, Clone, PartialEq)]
pub struct StLuciaOptions {
    /// Folder of the database's pass, under the root; by default the first by name.
    pub database: Option<String>,
    /// Folder of the queries' pass; by default the last by name.
    pub queries: Option<String>,
    /// Minimum distance in metres between kept frames; 0 keeps all.
    pub spacing_m: f64,
}

impl Default for StLuciaOptions {
    /// The published conversion: 5 m.
    fn default() -> Self {
        Self { database: None, queries: None, spacing_m: 5.0 }
    }
}

/// Reads two passes of a folder of passes. A pass is a folder with `fGPS.txt` (`latitude,longitude` per line, degrees,
/// the southern latitude without its sign) and the frames of its video as images at any depth: in natural order the
/// i-th frame belongs to the i-th line.
///
/// # Errors
/// [`DataError::Format`] for a root with fewer than two passes, a pass that is not there or has no frames, a line
/// that is not two numbers (with its number), and frames whose number differs from that of the lines by more than
/// one in a hundred; [`DataError::Request`] for a spacing that is not 0 or more.
pub fn read_st_lucia(root: &Path, options: &StLuciaOptions) -> Result<Dataset> {
    if !(options.spacing_m >= 0.0 && options.spacing_m.is_finite()) {
        return Err(DataError::Request(format!("a spacing of {} m cannot be", options.spacing_m)));
    }
    let (first, last) = match (&options.database, &options.queries) {
        (Some(database), Some(queries)) => (root.join(database), root.join(queries)),
        (database, queries) => {
            let passes = passes(root)?;
            let named = |name: &Option<String>, default: &PathBuf| {
                name.as_ref().map_or_else(|| default.clone(), |name| root.join(name))
            };
            (named(database, &passes[0]), named(queries, &passes[passes.len() - 1]))
        }
    };
    let mut notes = Vec::new();
    let database = pass(&first, options.spacing_m, &mut notes)?;
    let queries = pass(&last, options.spacing_m, &mut notes)?;
    Ok(Dataset {
        left_out: 0,
        name: format!("St Lucia, pass {} in {}", folder_name(&last), folder_name(&first)),
        database,
        queries,
        truth: GroundTruthRule::Positions,
        notes,
        sequences: Sequences::default(),
    })
}

/// The passes under a root, by name.
fn passes(root: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(root).map_err(|e| DataError::io(root, e))?;
    let mut passes: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.join(POSITIONS).is_file()).collect();
    passes.sort();
    if passes.len() < 2 {
        let found = passes.len();
        return Err(DataError::format(
            root,
            None,
            format!("has {found} folders with {POSITIONS}: a database and queries need one each"),
        ));
    }
    Ok(passes)
}

fn pass(folder: &Path, spacing_m: f64, notes: &mut Vec<String>) -> Result<Vec<Photo>> {
    let positions = positions(&folder.join(POSITIONS))?;
    let mut frames = images_under(folder)?.images;
    if frames.is_empty() {
        return Err(DataError::format(
            folder,
            None,
            "holds no frames: extract every frame of its video as an image (ffmpeg -i webcam_video.avi frames/%05d.jpg)",
        ));
    }
    frames.sort_by(|a, b| natural_order(&a.1, &b.1));
    let (lines, images) = (positions.len(), frames.len());
    if lines.abs_diff(images) as f64 > MISSING * lines as f64 {
        return Err(DataError::format(
            folder,
            None,
            format!("has {images} frames and {lines} lines of {POSITIONS}: one line per frame is needed"),
        ));
    }
    let name = folder_name(folder);
    let mut kept: Vec<Photo> = Vec::new();
    let mut last: Option<Utm> = None;
    for ((path, frame), position) in frames.into_iter().zip(positions) {
        let utm = to_utm(position)?;
        let apart = |last: Utm| (utm.easting - last.easting).hypot(utm.northing - last.northing);
        if last.is_some_and(|last| apart(last) < spacing_m) {
            continue;
        }
        last = Some(utm);
        let mut photo = Photo::new(path, format!("{name}/{frame}"));
        (photo.position, photo.utm) = (Some(position.into()), Some(utm));
        photo.tags.insert("pass".into(), name.clone());
        kept.push(photo);
    }
    notes.push(format!(
        "pass {name}: {} of {images} frames, {spacing_m} m apart or more; {lines} lines of {POSITIONS}",
        kept.len()
    ));
    Ok(kept)
}

/// One position per line.
fn positions(path: &Path) -> Result<Vec<LatLon>> {
    let text = std::fs::read_to_string(path).map_err(|e| DataError::io(path, e))?;
    let lines = (1u64..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let position = |(line, text): (u64, &str)| {
        let bad = |problem: String| DataError::format(path, line, problem);
        let cells: Vec<&str> = text.split(',').map(str::trim).collect();
        let [lat, lon] = cells.as_slice() else {
            let (has, what) = (cells.len(), "needed are latitude,longitude");
            return Err(bad(format!("has {has} columns (\"{}\"): {what}", text.trim())));
        };
        let number = |column: &str, cell: &str| number(column, cell).map_err(bad);
        // The dataset writes its southern latitudes without their sign.
        let lat = -number("column 1, the latitude,", lat)?.abs();
        LatLon::new(lat, number("column 2, the longitude,", lon)?).map_err(|e| bad(e.to_string()))
    };
    let positions = lines.map(position).collect::<Result<Vec<_>>>()?;
    if positions.is_empty() {
        return Err(DataError::format(
            path,
            None,
            "is empty: expected latitude,longitude, one line per frame",
        ));
    }
    Ok(positions)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pass of frames some metres apart.
    fn write_pass(root: &Path, name: &str, frames: usize, text: Option<&str>) {
        let folder = root.join(name).join("frames");
        std::fs::create_dir_all(&folder).expect("can be written");
        for i in 0..frames {
            std::fs::write(folder.join(format!("{i}.jpg")), b"").expect("can be written");
        }
        let line = |i: usize| format!("27.5{:04},153.0\n", 2 * i);
        let lines = text.map_or_else(|| (0..frames).map(line).collect(), str::to_owned);
        std::fs::write(root.join(name).join(POSITIONS), lines).expect("can be written");
    }

    #[test]
    fn first_and_last_pass_thinned_by_metres() {
        let dir = tempfile::tempdir().expect("temporary folder");
        for (name, frames) in [("100909_0845", 12), ("180809_1545", 3), ("210809_1210", 6)] {
            write_pass(dir.path(), name, frames, None);
        }
        let set = read_st_lucia(dir.path(), &StLuciaOptions::default()).expect("sound");
        // A step is 2.2 m to the south, so that every third frame is kept.
        let names: Vec<&str> = set.database.iter().map(|photo| photo.name.as_str()).collect();
        let kept = ["0", "3", "6", "9"].map(|i| format!("100909_0845/frames/{i}.jpg"));
        assert_eq!(names, kept);
        assert_eq!(set.queries[0].tags["pass"], "210809_1210");
        assert!(set.queries[0].lat_lon().is_some_and(|p| p.lat < -27.0));
        let all =
            StLuciaOptions { queries: Some("180809_1545".into()), spacing_m: 0.0, ..Default::default() };
        let set = read_st_lucia(dir.path(), &all).expect("sound");
        assert_eq!((set.database.len(), set.queries.len()), (12, 3));
        assert!(set.name.contains("180809_1545 in 100909_0845"), "{}", set.name);
    }

    #[test]
    fn complaints_name_file_and_line() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let said = |options: &StLuciaOptions| {
            read_st_lucia(dir.path(), options).expect_err("must be refused").to_string()
        };
        assert!(said(&StLuciaOptions::default()).contains("has 0 folders with fGPS.txt"));
        write_pass(dir.path(), "a", 2, None);
        for (text, wanted) in [
            ("27.5,153.0,12\n27.5,153\n", "fGPS.txt:1: has 3 columns (\"27.5,153.0,12\")"),
            ("27.5,153.0\n27.5\n", "fGPS.txt:2: has 1 columns"),
            ("27.5,153.0\nx,153.0\n", "fGPS.txt:2: column 1, the latitude, \"x\" is not a number"),
            ("27.5,153.0\n27.5,\n", "fGPS.txt:2: column 2, the longitude, is empty"),
            ("27.5,1530\n27.5,153\n", "fGPS.txt:1: longitude 1530 is outside"),
            ("27.5,153.0\n", "2 frames and 1 lines of fGPS.txt"),
            ("\n", "fGPS.txt: is empty"),
        ] {
            write_pass(dir.path(), "b", 2, Some(text));
            let message = said(&StLuciaOptions::default());
            assert!(message.contains(wanted), "{message}");
        }
        write_pass(dir.path(), "c", 0, Some("27.5,153.0\n"));
        assert!(said(&StLuciaOptions::default()).contains("holds no frames"));
        assert!(said(&StLuciaOptions { spacing_m: f64::NAN, ..Default::default() }).contains("spacing"));
        let gone = StLuciaOptions { queries: Some("z".into()), ..Default::default() };
        assert!(said(&gone).contains("fGPS.txt"));
    }
}
