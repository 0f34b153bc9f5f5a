//! Report of an evaluation: an HTML page, and results as JSON.

mod charts;
mod environment;
mod examples;
mod page;
mod scores;

pub use environment::{Environment, RunInfo};

use crate::output::{write_json, write_output};
use crate::{Evaluation, Result, Scores};
use r2former_data::dataset::Dataset;
use r2former_engine::{Extractor, Progress};
use serde::Serialize;
use std::path::Path;

/// File name of the page in a report's folder.
pub const PAGE: &str = "report.html";
/// File name of the results in a report's folder.
pub const RESULTS: &str = "results.json";

#[derive(Serialize)]
struct Results<'a> {
    environment: &'a Environment,
    #[serde(flatten)]
    evaluation: &'a Evaluation,
}

/// Writes `report.html` and `results.json` into a folder, which is created if it does not exist. Each file is written
/// whole or not at all.
///
/// # Errors
/// - [`EvalError::File`](crate::EvalError::File): the folder cannot be written.
/// - [`EvalError::Engine`](crate::EvalError::Engine): a failing device.
pub fn write_report(
    dir: &Path,
    evaluation: &Evaluation,
    dataset: &Dataset,
    extractor: &Extractor,
    environment: &Environment,
    progress: &dyn Progress,
) -> Result<()> {
    // Results first: they are expensive to compute again.
    write_json(dir, RESULTS, &Results { environment, evaluation })?;
    let examples = examples::choose(evaluation, dataset, extractor, progress)?;
    let page = page::render(evaluation, dataset, environment, &examples)?;
    write_output(&dir.join(PAGE), page.as_bytes())
}

/// Writes the same two files for scored predictions, without what needs a model. [`crate::compare`] reads the results.
///
/// # Errors
/// [`EvalError::File`](crate::EvalError::File): the folder cannot be written.
pub fn write_scores(dir: &Path, scores: &Scores, run: &RunInfo) -> Result<()> {
    write_json(dir, RESULTS, scores)?;
    write_output(&dir.join(PAGE), scores::render(scores, run)?.as_bytes())
}
