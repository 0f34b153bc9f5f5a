//! Scoring predictions files, each on its own and against each other.

use super::names::Names;
use super::{Predictions, PredictionsError, QueryPredictions};
use crate::breakdown::{Breakdown, breakdowns};
use crate::compare::{Comparison, comparison};
use crate::metrics::{
    Interval, Localisation, MeanAveragePrecision, bootstrap, localisation, mean_average_precision, recall_at,
};
use crate::query_result::QueryResult;
use crate::ranking::city;
use crate::rules::{RuledDataset, Rules};
use crate::{EvalError, Grouping, Protocol, Ranking, Recall, Result};
use r2former_data::dataset::Dataset;
use serde::Serialize;
use std::collections::BTreeMap;

/// Scores of some predictions files: the summary, and every query.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scores {
    /// Over all counted queries.
    pub summary: ScoreSummary,
    /// Each counted query.
    pub queries: Vec<ScoredQuery>,
}

/// Metrics of some predictions files over all counted queries.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScoreSummary {
    /// The protocol that the numbers belong to.
    pub protocol: Protocol,
    /// Each file, in the sequence given.
    pub runs: Vec<ScoredRun>,
    /// Each later file compared with each earlier one.
    pub comparisons: Vec<Comparison>,
}

/// Metrics of one file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScoredRun {
    /// The file.
    pub name: String,
    /// Recall@N.
    pub recall: Recall,
    /// mAP@k.
    pub mean_average_precision: MeanAveragePrecision,
    /// Recall with 95 % bootstrap intervals, at the same N.
    pub intervals: Vec<(usize, Interval)>,
    /// Recall for each value of each tag of [`Rules::report_by`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recall_by: Vec<Breakdown<Recall>>,
    /// Localisation error of the first match; `None` without positions.
    pub localisation: Option<Localisation>,
}

/// One query under each file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScoredQuery {
    /// Its index among the queries of the dataset.
    pub number: usize,
    /// Its name within its source.
    pub query: String,
    /// Number of its positives.
    pub positives: usize,
    /// Its result under each file.
    pub results: BTreeMap<String, QueryResult>,
}

/// Scores predictions at each N of `at`. Predictions for queries that do not count are ignored.
///
/// # Errors
/// - [`EvalError::Request`]: no file, one given twice, no N or N = 0; an empty dataset or one without positions, no query
///   that counts, a tag that no query has.
/// - [`PredictionsError::MissingQuery`], [`PredictionsError::TooFew`]: a counted query without predictions, or with fewer
///   than the largest N (or the whole database, if that is smaller).
/// - [`EvalError::Engine`]: a query without a position.
pub fn score(dataset: &Dataset, runs: &[Predictions], rules: &Rules, at: &[usize]) -> Result<Scores> {
    let mut at = at.to_vec();
    at.sort_unstable();
    at.dedup();
    let (Some(1..), Some(deepest)) = (at.first(), at.last()) else {
        return Err(EvalError::Request("recall@N needs at least one N, each 1 or more".into()));
    };
    if runs.is_empty() {
        return Err(EvalError::Request("no predictions file is given".into()));
    }
    let ruled = rules.apply(dataset)?;
    let positives = ruled.positives();
    let mut scored: Vec<ScoredRun> = Vec::new();
    let mut first_positives: Vec<Vec<Option<usize>>> = Vec::new();
    let mut queries = rows(dataset, &ruled);
    for run in runs {
        let name = run.path.display().to_string();
        if scored.iter().any(|other| other.name == name) {
            return Err(EvalError::Request(format!("{name} is given twice")));
        }
        let rankings = complete(dataset, run, &ruled, rules.grouping, *deepest)?;
        let results: Vec<QueryResult> = ruled
            .counted
            .iter()
            .zip(&rankings)
            .zip(&positives)
            .map(|((q, ranking), positives)| {
                let ranking = Ranking { references: ranking.to_vec(), scores: Vec::new() };
                QueryResult::of(&ranking, positives, &dataset.queries[*q], &dataset.database)
            })
            .collect();
        let pairs: Vec<Pair> = rankings.iter().copied().zip(positives.iter().copied()).collect();
        let interval = |n: &usize| {
            let hits: Vec<bool> = results.iter().map(|result| result.hit_at(*n)).collect();
            (*n, bootstrap(&hits))
        };
        first_positives.push(results.iter().map(|result| result.first_positive).collect());
        scored.push(ScoredRun {
            recall: recall_at(pairs.iter().copied(), &at),
            mean_average_precision: mean_average_precision(pairs.iter().copied(), &at),
            intervals: at.iter().map(interval).collect(),
            recall_by: breakdowns(&rules.report_by, &ruled.photos(dataset), |members| {
                recall_at(members.iter().map(|query| pairs[*query]), &at)
            }),
            localisation: localisation(results.iter().filter_map(|result| result.error_m)),
            name: name.clone(),
        });
        for (query, result) in queries.iter_mut().zip(results) {
            query.results.insert(name.clone(), result);
        }
    }
    let mut comparisons = Vec::new();
    for second in 0..scored.len() {
        for first in 0..second {
            let names = [&*scored[first].name, &*scored[second].name];
            let ranks = [&*first_positives[first], &*first_positives[second]];
            comparisons.push(comparison(names, ranks, &at));
        }
    }
    let protocol = rules.protocol(dataset, &ruled, None);
    Ok(Scores { summary: ScoreSummary { protocol, runs: scored, comparisons }, queries })
}

/// The counted queries, not scored yet.
fn rows(dataset: &Dataset, ruled: &RuledDataset) -> Vec<ScoredQuery> {
    let row = |(number, positives): (&usize, &[u32])| ScoredQuery {
        number: *number,
        query: dataset.queries[*number].name.clone(),
        positives: positives.len(),
        results: BTreeMap::new(),
    };
    ruled.counted.iter().zip(ruled.positives()).map(row).collect()
}

/// The rankings of the counted queries, checked for their length.
fn complete<'a>(
    dataset: &Dataset,
    run: &'a Predictions,
    ruled: &RuledDataset,
    grouping: Grouping,
    deepest: usize,
) -> Result<Vec<&'a [u32]>, PredictionsError> {
    let path = || run.path.clone();
    // As the file names it.
    let name = |q: usize| Names::of_queries(dataset).map(|names| names.written[q].clone());
    let missing = ruled.counted.iter().filter(|q| run.queries[**q].is_none()).count();
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    for reference in &dataset.database {
        *sizes.entry(city(reference)).or_default() += 1;
    }
    let mut all = Vec::with_capacity(ruled.counted.len());
    for q in &ruled.counted {
        let Some(QueryPredictions { line, references }) = &run.queries[*q] else {
            let count = ruled.counted.len();
            return Err(PredictionsError::MissingQuery { path: path(), name: name(*q)?, missing, count });
        };
        let within = match grouping {
            Grouping::Merged => dataset.database.len(),
            Grouping::PerCity => sizes.get(city(&dataset.queries[*q])).copied().unwrap_or(0),
        };
        let (has, needed) = (references.len(), deepest.min(within));
        if has < needed {
            return Err(PredictionsError::TooFew { path: path(), line: *line, name: name(*q)?, has, needed });
        }
        all.push(references.as_slice());
    }
    Ok(all)
}

/// A query's ranking and its positives.
type Pair<'a> = (&'a [u32], &'a [u32]);
