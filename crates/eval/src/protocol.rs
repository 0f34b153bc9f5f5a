//! The evaluation protocol: recalls are comparable only under the same one.

use crate::QueryPreprocessing;
use serde::{Deserialize, Serialize};

/// Handling of queries without any positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum EmptyQueries {
    /// They stay in the denominator and count as failures (the common tools).
    #[default]
    Fail,
    /// They are dropped (the official MSLS loader).
    Drop,
}

impl std::str::FromStr for EmptyQueries {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "fail" => Ok(Self::Fail),
            "drop" => Ok(Self::Drop),
            other => Err(format!("'{other}' is neither fail nor drop")),
        }
    }
}

/// The references that a query competes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Grouping {
    /// All of them.
    #[default]
    Merged,
    /// Those of its own city.
    PerCity,
}

/// The protocol of a run, reported with every result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Protocol {
    /// Dataset and variant.
    pub dataset: String,
    /// Which references are positives: within a radius, listed, or within a number of frames.
    pub positives: String,
    /// Radius in metres, if there is one (inclusive).
    pub radius_m: Option<f64>,
    /// Largest difference of heading in degrees, if there is a limit.
    pub heading_limit_deg: Option<f64>,
    /// Whether all cities are one database or each is searched on its own.
    pub cities: String,
    /// Handling of queries without positives.
    pub empty_queries: EmptyQueries,
    /// Number of queries without positives.
    pub empty_query_count: usize,
    /// Database images.
    pub database: usize,
    /// Queries that count.
    pub queries: usize,
    /// Model input and reranking; `None` for predictions read from a file.
    #[serde(flatten)]
    pub input: Option<Input>,
    /// Notes of the dataset's reader.
    pub notes: Vec<String>,
}

/// Model input and reranking. Runs that differ only here are comparable.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Input {
    /// Resize mode of the model.
    pub resize: String,
    /// Image size: height x width in pixels, or the rule by which it follows from the photograph's.
    pub image_size: String,
    /// How queries are resized or cropped to it; database images are always resized.
    pub query_preprocessing: QueryPreprocessing,
    /// Arithmetic of matrix products.
    pub precision: String,
    /// Candidates that were reranked, 0 for none.
    pub candidates: usize,
    /// Those of them that the model's reranker scored, chosen by geometry; `None` for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cascade: Option<usize>,
    /// How sequences were compared; `None` without sequences.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequences: Option<String>,
}

/// Names of [`Input`]'s fields in a serialised protocol.
pub(crate) const INPUT: [&str; 7] =
    ["resize", "image_size", "query_preprocessing", "precision", "candidates", "cascade", "sequences"];
