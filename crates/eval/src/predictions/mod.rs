//! Predictions files: rankings of a run, written for a challenge or another tool, and rankings of any program, read and
//! scored.

mod error;
mod names;
mod read;
mod rows;
mod score;
mod write;

pub use error::PredictionsError;
pub use read::{Predictions, QueryPredictions, read_predictions};
pub use score::{ScoreSummary, ScoredQuery, ScoredRun, Scores, score};
pub use write::PredictionsFile;

use std::path::Path;

/// Format of a predictions file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PredictionFormat {
    /// That of the MSLS tools: one line per query with its key and the predicted keys, best first, separated by spaces;
    /// keys of a sequence joined by commas; lines that start with `#` are comments.
    Msls,
    /// One row per query: its name and the predicted names, best first.
    Csv,
    /// Pairs of kapture: one line per pair, `query, reference, score`, in any sequence.
    Kapture,
}

impl std::str::FromStr for PredictionFormat {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "msls" => Ok(Self::Msls),
            "csv" => Ok(Self::Csv),
            "kapture" => Ok(Self::Kapture),
            other => Err(format!("'{other}' is none of msls, csv and kapture")),
        }
    }
}

impl PredictionFormat {
    /// By a file's extension: `.txt` and `.csv`.
    ///
    /// # Errors
    /// [`PredictionsError::Extension`]: any other extension.
    pub fn of(path: &Path) -> Result<Self, PredictionsError> {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        match extension.as_deref() {
            Some("txt") => Ok(Self::Msls),
            Some("csv") => Ok(Self::Csv),
            _ => Err(PredictionsError::Extension { path: path.to_path_buf() }),
        }
    }
}
