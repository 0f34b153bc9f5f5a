//! Reading predictions: rows, then their names looked up in a dataset.

use super::names::Names;
use super::rows::{Row, detect, rows};
use super::{PredictionFormat, PredictionsError};
use r2former_data::dataset::Dataset;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// One file's predictions for a dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    /// The file.
    pub path: PathBuf,
    /// For each query of the dataset its predictions, if the file has any.
    pub queries: Vec<Option<QueryPredictions>>,
    /// What the names of all its references begin with, and those of the dataset do not.
    pub label: Option<String>,
}

/// One query's predictions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryPredictions {
    /// Its line in the file, from 1; its first one in a file of pairs.
    pub line: u64,
    /// Indices of the references, best first, without duplicates.
    pub references: Vec<u32>,
}

/// Reads a predictions file. Images are named by their key (MSLS) or by their name within the dataset, sequences by the
/// keys of their frames, joined by commas. If `format` is `None`, a kapture file is recognised by its first comment,
/// others by their extension.
///
/// Missing predictions are no error here: [`crate::score`] knows which queries count.
///
/// # Errors
/// - [`PredictionsError::Io`], [`PredictionsError::Extension`], [`PredictionsError::Empty`]: the file as a whole.
/// - [`PredictionsError::Malformed`], [`PredictionsError::UnknownQuery`], [`PredictionsError::UnknownReference`],
///   [`PredictionsError::RepeatedQuery`], [`PredictionsError::RepeatedReference`]: a line of it.
/// - [`PredictionsError::SameName`]: two images of the dataset have the same name.
pub fn read_predictions(
    path: &Path,
    format: Option<PredictionFormat>,
    dataset: &Dataset,
) -> Result<Predictions, PredictionsError> {
    let queries = Names::of_queries(dataset)?;
    let database = Names::of_database(dataset)?;
    let text = std::fs::read_to_string(path)
        .map_err(|reason| PredictionsError::Io { path: path.to_path_buf(), reason })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let format = match format {
        Some(format) => format,
        None => detect(path, text)?,
    };
    let rows = rows(path, text, format, |name| queries.number(name).is_some())?;
    if rows.is_empty() {
        return Err(PredictionsError::Empty { path: path.to_path_buf() });
    }
    let label = match format {
        PredictionFormat::Kapture => label(&rows, &database),
        PredictionFormat::Msls | PredictionFormat::Csv => None,
    };
    let mut found: Vec<Option<QueryPredictions>> = vec![None; dataset.queries.len()];
    for row in rows {
        let number = queries.number(&row.query).ok_or_else(|| PredictionsError::UnknownQuery {
            path: path.to_path_buf(),
            line: row.line,
            name: row.query.clone(),
            count: dataset.queries.len(),
        })?;
        let slot = &mut found[number as usize];
        if let Some(first) = slot {
            let (line, first) = (row.line, first.line);
            return Err(PredictionsError::RepeatedQuery {
                path: path.to_path_buf(),
                line,
                name: row.query,
                first,
            });
        }
        let line = row.line;
        *slot =
            Some(QueryPredictions { line, references: references(path, row, &database, label.as_deref())? });
    }
    Ok(Predictions { path: path.to_path_buf(), queries: found, label })
}

/// The label that all references have before their names. Pairs of `r2former query` name them as an index does,
/// `LABEL/NAME`. There is none where an image of the database has a whole name, or where labels differ: what is left of such
/// names might be another image.
fn label(rows: &[Row], database: &Names) -> Option<String> {
    let mut names = rows.iter().flat_map(|row| row.references.iter().map(|(_, name)| name.as_str()));
    let (label, _) = names.clone().next()?.split_once('/')?;
    let has_label = |name: &str| {
        database.number(name).is_none() && name.split_once('/').is_some_and(|(own, _)| own == label)
    };
    names.all(has_label).then(|| label.to_owned())
}

/// The numbers of a row's references, whose names have this label before them.
fn references(
    path: &Path,
    row: Row,
    database: &Names,
    label: Option<&str>,
) -> Result<Vec<u32>, PredictionsError> {
    let mut seen = HashSet::new();
    let mut all = Vec::with_capacity(row.references.len());
    for (line, name) in row.references {
        let path = path.to_path_buf();
        let inside = match label {
            Some(label) => name.strip_prefix(label).and_then(|name| name.strip_prefix('/')),
            None => Some(name.as_str()),
        };
        let Some(number) = inside.and_then(|name| database.number(name)) else {
            let count = database.written.len();
            return Err(PredictionsError::UnknownReference { path, line, query: row.query, name, count });
        };
        if !seen.insert(number) {
            return Err(PredictionsError::RepeatedReference { path, line, query: row.query, name });
        }
        all.push(number);
    }
    Ok(all)
}
