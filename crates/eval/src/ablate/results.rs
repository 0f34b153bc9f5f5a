//! The results of an ablation.

use super::config::AblationConfig;
use super::plan::Setting;
use crate::metrics::{Interval, PairedTest};
use crate::{Protocol, UnusableImage};
use serde::Serialize;

/// The N of recall@N in an ablation.
pub(crate) const RANKS: [usize; 3] = [1, 5, 10];

/// For each of [`RANKS`], which queries a setting gets right.
pub(crate) type Hits = [Vec<bool>; 3];

/// The results of an ablation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ablation {
    /// The configuration.
    pub config: AblationConfig,
    /// Names and fingerprints of the models.
    pub models: Vec<(String, String)>,
    /// A table for each dataset.
    pub datasets: Vec<DatasetResults>,
    /// A table for each value of [`DatasetEntry::pooled`](super::DatasetEntry::pooled).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pooled: Vec<PooledResults>,
    /// Rows that were left out, and why.
    pub notes: Vec<String>,
}

/// All settings on one dataset.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DatasetResults {
    /// Its name in tables.
    pub name: String,
    /// The protocol that the numbers belong to; image size and precision are the baseline's.
    pub protocol: Protocol,
    /// The baseline, then each change of it.
    pub rows: Vec<AblationRow>,
    /// Images that could not be used.
    pub unusable: Vec<UnusableImage>,
}

/// All settings on several datasets whose queries are pooled, such as the folds of a set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PooledResults {
    /// Their common name.
    pub name: String,
    /// Name of each dataset in tables.
    pub parts: Vec<String>,
    /// Queries of all of them.
    pub queries: usize,
    /// The baseline, then each change of it; milliseconds and shares are means over the queries.
    pub rows: Vec<AblationRow>,
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AblationRow {
    /// The model's name.
    pub model: String,
    /// What differs from the baseline: the name of an axis, `model`, `combination`, or `baseline` itself.
    pub axis: String,
    /// Its value.
    pub value: String,
    /// The whole setting.
    pub setting: Setting,
    /// Recall@1, @5 and @10 with 95 % bootstrap intervals.
    pub recall: [(usize, Interval); 3],
    /// Recall@1 minus the baseline's on the same queries; `None` for the baseline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<PairedTest>,
    /// Share of the queries that adaptive reranking skipped; `None` without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<f64>,
    /// Milliseconds of extraction per image, with the local features of the most demanding setting; `None` if an earlier
    /// run had extracted all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extraction_ms: Option<f64>,
    /// Milliseconds of exact search per query.
    pub search_ms: f64,
    /// Milliseconds of reranking per query, skipped ones included; `None` without reranking.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerank_ms: Option<f64>,
    /// Bytes stored per image.
    pub bytes_per_image: usize,
}

impl AblationRow {
    /// Milliseconds of search and reranking per query: the cost that settings change.
    pub fn ranking_ms(&self) -> f64 {
        self.search_ms + self.rerank_ms.unwrap_or(0.0)
    }
}
