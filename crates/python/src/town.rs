//! The rendered town, and lists of photographs.

use crate::errors::Failure;
use crate::watch::run;
use pyo3::prelude::*;
use r2former_data::dataset::{Kind, SourceOptions, escaped_name, list_images, list_photos};
use r2former_town::{Condition, Town, TownConfig, TownDatasetConfig, write_dataset_while};
use serde::Deserialize;
use serde_json::json;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Instant;

/// Options, with the names and the defaults of those of `r2former town`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TownDocument {
    seed: u64,
    blocks: (u32, u32),
    spacing: f64,
    queries: usize,
    walk: Option<usize>,
    conditions: Vec<String>,
    /// Height and width.
    size: (usize, usize),
}

/// Renders a town into a new or empty folder: the document of `r2former town --json`.
#[pyfunction]
pub(crate) fn town(
    py: Python<'_>,
    path: PathBuf,
    options: &str,
    progress: Option<Py<PyAny>>,
) -> PyResult<String> {
    run(py, progress, |watch| {
        let asked: TownDocument = serde_json::from_str(options)?;
        if path.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(Failure::request(format!("{}: is not empty; choose a new folder", path.display())));
        }
        let conditions = asked.conditions.iter().map(|text| text.parse().map_err(Failure::request));
        let dataset = TownDatasetConfig {
            spacing: asked.spacing,
            size: (asked.size.1, asked.size.0),
            n_queries: asked.queries,
            walk: asked.walk.unwrap_or(1),
            queries: conditions.collect::<Result<Vec<Condition>, _>>()?,
            seed: asked.seed,
            ..Default::default()
        };
        let town = Town::new(&TownConfig { seed: asked.seed, blocks: asked.blocks, ..Default::default() })?;
        let started = Instant::now();
        let show = |done: usize, total: usize| watch.at("images rendered", done as u64, total as u64);
        let summary = write_dataset_while(&town, &dataset, &path, &show)?;
        let all = (summary.database + summary.queries) as f64;
        let rate = 60.0 * all / started.elapsed().as_secs_f64();
        let document = json!({
            "dir": path.to_string_lossy(), "database": summary.database, "queries": summary.queries, "images_per_minute": rate,
        });
        Ok(document.to_string())
    })
}

/// Photographs of a source, those with positions or every image of a folder: documents, files and notes. A file's name need
/// not be text, and JSON has no bytes that are none.
#[pyfunction]
pub(crate) fn photos(
    py: Python<'_>,
    source: PathBuf,
    kind: Option<String>,
    positions: bool,
) -> PyResult<(String, Vec<OsString>, Vec<String>)> {
    run(py, None, |_| {
        let kind = kind.map(|kind| kind.parse::<Kind>()).transpose();
        let kind = kind.map_err(|error| Failure::request(error.to_string()))?;
        let listing = match positions {
            true => list_photos(&source, kind, &SourceOptions::default())?,
            false => list_images(&source)?,
        };
        let photo = |photo: &r2former_data::Photo| {
            json!({
                "name": photo.name, "position": photo.position, "heading": photo.heading,
                "altitude": photo.altitude, "time": photo.time, "tags": photo.tags,
            })
        };
        let photos: Vec<_> = listing.photos.iter().map(photo).collect();
        let paths = listing.photos.iter().map(|photo| photo.path.clone().into_os_string()).collect();
        let skipped = listing.skipped.iter();
        let skipped = skipped.map(|s| format!("left out: {}: {}", escaped_name(&s.path), s.reason));
        Ok((serde_json::to_string(&photos)?, paths, listing.notes.into_iter().chain(skipped).collect()))
    })
}
