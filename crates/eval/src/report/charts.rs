//! Plots and maps of a report.

use crate::pictures::{MapPoint, Series, map, plot};
use crate::{
    EvaluatedQuery, Evaluation, PerRanking, RankingConfidence, RankingQuality, Selective, ranking_name,
};
use r2former_data::dataset::Dataset;
use r2former_data::geo::from_utm;
use r2former_data::{LatLon, Photo};
use r2former_engine::RerankMethod;
use std::collections::BTreeMap;

/// N of the recall@N curve.
const RANKS: [usize; 7] = [1, 2, 5, 10, 20, 50, 100];
/// Points per curve, at most.
const POINTS: usize = 300;
/// Maps, at most: one per city.
const MAPS: usize = 8;

/// Recall@N of each ranking.
pub(super) fn recall(evaluation: &Evaluation) -> String {
    let queries = &evaluation.queries;
    let share = |method: RerankMethod, n: usize| {
        let hits =
            queries.iter().filter(|q| q.results.get(method).is_some_and(|result| result.hit_at(n))).count();
        hits as f64 / queries.len().max(1) as f64
    };
    let lines = lines(evaluation, |method, _| RANKS.map(|n| [n as f64, share(method, n)]).to_vec());
    plot("Recall@N", ["N", "queries with a positive among the first N"], &lines, true, true)
}

/// Precision against recall of the first match, over the threshold on its score.
pub(super) fn precision(evaluation: &Evaluation) -> String {
    let lines = lines(evaluation, |_, quality| {
        thin(quality.precision_recall.curve.iter().map(|p| [p.recall, p.precision]).collect())
    });
    plot("Precision of the first match", ["recall", "precision"], &lines, true, false)
}

/// Share of queries whose first match is within a distance; `None` without positions.
pub(super) fn errors(evaluation: &Evaluation) -> Option<String> {
    evaluation.summary.quality.last().localisation?;
    let lines = lines(evaluation, |method, _| {
        let of = |q: &EvaluatedQuery| q.results.get(method).and_then(|result| result.error_m);
        let mut metres: Vec<f64> = evaluation.queries.iter().filter_map(of).collect();
        metres.sort_by(f64::total_cmp);
        let count = metres.len() as f64;
        // A logarithmic axis has no zero.
        thin(metres.iter().enumerate().map(|(i, m)| [m.max(0.5), (i + 1) as f64 / count]).collect())
    });
    Some(plot("Distance of the first match", ["metres", "queries within"], &lines, true, true))
}

/// Recall@1 against the cost of a query.
pub(super) fn cost(evaluation: &Evaluation) -> String {
    let summary = &evaluation.summary;
    let lines = lines(evaluation, |method, _| {
        let recall = summary.recall.get(method).map_or(0.0, |recall| recall.at(1));
        vec![[summary.cost.query_ms(method), recall]]
    });
    plot("Recall@1 against cost", ["ms per query, extraction included", "recall@1"], &lines, true, true)
}

/// Share of wrong answers over the share of accepted ones, and share of correct answers over confidence, where confidence
/// was measured.
pub(super) fn confidence(evaluation: &Evaluation) -> Vec<String> {
    let found = evaluation.summary.confidence.as_ref().filter(|found| !found.rankings.is_empty());
    let Some(found) = found else { return Vec::new() };
    let lines = |points: &dyn Fn(&Selective) -> Vec<[f64; 2]>| -> Vec<Series> {
        let line = |of: &RankingConfidence| Series {
            name: ranking_name(of.ranking).into(),
            points: thin(points(&of.quality)),
        };
        found.rankings.iter().map(line).collect()
    };
    let risk = lines(&|quality| quality.curve.iter().map(|p| [p.coverage, p.risk]).collect());
    let bins = lines(&|quality| quality.bins.iter().map(|bin| [bin.confidence, bin.correct]).collect());
    vec![
        plot("Risk over coverage", ["accepted answers", "wrong among them"], &risk, true, false),
        plot("Calibration", ["confidence", "correct answers"], &bins, true, false),
    ]
}

/// A map of each city with the first matches of the final ranking. `rule` says when a match is correct.
pub(super) fn maps(evaluation: &Evaluation, dataset: &Dataset, rule: &str) -> Vec<(String, String)> {
    let position = |photo: &Photo| photo.lat_lon().or_else(|| photo.utm.and_then(|utm| from_utm(&utm).ok()));
    let city = |photo: &Photo| photo.tags.get("city").cloned().unwrap_or_default();
    let mut cities: BTreeMap<String, (Vec<LatLon>, Vec<MapPoint>)> = BTreeMap::new();
    for query in &evaluation.queries {
        let photo = &dataset.queries[query.number];
        let Some(at) = position(photo) else { continue };
        let result = query.results.last();
        let first = result.matches.first().map(|m| &dataset.database[*m as usize]);
        // A match in another city is off the map.
        let answer = first.filter(|first| city(first) == city(photo)).and_then(position);
        let metres = result.error_m.map_or(String::new(), |m| format!(": {m:.0} m"));
        let name = format!("{}{metres}", photo.name);
        let point = MapPoint { name, position: at, answer, correct: result.hit_at(1) };
        cities.entry(city(photo)).or_default().1.push(point);
    }
    for photo in &dataset.database {
        if let (Some(at), Some(entry)) = (position(photo), cities.get_mut(&city(photo))) {
            entry.0.push(at);
        }
    }
    cities
        .into_iter()
        .take(MAPS)
        .map(|(name, (database, queries))| (name, map(&database, &queries, rule)))
        .collect()
}

fn lines(
    evaluation: &Evaluation,
    points: impl Fn(RerankMethod, &RankingQuality) -> Vec<[f64; 2]>,
) -> Vec<Series> {
    let quality: &PerRanking<RankingQuality> = &evaluation.summary.quality;
    quality
        .iter()
        .map(|(method, quality)| Series {
            name: ranking_name(method).into(),
            points: points(method, quality),
        })
        .collect()
}

/// Every k-th point, and the last.
fn thin(points: Vec<[f64; 2]>) -> Vec<[f64; 2]> {
    let step = points.len().div_ceil(POINTS).max(1);
    let last = points.len().saturating_sub(1);
    points.into_iter().enumerate().filter(|(i, _)| i % step == 0 || *i == last).map(|(_, p)| p).collect()
}
