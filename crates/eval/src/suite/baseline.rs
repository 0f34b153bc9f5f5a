//! The rankings that a suite is compared with: of an earlier `suite.json`, or of one of its own models.

use super::config::BaselineEntry;
use super::results::{BaselineOrigin, Difference, RankingResults, SetResults};
use crate::metrics::paired_test;
use crate::{EvalError, Result};
use r2former_engine::RerankMethod;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::path::Path;

/// The fields of a protocol that queries of both runs must share; which queries count is settled query by query.
const SHARED: [&str; 5] = ["positives", "radius_m", "heading_limit_deg", "cities", "database"];

/// The rankings of one model on every set of a suite.
#[derive(Debug, Clone)]
pub struct Baseline {
    pub(super) origin: BaselineOrigin,
    sets: Vec<BaselineSet>,
}

/// The part of `suite.json` that is compared.
#[derive(Deserialize)]
struct SuiteFile {
    models: Vec<Model>,
    sets: Vec<BaselineSet>,
}

#[derive(Deserialize)]
struct Model {
    name: String,
}

#[derive(Debug, Clone, Deserialize)]
struct BaselineSet {
    name: String,
    parts: Vec<Part>,
    queries: Vec<String>,
    rankings: Vec<BaselineRanking>,
}

#[derive(Debug, Clone, Deserialize)]
struct Part {
    protocol: Map<String, Value>,
}

#[derive(Debug, Clone, Deserialize)]
struct BaselineRanking {
    model: String,
    rerank: RerankMethod,
    correct_at: Vec<Option<usize>>,
}

impl Baseline {
    /// Reads the rankings of a model from `suite.json` of an earlier run; `None` is its first model.
    ///
    /// # Errors
    /// [`EvalError::File`]: the file cannot be read, was not written by a suite, or has no such model.
    pub fn read(path: &Path, model: Option<&str>) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| EvalError::file(path, format!("cannot be read: {e}")))?;
        let wrong = |problem: String| {
            let hint = "`r2former eval suite ... --report DIR` writes one";
            EvalError::file(path, format!("is not a suite.json ({problem}): {hint}"))
        };
        let file: SuiteFile = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        let rankings = file.sets.iter().flat_map(|set| set.rankings.iter().map(move |r| (set, r)));
        if let Some((set, _)) = rankings.into_iter().find(|(set, r)| r.correct_at.len() != set.queries.len())
        {
            return Err(wrong(format!("set {} lacks results of some queries", set.name)));
        }
        let names: Vec<&str> = file.models.iter().map(|model| model.name.as_str()).collect();
        let found = match model {
            Some(name) => names.iter().find(|own| **own == name),
            None => names.first(),
        };
        let Some(name) = found.map(ToString::to_string) else {
            let asked = model.map_or_else(|| "models".into(), |name| format!("model {name}"));
            return Err(EvalError::file(path, format!("has no {asked}, only {}", names.join(", "))));
        };
        let origin = BaselineOrigin { file: Some(path.to_path_buf()), model: name };
        Ok(Self { origin, sets: file.sets })
    }

    /// The rankings of a model of the suite itself; `None` if it has no such model.
    pub(super) fn own(entry: &BaselineEntry, sets: &[SetResults]) -> Option<Self> {
        let first = sets.first()?;
        let name = entry.model.as_ref().or(first.rankings.first().map(|ranking| &ranking.model))?;
        let of = |ranking: &RankingResults| BaselineRanking {
            model: ranking.model.clone(),
            rerank: ranking.rerank,
            correct_at: ranking.correct_at.clone(),
        };
        let sets = sets.iter().map(|set| BaselineSet {
            name: set.name.clone(),
            parts: protocols(set).into_iter().map(|protocol| Part { protocol }).collect(),
            queries: set.queries.clone(),
            rankings: set.rankings.iter().map(of).collect(),
        });
        Some(Self { origin: BaselineOrigin { file: None, model: name.clone() }, sets: sets.collect() })
    }

    /// Compares every ranking with the baseline's by the same method; returns notes on what could not be compared.
    pub(super) fn compare(&self, sets: &mut [SetResults]) -> Vec<String> {
        let mut notes = Vec::from_iter(self.other_candidates(sets));
        for set in sets {
            notes.extend(self.compare_set(set));
        }
        notes
    }

    /// A note if the baseline reranked another number of candidates: a choice of the run, which is compared all the same.
    fn other_candidates(&self, sets: &[SetResults]) -> Option<String> {
        let candidates = |protocol: &Map<String, Value>| protocol.get("candidates").and_then(Value::as_u64);
        let now = sets.first().and_then(|set| candidates(protocols(set).first()?))?;
        let parts = self.sets.iter().flat_map(|set| &set.parts);
        let before = parts.filter_map(|part| candidates(&part.protocol)).find(|before| *before != now)?;
        Some(format!("The baseline reranked {before} candidates, this run {now}."))
    }

    fn compare_set(&self, set: &mut SetResults) -> Option<String> {
        let name = set.name.clone();
        let Some(own) = self.sets.iter().find(|own| own.name == name) else {
            return Some(format!("{name}: the baseline lacks this set."));
        };
        let differ = different(set, own);
        if !differ.is_empty() {
            return Some(format!(
                "{name}: not compared, since the baseline's protocol has another {differ}."
            ));
        }
        let places: HashMap<(&str, usize), usize> = numbered(&own.queries).zip(0..).collect();
        let pairs: Vec<(usize, usize)> =
            numbered(&set.queries).zip(0..).filter_map(|(q, i)| Some((*places.get(&q)?, i))).collect();
        if pairs.is_empty() {
            return Some(format!("{name}: not compared, since the baseline has none of its queries."));
        }
        for ranking in &mut set.rankings {
            // A model of this suite is not compared with itself.
            if self.origin.file.is_none() && ranking.model == self.origin.model {
                continue;
            }
            let before =
                own.rankings.iter().find(|r| r.model == self.origin.model && r.rerank == ranking.rerank);
            ranking.difference = before.map(|before| difference(before, ranking, &pairs));
        }
        let (here, there) = (set.queries.len(), own.queries.len());
        (pairs.len() < here.max(there)).then(|| {
            format!(
                "{name}: compared over the {} queries that both have, of {here} here and {there} of the baseline.",
                pairs.len()
            )
        })
    }
}

fn difference(before: &BaselineRanking, now: &RankingResults, pairs: &[(usize, usize)]) -> Difference {
    let hit = |at: Option<usize>| at == Some(1);
    let first: Vec<bool> = pairs.iter().map(|(i, _)| hit(before.correct_at[*i])).collect();
    let second: Vec<bool> = pairs.iter().map(|(_, i)| hit(now.correct_at[*i])).collect();
    let by_query = first.iter().zip(&second).map(|(a, b)| f64::from(u8::from(*b)) - f64::from(u8::from(*a)));
    Difference { queries: pairs.len(), by_query: by_query.collect(), test: paired_test(&first, &second) }
}

/// Each name with how often it came before, since a dataset may have several queries of one name.
fn numbered(names: &[String]) -> impl Iterator<Item = (&str, usize)> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    names.iter().map(move |name| {
        let count = seen.entry(name).or_default();
        *count += 1;
        (name.as_str(), *count)
    })
}

fn protocols(set: &SetResults) -> Vec<Map<String, Value>> {
    let fields = |value: Value| if let Value::Object(fields) = value { fields } else { Map::new() };
    set.parts.iter().map(|part| fields(serde_json::to_value(&part.protocol).unwrap_or_default())).collect()
}

/// The fields in which the protocols differ.
fn different(set: &SetResults, own: &BaselineSet) -> String {
    let protocols = protocols(set);
    if protocols.len() != own.parts.len() {
        return "number of datasets".into();
    }
    let differs =
        |field: &&str| protocols.iter().zip(&own.parts).any(|(a, b)| a.get(*field) != b.protocol.get(*field));
    SHARED.into_iter().filter(differs).collect::<Vec<_>>().join(", ")
}
