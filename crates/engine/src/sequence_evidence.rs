//! What the frames of a sequence say of places, and what these have in common with several frames.

use crate::{Match, ScoreKind};
use std::collections::HashMap;

/// Log-likelihood of a place with a position that a frame's search did not find, relative to the frame's best.
const UNSEEN: f64 = -8.0;
/// Log-likelihood of one unit of similarity, of places with positions.
const SIMILARITY_PLACED: f64 = 20.0;
/// The same of places that only have an order.
const SIMILARITY_ORDERED: f64 = 40.0;
/// The same of these, beside a reranker's score.
const SIMILARITY_BESIDE_SCORE: f64 = 10.0;
/// The part of a place's mean over several frames that counts against it, where places only have an order. Over seasons, a
/// few references resemble every frame; where positions bound the motion loosely, a walk lost more by it than it gained.
const COMMON: f64 = 0.8;

/// What a frame says of places, on the scale of log-likelihoods.
#[derive(Debug, Clone, Default)]
pub(crate) struct Evidence {
    /// Its candidates, each once.
    pub(crate) places: Vec<Match>,
    /// Of each.
    values: HashMap<String, f64>,
    /// Whether the candidates have positions.
    placed: bool,
    /// Of any place that it did not find.
    unseen: f64,
}

impl Evidence {
    /// By a frame's candidates.
    pub(crate) fn of(matches: Vec<Match>) -> Self {
        let mut evidence = Self { placed: matches.iter().any(|m| m.position.is_some()), ..Self::default() };
        let scored = matches.first().is_some_and(|m| m.score.is_some());
        // Without any candidate, a frame says nothing.
        let all = if evidence.placed { placed(&matches, scored) } else { ordered(&matches, scored) };
        evidence.unseen = match evidence.placed {
            true => UNSEEN,
            false => all.iter().copied().reduce(f64::min).unwrap_or(0.0),
        };
        for (m, value) in matches.into_iter().zip(all) {
            if !evidence.values.contains_key(&m.path) {
                evidence.values.insert(m.path.clone(), value);
                evidence.places.push(m);
            }
        }
        evidence
    }

    /// Whether a place is among its candidates.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.values.contains_key(path)
    }

    /// What it says of a place.
    pub(crate) fn value(&self, path: &str) -> f64 {
        self.values.get(path).copied().unwrap_or(self.unseen)
    }
}

/// Values of candidates with positions: relative to the best one, and what was not scored is behind what was.
fn placed(matches: &[Match], scored: bool) -> Vec<f64> {
    let value = |m: &Match| match scored {
        true => logit(m),
        false => Some(SIMILARITY_PLACED * f64::from(m.similarity)),
    };
    let all: Vec<Option<f64>> = matches.iter().map(value).collect();
    let best = all.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max);
    all.into_iter().map(|value| value.map_or(UNSEEN, |value| (value - best).max(UNSEEN))).collect()
}

/// Values of candidates that only have an order: what the reranker did not score is as good as the worst that it did, and
/// similarity ranks those.
fn ordered(matches: &[Match], scored: bool) -> Vec<f64> {
    let worst = matches.iter().filter_map(logit).reduce(f64::min).unwrap_or(0.0);
    let similarity = if scored { SIMILARITY_BESIDE_SCORE } else { SIMILARITY_ORDERED };
    let score = |m: &Match| if scored { logit(m).unwrap_or(worst) } else { 0.0 };
    matches.iter().map(|m| score(m) + similarity * f64::from(m.similarity)).collect()
}

/// A score on the scale of log-likelihoods.
fn logit(m: &Match) -> Option<f64> {
    let score = f64::from(m.score?);
    Some(match m.score_kind? {
        ScoreKind::RerankerProbability => {
            let score = score.clamp(1e-6, 1.0 - 1e-6);
            (score / (1.0 - score)).ln()
        }
        ScoreKind::RansacInliers | ScoreKind::MutualMatches => 3.0 * score.max(0.0).ln_1p(),
    })
}

/// What places have in common with several frames: a part of the mean of what these say of each.
pub(crate) struct Common {
    means: HashMap<String, f64>,
    unseen: f64,
    /// How much of it counts.
    part: f64,
}

impl Common {
    pub(crate) fn of<'a>(frames: impl Iterator<Item = &'a Evidence>) -> Self {
        let frames: Vec<&Evidence> = frames.collect();
        if frames.iter().any(|frame| frame.placed) {
            return Self { means: HashMap::new(), unseen: 0.0, part: 0.0 };
        }
        let mean = |value: &dyn Fn(&Evidence) -> f64| {
            frames.iter().map(|frame| value(frame)).sum::<f64>() / frames.len().max(1) as f64
        };
        let mut means = HashMap::new();
        for path in frames.iter().flat_map(|frame| frame.values.keys()) {
            if !means.contains_key(path) {
                means.insert(path.clone(), mean(&|frame| frame.value(path)));
            }
        }
        Self { means, unseen: mean(&|frame| frame.unseen), part: COMMON }
    }

    /// Whether any of it counts against a place.
    pub(crate) fn counts(&self) -> bool {
        self.part > 0.0
    }

    pub(crate) fn value(&self, path: &str) -> f64 {
        self.part * self.means.get(path).copied().unwrap_or(self.unseen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use r2former_data::LocalPoint;

    fn found(path: &str, similarity: f32, score: Option<f32>) -> Match {
        let score_kind = score.map(|_| ScoreKind::RerankerProbability);
        Match { score, score_kind, ..Match::named(path, similarity) }
    }

    #[test]
    fn what_was_not_scored_or_found_is_no_better_than_the_worst_that_was() {
        let frame = Evidence::of(vec![
            found("a", 0.5, Some(0.9)),
            found("b", 0.5, Some(0.5)),
            found("c", 0.5, None),
            found("d", 0.2, None),
        ]);
        assert!(frame.value("a") > frame.value("b"));
        assert_eq!(frame.value("b"), frame.value("c"));
        assert!(frame.value("c") > frame.value("d"));
        assert_eq!(frame.value("d"), frame.value("elsewhere"));
        assert_eq!(Evidence::of(Vec::new()).value("a"), 0.0);
    }

    #[test]
    fn with_positions_nothing_is_taken_off() {
        let place = |path: &str, similarity| Match {
            position: Some(LocalPoint { x: 0.0, y: 0.0, z: None }.into()),
            ..found(path, similarity, None)
        };
        let frame = Evidence::of(vec![place("a", 0.75), place("b", 0.5), place("c", 0.0)]);
        assert_eq!(["a", "b", "c", "elsewhere"].map(|path| frame.value(path)), [0.0, -5.0, -8.0, -8.0]);
        assert_eq!(Common::of([&frame].into_iter()).value("a"), 0.0);
    }

    #[test]
    fn the_mean_is_over_all_frames_and_a_place_counts_once() {
        let frames = [
            Evidence::of(vec![found("a", 0.5, None), found("a", 0.9, None), found("b", 0.25, None)]),
            Evidence::of(vec![found("b", 0.75, None), found("c", 0.5, None)]),
        ];
        assert_eq!(frames[0].places.len(), 2);
        let common = Common::of(frames.iter());
        // The second frame says 20 of what it did not find, the first one 10.
        let means = ["a", "b", "c", "elsewhere"].map(|path| common.value(path) / COMMON);
        assert_eq!(means, [20.0, 20.0, 15.0, 15.0]);
    }
}
