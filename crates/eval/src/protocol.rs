//! What the numbers mean: they are comparable only under the same protocol.

use crate::QueriesAs;
use serde::{Deserialize, Serialize};

/// What happens to queries without any positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum EmptyQueries {
    /// They stay in the denominator and fail (the common tools).
    #[default]
    Fail,
    /// They are left out (the official MSLS loader).
    Drop,
}

impl std::str::FromStr for EmptyQueries {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "fail" => Ok(Self::Fail),
            "drop" => Ok(Self::Drop),
            other => Err(format!("{other}: queries without positives either fail or drop")),
        }
    }
}

/// The protocol of one run, told with every result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Protocol {
    /// Dataset and variant.
    pub dataset: String,
    /// What makes a reference a positive: a radius, a list, a frame tolerance.
    pub positives: String,
    /// Radius in metres, where there is one (inclusive).
    pub radius_m: Option<f64>,
    /// Largest difference of heading in degrees, where there is a rule.
    pub heading_limit_deg: Option<f64>,
    /// Whether all cities are searched as one database or each for itself.
    pub cities: String,
    /// What happened to queries without positives.
    pub empty_queries: EmptyQueries,
    /// How many there were.
    pub empty_query_count: usize,
    /// Database images.
    pub database: usize,
    /// Queries that count.
    pub queries: usize,
    /// How images became orders; none where orders came in a file.
    #[serde(flatten)]
    pub input: Option<Input>,
    /// Facts that the dataset's reader adds.
    pub notes: Vec<String>,
}

/// How images became orders. Two runs that differ in nothing else still answer the same question.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Input {
    /// Resize mode of the model.
    pub resize: String,
    /// Image size, height x width in pixels.
    pub image_size: String,
    /// How queries are brought to it; database images are always resized.
    pub queries_as: QueriesAs,
    /// Arithmetic of the products.
    pub precision: String,
    /// Candidates that were reranked, 0 for none.
    pub candidates: usize,
    /// How sequences were compared; none without sequences.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequences: Option<String>,
}

/// Names of [`Input`]'s fields among those of a written protocol.
pub(crate) const INPUT: [&str; 6] =
    ["resize", "image_size", "queries_as", "precision", "candidates", "sequences"];
