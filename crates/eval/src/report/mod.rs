//! An evaluation as files: a page for people, results for programs.

mod charts;
mod examples;
mod facts;
mod page;
mod scores;

pub use facts::{Facts, RunFacts};

use crate::{EvalError, Evaluation, Result, Scores};
use r2former_data::dataset::Dataset;
use r2former_engine::{Extractor, Progress};
use r2former_model::checkpoint::write_atomically;
use serde::Serialize;
use std::path::Path;

/// Name of the page in a report's folder.
pub const PAGE: &str = "report.html";
/// Name of the results in a report's folder.
pub const RESULTS: &str = "results.json";

#[derive(Serialize)]
struct Results<'a> {
    facts: &'a Facts,
    #[serde(flatten)]
    evaluation: &'a Evaluation,
}

/// Writes `report.html` and `results.json` into a folder, which is made where there is none. Each is written whole or
/// not at all.
///
/// # Errors
/// A folder that cannot be written; a failing device.
pub fn write_report(
    dir: &Path,
    evaluation: &Evaluation,
    dataset: &Dataset,
    extractor: &Extractor,
    facts: &Facts,
    progress: &dyn Progress,
) -> Result<()> {
    // Results first: they are what cannot be had again cheaply.
    put_json(dir, RESULTS, &Results { facts, evaluation })?;
    let examples = examples::choose(evaluation, dataset, extractor, progress)?;
    let page = page::render(evaluation, dataset, facts, &examples)?;
    put(&dir.join(PAGE), page.as_bytes())
}

/// Writes the same two files of scored predictions, as far as rankings alone can fill them; [`crate::compare`] reads
/// the results.
///
/// # Errors
/// A folder that cannot be written.
pub fn write_scores(dir: &Path, scores: &Scores, run: &RunFacts) -> Result<()> {
    put_json(dir, RESULTS, scores)?;
    put(&dir.join(PAGE), scores::render(scores, run)?.as_bytes())
}

/// Writes a value as JSON into a folder, which is made where there is none.
pub(crate) fn put_json(dir: &Path, name: &str, value: &impl Serialize) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(|error| EvalError::file(dir, error))?;
    let path = dir.join(name);
    let bytes = serde_json::to_vec_pretty(value).map_err(|error| EvalError::file(&path, error))?;
    put(&path, &bytes)
}

pub(crate) fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomically(path, bytes).map_err(|error| EvalError::file(path, error))
}
