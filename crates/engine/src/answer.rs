//! The answer to "where was this taken?".

use crate::{Estimate, RerankMethod};
use r2former_data::Position;
use r2former_index::Near;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Whether a query has an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// There are matches.
    Answered,
    /// There are matches, but less confidence in the best one than was asked for: the place is probably not in the
    /// index.
    NotInIndex,
    /// No place of the index passes the filter, or the index is empty.
    NoMatch,
}

/// What a match's score is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ScoreKind {
    /// The reranker's probability that two photographs show the same place, 0 to 1. It is not calibrated: good for
    /// ranking the matches of one query, not the chance that the answer is correct.
    RerankerProbability,
    /// The number of mutual nearest local features that one homography explains; or how well one similarity explains them, each counting
    /// from 0 to 1 ([`Geometry`](r2former_model::Geometry)).
    RansacInliers,
    /// The number of mutual nearest local features.
    MutualMatches,
}

impl ScoreKind {
    /// What a reranking method's scores are; `None` where it gives none.
    pub fn of(method: RerankMethod) -> Option<Self> {
        match method {
            RerankMethod::Model => Some(Self::RerankerProbability),
            RerankMethod::Ransac => Some(Self::RansacInliers),
            RerankMethod::Mutual => Some(Self::MutualMatches),
            RerankMethod::None => None,
        }
    }
}

/// A place that may show what the query shows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Match {
    /// Place in the ranking, from 1.
    pub rank: usize,
    /// The reference photograph's identifier in the index: that of its name.
    pub id: String,
    /// The reference photograph's name within its source.
    pub path: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Where it was taken, in the index's kind of positions.
    pub position: Option<Position>,
    /// Viewing direction, degrees clockwise from north; in local metres from the direction of y.
    pub heading: Option<f64>,
    /// Seconds since 1970 UTC.
    pub time: Option<i64>,
    /// Metres from the prior position, where one was given.
    pub distance_m: Option<f64>,
    /// Cosine of the global descriptors, -1 to 1.
    pub similarity: f32,
    /// Score of the reranking method; `None` for a match that was not reranked.
    pub score: Option<f32>,
    /// What the score is; `None` without one.
    pub score_kind: Option<ScoreKind>,
}

#[cfg(test)]
impl Match {
    /// A reference of this name that is as similar as this, and nothing else about it.
    pub(crate) fn named(path: &str, similarity: f32) -> Self {
        Self {
            rank: 1,
            id: String::new(),
            path: path.into(),
            tags: BTreeMap::new(),
            position: None,
            heading: None,
            time: None,
            distance_m: None,
            similarity,
            score: None,
            score_kind: None,
        }
    }
}

/// Wall-clock time of a query's stages, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Timing {
    /// Reading, decoding, resizing.
    pub decode_ms: f64,
    /// The network.
    pub extract_ms: f64,
    /// Searching the index.
    pub search_ms: f64,
    /// Fetching the candidates' local features.
    pub fetch_ms: f64,
    /// Reranking them.
    pub rerank_ms: f64,
}

impl Timing {
    pub(crate) fn ms(time: Duration) -> f64 {
        1000.0 * time.as_secs_f64()
    }
}

/// The answer for one query photograph.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// The query's name.
    pub query: String,
    /// Whether there are matches.
    pub status: Status,
    /// The probability that the best match is within the calibration's radius (25 m, unless the model says otherwise) of
    /// where the query was taken, 0 to 1; `None` without matches, or of a model that is not calibrated.
    pub confidence: Option<f64>,
    /// Matches, best first.
    pub matches: Vec<Match>,
    /// Around where it was searched; `None` where everywhere was.
    pub prior: Option<Near>,
    /// Position estimate; `None` where the best match has no position.
    pub estimate: Option<Estimate>,
    /// Reranking method of this ranking: [`RerankMethod::None`] where reranking was skipped.
    pub rerank: RerankMethod,
    /// Whether adaptive reranking kept the global ranking because its top-1 margin was large enough.
    pub reranking_skipped: bool,
    /// Reasons to distrust the answer, such as a query of a few pixels.
    pub notes: Vec<String>,
    /// Wall-clock time of the stages.
    pub timing: Timing,
}
