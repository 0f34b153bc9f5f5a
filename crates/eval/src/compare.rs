//! Two runs over the same queries: how much better one is, and whether chance explains it.

use crate::metrics::{PairedTest, paired_test};
use crate::protocol::INPUT;
use crate::{EvalError, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// The N at which two runs are compared.
const AT: [usize; 3] = [1, 5, 10];

/// Two runs at each N.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Differences {
    /// The run that is compared with.
    pub first: String,
    /// The run that is compared.
    pub second: String,
    /// Queries of both.
    pub queries: usize,
    /// At each N.
    pub recall: Vec<Difference>,
}

/// Two runs at one N.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// N.
    pub at: usize,
    /// Recall@N of the first run.
    pub first: f64,
    /// Recall@N of the second.
    pub second: f64,
    /// How much better the second is.
    pub test: PairedTest,
}

/// Why two runs cannot be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// A file that is no results.json.
    #[error(
        "{path}: is no results.json of an evaluation ({problem}): `r2former eval ... --report DIR` writes one",
        path = path.display()
    )]
    Results {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// An order that the run does not have, or has among others.
    #[error("{path}: {problem}; name one of its orders behind the file, as in {path}:{example}", path = path.display())]
    Order {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// An order that it has.
        example: String,
    },
    /// Runs that answer different questions.
    #[error(
        "the runs follow different protocols, so a difference between them means nothing: {differences}; \
         --any-protocol compares them all the same"
    )]
    Protocol {
        /// Each field that differs, with both values.
        differences: String,
    },
    /// A query of one run only.
    #[error(
        "query {name} is only in the {side} run ({only} of its {count} queries are only there): a paired test needs \
         the same queries in both"
    )]
    Queries {
        /// Name of the first such query.
        name: String,
        /// `first` or `second`.
        side: &'static str,
        /// How many are only there.
        only: usize,
        /// Queries of that run.
        count: usize,
    },
}

/// What is needed of a results.json.
#[derive(Deserialize)]
struct Results {
    report: Report,
    queries: Vec<Query>,
}

#[derive(Deserialize)]
struct Report {
    protocol: Map<String, Value>,
}

#[derive(Deserialize)]
struct Query {
    query: String,
    outcome: HashMap<String, Found>,
}

#[derive(Deserialize)]
struct Found {
    first_positive: Option<usize>,
}

/// Compares two runs that were written as `results.json`, by recall@1, @5 and @10. Each is named by its file and,
/// where that has several orders, an order (`global`, `ransac`, `reranked`, or a file of predictions); without one, the
/// last word of the evaluation counts.
///
/// # Errors
/// [`CompareError`], and a file that cannot be read. Protocols may differ in how images became orders, and in nothing
/// else unless `any_protocol`; queries never.
pub fn compare(
    first: (&Path, Option<&str>),
    second: (&Path, Option<&str>),
    any_protocol: bool,
) -> Result<Differences> {
    let (a, b) = (read(first.0)?, read(second.0)?);
    if !any_protocol {
        same_protocol(&a.report.protocol, &b.report.protocol)?;
    }
    let orders = [order(first, &a)?, order(second, &b)?];
    let (of_a, of_b) = (by_name(&a, &orders[0]), by_name(&b, &orders[1]));
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
    let name = |path: &Path, order: &str| format!("{}:{order}", path.display());
    let names = [name(first.0, &orders[0]), name(second.0, &orders[1])];
    Ok(differences([&names[0], &names[1]], [&of(&of_a), &of(&of_b)], &AT))
}

/// Two runs, each told by the rank of the first positive (from 1) of the same queries.
pub(crate) fn differences(
    [first, second]: [&String; 2],
    [a, b]: [&[Option<usize>]; 2],
    at: &[usize],
) -> Differences {
    let right = |ranks: &[Option<usize>], n: usize| -> Vec<bool> {
        ranks.iter().map(|rank| rank.is_some_and(|rank| rank <= n)).collect()
    };
    let share = |right: &[bool]| right.iter().filter(|r| **r).count() as f64 / right.len().max(1) as f64;
    let recall = at.iter().map(|n| {
        let (a, b) = (right(a, *n), right(b, *n));
        Difference { at: *n, first: share(&a), second: share(&b), test: paired_test(&a, &b) }
    });
    Differences { first: first.clone(), second: second.clone(), queries: a.len(), recall: recall.collect() }
}

fn read(path: &Path) -> Result<Results> {
    let text = std::fs::read_to_string(path).map_err(|error| EvalError::file(path, error))?;
    let wrong = |problem: String| CompareError::Results { path: path.to_path_buf(), problem };
    let results: Results = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let names: BTreeSet<&str> = results.queries.iter().map(|q| q.query.as_str()).collect();
    if names.is_empty() || names.len() < results.queries.len() {
        return Err(wrong("it has no queries, or two of one name".into()).into());
    }
    Ok(results)
}

/// The order that was asked for, or the one that the run ends with.
fn order((path, asked): (&Path, Option<&str>), results: &Results) -> Result<String, CompareError> {
    let all: BTreeSet<&str> =
        results.queries.iter().flat_map(|q| q.outcome.keys()).map(String::as_str).collect();
    let last = ["reranked", "ransac", "global"].into_iter().find(|order| all.contains(order));
    let only = all.iter().next().copied().filter(|_| all.len() == 1);
    let example = last.or(all.iter().next().copied()).unwrap_or("global").to_string();
    let wrong = |problem: String| CompareError::Order { path: path.to_path_buf(), problem, example };
    let list = all.iter().copied().collect::<Vec<_>>().join(", ");
    match asked {
        Some(order) if all.contains(order) => Ok(order.to_string()),
        Some(order) => Err(wrong(format!("has no order {order}, only {list}"))),
        None => last.or(only).map(str::to_string).ok_or_else(|| wrong(format!("has several orders: {list}"))),
    }
}

/// Rank of the first positive of each query.
fn by_name<'a>(results: &'a Results, order: &str) -> HashMap<&'a str, Option<usize>> {
    let rank = |q: &Query| q.outcome.get(order).and_then(|found| found.first_positive);
    results.queries.iter().map(|q| (q.query.as_str(), rank(q))).collect()
}

fn same_protocol(a: &Map<String, Value>, b: &Map<String, Value>) -> Result<(), CompareError> {
    let words = |value: Option<&Value>| value.map_or("not told".to_string(), Value::to_string);
    let fields = a.keys().chain(b.keys().filter(|field| !a.contains_key(*field)));
    let differences: Vec<String> = fields
        .filter(|field| !INPUT.contains(&field.as_str()) && a.get(*field) != b.get(*field))
        .map(|field| format!("{field} is {} and {}", words(a.get(field)), words(b.get(field))))
        .collect();
    match differences.is_empty() {
        true => Ok(()),
        false => Err(CompareError::Protocol { differences: differences.join(", ") }),
    }
}
