//! The answer to "where was this taken?".

use crate::RerankMethod;
use r2former_data::{LatLon, LocalPoint, Position};
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
    /// The number of mutual nearest local features that one homography explains.
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

/// Where the query was probably taken, by the first [`Estimate::CONSIDERED`] matches of the ranking.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// The best match's position.
    pub best: Position,
    /// Mean position of the matches that agree, weighted by their scores (by similarity where nothing was
    /// reranked).
    pub weighted: Position,
    /// Matches within [`Estimate::AGREEMENT_M`] of the best one, itself included.
    pub agreeing: usize,
    /// Matches that were asked: the first of the ranking that have a position and, where the best one was
    /// reranked, were reranked too.
    pub considered: usize,
    /// The largest distance in metres from the best match to one that agrees.
    pub spread_m: f64,
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

impl Estimate {
    /// Matches within this many metres of the best one agree with it: the usual radius within which
    /// two photographs count as the same place.
    pub const AGREEMENT_M: f64 = 25.0;

    /// Matches that are considered: the first 10 of the ranking, however many an answer shows.
    pub const CONSIDERED: usize = 10;

    /// Estimates a position from a ranking, in its kind of positions: a height in local metres is that of the matches that
    /// have one, where the best one has; `None` where its first match has no position.
    ///
    /// ```
    /// use r2former_engine::{Estimate, LatLon, Match, ScoreKind};
    /// use std::collections::BTreeMap;
    ///
    /// let found = |rank, lat, score| Match {
    ///     rank,
    ///     id: String::new(),
    ///     path: format!("{rank}.jpg"),
    ///     tags: BTreeMap::new(),
    ///     position: Some(LatLon { lat, lon: 0.0 }.into()),
    ///     heading: None,
    ///     time: None,
    ///     distance_m: None,
    ///     similarity: 0.5,
    ///     score: Some(score),
    ///     score_kind: Some(ScoreKind::RerankerProbability),
    /// };
    /// // The second lies 11 m north of the first, the third 1.1 km.
    /// let ranking = [found(1, 52.0, 0.9), found(2, 52.0001, 0.3), found(3, 52.01, 0.2)];
    /// let estimate = Estimate::from_matches(&ranking).unwrap();
    /// assert_eq!((estimate.agreeing, estimate.considered), (2, 3));
    /// assert_eq!(estimate.weighted.to_string(), "52.000025, 0.000000");
    /// assert_eq!(format!("{:.1} m", estimate.spread_m), "11.1 m");
    /// ```
    pub fn from_matches(ranking: &[Match]) -> Option<Self> {
        let first = ranking.first()?;
        let best = first.position?;
        let mut mean = Mean::default();
        let (mut agreeing, mut considered, mut spread_m) = (0, 0, 0.0f64);
        // Scores and similarities are not comparable: a ranking continues with similarities behind the reranked ones.
        let comparable = ranking.iter().filter(|m| m.score.is_some() == first.score.is_some());
        for m in comparable.take(Self::CONSIDERED) {
            let Some(position) = m.position else { continue };
            considered += 1;
            let Some(distance) = best.distance_m(position).filter(|metres| *metres <= Self::AGREEMENT_M)
            else {
                continue;
            };
            mean.add(best, position, f64::from(m.score.unwrap_or(m.similarity)).max(1e-6));
            agreeing += 1;
            spread_m = spread_m.max(distance);
        }
        let weighted = mean.around(best);
        Some(Self { best, weighted, agreeing, considered, spread_m })
    }
}

/// A weighted mean of positions as differences from one of them, so that neither the date line nor rounding matters.
#[derive(Default)]
struct Mean {
    /// Longitudes or x, latitudes or y.
    sums: [f64; 2],
    total: f64,
    height: f64,
    height_total: f64,
}

impl Mean {
    fn add(&mut self, from: Position, to: Position, weight: f64) {
        let difference = match (from, to) {
            (Position::Wgs84(from), Position::Wgs84(to)) => {
                let lon = to.lon - from.lon;
                [lon - 360.0 * (lon / 360.0).round(), to.lat - from.lat]
            }
            (Position::Local(from), Position::Local(to)) => {
                if let Some((from, to)) = from.z.zip(to.z) {
                    self.height += weight * (to - from);
                    self.height_total += weight;
                }
                [to.x - from.x, to.y - from.y]
            }
            (Position::Wgs84(_), Position::Local(_)) | (Position::Local(_), Position::Wgs84(_)) => return,
        };
        for (sum, difference) in self.sums.iter_mut().zip(difference) {
            *sum += weight * difference;
        }
        self.total += weight;
    }

    fn around(&self, from: Position) -> Position {
        let [x, y] = self.sums.map(|sum| sum / self.total);
        match from {
            Position::Wgs84(from) => {
                let lon = from.lon + x;
                LatLon { lat: from.lat + y, lon: lon - 360.0 * (lon / 360.0).round() }.into()
            }
            Position::Local(from) => {
                let z = from.z.map(|z| z + self.height / self.height_total);
                LocalPoint { x: from.x + x, y: from.y + y, z }.into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(lat: f64, lon: f64, score: f32) -> Match {
        Match {
            rank: 1,
            id: String::new(),
            path: String::new(),
            tags: BTreeMap::new(),
            position: Some(LatLon { lat, lon }.into()),
            heading: None,
            time: None,
            distance_m: None,
            similarity: 0.5,
            score: Some(score),
            score_kind: Some(ScoreKind::RerankerProbability),
        }
    }

    #[test]
    fn far_matches_do_not_pull() {
        // The third lies 1.1 km north; the first two 11 m apart with weights 3 to 1.
        let found = Estimate::from_matches(&[at(52.0, 0.0, 0.9), at(52.0001, 0.0, 0.3), at(52.01, 0.0, 0.9)]);
        let found = found.expect("positions are there");
        assert_eq!(found.agreeing, 2);
        assert!((found.weighted.wgs84().expect("globe").lat - 52.000_025).abs() < 1e-7, "{found:?}");
        assert!((found.spread_m - 11.1).abs() < 0.2);
    }

    #[test]
    fn the_first_ten_are_considered_however_many_are_shown() {
        let mut ranking: Vec<Match> = (0..40).map(|_| at(52.0, 0.0, 0.9)).collect();
        ranking[3].position = None;
        let found = Estimate::from_matches(&ranking).expect("positions are there");
        assert_eq!((found.agreeing, found.considered), (9, 9));
        // Five were reranked: the others' similarities say something else.
        ranking[5..].iter_mut().for_each(|m| m.score = None);
        let found = Estimate::from_matches(&ranking).expect("positions are there");
        assert_eq!((found.agreeing, found.considered), (4, 4));
    }

    #[test]
    fn date_line_is_no_border() {
        let found = Estimate::from_matches(&[at(0.0, 179.999_95, 0.5), at(0.0, -179.999_95, 0.5)])
            .expect("positions");
        assert!(found.weighted.wgs84().expect("globe").lon.abs() > 179.99, "{found:?}");
    }

    #[test]
    fn local_metres_agree_in_space() {
        let at = |x: f64, z: Option<f64>, score| Match {
            position: Some(LocalPoint { x, y: 0.0, z }.into()),
            ..at(0.0, 0.0, score)
        };
        // The third stands 30 m above the first; the last has no height, so that the plane counts.
        let ranking =
            [at(0.0, Some(0.0), 0.9), at(4.0, Some(3.0), 0.3), at(0.0, Some(30.0), 0.9), at(6.0, None, 0.3)];
        let found = Estimate::from_matches(&ranking).expect("positions are there");
        assert_eq!((found.agreeing, found.considered, found.spread_m), (3, 4, 6.0));
        let weighted = found.weighted.local().expect("local metres");
        assert!(
            (weighted.x - 2.0).abs() < 1e-6 && (weighted.z.expect("a height") - 0.75).abs() < 1e-6,
            "{found:?}"
        );
    }

    #[test]
    fn no_position_no_estimate() {
        let mut lone = at(0.0, 0.0, 0.5);
        lone.position = None;
        assert_eq!(Estimate::from_matches(&[lone]), None);
        assert_eq!(Estimate::from_matches(&[]), None);
    }
}
