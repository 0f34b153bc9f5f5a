//! What became of each query, and what all of them together are worth.

use crate::metrics::{
    Interval, Localisation, PairedTest, Precision, bootstrap, localisation, paired_test, precision,
};
use crate::ranking::Ranking;
use crate::{PerOrder, order_name};
use r2former_data::Photo;
use r2former_data::dataset::distance_m;
use r2former_engine::RerankMethod;
use serde::Serialize;

/// How many of the first matches are kept of each query.
const KEPT: usize = 10;

/// One query under one order.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Outcome {
    /// Rank of the first positive, from 1; none where there was none among all that were ranked.
    pub first_positive: Option<usize>,
    /// Numbers of the first matches in the database, best first.
    pub matches: Vec<u32>,
    /// Which of them are positives.
    pub right: Vec<bool>,
    /// What they were ranked by: cosine, inliers, or the probability of the same place; nothing where adaptive
    /// reranking left the global order as it was.
    pub scores: Vec<f32>,
    /// Metres from the query to its first match, where both positions are known.
    pub error_m: Option<f64>,
}

/// One query.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QueryOutcome {
    /// Its number among the dataset's queries.
    pub number: usize,
    /// Name of the query within its source.
    pub query: String,
    /// Number of its positives.
    pub positives: usize,
    /// The nearest positive's number in the database; the first one of a list without positions.
    pub nearest: Option<u32>,
    /// By how much the cosine of the first candidate exceeds that of the first one of another place; none where all
    /// show the same place.
    pub margin: Option<f32>,
    /// Under each order.
    pub outcome: PerOrder<Outcome>,
}

/// What an order is worth beyond recall.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Quality {
    /// Recall@1, @5 and @10 with 95 % bootstrap intervals.
    pub recall: [(usize, Interval); 3],
    /// Precision of the first match over the threshold of its score.
    pub precision: Precision,
    /// Metres of the first match; none without positions.
    pub localisation: Option<Localisation>,
}

/// Two orders of one run, by recall@1.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The order that is compared with.
    pub first: &'static str,
    /// The order that is compared.
    pub second: &'static str,
    /// How much better the second is.
    pub test: PairedTest,
}

impl Outcome {
    pub(crate) fn of(ranking: &Ranking, positives: &[u32], query: &Photo, database: &[Photo]) -> Self {
        let found = ranking.references.iter().position(|r| positives.contains(r));
        let best = ranking.references.first().map(|r| &database[*r as usize]);
        let matches: Vec<u32> = ranking.references.iter().copied().take(KEPT).collect();
        Self {
            first_positive: found.map(|rank| rank + 1),
            right: matches.iter().map(|r| positives.contains(r)).collect(),
            matches,
            scores: ranking.scores.iter().copied().take(KEPT).collect(),
            error_m: best.and_then(|best| distance_m(query, best)),
        }
    }

    /// Whether a positive is among the first `n`.
    pub fn right_at(&self, n: usize) -> bool {
        self.first_positive.is_some_and(|rank| rank <= n)
    }
}

/// The positive nearest to a query, or the first one where positions are unknown.
pub(crate) fn nearest_positive(query: &Photo, positives: &[u32], database: &[Photo]) -> Option<u32> {
    let metres = |r: &u32| distance_m(query, &database[*r as usize]).unwrap_or(f64::INFINITY);
    positives.iter().copied().min_by(|a, b| metres(a).total_cmp(&metres(b)))
}

/// Quality of each order.
pub(crate) fn quality(queries: &[QueryOutcome], orders: &PerOrder<Vec<Ranking>>) -> PerOrder<Quality> {
    let with_positive = queries.iter().filter(|q| q.positives > 0).count();
    orders.map(|method, _| of(&under(queries, method), with_positive))
}

/// Each later order against each earlier one.
pub(crate) fn comparisons(queries: &[QueryOutcome], orders: &PerOrder<Vec<Ranking>>) -> Vec<Comparison> {
    let right = |method| -> Vec<bool> { under(queries, method).iter().map(|o| o.right_at(1)).collect() };
    let methods: Vec<RerankMethod> = orders.iter().map(|(method, _)| method).collect();
    let mut all = Vec::new();
    for (i, second) in methods.iter().enumerate() {
        for first in &methods[..i] {
            let test = paired_test(&right(*first), &right(*second));
            all.push(Comparison { first: order_name(*first), second: order_name(*second), test });
        }
    }
    all
}

/// The outcomes of one order.
fn under(queries: &[QueryOutcome], method: RerankMethod) -> Vec<&Outcome> {
    queries.iter().filter_map(|q| q.outcome.get(method)).collect()
}

fn of(outcomes: &[&Outcome], with_positive: usize) -> Quality {
    let recall = [1, 5, 10].map(|n| {
        let right: Vec<bool> = outcomes.iter().map(|o| o.right_at(n)).collect();
        (n, bootstrap(&right))
    });
    // An order that was left as it was because it was clear is accepted before any score is.
    let score = |o: &Outcome| o.scores.first().copied().unwrap_or(f32::INFINITY);
    let answered = outcomes.iter().filter(|o| !o.matches.is_empty());
    let answers: Vec<(f32, bool)> = answered.map(|o| (score(o), o.right_at(1))).collect();
    Quality {
        recall,
        precision: precision(&answers, with_positive),
        localisation: localisation(outcomes.iter().filter_map(|o| o.error_m)),
    }
}
