//! What each query found, and the quality of each ranking over all queries.

use crate::compare::{COMPARED_AT, Comparison, comparison};
use crate::metrics::{Interval, Localisation, PrecisionRecall, bootstrap, localisation, precision_recall};
use crate::ranking::Ranking;
use crate::{PerRanking, ranking_name};
use r2former_data::Photo;
use r2former_data::dataset::distance_m;
use r2former_engine::RerankMethod;
use serde::Serialize;

/// Matches that are kept of each query.
const KEPT: usize = 10;

/// One query under one ranking.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct QueryResult {
    /// Rank of the first positive, from 1; `None` if no ranked reference is a positive.
    pub first_positive: Option<usize>,
    /// Indices of the first ten matches in the database, best first.
    pub matches: Vec<u32>,
    /// Which of them are positives.
    pub correct: Vec<bool>,
    /// Score of each: cosine similarity, RANSAC's score, or reranker score. Empty where adaptive reranking left the
    /// query in its global ranking.
    pub scores: Vec<f32>,
    /// Metres from the query to its first match, if both positions are known.
    pub error_m: Option<f64>,
}

/// One query under every ranking.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EvaluatedQuery {
    /// Its index among the queries of the dataset.
    pub number: usize,
    /// Its name within its source.
    pub query: String,
    /// Number of its positives.
    pub positives: usize,
    /// Database index of the positive nearest to it; of the first one if positions are unknown.
    pub nearest_positive: Option<u32>,
    /// Top-1 margin: cosine similarity of the first candidate minus that of the first candidate at another place;
    /// `None` if all candidates show the same place.
    pub top1_margin: Option<f32>,
    /// Its result under each ranking.
    pub results: PerRanking<QueryResult>,
}

/// Quality of one ranking.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RankingQuality {
    /// Recall@1, @5 and @10 with 95 % bootstrap intervals.
    pub recall: [(usize, Interval); 3],
    /// Precision and recall of the first match, over the threshold on its score.
    pub precision_recall: PrecisionRecall,
    /// Localisation error of the first match; `None` without positions.
    pub localisation: Option<Localisation>,
}

impl QueryResult {
    pub(crate) fn of(ranking: &Ranking, positives: &[u32], query: &Photo, database: &[Photo]) -> Self {
        let found = ranking.references.iter().position(|r| positives.contains(r));
        let best = ranking.references.first().map(|r| &database[*r as usize]);
        let matches: Vec<u32> = ranking.references.iter().copied().take(KEPT).collect();
        Self {
            first_positive: found.map(|rank| rank + 1),
            correct: matches.iter().map(|r| positives.contains(r)).collect(),
            matches,
            scores: ranking.scores.iter().copied().take(KEPT).collect(),
            error_m: best.and_then(|best| distance_m(query, best)),
        }
    }

    /// Whether a positive is among the first `n` matches.
    pub fn hit_at(&self, n: usize) -> bool {
        self.first_positive.is_some_and(|rank| rank <= n)
    }
}

/// Database index of the positive nearest to a query, or of the first one if positions are unknown.
pub(crate) fn nearest_positive(query: &Photo, positives: &[u32], database: &[Photo]) -> Option<u32> {
    let metres = |r: &u32| distance_m(query, &database[*r as usize]).unwrap_or(f64::INFINITY);
    positives.iter().copied().min_by(|a, b| metres(a).total_cmp(&metres(b)))
}

/// Quality of each ranking.
pub(crate) fn quality(
    queries: &[EvaluatedQuery],
    rankings: &PerRanking<Vec<Ranking>>,
) -> PerRanking<RankingQuality> {
    let with_positive = queries.iter().filter(|q| q.positives > 0).count();
    rankings.map(|method, _| of(&under(queries, method), with_positive))
}

/// Each later ranking compared with each earlier one.
pub(crate) fn comparisons(
    queries: &[EvaluatedQuery],
    rankings: &PerRanking<Vec<Ranking>>,
) -> Vec<Comparison> {
    let ranks = |method| -> Vec<Option<usize>> {
        under(queries, method).iter().map(|result| result.first_positive).collect()
    };
    let methods: Vec<RerankMethod> = rankings.iter().map(|(method, _)| method).collect();
    let mut all = Vec::new();
    for (i, second) in methods.iter().enumerate() {
        for first in &methods[..i] {
            let names = [*first, *second].map(ranking_name);
            all.push(comparison(names, [&ranks(*first), &ranks(*second)], &COMPARED_AT));
        }
    }
    all
}

/// The results of one ranking.
fn under(queries: &[EvaluatedQuery], method: RerankMethod) -> Vec<&QueryResult> {
    queries.iter().filter_map(|q| q.results.get(method)).collect()
}

fn of(results: &[&QueryResult], with_positive: usize) -> RankingQuality {
    let recall = COMPARED_AT.map(|n| {
        let hits: Vec<bool> = results.iter().map(|result| result.hit_at(n)).collect();
        (n, bootstrap(&hits))
    });
    // A query that adaptive reranking skipped was accepted before any score.
    let score = |result: &QueryResult| result.scores.first().copied().unwrap_or(f32::INFINITY);
    let answered = results.iter().filter(|result| !result.matches.is_empty());
    let answers: Vec<(f32, bool)> = answered.map(|result| (score(result), result.hit_at(1))).collect();
    RankingQuality {
        recall,
        precision_recall: precision_recall(&answers, with_positive),
        localisation: localisation(results.iter().filter_map(|result| result.error_m)),
    }
}
