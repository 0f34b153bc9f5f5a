//! Mapillary Street-Level Sequences in its own layout.

use super::keyed_table::KeyedTable;
use super::msls_task::{Frames, MslsTask};
use super::table::Table;
use super::{Dataset, GroundTruthRule, Sequences};
use crate::geo::zone_of;
use crate::{DataError, LatLon, Photo, Result, Utm};
use std::path::Path;

/// Cities of the official parts (the dataset's own tools).
const TRAIN: [&str; 22] = [
    "trondheim",
    "london",
    "boston",
    "melbourne",
    "amsterdam",
    "helsinki",
    "tokyo",
    "toronto",
    "saopaulo",
    "moscow",
    "zurich",
    "paris",
    "bangkok",
    "budapest",
    "austin",
    "berlin",
    "ottawa",
    "phoenix",
    "goa",
    "amman",
    "nairobi",
    "manila",
];
const VAL: [&str; 2] = ["cph", "sf"];
const TEST: [&str; 6] = ["miami", "athens", "buenosaires", "stockholm", "bengaluru", "kampala"];
const SUBTASKS: [&str; 7] = ["all", "s2w", "w2s", "o2n", "n2o", "d2n", "n2d"];

/// Which part of the dataset is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MslsOptions {
    /// Cities, or `train`, `val`, `test` for the official lists.
    pub cities: Vec<String>,
    /// Subtask by whose column images are chosen: `all`, `s2w`, `w2s`, `o2n`, `n2o`, `d2n` or `n2d`.
    pub subtask: String,
    /// Keep images that the subtask leaves out.
    pub all_queries: bool,
    /// Keep panoramas; the official evaluation drops them.
    pub panoramas: bool,
    /// Which sides are sequences.
    pub task: MslsTask,
    /// Frames of a sequence, odd and 3 or more; without meaning for [`MslsTask::Im2Im`].
    pub sequence: usize,
}

impl Default for MslsOptions {
    /// The official validation: both cities, subtask `all`, no panoramas, single images.
    fn default() -> Self {
        Self {
            cities: vec!["val".into()],
            subtask: "all".into(),
            all_queries: false,
            panoramas: false,
            task: MslsTask::Im2Im,
            sequence: 3,
        }
    }
}

impl MslsOptions {
    /// Whether there are such a subtask and such sequences, in whatever folder.
    ///
    /// # Errors
    /// [`DataError::Request`] for an unknown subtask, and a length that no sequence has.
    pub fn check(&self) -> Result<()> {
        if !SUBTASKS.contains(&self.subtask.as_str()) {
            let known = SUBTASKS.join(", ");
            return Err(DataError::Request(format!("'{}' is no MSLS subtask: {known}", self.subtask)));
        }
        self.task.lengths(self.sequence).map(drop)
    }
}

/// Reads `root/{train_val,test}/<city>/{query,database}`; positions are the dataset's own UTM metres, cities
/// stand in the tag `city`. Cities whose positions are withheld (the challenge's) are read without.
///
/// Of a sequence the middle frame decides whether it is chosen, as in the official loader.
///
/// # Errors
/// A city or column that is not there; a length that no sequence has; a table that breaks its format, with the line.
pub fn read_msls(root: &Path, options: &MslsOptions) -> Result<Dataset> {
    options.check()?;
    let lengths = options.task.lengths(options.sequence)?;
    let cities = cities(&options.cities);
    let mut sides = lengths.map(Frames::new);
    let (mut dropped, mut told) = (0, true);
    for city in &cities {
        let folder = ["train_val", "test"]
            .iter()
            .map(|part| root.join(part).join(city))
            .chain([root.join(city)])
            .find(|folder| folder.is_dir())
            .ok_or_else(|| DataError::format(root, None, no_city(root, city)))?;
        for (side, into) in ["query", "database"].into_iter().zip(&mut sides) {
            let folder = folder.join(side);
            told &= folder.join("raw.csv").is_file();
            dropped += read_side(&folder, &format!("{city}/{side}"), city, options, into)?;
        }
    }
    let variant = match (options.all_queries, options.subtask.as_str()) {
        (true, _) => "every image (the all-queries variant)",
        (false, "all") => "images of the subtask (the official variant: 740 queries in cph and sf)",
        (false, _) => "images of the subtask",
    };
    let panoramas = match (options.panoramas, told) {
        (true, _) => "kept",
        (false, true) => "dropped",
        (false, false) => "kept where no raw.csv marks them",
    };
    let chosen = format!(
        "subtask {}, {variant}, panoramas {panoramas}; {dropped} images left out by these rules",
        options.subtask
    );
    let [queries, database] = sides;
    let notes = vec![chosen, options.task.describe(options.sequence, [queries.alone, database.alone])];
    let ((queries, query_side), (database, database_side)) = (queries.finish(), database.finish());
    Ok(Dataset {
        left_out: 0,
        name: format!("MSLS {}", cities.join(", ")),
        database,
        queries,
        truth: GroundTruthRule::Positions,
        notes,
        sequences: Sequences { database: database_side, queries: query_side },
    })
}

/// The cities that are on this disk, sorted.
fn cities_of(root: &Path) -> Vec<String> {
    let folders = ["train_val", "test"].map(|part| root.join(part));
    let entries = folders.iter().filter_map(|folder| folder.read_dir().ok()).flatten().flatten();
    let mut cities: Vec<String> = entries
        .filter(|entry| entry.path().join("database").is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    cities.sort();
    cities
}

/// How many cities a message names.
const NAMED: usize = 8;

/// The first few of a list of cities, and how many more there are.
fn few(cities: &[String]) -> String {
    let named = cities.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match cities.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

fn no_city(root: &Path, city: &str) -> String {
    let there = cities_of(root);
    let cure = match there.is_empty() {
        true => "a city is a folder with database/ and query/".to_owned(),
        false => format!("there are (--cities chooses): {}", few(&there)),
    };
    format!("has no city {city} in train_val or test: {cure}")
}

/// A note of cities that are there and not among the chosen ones.
pub(super) fn other_cities(root: &Path, options: &MslsOptions) -> Option<String> {
    let chosen = cities(&options.cities);
    let others: Vec<String> = cities_of(root).into_iter().filter(|city| !chosen.contains(city)).collect();
    (!others.is_empty())
        .then(|| format!("the cities {}; not read: {} (choose by --cities)", chosen.join(", "), few(&others)))
}

/// Whether a folder looks like the dataset.
pub(super) fn is_msls(root: &Path) -> bool {
    root.join("train_val").is_dir() || (root.join("test").is_dir() && !root.join("test/database").is_dir())
}

fn cities(wanted: &[String]) -> Vec<String> {
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_string()).collect();
    wanted
        .iter()
        .flat_map(|name| match name.as_str() {
            "train" => list(&TRAIN),
            "val" => list(&VAL),
            "test" => list(&TEST),
            other => vec![other.to_string()],
        })
        .collect()
}

/// The tables of one side of one city.
struct Tables {
    raw: Option<KeyedTable>,
    processed: Option<KeyedTable>,
    sequence: Option<KeyedTable>,
    subtask: Option<KeyedTable>,
}

impl Tables {
    fn read(folder: &Path, options: &MslsOptions) -> Result<Self> {
        let read = |name: &str| KeyedTable::read(folder.join(name));
        let this = Self {
            raw: read("raw.csv")?,
            processed: read("postprocessed.csv")?,
            sequence: read("seq_info.csv")?,
            subtask: read("subtask_index.csv")?,
        };
        if !options.all_queries {
            match &this.subtask {
                Some(subtask) => drop(subtask.table.require(&options.subtask)?),
                None => {
                    return Err(DataError::format(
                        folder.join("subtask_index.csv"),
                        None,
                        "is missing: it lists the images of each subtask",
                    ));
                }
            }
        }
        Ok(this)
    }

    /// The table that lists the images: the challenge's cities come without `raw.csv`.
    fn list(&self, folder: &Path) -> Result<&Table> {
        let first = self.raw.as_ref().or(self.subtask.as_ref()).or(self.sequence.as_ref());
        first
            .map(|by_key| &by_key.table)
            .ok_or_else(|| DataError::format(folder.join("raw.csv"), None, "is missing"))
    }
}

/// Adds the images or sequences of one side of one city; returns how many images the options left out.
fn read_side(
    folder: &Path,
    prefix: &str,
    city: &str,
    options: &MslsOptions,
    into: &mut Frames,
) -> Result<usize> {
    let tables = Tables::read(folder, options)?;
    let list = tables.list(folder)?;
    let is_true = |table: &Option<KeyedTable>, key: &str, column: &str| {
        table.as_ref().map_or(Ok(false), |table| table.is_true(key, column))
    };
    let key_at = list.require("key")?;
    let (mut photos, mut chosen) = (Vec::new(), Vec::new());
    for (line, cells) in &list.rows {
        let key = cells[key_at].as_str();
        chosen.push(
            (options.panoramas || !is_true(&tables.raw, key, "pano")?)
                && (options.all_queries || is_true(&tables.subtask, key, &options.subtask)?),
        );
        let path = folder.join("images").join(format!("{key}.jpg"));
        photos.push(photo(&tables, key, *line, Photo::new(path, format!("{prefix}/{key}")), city)?);
    }
    let dropped = chosen.iter().filter(|chosen| !**chosen).count();
    into.add(photos, &chosen, tables.sequence.as_ref(), &folder.join("seq_info.csv"))?;
    Ok(dropped)
}

/// What the tables say of an image.
fn photo(tables: &Tables, key: &str, line: u64, mut photo: Photo, city: &str) -> Result<Photo> {
    let Tables { raw, processed, sequence, .. } = tables;
    if let Some(raw) = raw {
        if let (Some(lat), Some(lon)) = (raw.number(key, "lat")?, raw.number(key, "lon")?) {
            let position = LatLon::new(lat, lon).map_err(|e| raw.table.complain(line, e.to_string()))?;
            photo.position = Some(position.into());
        }
        photo.heading = raw.number(key, "ca")?.map(|h| h.rem_euclid(360.0));
    }
    if let Some(processed) = processed {
        let metres = (processed.number(key, "easting")?, processed.number(key, "northing")?);
        if let ((Some(easting), Some(northing)), Some(position)) = (metres, photo.lat_lon()) {
            photo.utm = Some(Utm { easting, northing, zone: zone_of(position).ok() });
        }
    }
    photo.tags.insert("city".into(), city.into());
    photo.tags.insert("key".into(), key.into());
    let more = [
        (sequence, "sequence_key", "sequence"),
        (sequence, "frame_number", "frame"),
        (processed, "night", "night"),
        (processed, "view_direction", "view_direction"),
    ];
    for (table, column, tag) in more {
        if let Some(cell) = table.as_ref().and_then(|t| t.cell(key, column)) {
            photo.tags.insert(tag.into(), cell.into());
        }
    }
    Ok(photo)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn city() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("temporary folder");
        for side in ["query", "database"] {
            let folder = dir.path().join("train_val/cph").join(side);
            std::fs::create_dir_all(&folder).expect("can be written");
            let write =
                |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("can be written");
            write(
                "raw.csv",
                ",key,lon,lat,ca,captured_at,pano\n0,a,12.5,55.6,90.0,2018,False\n1,b,12.5,55.6,0,2018,True\n2,c,12.6,55.7,361,2018,False\n",
            );
            write("seq_info.csv", ",key,sequence_key,frame_number\n0,a,s1,0\n1,b,s1,1\n2,c,s1,2\n");
            write(
                "postprocessed.csv",
                ",key,easting,northing,unique_cluster,control_panel,night,view_direction\n0,a,342000.5,6165000,1,False,True,Forward\n1,b,1,2,1,False,False,Forward\n2,c,348000,6176000,2,False,False,Sideways\n",
            );
            write(
                "subtask_index.csv",
                ",key,all,s2w,w2s,o2n,n2o,d2n,n2d\n0,a,True,True,False,False,False,False,False\n1,b,True,False,False,False,False,False,False\n2,c,False,False,False,False,False,False,False\n",
            );
        }
        dir
    }

    fn options() -> MslsOptions {
        MslsOptions { cities: vec!["cph".into()], ..Default::default() }
    }

    #[test]
    fn the_official_choice_drops_panoramas_and_other_subtasks() {
        let dir = city();
        let set = read_msls(dir.path(), &options()).expect("a sound city");
        assert_eq!((set.queries.len(), set.database.len()), (1, 1));
        let photo = &set.queries[0];
        assert_eq!(photo.name, "cph/query/a");
        assert_eq!(photo.utm.map(|u| (u.easting, u.northing)), Some((342_000.5, 6_165_000.0)));
        assert_eq!((photo.tags["sequence"].as_str(), photo.tags["night"].as_str()), ("s1", "True"));
        assert!(set.notes[0].contains("4 images left out"), "{:?}", set.notes);
    }

    #[test]
    fn flags_are_read_however_they_are_written() {
        for (yes, no) in [("True", "False"), ("1", "0"), ("yes", "no"), ("1.0", "0.0"), ("T", ""), ("y", "N")]
        {
            let dir = city();
            for (name, header) in
                [("raw.csv", ",key,lon,lat,ca,captured_at,pano"), ("subtask_index.csv", ",key,all")]
            {
                let path = dir.path().join("train_val/cph/query").join(name);
                let text = match name {
                    "raw.csv" => format!(
                        "{header}\n0,a,12.5,55.6,90,2018,{no}\n1,b,12.5,55.6,0,2018,{yes}\n2,c,12.6,55.7,1,2018,{no}\n"
                    ),
                    _ => format!("{header}\n0,a,{yes}\n1,b,{yes}\n2,c,{no}\n"),
                };
                std::fs::write(path, text).expect("can be written");
            }
            let set = read_msls(dir.path(), &options()).expect("a sound city");
            let names: Vec<_> = set.queries.iter().map(|photo| photo.name.as_str()).collect();
            assert_eq!(names, ["cph/query/a"], "{yes} {no}");
        }
        let said = |text: &str| {
            let dir = city();
            std::fs::write(dir.path().join("train_val/cph/query/subtask_index.csv"), text).expect("written");
            read_msls(dir.path(), &options()).expect_err("no flag").to_string()
        };
        let flag = said(",key,all\n0,a,True\n1,b,True\n2,c,2\n");
        assert!(flag.ends_with("subtask_index.csv:4: all is \"2\" for c: True or False is needed"), "{flag}");
        let twice = said(",key,all\n0,a,True\n1,b,True\n2,a,False\n");
        assert!(twice.ends_with("subtask_index.csv:4: the key a is on line 2 already: keep one"), "{twice}");
    }

    #[test]
    fn every_image_can_be_kept() {
        let dir = city();
        let all = MslsOptions { all_queries: true, panoramas: true, ..options() };
        let set = read_msls(dir.path(), &all).expect("a sound city");
        assert_eq!(set.queries.len(), 3);
        assert_eq!(set.queries[2].heading, Some(1.0));
    }

    #[test]
    fn what_is_not_there_is_named() {
        let dir = city();
        let said = |o: MslsOptions| read_msls(dir.path(), &o).expect_err("not there").to_string();
        assert!(
            said(MslsOptions::default())
                .contains("city sf in train_val or test: there are (--cities chooses): cph")
        );
        let none = said(MslsOptions { cities: vec!["x".into()], ..options() });
        assert!(none.contains("no city x"), "{none}");
        assert_eq!(other_cities(dir.path(), &options()), None);
        let note = other_cities(dir.path(), &MslsOptions { cities: vec!["sf".into()], ..options() });
        assert_eq!(note.as_deref(), Some("the cities sf; not read: cph (choose by --cities)"));
        assert!(said(MslsOptions { subtask: "x".into(), ..options() }).contains("subtask"));
        std::fs::remove_file(dir.path().join("train_val/cph/query/subtask_index.csv"))
            .expect("was written above");
        assert!(said(options()).contains("subtask_index.csv"));
    }
}
