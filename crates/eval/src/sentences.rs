//! Results in plain sentences, with their sample size and interval.

use crate::compare::Comparison;
use crate::metrics::{Interval, Localisation};
use crate::{EmptyQueries, EvalSummary, Protocol, ScoreSummary};
use r2former_engine::RerankMethod;

/// p-values below this are called more than chance.
const SIGNIFICANT: f64 = 0.05;

impl EvalSummary {
    /// The result in plain sentences: how many queries the final ranking located, how far off its first matches are,
    /// and what reranking changed.
    pub fn sentences(&self) -> Vec<String> {
        let (protocol, quality) = (&self.protocol, self.quality.last());
        let mut all = vec![located(protocol, "", &quality.recall[0].1)];
        all.extend(without_positive(protocol));
        all.extend(quality.localisation.as_ref().map(|found| distances(found, protocol.queries)));
        // Each method compared with the global ranking.
        let methods =
            self.recall.iter().filter(|(method, _)| *method != RerankMethod::None).map(|(method, _)| method);
        for method in methods {
            let name = crate::ranking_name(method);
            let global = crate::ranking_name(RerankMethod::None);
            let pair = self.comparisons.iter().find(|pair| pair.first == global && pair.second == name);
            all.extend(pair.and_then(|pair| reranking(method, pair)));
        }
        all.extend(self.confidence.as_ref().and_then(|found| found.unmeasured(protocol.queries)));
        all
    }
}

impl ScoreSummary {
    /// The result in plain sentences: how many queries each file located.
    pub fn sentences(&self) -> Vec<String> {
        let protocol = &self.protocol;
        let several = self.runs.len() > 1;
        let mut all = Vec::new();
        for run in &self.runs {
            let name = if several { format!("{}: ", run.name) } else { String::new() };
            let first = run.intervals.iter().find(|(at, _)| *at == 1);
            all.extend(first.map(|(_, share)| located(protocol, &name, share)));
        }
        all.extend(without_positive(protocol));
        if let [run] = &self.runs[..] {
            all.extend(run.localisation.as_ref().map(|found| distances(found, protocol.queries)));
        }
        all
    }
}

/// How many queries have a positive as their first match.
fn located(protocol: &Protocol, name: &str, recall: &Interval) -> String {
    let queries = protocol.queries;
    let hits = (recall.value * queries as f64).round();
    let shares = format!(
        "({:.1} %, 95 % interval {:.1} to {:.1} %)",
        100.0 * recall.value,
        100.0 * recall.low,
        100.0 * recall.high
    );
    let (noun, verb) = if queries == 1 { ("query", "was") } else { ("queries", "were") };
    match (protocol.radius_m, protocol.heading_limit_deg) {
        (Some(radius), None) => {
            format!("{name}{hits} of {queries} {noun} {verb} located within {radius} m {shares}.")
        }
        (Some(radius), Some(limit)) => format!(
            "{name}{hits} of {queries} {noun} {verb} located within {radius} m and {limit} degrees of heading {shares}."
        ),
        (None, _) => {
            format!("{name}The first match of {hits} of {queries} {noun} is a listed positive {shares}.")
        }
    }
}

/// Queries that no ranking can get right.
fn without_positive(protocol: &Protocol) -> Option<String> {
    let count = protocol.empty_query_count;
    (count > 0 && protocol.empty_queries == EmptyQueries::Fail).then(|| match count {
        1 => "1 query has no positive in the database and can only fail.".to_string(),
        _ => format!("{count} queries have no positive in the database and can only fail."),
    })
}

fn distances(found: &Localisation, queries: usize) -> String {
    let known = match found.queries == queries {
        true => String::new(),
        false => format!(" (of {} with known positions)", found.queries),
    };
    format!(
        "Half of the first matches lie within {} of their query, nine in ten within {}{known}.",
        metres(found.median_m),
        metres(found.p90_m)
    )
}

/// What a reranking method changed of the global ranking; `None` if recall@1 was not compared.
fn reranking(method: RerankMethod, pair: &Comparison) -> Option<String> {
    let name = match method {
        RerankMethod::Ransac => "RANSAC",
        RerankMethod::Mutual => "Counting mutual matches",
        _ => "The reranker",
    };
    let test = &pair.recall.iter().find(|at| at.at == 1)?.test;
    let (corrected, broken) = (test.only_second, test.only_first);
    if corrected + broken == 0 {
        return Some(format!("{name} corrected no first match of the global ranking and broke none."));
    }
    let chance = match test.p < SIGNIFICANT {
        true => "more than chance explains",
        false => "which may be chance",
    };
    let p = if test.p < 0.001 { "p < 0.001".to_string() } else { format!("p = {:.3}", test.p) };
    let verdict = match corrected < broken {
        true => ", so it lost more than it gained",
        false => "",
    };
    let noun = if corrected == 1 { "match" } else { "matches" };
    Some(format!(
        "{name} corrected {corrected} first {noun} of the global ranking and broke {broken}{verdict}: {:+.1} percentage \
         points (95 % interval {:+.1} to {:+.1}), {chance} (McNemar's test, {p}).",
        100.0 * test.difference.value,
        100.0 * test.difference.low,
        100.0 * test.difference.high,
    ))
}

fn metres(value: f64) -> String {
    match value {
        m if m >= 1000.0 => format!("{:.1} km", m / 1000.0),
        m if m >= 10.0 => format!("{m:.0} m"),
        m => format!("{m:.1} m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::comparison;
    use crate::metrics::bootstrap;

    fn protocol(queries: usize, empty: usize) -> Protocol {
        Protocol {
            dataset: "road".into(),
            positives: "within 25 m".into(),
            radius_m: Some(25.0),
            heading_limit_deg: None,
            cities: String::new(),
            empty_queries: EmptyQueries::Fail,
            empty_query_count: empty,
            database: 9,
            queries,
            input: None,
            notes: Vec::new(),
        }
    }

    #[test]
    fn counts_radius_and_interval_are_stated() {
        let hits: Vec<bool> = (0..40).map(|query| query < 29).collect();
        let text = located(&protocol(40, 0), "", &bootstrap(&hits));
        assert!(
            text.starts_with("29 of 40 queries were located within 25 m (72.5 %, 95 % interval "),
            "{text}"
        );
        let listed = Protocol { radius_m: None, ..protocol(40, 0) };
        let text = located(&listed, "a.txt: ", &bootstrap(&hits));
        assert!(
            text.starts_with("a.txt: The first match of 29 of 40 queries is a listed positive"),
            "{text}"
        );
        assert_eq!(without_positive(&protocol(40, 0)), None);
        assert!(without_positive(&protocol(40, 3)).is_some_and(|text| text.starts_with("3 queries have no")));
        let far = Localisation { median_m: 12.4, p90_m: 1234.0, queries: 38 };
        assert_eq!(
            distances(&far, 40),
            "Half of the first matches lie within 12 m of their query, nine in ten within 1.2 km (of 38 with known \
             positions)."
        );
    }

    #[test]
    fn a_reranker_that_loses_is_said_to_lose() {
        let ranks = |hits: [bool; 6]| hits.map(|hit| hit.then_some(1));
        let global = ranks([true, true, true, false, false, true]);
        let pair = |other| comparison(["global", "reranked"], [&global, &ranks(other)], &[1]);
        let worse = reranking(RerankMethod::Model, &pair([false, false, true, true, false, true])).unwrap();
        assert!(
            worse.contains("corrected 1 first match of") && worse.contains("broke 2, so it lost more"),
            "{worse}"
        );
        assert!(worse.contains("-16.7 percentage points") && worse.contains("may be chance"), "{worse}");
        let same = reranking(RerankMethod::Ransac, &pair([true, true, true, false, false, true])).unwrap();
        assert_eq!(same, "RANSAC corrected no first match of the global ranking and broke none.");
    }
}
