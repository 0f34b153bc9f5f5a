//! What files of predictions are worth, each for itself and against each other.

use super::names::Names;
use super::{Predicted, Predictions, PredictionsError};
use crate::breakdown::{Breakdown, breakdowns};
use crate::compare::{Differences, differences};
use crate::metrics::{
    Interval, Localisation, MeanPrecision, bootstrap, localisation, mean_precision, recall_at,
};
use crate::outcome::Outcome;
use crate::ranking::city;
use crate::rules::{Judged, Rules};
use crate::{EvalError, Grouping, Protocol, Ranking, Recall, Result};
use r2former_data::dataset::Dataset;
use serde::Serialize;
use std::collections::BTreeMap;

/// Scores of some files, query by query.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scores {
    /// All queries together.
    pub report: ScoresReport,
    /// What became of each counted query.
    pub queries: Vec<ScoredQuery>,
}

/// Scores of some files over all counted queries.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScoresReport {
    /// What the numbers mean.
    pub protocol: Protocol,
    /// Each file's, in the order given.
    pub runs: Vec<ScoredRun>,
    /// Each later file against each earlier one.
    pub comparisons: Vec<Differences>,
}

/// One file's scores.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScoredRun {
    /// The file.
    pub name: String,
    /// Recall at each N that was asked.
    pub recall: Recall,
    /// Mean average precision at each k that was asked.
    pub mean_precision: MeanPrecision,
    /// Recall with 95 % bootstrap intervals, at the same N.
    pub intervals: Vec<(usize, Interval)>,
    /// Recall for each value of each tag of [`Rules::report_by`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recall_by: Vec<Breakdown<Recall>>,
    /// Metres of the first match; none without positions.
    pub localisation: Option<Localisation>,
}

/// One query under each file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScoredQuery {
    /// Its number among the dataset's queries.
    pub number: usize,
    /// Name of the query within its source.
    pub query: String,
    /// Number of its positives.
    pub positives: usize,
    /// Under each file.
    pub outcome: BTreeMap<String, Outcome>,
}

/// Scores predictions at each of `at`, which is sorted here. Predictions for queries that do not count are left aside.
///
/// # Errors
/// No file, one given twice, no or zero `at`; a counted query without predictions, or with fewer than the largest of
/// `at` (or the whole database, where it is smaller); what makes a dataset impossible to judge.
pub fn score(dataset: &Dataset, runs: &[Predictions], rules: &Rules, at: &[usize]) -> Result<Scores> {
    let mut at = at.to_vec();
    at.sort_unstable();
    at.dedup();
    let (Some(1..), Some(deepest)) = (at.first(), at.last()) else {
        return Err(EvalError::Request("recall@N needs at least one N, each 1 or more".into()));
    };
    if runs.is_empty() {
        return Err(EvalError::Request("no file of predictions is given".into()));
    }
    let judged = rules.judge(dataset)?;
    let positives = judged.positives();
    let mut scored: Vec<ScoredRun> = Vec::new();
    let mut firsts: Vec<Vec<Option<usize>>> = Vec::new();
    let mut queries = rows(dataset, &judged);
    for run in runs {
        let name = run.path.display().to_string();
        if scored.iter().any(|other| other.name == name) {
            return Err(EvalError::Request(format!("{name} is given twice")));
        }
        let rankings = complete(dataset, run, &judged, rules.grouping, *deepest)?;
        let outcomes: Vec<Outcome> = judged
            .counted
            .iter()
            .zip(&rankings)
            .zip(&positives)
            .map(|((q, ranking), positives)| {
                let ranking = Ranking { references: ranking.to_vec(), scores: Vec::new() };
                Outcome::of(&ranking, positives, &dataset.queries[*q], &dataset.database)
            })
            .collect();
        let pairs: Vec<Pair> = rankings.iter().copied().zip(positives.iter().copied()).collect();
        let interval = |n: &usize| {
            let right: Vec<bool> = outcomes.iter().map(|outcome| outcome.right_at(*n)).collect();
            (*n, bootstrap(&right))
        };
        firsts.push(outcomes.iter().map(|outcome| outcome.first_positive).collect());
        scored.push(ScoredRun {
            recall: recall_at(pairs.iter().copied(), &at),
            mean_precision: mean_precision(pairs.iter().copied(), &at),
            intervals: at.iter().map(interval).collect(),
            recall_by: breakdowns(&rules.report_by, &judged.photos(dataset), |members| {
                recall_at(members.iter().map(|query| pairs[*query]), &at)
            }),
            localisation: localisation(outcomes.iter().filter_map(|outcome| outcome.error_m)),
            name: name.clone(),
        });
        for (query, outcome) in queries.iter_mut().zip(outcomes) {
            query.outcome.insert(name.clone(), outcome);
        }
    }
    let mut comparisons = Vec::new();
    for second in 0..scored.len() {
        for first in 0..second {
            let names = [&scored[first].name, &scored[second].name];
            comparisons.push(differences(names, [&firsts[first], &firsts[second]], &at));
        }
    }
    let protocol = rules.protocol(dataset, &judged, None);
    Ok(Scores { report: ScoresReport { protocol, runs: scored, comparisons }, queries })
}

/// The counted queries, with nothing scored yet.
fn rows(dataset: &Dataset, judged: &Judged) -> Vec<ScoredQuery> {
    let row = |(number, positives): (&usize, &[u32])| ScoredQuery {
        number: *number,
        query: dataset.queries[*number].name.clone(),
        positives: positives.len(),
        outcome: BTreeMap::new(),
    };
    judged.counted.iter().zip(judged.positives()).map(row).collect()
}

/// The rankings of the counted queries, each as deep as is needed.
fn complete<'a>(
    dataset: &Dataset,
    run: &'a Predictions,
    judged: &Judged,
    grouping: Grouping,
    deepest: usize,
) -> Result<Vec<&'a [u32]>, PredictionsError> {
    let path = || run.path.clone();
    // As the file would call it.
    let name = |q: usize| Names::of_queries(dataset).map(|names| names.written[q].clone());
    let missing = judged.counted.iter().filter(|q| run.of[**q].is_none()).count();
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    for reference in &dataset.database {
        *sizes.entry(city(reference)).or_default() += 1;
    }
    let mut all = Vec::with_capacity(judged.counted.len());
    for q in &judged.counted {
        let Some(Predicted { line, references }) = &run.of[*q] else {
            let count = judged.counted.len();
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
