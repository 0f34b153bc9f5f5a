//! Answers with the clues of their rankings, and whether they are correct; of queries whose place is in the database, and
//! of queries whose place was taken out of it.

use crate::extracted::Extracted;
use crate::metrics::{Selective, quantile, selective};
use crate::ranking::{Ranking, Reranked, rerank_all, search};
use crate::units::Units;
use crate::view::View;
use crate::{EvalError, Grouping, PerRanking, Result, Rules};
use r2former_data::{LocalPoint, Photo, Position};
use r2former_engine::{Estimate, Evidence, Extractor, Match, Progress, RerankMethod, ScoreKind, Verifier};
use r2former_model::{Calibration, Clues};
use serde::Serialize;
use std::collections::HashMap;

/// Which part of the queries is made unknown.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Unknown {
    /// Share of the queries whose positives and surroundings are taken out of the database, 0 to 1.
    pub share: f64,
    /// Seed of their choice.
    pub seed: u64,
}

impl Unknown {
    /// Which of `queries` are unknown: a share of them at random, by the seed alone.
    pub(crate) fn choose(self, queries: usize) -> Vec<bool> {
        let mut order: Vec<usize> = (0..queries).collect();
        fastrand::Rng::with_seed(self.seed).shuffle(&mut order);
        let mut unknown = vec![false; queries];
        let count = (self.share * queries as f64).round() as usize;
        order.iter().take(count).for_each(|q| unknown[*q] = true);
        unknown
    }
}

/// The best answer to one query.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JudgedAnswer {
    /// Index of the query among those of the dataset.
    pub number: usize,
    /// Whether its positives and surroundings were taken out of the database.
    pub unknown: bool,
    /// Whether the best match is a positive.
    pub correct: bool,
    /// The probability of that, by the model's calibration; `None` where it has none for such a ranking.
    pub confidence: Option<f64>,
    /// What the probability follows from.
    pub clues: Clues,
    #[serde(skip)]
    pub(crate) evidence: Evidence,
    /// Where the matches say that it was taken.
    #[serde(skip)]
    pub(crate) estimate: Option<Estimate>,
    /// Where it was, and how far clockwise from north it looked.
    #[serde(skip)]
    pub(crate) truth: (Option<Position>, Option<f64>),
}

/// How good the confidences of an evaluation are.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConfidenceSummary {
    /// Which queries were made unknown.
    #[serde(flatten)]
    pub unknown: Unknown,
    /// Their number.
    pub unknown_queries: usize,
    /// Queries that could not be asked so: nothing of the database lies outside their surroundings. They are in no measure of
    /// confidence.
    pub unasked_queries: usize,
    /// Of each ranking that the model is calibrated for.
    pub rankings: Vec<RankingConfidence>,
}

/// How good the confidences of one ranking are.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RankingConfidence {
    /// What the ranking is by.
    pub ranking: RerankMethod,
    /// Measures at the model's threshold.
    #[serde(flatten)]
    pub quality: Selective,
    /// How good the positions of correct answers are; absent without positions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<PositionQuality>,
}

/// How good the estimated positions of correct answers are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PositionQuality {
    /// Correct answers with positions on both sides.
    pub answers: usize,
    /// Median distance of the best match from the truth, in metres.
    pub best_median_m: f64,
    /// Median distance of the weighted position from the truth.
    pub weighted_median_m: f64,
    /// Share of the answers whose region of 90 % holds the truth; absent of a model without its scale.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region_holds: Option<f64>,
    /// Median error of the estimated heading in degrees, where both sides have headings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heading_median_deg: Option<f64>,
}

impl PositionQuality {
    fn of(answers: &[JudgedAnswer], scale: Option<f64>) -> Option<Self> {
        let correct = || answers.iter().filter(|answer| answer.correct);
        let placed: Vec<(&Estimate, Position)> =
            correct().filter_map(|answer| Some((answer.estimate.as_ref()?, answer.truth.0?))).collect();
        let median = |values: Vec<f64>| quantile_of(values, 0.5);
        let turned = correct().filter_map(|answer| {
            let (found, own) = (answer.estimate.as_ref()?.heading?, answer.truth.1?);
            let difference = (found - own).rem_euclid(360.0);
            Some(difference.min(360.0 - difference))
        });
        let held = |scale: f64| {
            let inside = |(estimate, truth): &&(&Estimate, Position)| {
                estimate.deviations(*truth).is_some_and(|deviations| deviations <= scale)
            };
            placed.iter().filter(inside).count() as f64 / placed.len() as f64
        };
        let metres = |of: &dyn Fn(&Estimate) -> Position| {
            median(placed.iter().filter_map(|(estimate, truth)| of(estimate).distance_m(*truth)).collect())
        };
        Some(Self {
            answers: placed.len(),
            best_median_m: metres(&|estimate| estimate.best)?,
            weighted_median_m: metres(&|estimate| estimate.weighted)?,
            region_holds: scale.map(held),
            heading_median_deg: median(turned.collect()),
        })
    }
}

/// The value below which a share of all lies.
pub(super) fn quantile_of(mut values: Vec<f64>, share: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    quantile(&values, share)
}

/// Where a photograph was taken; a place on a plane of its own serves as well, as only distances matter.
pub(crate) fn position_of(photo: &Photo) -> Option<Position> {
    let plane = || photo.utm.map(|utm| LocalPoint { x: utm.easting, y: utm.northing, z: None });
    photo.position.or_else(|| plane().map(Position::Local))
}

impl ConfidenceSummary {
    /// `queries` are those of the evaluation.
    pub(crate) fn of(
        unknown: Unknown,
        own: &Calibration,
        answers: &PerRanking<Vec<JudgedAnswer>>,
        queries: usize,
    ) -> Self {
        let rankings = answers.iter().filter_map(|(ranking, answers)| {
            let all: Option<Vec<(f64, bool)>> =
                answers.iter().map(|answer| Some((answer.confidence?, answer.correct))).collect();
            // Of no answer there is no mean.
            let all = all.filter(|answers| !answers.is_empty())?;
            let position = PositionQuality::of(answers, own.position_scale);
            Some(RankingConfidence { ranking, quality: selective(&all, own.threshold), position })
        });
        let unknown_queries = answers.global.iter().filter(|answer| answer.unknown).count();
        let unasked_queries = queries.saturating_sub(answers.global.len());
        Self { unknown, unknown_queries, unasked_queries, rankings: rankings.collect() }
    }

    /// Why nothing was measured, where that is so.
    pub(crate) fn unmeasured(&self, queries: usize) -> Option<String> {
        let why = match (self.rankings.is_empty(), self.unasked_queries == queries) {
            (false, _) => return None,
            (true, true) => {
                "no query could be asked, as the whole database lies within four radii of where each was taken"
            }
            (true, false) => "the model is not calibrated for these rankings",
        };
        Some(format!("Confidence was not measured: {why}."))
    }
}

/// A side that is searched, and who asks.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) extractor: &'a Extractor,
    pub(crate) database: View<'a>,
    pub(crate) references: &'a [Photo],
    pub(crate) queries: View<'a>,
    /// Candidates that are reranked, and that clues compare the best match with.
    pub(crate) reranked: Reranked,
}

impl<'a> Asked<'a> {
    /// A dataset's queries.
    pub(crate) fn own(
        extractor: &'a Extractor,
        extracted: &'a Extracted,
        references: &'a [Photo],
        reranked: Reranked,
    ) -> Self {
        let [database, queries] = extracted.views(None);
        Self { extractor, database, references, queries, reranked }
    }

    /// Ranks the database without `hidden[q]` for each query `q` where that is something; other rankings are empty.
    pub(crate) fn rank_without(
        &self,
        photos: &[&Photo],
        hidden: &[Option<Vec<u32>>],
        methods: &[RerankMethod],
        grouping: Grouping,
        progress: &dyn Progress,
    ) -> Result<PerRanking<Vec<Ranking>>> {
        let most = hidden.iter().flatten().map(|hidden| hidden.len()).max().unwrap_or(0);
        let references: Vec<&Photo> = self.references.iter().collect();
        let sides: [(&Units, &[&Photo]); 2] =
            [(self.database.units, &references), (self.queries.units, photos)];
        let candidates = self.reranked.candidates;
        let mut global = search(sides[0], sides[1], candidates + most, grouping);
        for (ranking, hidden) in global.iter_mut().zip(hidden) {
            let all = std::mem::take(ranking);
            let Some(hidden) = hidden else { continue };
            let kept = all.references.into_iter().zip(all.scores).filter(|(r, _)| !hidden.contains(r));
            (ranking.references, ranking.scores) = kept.take(candidates).unzip();
        }
        let skip: Vec<bool> = hidden.iter().map(Option::is_none).collect();
        let mut rankings = PerRanking { global, ransac: None, mutual: None, reranked: None };
        for method in methods.iter().filter(|method| **method != RerankMethod::None) {
            let views = (&self.database, &self.queries);
            let ranked =
                rerank_all(self.extractor, views, &rankings.global, &skip, *method, self.reranked, progress)?;
            rankings.set(*method, ranked);
        }
        Ok(rankings)
    }

    /// The best answer of each ranking to query `q`, which is the `number`-th of its dataset; `None` without any match.
    pub(crate) fn judge(
        &self,
        (q, number): (usize, usize),
        photo: &Photo,
        rankings: &PerRanking<Vec<Ranking>>,
        positives: &[u32],
        unknown: bool,
    ) -> Result<PerRanking<Option<JudgedAnswer>>> {
        let similar = similarities(&rankings.global[q]);
        let mut judged = PerRanking { global: None, ransac: None, mutual: None, reranked: None };
        for (method, rankings) in rankings.iter() {
            let ranking = &rankings[q];
            // Adaptive reranking leaves a query its global ranking.
            let by = if ranking.scores.is_empty() { RerankMethod::None } else { method };
            let matches = self.matches(ranking, by, &similar);
            let ransac = match (by, ranking.references.first()) {
                (RerankMethod::None, _) | (_, None) => None,
                (_, Some(first)) => self.ransac(q, *first)?,
            };
            let calibration = self.extractor.config().calibration.as_ref();
            let answer = Evidence::of(by, &matches, ransac, calibration).map(|evidence| JudgedAnswer {
                number,
                unknown,
                correct: !unknown && ranking.references.first().is_some_and(|r| positives.contains(r)),
                confidence: evidence.confidence(calibration),
                clues: evidence.clues.clone(),
                evidence,
                estimate: Estimate::from_matches(&matches),
                truth: (position_of(photo), photo.heading),
            });
            judged.set(method, answer);
        }
        Ok(judged)
    }

    /// The candidates of a ranking as a query's answer has them.
    pub(crate) fn matches(
        &self,
        ranking: &Ranking,
        by: RerankMethod,
        similar: &HashMap<u32, f32>,
    ) -> Vec<Match> {
        let one = |(i, reference): (usize, &u32)| {
            let photo = &self.references[*reference as usize];
            let score = if by == RerankMethod::None { None } else { ranking.scores.get(i).copied() };
            Match {
                rank: i + 1,
                id: String::new(),
                // Its number in the database identifies it.
                path: reference.to_string(),
                tags: Default::default(),
                position: position_of(photo),
                heading: photo.heading,
                time: photo.time,
                distance_m: None,
                similarity: similar.get(reference).copied().unwrap_or_default(),
                score,
                score_kind: score.and_then(|_| ScoreKind::of(by)),
            }
        };
        ranking.references.iter().take(self.reranked.candidates).enumerate().map(one).collect()
    }

    /// RANSAC's score of a query and a reference; `None` without local features.
    fn ransac(&self, query: usize, reference: u32) -> Result<Option<f32>> {
        let row = self.extractor.config().local_row();
        let queries = self.queries.local(query)?;
        let references = self.database.local(reference as usize)?;
        let mut best: Option<f32> = None;
        for query in queries {
            let verifier = Verifier::new(self.extractor, &query.floats(row))?;
            let scores = references.iter().map(|local| verifier.score(local.rows()));
            best = scores.chain(best).reduce(f32::max);
        }
        Ok(best)
    }
}

/// Radii around a query within which nothing is left of its place.
const HELD_OUT_RADII: f64 = 4.0;

/// The references that show a query's place or its surroundings: its positives and, where positions are known, everything
/// within four times the radius. What lies just beyond the radius shows the same street, and would be neither right nor unknown.
pub(crate) fn place_of(photo: &Photo, positives: &[u32], references: &[Photo], radius_m: f64) -> Vec<u32> {
    let own = position_of(photo);
    let near = |reference: &Photo| {
        let metres = own.zip(position_of(reference)).and_then(|(own, other)| own.distance_m(other));
        metres.is_some_and(|metres| metres <= HELD_OUT_RADII * radius_m)
    };
    let is_of_it = |(i, reference): &(u32, &Photo)| positives.contains(i) || near(reference);
    (0..).zip(references).filter(is_of_it).map(|(i, _)| i).collect()
}

/// The cosine of each reference of a global ranking.
pub(crate) fn similarities(global: &Ranking) -> HashMap<u32, f32> {
    global.references.iter().copied().zip(global.scores.iter().copied()).collect()
}

/// The answers of every ranking to every query, of which a share is made unknown: they are asked of the database without
/// their positives.
///
/// # Errors
/// [`EvalError::Request`] for a model that is not calibrated; otherwise as reranking.
pub(crate) fn judge_all(
    asked: &Asked<'_>,
    (photos, chosen): (&[&Photo], &[usize]),
    positives: &[&[u32]],
    rankings: &PerRanking<Vec<Ranking>>,
    unknown: Unknown,
    rules: &Rules,
    progress: &dyn Progress,
) -> Result<PerRanking<Vec<JudgedAnswer>>> {
    if asked.extractor.config().calibration.is_none() {
        return Err(EvalError::Request(format!(
            "--unknown: model {} is not calibrated, so its answers have no confidence; calibrate it first: r2former model calibrate",
            asked.extractor.config().name
        )));
    }
    let made_unknown = unknown.choose(photos.len());
    let hidden: Vec<Option<Vec<u32>>> = (0..photos.len())
        .map(|q| {
            let place = || place_of(photos[q], positives[q], asked.references, rules.radius_m);
            made_unknown[q].then(place)
        })
        .collect();
    let methods: Vec<RerankMethod> = rankings.iter().map(|(method, _)| method).collect();
    let without = asked.rank_without(photos, &hidden, &methods, rules.grouping, progress)?;
    let mut all: PerRanking<Vec<JudgedAnswer>> = rankings.map(|_, _| Vec::new());
    for q in 0..photos.len() {
        let of = if made_unknown[q] { &without } else { rankings };
        let judged = asked.judge((q, chosen[q]), photos[q], of, positives[q], made_unknown[q])?;
        all.extend_each(judged);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_held_out_with_its_surroundings() {
        let at = |x: f64| {
            let mut photo = Photo::new("a", "a");
            photo.position = Some(LocalPoint { x, y: 0.0, z: None }.into());
            photo
        };
        let references = [at(10.0), at(30.0), at(99.0), at(101.0), Photo::new("b", "b")];
        assert_eq!(place_of(&at(0.0), &[0, 4], &references, 25.0), [0, 1, 2, 4]);
        assert_eq!(place_of(&Photo::new("q", "q"), &[3], &references, 25.0), [3]);
    }

    #[test]
    fn the_unknown_are_a_share_by_seed_alone() {
        let of = |share, seed| Unknown { share, seed }.choose(101);
        let count = |chosen: &[bool]| chosen.iter().filter(|unknown| **unknown).count();
        assert_eq!([0.0, 0.5, 1.0].map(|share| count(&of(share, 1))), [0, 51, 101]);
        assert_eq!(of(0.5, 1), of(0.5, 1));
        assert_ne!(of(0.5, 1), of(0.5, 2));
    }
}
