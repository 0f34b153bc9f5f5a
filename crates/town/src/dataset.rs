//! Writes a place-recognition dataset of the town: tagged photographs and their tables.

use crate::noise::{Rng, hash};
use crate::render::MAX_SIDE;
use crate::{Camera, Condition, StreetPoint, Town, View};
use r2former_data::image::{PhotoTags, jpeg_with_tags};
use r2former_data::{DataError, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// 2024-01-01 00:00 UTC: photographs are dated from here on.
const EPOCH: i64 = 1_704_067_200;
/// Seconds between two frames of a walk.
const FRAME_S: i64 = 8;
/// Photographs of the database that share one visit.
const RUN: usize = 24;
/// The shortest side of a photograph: below it nothing can be recognised.
const MIN_SIDE: usize = 16;
/// Queries for each condition, at most.
const MAX_QUERIES: usize = 1_000_000;
/// Photographs of the database, at most.
const MAX_DATABASE: usize = 10_000_000;
/// Tries to place a query outside houses before it falls back on the street itself.
const TRIES: usize = 16;

/// What to photograph for a dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TownDatasetConfig {
    /// Metres between the database's positions along the streets, at least 0.5.
    pub spacing: f64,
    /// Photographs at each position of the database, evenly around the circle from the street's
    /// direction on; 1 to 36.
    pub headings: u32,
    /// Width and height of every photograph in pixels, 16 to 8192 each.
    pub size: (usize, usize),
    /// Horizontal field of view in degrees.
    pub fov: f64,
    /// Metres of the camera above the ground.
    pub camera_height: f64,
    /// Light and weather of the database.
    pub database: Condition,
    /// Light and weather of the queries; each has its own folder.
    pub queries: Vec<Condition>,
    /// Queries for each of these conditions, at most a million.
    pub n_queries: usize,
    /// Consecutive queries that are frames of one walk along a street, a spacing and 8 seconds apart, in a folder of
    /// their own; 1 for queries at random.
    pub walk: usize,
    /// Queries lie up to this many metres from the middle of a street, in any direction.
    pub query_offset: f64,
    /// Queries look up to this many degrees to either side of one of the database's directions.
    pub query_heading_jitter: f64,
    /// JPEG quality, 1 to 100.
    pub quality: u8,
    /// Decides visits and queries; the town has its own seed.
    pub seed: u64,
}

impl Default for TownDatasetConfig {
    fn default() -> Self {
        Self {
            spacing: 10.0,
            headings: 4,
            size: (320, 240),
            fov: 75.0,
            camera_height: 1.8,
            database: Condition::Day,
            queries: vec![Condition::Day, Condition::Dusk, Condition::Night, Condition::Rain],
            n_queries: 100,
            walk: 1,
            query_offset: 2.0,
            query_heading_jitter: 12.0,
            quality: 88,
            seed: 1,
        }
    }
}

/// How much was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TownDatasetSummary {
    /// Photographs in the database.
    pub database: usize,
    /// Queries of all conditions together.
    pub queries: usize,
}

/// One photograph to take.
struct Shot {
    name: String,
    view: View,
    time: i64,
}

/// One line of a table.
#[derive(Serialize)]
struct Row<'a> {
    path: &'a str,
    lat: f64,
    lon: f64,
    heading: f64,
    altitude: f64,
    timestamp: i64,
    condition: Condition,
}

/// Writes `database/*.jpg`, `queries/<condition>/*.jpg`, and the tables `database.csv` and
/// `queries.csv` with the columns `path,lat,lon,heading,altitude,timestamp,condition`.
///
/// Paths are relative to `dir`; latitude and longitude are in degrees, heading in degrees clockwise
/// from north, altitude in metres, timestamps in seconds since 1970. The photographs say the same in
/// their EXIF. Every file is written beside its place and then renamed, the tables last, so that a
/// table never names a photograph that is not there. The same town and configuration give the same
/// bytes. `progress` gets the number of photographs done and of all; it is called from several threads.
///
/// # Errors
/// [`DataError::Request`] for an option out of range, [`DataError::Io`] when the disk refuses.
pub fn write_dataset(
    town: &Town,
    config: &TownDatasetConfig,
    dir: &Path,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<TownDatasetSummary> {
    write_dataset_while(town, config, dir, &|done, all| {
        progress(done, all);
        ControlFlow::Continue(())
    })
}

/// As [`write_dataset`], until `progress` breaks: the photographs that are there stay, without tables.
///
/// # Errors
/// As [`write_dataset`]; [`DataError::Request`] where it was broken off.
pub fn write_dataset_while(
    town: &Town,
    config: &TownDatasetConfig,
    dir: &Path,
    progress: &(dyn Fn(usize, usize) -> ControlFlow<()> + Sync),
) -> Result<TownDatasetSummary> {
    config.check()?;
    let points = town.street_positions(config.spacing);
    let planned = points.len().saturating_mul(config.headings as usize);
    if planned > MAX_DATABASE {
        return Err(DataError::Request(format!(
            "a database of {planned} photographs: at most {MAX_DATABASE}; make the town smaller or the spacing wider"
        )));
    }
    let database = config.database_shots(&points);
    let queries = config.query_shots(town, &points);
    let of_shots = queries.iter().filter_map(|shot| Path::new(&shot.name).parent());
    let folders = config.queries.iter().map(|c| format!("queries/{c}").into());
    let folders: BTreeSet<PathBuf> =
        folders.chain(["database".into(), "queries".into()]).chain(of_shots.map(Path::to_path_buf)).collect();
    for folder in folders {
        let path = dir.join(folder);
        std::fs::create_dir_all(&path).map_err(|e| DataError::io(path, e))?;
    }
    let (done, all) = (AtomicUsize::new(0), database.len() + queries.len());
    database.par_iter().chain(&queries).try_for_each(|shot| {
        let picture = town.render(&shot.view, config.size.0, config.size.1)?;
        let camera = &shot.view.camera;
        let tags = PhotoTags {
            position: Some(town.to_latlon(camera.x, camera.y)),
            heading: Some(camera.heading),
            altitude: Some(camera.height),
            time: Some(shot.time),
            ..PhotoTags::default()
        };
        replace(&dir.join(&shot.name), &jpeg_with_tags(&picture, config.quality, &tags)?)?;
        match progress(done.fetch_add(1, Ordering::Relaxed) + 1, all) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(DataError::Request("the rendering was broken off".into())),
        }
    })?;
    write_table(town, &database, &dir.join("database.csv"))?;
    write_table(town, &queries, &dir.join("queries.csv"))?;
    Ok(TownDatasetSummary { database: database.len(), queries: queries.len() })
}

impl TownDatasetConfig {
    fn check(&self) -> Result<()> {
        let refuse = |what: String| Err(DataError::Request(what));
        let (width, height) = self.size;
        if !(MIN_SIDE..=MAX_SIDE).contains(&width) || !(MIN_SIDE..=MAX_SIDE).contains(&height) {
            return refuse(format!(
                "photographs of {height} x {width} pixels: each side must be {MIN_SIDE} to {MAX_SIDE}"
            ));
        }
        if self.n_queries > MAX_QUERIES {
            return refuse(format!("{} queries per condition: at most {MAX_QUERIES}", self.n_queries));
        }
        if self.walk == 0 {
            return refuse("walks of 0 frames: a walk has at least one".into());
        }
        if !(0.5..=1e4).contains(&self.spacing) {
            return refuse(format!("a spacing of {} m is outside 0.5 to 10000", self.spacing));
        }
        if !(1..=36).contains(&self.headings) {
            return refuse(format!("{} headings per position: must be 1 to 36", self.headings));
        }
        if !(0.0..=100.0).contains(&self.query_offset) {
            return refuse(format!("a query offset of {} m is outside 0 to 100", self.query_offset));
        }
        if !(0.0..=180.0).contains(&self.query_heading_jitter) {
            return refuse(format!(
                "a query heading jitter of {} degrees is outside 0 to 180",
                self.query_heading_jitter
            ));
        }
        if !(1..=100).contains(&self.quality) {
            return refuse(format!("JPEG quality {} is outside 1 to 100", self.quality));
        }
        for (i, condition) in self.queries.iter().enumerate() {
            if self.queries[..i].contains(condition) {
                return refuse(format!("the query condition {condition} is named twice"));
            }
        }
        self.camera(0.0, 0.0, 0.0).check()
    }

    fn camera(&self, x: f64, y: f64, heading: f64) -> Camera {
        // To a millionth of a degree, as EXIF stores it: tables and tags then agree.
        let heading = (heading.rem_euclid(360.0) * 1e6).round() / 1e6 % 360.0;
        Camera { x, y, heading, height: self.camera_height, fov: self.fov, ..Camera::default() }
    }

    fn database_shots(&self, points: &[StreetPoint]) -> Vec<Shot> {
        let shot = |(i, point): (usize, &StreetPoint), k: u32| {
            let visit = hash(&[self.seed, 71, (i / RUN) as u64]);
            let camera = self.camera(
                point.x,
                point.y,
                point.heading + f64::from(k) * 360.0 / f64::from(self.headings),
            );
            Shot {
                name: format!("database/{i:06}_{k:02}.jpg"),
                time: time_of(self.database, visit) + i as i64 % RUN as i64 * 10,
                view: View { camera, condition: self.database, visit },
            }
        };
        points.iter().enumerate().flat_map(|p| (0..self.headings).map(move |k| shot(p, k))).collect()
    }

    fn query_shots(&self, town: &Town, points: &[StreetPoint]) -> Vec<Shot> {
        let mut shots = Vec::with_capacity(self.queries.len() * self.n_queries);
        for &condition in &self.queries {
            for i in 0..self.n_queries {
                let (walk, frame) = (i / self.walk, i % self.walk);
                let mut start = Rng::new(&[self.seed, 72, condition as u64, walk as u64]);
                let first = start.below(points.len());
                let visit = start.bits();
                let point = walked(points, first, frame);
                // What differs from frame to frame; of a single query the generator is simply used further.
                let mut rng = match self.walk {
                    1 => start.clone(),
                    _ => Rng::new(&[self.seed, 73, condition as u64, i as u64]),
                };
                let mut at = (point.x, point.y);
                for _ in 0..TRIES {
                    let turn = f64::from(rng.fraction()) * std::f64::consts::TAU;
                    let far = f64::from(rng.fraction()).sqrt() * self.query_offset;
                    let near = (point.x + far * turn.sin(), point.y + far * turn.cos());
                    if town.is_free(near.0, near.1) {
                        at = near;
                        break;
                    }
                }
                // All frames of a walk look the same way.
                let way = if self.walk == 1 { &mut rng } else { &mut start };
                let turn = way.below(self.headings as usize) as f64 * 360.0 / f64::from(self.headings);
                let jitter = f64::from(rng.between(-1.0, 1.0)) * self.query_heading_jitter;
                let name = match self.walk {
                    1 => format!("queries/{condition}/{i:06}.jpg"),
                    _ => format!("queries/{condition}/{walk:04}/{frame:03}.jpg"),
                };
                shots.push(Shot {
                    name,
                    time: time_of(condition, visit) + frame as i64 * FRAME_S,
                    view: View {
                        camera: self.camera(at.0, at.1, point.heading + turn + jitter),
                        condition,
                        visit,
                    },
                });
            }
        }
        shots
    }
}

/// The point `frame` steps from the `first` along its street; back where the street ends.
fn walked(points: &[StreetPoint], first: usize, frame: usize) -> &StreetPoint {
    let straight = |i: usize| points.get(i).filter(|point| point.heading == points[first].heading);
    let near = |i: usize| {
        let metres = |a: &StreetPoint, b: &StreetPoint| (a.x - b.x).hypot(a.y - b.y);
        straight(i).is_some_and(|point| straight(i - 1).is_some_and(|before| metres(before, point) < 40.0))
    };
    let last = (first + 1..).take_while(|i| near(*i)).last().unwrap_or(first);
    let begin = (1..=first).rev().take_while(|i| near(*i)).last().map_or(first, |i| i - 1);
    // To the end of the street, then back to its beginning, and so on.
    let (length, mut step) = (last - begin, first - begin + frame);
    if length == 0 {
        return &points[first];
    }
    step %= 2 * length;
    &points[begin + if step > length { 2 * length - step } else { step }]
}

/// A day of the year by the visit, an hour by the light.
fn time_of(condition: Condition, visit: u64) -> i64 {
    let hour = match condition {
        Condition::Day | Condition::Overcast | Condition::Rain | Condition::Snow => 12,
        Condition::Dusk => 20,
        Condition::Night => 23,
    };
    EPOCH + (visit % 366) as i64 * 86_400 + hour * 3600 + (visit / 366 % 3000) as i64
}

fn write_table(town: &Town, shots: &[Shot], path: &Path) -> Result<()> {
    let mut table = csv::Writer::from_writer(Vec::new());
    let failed = |e: &dyn std::fmt::Display| DataError::format(path, None, format!("cannot be written: {e}"));
    if shots.is_empty() {
        let header = ["path", "lat", "lon", "heading", "altitude", "timestamp", "condition"];
        table.write_record(header).map_err(|e| failed(&e))?;
    }
    for shot in shots {
        let camera = &shot.view.camera;
        let position = town.to_latlon(camera.x, camera.y);
        let row = Row {
            path: &shot.name,
            lat: position.lat,
            lon: position.lon,
            heading: camera.heading,
            altitude: camera.height,
            timestamp: shot.time,
            condition: shot.view.condition,
        };
        table.serialize(row).map_err(|e| failed(&e))?;
    }
    replace(path, &table.into_inner().map_err(|e| failed(&e))?)
}

/// Writes a file beside its place, then moves it there.
fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".part");
    std::fs::write(&beside, bytes).map_err(|e| DataError::io(&beside, e))?;
    std::fs::rename(&beside, path).map_err(|e| DataError::io(path, e))
}
