//! Two rankings of the same queries: how much better one is, and whether chance explains it.

use crate::metrics::{PairedTest, paired_test};
use crate::protocol::INPUT;
use crate::{EvalError, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// The N of recall@N that have intervals and are compared.
pub(crate) const COMPARED_AT: [usize; 3] = [1, 5, 10];

/// Two rankings of the same queries, compared by recall@N.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Name of the ranking that is compared with.
    pub first: String,
    /// Name of the ranking that is compared.
    pub second: String,
    /// Queries of both.
    pub queries: usize,
    /// At each N.
    pub recall: Vec<RecallDifference>,
}

/// Two rankings at one N.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecallDifference {
    /// N.
    pub at: usize,
    /// Recall@N of the first ranking.
    pub first: f64,
    /// Recall@N of the second.
    pub second: f64,
    /// Second minus first, and McNemar's test.
    pub test: PairedTest,
}

/// Why two runs cannot be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// A file that is not a results.json of an evaluation.
    #[error(
        "{path}: is not a results.json of an evaluation ({problem}): `r2former eval ... --report DIR` writes one",
        path = path.display()
    )]
    Results {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A ranking that the run does not have, or no ranking named where it has several.
    #[error("{path}: {problem}; name one after the file, as in {path}:{example}", path = path.display())]
    Ranking {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// A ranking that it has.
        example: String,
    },
    /// Runs under different protocols.
    #[error(
        "the runs follow different protocols, so their difference means nothing: {differences}; --any-protocol \
         compares them anyway"
    )]
    Protocol {
        /// Each field that differs, with both values.
        differences: String,
    },
    /// A query of one run only.
    #[error(
        "query {name} is only in the {side} run ({only} of its {count} queries are): a paired test needs the same \
         queries in both"
    )]
    Queries {
        /// Name of the first such query.
        name: String,
        /// `first` or `second`.
        side: &'static str,
        /// Number of queries that only this run has.
        only: usize,
        /// Queries of that run.
        count: usize,
    },
}

/// The part of results.json that is compared.
#[derive(Deserialize)]
struct Results {
    summary: Summary,
    queries: Vec<Query>,
}

#[derive(Deserialize)]
struct Summary {
    protocol: Map<String, Value>,
}

#[derive(Deserialize)]
struct Query {
    query: String,
    results: HashMap<String, QueryRank>,
}

#[derive(Deserialize)]
struct QueryRank {
    first_positive: Option<usize>,
}

/// Compares two runs that were written as `results.json`, by recall@1, @5 and @10. Each is given by its file and a
/// ranking of it: `global`, `ransac`, `reranked`, or a file of predictions. `None` is the final ranking: the reranked
/// one if there is one, else RANSAC's, else the global one.
///
/// # Errors
/// - [`EvalError::File`]: a file cannot be read.
/// - [`CompareError::Results`]: it is not a results.json of an evaluation.
/// - [`CompareError::Ranking`]: it has no such ranking, or several and none is named.
/// - [`CompareError::Protocol`]: the protocols differ in more than model and preprocessing, and not `any_protocol`.
/// - [`CompareError::Queries`]: a query is only in one of the runs.
pub fn compare(
    first: (&Path, Option<&str>),
    second: (&Path, Option<&str>),
    any_protocol: bool,
) -> Result<Comparison> {
    let (a, b) = (read(first.0)?, read(second.0)?);
    if !any_protocol {
        same_protocol(&a.summary.protocol, &b.summary.protocol)?;
    }
    let rankings = [ranking(first, &a)?, ranking(second, &b)?];
    let (of_a, of_b) = (by_name(&a, &rankings[0]), by_name(&b, &rankings[1]));
    for (here, there, side, run) in [(&of_a, &of_b, "first", &a), (&of_b, &of_a, "second", &b)] {
        let mut only = run.queries.iter().filter(|q| !there.contains_key(q.query.as_str()));
        if let Some(query) = only.next() {
            let (name, only) = (query.query.clone(), only.count() + 1);
            return Err(CompareError::Queries { name, side, only, count: here.len() }.into());
        }
    }
    let of = |found: &HashMap<&str, Option<usize>>| -> Vec<Option<usize>> {
        a.queries.iter().map(|q| found.get(q.query.as_str()).copied().flatten()).collect()
    };
    let name = |path: &Path, ranking: &str| format!("{}:{ranking}", path.display());
    let names = [name(first.0, &rankings[0]), name(second.0, &rankings[1])];
    Ok(comparison([&names[0], &names[1]], [&of(&of_a), &of(&of_b)], &COMPARED_AT))
}

/// Compares two rankings, each given by the rank of the first positive (from 1) of every query.
pub(crate) fn comparison(
    [first, second]: [&str; 2],
    [a, b]: [&[Option<usize>]; 2],
    at: &[usize],
) -> Comparison {
    let hits = |ranks: &[Option<usize>], n: usize| -> Vec<bool> {
        ranks.iter().map(|rank| rank.is_some_and(|rank| rank <= n)).collect()
    };
    let share = |hits: &[bool]| hits.iter().filter(|hit| **hit).count() as f64 / hits.len().max(1) as f64;
    let recall = at.iter().map(|n| {
        let (a, b) = (hits(a, *n), hits(b, *n));
        RecallDifference { at: *n, first: share(&a), second: share(&b), test: paired_test(&a, &b) }
    });
    Comparison { first: first.into(), second: second.into(), queries: a.len(), recall: recall.collect() }
}

fn read(path: &Path) -> Result<Results> {
    let text = std::fs::read_to_string(path).map_err(|error| EvalError::file(path, error))?;
    let wrong = |problem: String| CompareError::Results { path: path.to_path_buf(), problem };
    let results: Results = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let names: BTreeSet<&str> = results.queries.iter().map(|q| q.query.as_str()).collect();
    if names.is_empty() || names.len() < results.queries.len() {
        return Err(wrong("it has no queries, or two of the same name".into()).into());
    }
    Ok(results)
}

/// The ranking that was asked for, or the final one.
fn ranking((path, asked): (&Path, Option<&str>), results: &Results) -> Result<String, CompareError> {
    let all: BTreeSet<&str> =
        results.queries.iter().flat_map(|q| q.results.keys()).map(String::as_str).collect();
    let last = ["reranked", "ransac", "global"].into_iter().find(|name| all.contains(name));
    let only = all.iter().next().copied().filter(|_| all.len() == 1);
    let example = last.or(all.iter().next().copied()).unwrap_or("global").to_string();
    let wrong = |problem: String| CompareError::Ranking { path: path.to_path_buf(), problem, example };
    let list = all.iter().copied().collect::<Vec<_>>().join(", ");
    match asked {
        Some(name) if all.contains(name) => Ok(name.to_string()),
        Some(name) => Err(wrong(format!("has no ranking {name}, only {list}"))),
        None => {
            last.or(only).map(str::to_string).ok_or_else(|| wrong(format!("has several rankings: {list}")))
        }
    }
}

/// Rank of the first positive of each query.
fn by_name<'a>(results: &'a Results, ranking: &str) -> HashMap<&'a str, Option<usize>> {
    let rank = |q: &Query| q.results.get(ranking).and_then(|found| found.first_positive);
    results.queries.iter().map(|q| (q.query.as_str(), rank(q))).collect()
}

fn same_protocol(a: &Map<String, Value>, b: &Map<String, Value>) -> Result<(), CompareError> {
    let text = |value: Option<&Value>| value.map_or("absent".to_string(), Value::to_string);
    let fields = a.keys().chain(b.keys().filter(|field| !a.contains_key(*field)));
    let differences: Vec<String> = fields
        .filter(|field| !INPUT.contains(&field.as_str()) && a.get(*field) != b.get(*field))
        .map(|field| format!("{field} is {} and {}", text(a.get(field)), text(b.get(field))))
        .collect();
    match differences.is_empty() {
        true => Ok(()),
        false => Err(CompareError::Protocol { differences: differences.join(", ") }),
    }
}
