//! A dataset as a configuration names it: its kind, where it lies, and which part.

use super::{
    Dataset, DbStructOptions, FramesOptions, GroundTruthRule, Kind, MslsOptions, MslsTask, Region,
    SourceOptions, StLuciaOptions, VgOptions, from_listings, list_photos, read_dbstruct, read_frames,
    read_msls, read_pairs, read_st_lucia, read_vg, split_panoramas, unused_options,
};
use crate::{Result, UtmZone};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Every kind of dataset with a database and queries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum DatasetSpec {
    /// Two sets of images and a table of positives ([`read_pairs`]).
    Pairs {
        /// Folder of the database images, or a text file that lists them.
        database: PathBuf,
        /// Like `database`, for the queries.
        queries: PathBuf,
        /// The table.
        positives: PathBuf,
    },
    /// Two sources of photographs with positions ([`list_photos`]).
    Photos {
        /// The references.
        database: PathBuf,
        /// The queries.
        queries: PathBuf,
        /// Zone of tables whose positions are in metres.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        utm_zone: Option<UtmZone>,
    },
    /// A panorama set, some of whose panoramas are queries ([`split_panoramas`]).
    Panoramas {
        /// Folder with `panoramas.csv` and `tiles`.
        path: PathBuf,
        /// Part of it.
        #[serde(default)]
        region: Region,
        /// Every n-th panorama is a query.
        #[serde(default = "four")]
        every: usize,
        /// The first query's number.
        #[serde(default)]
        offset: usize,
    },
    /// A datasets_vg tree ([`read_vg`]).
    Vg {
        /// Its root.
        path: PathBuf,
        /// Which split.
        #[serde(default = "test")]
        split: String,
    },
    /// MSLS in its own layout ([`read_msls`]).
    Msls {
        /// Folder that holds `train_val` and `test`.
        path: PathBuf,
        /// Cities, or `val` and the like for the official lists.
        #[serde(default = "val")]
        cities: Vec<String>,
        /// Whose images.
        #[serde(default = "all")]
        subtask: String,
        /// Keep images that the subtask leaves out.
        #[serde(default)]
        all_queries: bool,
        /// Which sides are sequences.
        #[serde(default)]
        task: MslsTask,
        /// Frames of a sequence.
        #[serde(default = "three")]
        sequence: usize,
    },
    /// Two folders whose images of one number, else the i-th ones, show the same place ([`read_frames`]).
    Frames {
        /// Folder of the database frames.
        database: PathBuf,
        /// Folder of the query frames.
        queries: PathBuf,
        /// A reference within this many frames of the query's own is a positive.
        #[serde(default = "ten")]
        tolerance: usize,
        /// Queries are every frame of this step.
        #[serde(default = "one")]
        every: usize,
    },
    /// Pittsburgh's MATLAB structure and similar ([`read_dbstruct`]).
    Dbstruct {
        /// The file.
        path: PathBuf,
        /// Folder of the images; by default the file's own, or the one above it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        images: Option<PathBuf>,
        /// Zone of its metres; by default that of its name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        utm_zone: Option<UtmZone>,
    },
    /// The first and last pass of St Lucia ([`read_st_lucia`]).
    StLucia {
        /// The folder of passes.
        path: PathBuf,
        /// The database's pass; by default the first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        database: Option<String>,
        /// The queries' pass; by default the last.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        queries: Option<String>,
        /// Metres between two frames that are kept, at least.
        #[serde(default = "spacing")]
        spacing_m: f64,
    },
}

fn four() -> usize {
    4
}
fn one() -> usize {
    1
}
fn ten() -> usize {
    10
}
fn three() -> usize {
    MslsOptions::default().sequence
}
fn spacing() -> f64 {
    StLuciaOptions::default().spacing_m
}
fn test() -> String {
    VgOptions::default().split
}
fn val() -> Vec<String> {
    MslsOptions::default().cities
}
fn all() -> String {
    MslsOptions::default().subtask
}

impl DatasetSpec {
    /// Reads it.
    ///
    /// # Errors
    /// As the reader of its kind.
    pub fn read(&self) -> Result<Dataset> {
        match self {
            Self::Pairs { database, queries, positives } => read_pairs(database, queries, positives),
            Self::Photos { database, queries, utm_zone } => {
                let options = SourceOptions { utm_zone: *utm_zone, ..Default::default() };
                let list = |path: &Path| list_photos(path, None, &options);
                let name = format!("{} in {}", queries.display(), database.display());
                let mut set = from_listings(name, list(database)?, list(queries)?);
                set.notes.extend(unused_options(&options, None, [database, queries]));
                Ok(set)
            }
            Self::Panoramas { path, region, every, offset } => {
                let mut listing = list_photos(path, Some(Kind::Panoramas), &SourceOptions::default())?;
                region.keep(&mut listing);
                split_panoramas(listing, *every, *offset)
            }
            Self::Vg { path, split } => read_vg(path, &VgOptions { split: split.clone() }),
            Self::Msls { path, cities, subtask, all_queries, task, sequence } => {
                let options = MslsOptions {
                    cities: cities.clone(),
                    subtask: subtask.clone(),
                    all_queries: *all_queries,
                    task: *task,
                    sequence: *sequence,
                    ..Default::default()
                };
                read_msls(path, &options)
            }
            Self::Frames { database, queries, tolerance, every } => {
                let options = FramesOptions { tolerance: *tolerance, every: *every };
                read_frames(database, queries, options)
            }
            Self::Dbstruct { path, images, utm_zone } => {
                read_dbstruct(path, &DbStructOptions { images: images.clone(), zone: *utm_zone })
            }
            Self::StLucia { path, database, queries, spacing_m } => {
                let (database, queries) = (database.clone(), queries.clone());
                read_st_lucia(path, &StLuciaOptions { database, queries, spacing_m: *spacing_m })
            }
        }
    }

    /// Relative paths become relative to `base`.
    pub fn anchor(&mut self, base: &Path) {
        for path in self.paths_mut() {
            // An absolute path replaces the base.
            *path = base.join(&*path);
        }
    }

    /// The files and folders that it names.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.clone().paths_mut().into_iter().map(|path| path.clone()).collect()
    }

    fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        match self {
            Self::Pairs { database, queries, positives } => vec![database, queries, positives],
            Self::Photos { database, queries, .. } | Self::Frames { database, queries, .. } => {
                vec![database, queries]
            }
            Self::Dbstruct { path, images, .. } => std::iter::once(path).chain(images).collect(),
            Self::Panoramas { path, .. }
            | Self::Vg { path, .. }
            | Self::Msls { path, .. }
            | Self::StLucia { path, .. } => vec![path],
        }
    }
}

impl Dataset {
    /// Keeps at most `most` queries, evenly chosen: neighbours in the list are neighbours in the world.
    pub fn keep_queries(&mut self, most: usize) {
        let all = self.queries.len();
        if all <= most {
            return;
        }
        self.retain_queries(|i| i * most / all != (i + 1) * most / all);
        self.notes.push(format!("{most} of {all} queries, evenly chosen"));
    }

    /// Keeps the queries of a part: those between two shares (0 to 1) of the queries in the order of their names. The
    /// database stays whole. Parts that meet at a share have no query in common.
    pub fn keep_part(&mut self, [from, to]: [f64; 2]) {
        let all = self.queries.len();
        let [from, to] = [from, to].map(|share| (share.clamp(0.0, 1.0) * all as f64).round() as usize);
        if (from, to) == (0, all) {
            return;
        }
        let mut by_name: Vec<usize> = (0..all).collect();
        by_name.sort_by(|a, b| self.queries[*a].name.cmp(&self.queries[*b].name));
        let mut kept = vec![false; all];
        for i in by_name.into_iter().take(to).skip(from) {
            kept[i] = true;
        }
        self.retain_queries(|i| kept[i]);
        self.notes.push(format!("queries {from} to {to} of {all} in the order of their names"));
    }

    fn retain_queries(&mut self, kept: impl Fn(usize) -> bool) {
        if let GroundTruthRule::Listed(listed) = &mut self.truth {
            let mut i = 0;
            listed.retain(|_| (kept(i), i += 1).0);
        }
        if let Some(side) = &mut self.sequences.queries {
            let mut i = 0;
            side.members.retain(|_| (kept(i), i += 1).0);
        }
        let mut i = 0;
        self.queries.retain(|_| (kept(i), i += 1).0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Photo;
    use crate::dataset::{SequenceSide, Sequences};

    #[test]
    fn kinds_and_defaults_by_name() {
        let read = |json: &str| serde_json::from_str::<DatasetSpec>(json);
        let mut msls = read(r#"{"kind": "msls", "path": "m"}"#).unwrap();
        let official = MslsOptions::default();
        msls.anchor(Path::new("/data"));
        assert_eq!(
            msls,
            DatasetSpec::Msls {
                path: "/data/m".into(),
                cities: official.cities,
                subtask: official.subtask,
                all_queries: false,
                task: MslsTask::Im2Im,
                sequence: official.sequence,
            }
        );
        let mut pairs =
            read(r#"{"kind": "pairs", "database": "/a", "queries": "b", "positives": "c"}"#).unwrap();
        pairs.anchor(Path::new("/data"));
        let paths = |database: &str, queries: &str, positives: &str| DatasetSpec::Pairs {
            database: database.into(),
            queries: queries.into(),
            positives: positives.into(),
        };
        assert_eq!(pairs, paths("/a", "/data/b", "/data/c"));
        assert_eq!(pairs.paths(), ["/a", "/data/b", "/data/c"].map(PathBuf::from));
        let sequences = read(r#"{"kind": "msls", "path": "m", "task": "seq2im", "sequence": 5}"#).unwrap();
        assert!(matches!(sequences, DatasetSpec::Msls { task: MslsTask::Seq2Im, sequence: 5, .. }));
        let metres = r#"{"kind": "photos", "database": "d", "queries": "q", "utm_zone": "33U"}"#;
        let zone = UtmZone { number: 33, band: 'U' };
        assert!(matches!(read(metres).unwrap(), DatasetSpec::Photos { utm_zone: Some(z), .. } if z == zone));
        let error = read(&metres.replace("33U", "61U")).unwrap_err().to_string();
        assert!(error.contains("61U"), "{error}");
        let error = read(r#"{"kind": "vg", "path": "v", "splits": "val"}"#).unwrap_err().to_string();
        assert!(error.contains("splits"), "{error}");
        let error = read(r#"{"kind": "vgg", "path": "v"}"#).unwrap_err().to_string();
        assert!(error.contains("vgg") && error.contains("panoramas"), "{error}");
    }

    #[test]
    fn fewer_queries_stay_beside_their_positives_and_frames() {
        let photo = |i: usize| Photo::new(format!("{i}"), format!("{i}"));
        let frames = SequenceSide {
            frames: (0..12).map(photo).collect(),
            members: (0..10).map(|i| vec![i, i + 1, i + 2]).collect(),
        };
        let mut set = Dataset {
            left_out: 0,
            name: "s".into(),
            database: vec![photo(0)],
            queries: (0..10).map(photo).collect(),
            truth: GroundTruthRule::Listed((0..10).map(|i| vec![i]).collect()),
            notes: Vec::new(),
            sequences: Sequences { database: None, queries: Some(frames) },
        };
        set.keep_queries(3);
        let names: Vec<&str> = set.queries.iter().map(|q| q.name.as_str()).collect();
        assert_eq!(names, ["3", "6", "9"]);
        assert_eq!(set.truth, GroundTruthRule::Listed(vec![vec![3], vec![6], vec![9]]));
        let members = set.sequences.queries.as_ref().map(|side| side.members.clone());
        assert_eq!(members, Some(vec![vec![3, 4, 5], vec![6, 7, 8], vec![9, 10, 11]]));
        set.keep_queries(3);
        assert_eq!(set.notes.len(), 1);
    }

    #[test]
    fn parts_follow_names_and_share_no_query() {
        let photo = |name: &&str| Photo::new(*name, *name);
        let set = Dataset {
            left_out: 0,
            name: "s".into(),
            database: vec![photo(&"r")],
            queries: ["d", "b", "a", "e", "c"].iter().map(photo).collect(),
            truth: GroundTruthRule::Listed(vec![vec![0], vec![], vec![0], vec![], vec![0]]),
            notes: Vec::new(),
            sequences: Sequences::default(),
        };
        let part = |part: [f64; 2]| {
            let mut set = set.clone();
            set.keep_part(part);
            (set.queries.iter().map(|q| q.name.clone()).collect::<Vec<_>>().concat(), set.truth)
        };
        assert_eq!(part([0.0, 1.0]).0, "dbaec");
        // The order stays the reader's.
        assert_eq!(part([0.0, 0.5]), ("bac".into(), GroundTruthRule::Listed(vec![vec![], vec![0], vec![0]])));
        assert_eq!(part([0.5, 1.0]).0, "de");
        assert_eq!(part([0.5, 0.5]).0, "");
    }
}
