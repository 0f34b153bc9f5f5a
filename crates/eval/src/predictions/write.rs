//! Writing predictions: rankings of a run, as a submission or for other tools.

use super::names::Names;
use super::{PredictionFormat, PredictionsError};
use crate::output::{check_output_file, write_output};
use crate::{EvalError, Ranking, Result};
use r2former_data::dataset::Dataset;
use std::path::{Path, PathBuf};

/// Predictions per query, at most: the largest N of recall@N.
const DEPTH: usize = 100;

/// A predictions file to be written after a run. Created before it, so that a bad name or path is reported first.
pub struct PredictionsFile {
    path: PathBuf,
    format: PredictionFormat,
    queries: Names,
    database: Names,
    head: String,
}

impl PredictionsFile {
    /// A file for a dataset's predictions, in the format of its extension: `.txt` as the MSLS tools read it, `.csv` with
    /// a header row.
    ///
    /// # Errors
    /// - [`PredictionsError::Extension`]: another extension.
    /// - [`PredictionsError::SameName`], [`PredictionsError::Unwritable`]: names of images that are not unique, or that
    ///   the format cannot represent.
    /// - [`EvalError::File`]: the file cannot be written.
    pub fn new(path: &Path, dataset: &Dataset) -> Result<Self> {
        let format = PredictionFormat::of(path)?;
        check_output_file(path)?;
        let (queries, database) = (Names::of_queries(dataset)?, Names::of_database(dataset)?);
        if format == PredictionFormat::Msls {
            let unfit = |name: &&String| name.contains(char::is_whitespace) || name.starts_with('#');
            if let Some(name) = queries.written.iter().chain(&database.written).find(unfit) {
                return Err(
                    PredictionsError::Unwritable { path: path.to_path_buf(), name: name.clone() }.into()
                );
            }
        }
        let mut head = format!("# {}\n", dataset.name);
        dataset.notes.iter().for_each(|note| head += &format!("# {note}\n"));
        head += "# query, then its predicted matches, best first; keys of a sequence are joined by commas\n";
        Ok(Self { path: path.to_path_buf(), format, queries, database, head })
    }

    /// Writes the rankings of some queries, given by their indices in the dataset: at most 100 references each. The file
    /// is written whole or not at all.
    ///
    /// # Errors
    /// [`EvalError::File`]: the file cannot be written.
    pub fn write(&self, queries: &[usize], rankings: &[Ranking]) -> Result<()> {
        let row = |(query, ranking): (&usize, &Ranking)| -> Vec<&str> {
            let references = ranking.references.iter().take(DEPTH);
            let names = references.map(|reference| self.database.written[*reference as usize].as_str());
            std::iter::once(self.queries.written[*query].as_str()).chain(names).collect()
        };
        let rows: Vec<Vec<&str>> = queries.iter().zip(rankings).map(row).collect();
        let bytes = match self.format {
            PredictionFormat::Csv => table(&rows).map_err(|error| EvalError::file(&self.path, error))?,
            PredictionFormat::Msls | PredictionFormat::Kapture => {
                let lines: Vec<String> = rows.iter().map(|row| row.join(" ") + "\n").collect();
                (self.head.clone() + &lines.concat()).into_bytes()
            }
        };
        write_output(&self.path, &bytes)
    }
}

fn table(rows: &[Vec<&str>]) -> std::io::Result<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    let deepest = rows.iter().map(Vec::len).max().unwrap_or(1);
    let head = std::iter::once("query".to_string()).chain((1..deepest).map(|rank| format!("ref{rank}")));
    writer.write_record(head)?;
    for row in rows {
        writer.write_record(row)?;
    }
    writer.into_inner().map_err(|error| error.into_error())
}
