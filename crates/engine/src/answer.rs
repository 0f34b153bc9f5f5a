//! The answer to "where was this taken?".

use crate::RerankMethod;
use r2former_data::LatLon;
use serde::Serialize;
use std::time::Duration;

/// One place that may show what the query shows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Match {
    /// The reference photograph's name within its source.
    pub path: String,
    /// Where it was taken.
    pub position: Option<LatLon>,
    /// Viewing direction, degrees clockwise from north.
    pub heading: Option<f64>,
    /// Seconds since 1970 UTC.
    pub time: Option<i64>,
    /// Metres from the prior position, where one was given.
    pub distance_m: Option<f64>,
    /// Cosine of the global descriptors, -1 to 1.
    pub similarity: f32,
    /// The reranker's probability of the same place, 0 to 1, or the number of RANSAC's inliers; absent when nothing
    /// was reranked.
    pub score: Option<f32>,
}

/// Where the query was probably taken.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// The best match's position.
    pub best: LatLon,
    /// Mean position of the best match and those that agree with it, weighted by their scores
    /// (by similarity when nothing was reranked).
    pub weighted: LatLon,
    /// How many matches agree: those among the first answers within the agreement radius.
    pub agreeing: usize,
    /// The largest distance in metres from the best match to one that agrees.
    pub spread_m: f64,
}

/// What one query cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Timing {
    /// Reading, decoding, resizing: milliseconds.
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
    /// The query as it was named.
    pub query: String,
    /// Places, best first.
    pub matches: Vec<Match>,
    /// Position estimate; absent when no match carries a position.
    pub estimate: Option<Estimate>,
    /// What the ranking is by: [`RerankMethod::None`] where reranking was skipped.
    pub rerank: RerankMethod,
    /// Whether adaptive reranking left the global ranking as it was, because its top-1 margin was large enough.
    pub reranking_skipped: bool,
    /// Wall-clock time of the stages.
    pub timing: Timing,
}

impl Estimate {
    /// Matches within this many metres of the best one agree with it: the usual radius within which
    /// two photographs count as the same place.
    pub const AGREEMENT_M: f64 = 25.0;

    /// Estimates a position from ranked matches.
    pub fn from_matches(matches: &[Match]) -> Option<Self> {
        let best = matches.first()?.position?;
        let (mut east, mut north, mut total, mut agreeing, mut spread_m) = (0.0, 0.0, 0.0, 0usize, 0.0f64);
        for m in matches {
            let Some(position) = m.position else { continue };
            let distance = r2former_data::geo::geodesic_m(best, position);
            if distance > Self::AGREEMENT_M {
                continue;
            }
            let weight = f64::from(m.score.unwrap_or(m.similarity)).max(1e-6);
            // Differences, so that neither the date line nor rounding of degrees matters.
            let mut lon = position.lon - best.lon;
            lon -= 360.0 * (lon / 360.0).round();
            east += weight * lon;
            north += weight * (position.lat - best.lat);
            total += weight;
            agreeing += 1;
            spread_m = spread_m.max(distance);
        }
        let lon = best.lon + east / total;
        let weighted = LatLon { lat: best.lat + north / total, lon: lon - 360.0 * (lon / 360.0).round() };
        Some(Self { best, weighted, agreeing, spread_m })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(lat: f64, lon: f64, score: f32) -> Match {
        Match {
            path: String::new(),
            position: Some(LatLon { lat, lon }),
            heading: None,
            time: None,
            distance_m: None,
            similarity: 0.5,
            score: Some(score),
        }
    }

    #[test]
    fn far_matches_do_not_pull() {
        // The third lies 1.1 km north; the first two 11 m apart with weights 3 to 1.
        let found = Estimate::from_matches(&[at(52.0, 0.0, 0.9), at(52.0001, 0.0, 0.3), at(52.01, 0.0, 0.9)]);
        let found = found.expect("positions are there");
        assert_eq!(found.agreeing, 2);
        assert!((found.weighted.lat - 52.000_025).abs() < 1e-7, "{found:?}");
        assert!((found.spread_m - 11.1).abs() < 0.2);
    }

    #[test]
    fn date_line_is_no_border() {
        let found = Estimate::from_matches(&[at(0.0, 179.999_95, 0.5), at(0.0, -179.999_95, 0.5)])
            .expect("positions");
        assert!(found.weighted.lon.abs() > 179.99, "{found:?}");
    }

    #[test]
    fn no_position_no_estimate() {
        let mut lone = at(0.0, 0.0, 0.5);
        lone.position = None;
        assert_eq!(Estimate::from_matches(&[lone]), None);
        assert_eq!(Estimate::from_matches(&[]), None);
    }
}
