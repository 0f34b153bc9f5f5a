//! Rankings as files: a run's own, written for a challenge or another tool, and anyone's, read and scored.

mod error;
mod names;
mod read;
mod rows;
mod score;
mod write;

pub use error::PredictionsError;
pub use read::{Predicted, Predictions, read_predictions};
pub use score::{ScoredQuery, ScoredRun, Scores, ScoresReport, score};
pub use write::PredictionsFile;

use std::path::Path;

/// How predictions are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PredictionFormat {
    /// The MSLS tools': a line a query, its key and the predicted keys, best first, separated by blanks; keys of a
    /// sequence joined by commas; lines that start with `#` are comments.
    Msls,
    /// A row a query: its name and the predicted names, best first.
    Csv,
    /// kapture's pairs: a line a pair, `query, reference, score`, in any order.
    Kapture,
}

impl std::str::FromStr for PredictionFormat {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "msls" => Ok(Self::Msls),
            "csv" => Ok(Self::Csv),
            "kapture" => Ok(Self::Kapture),
            other => Err(format!("'{other}' is no format of predictions: msls, csv or kapture")),
        }
    }
}

impl PredictionFormat {
    /// By a file's ending: `.txt` and `.csv`.
    ///
    /// # Errors
    /// [`PredictionsError::Ending`].
    pub fn of(path: &Path) -> Result<Self, PredictionsError> {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        match ending.as_deref() {
            Some("txt") => Ok(Self::Msls),
            Some("csv") => Ok(Self::Csv),
            _ => Err(PredictionsError::Ending { path: path.to_path_buf() }),
        }
    }
}
