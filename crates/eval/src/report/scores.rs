//! The page of scored predictions: tables and curves, without the pictures that need a model.

use super::environment::RunInfo;
use super::page::{
    MAP_NOTE, RECALL_NOTE, Section, Table, compared, fill, filled, interval, percent, protocol, strings,
};
use crate::pictures::{Series, plot};
use crate::{Result, ScoredRun, Scores};
use minijinja::{Value, context};
use std::collections::BTreeMap;

/// Renders the page.
pub(super) fn render(scores: &Scores, run: &RunInfo) -> Result<String> {
    let summary = &scores.summary;
    let runs = &summary.runs;
    let headline: Vec<Value> = runs
        .iter()
        .filter_map(|run| {
            let (at, first) = run.intervals.first()?;
            let name = format!("{}, R@{at}", run.name);
            Some(context! { name, value => percent(first.value), interval => interval(*first) })
        })
        .collect();
    let mut sections: Vec<Section> = vec![("Recall".to_string(), RECALL_NOTE, recall(runs))];
    sections.extend(compared(&summary.comparisons));
    sections.extend([
        ("Mean average precision".into(), MAP_NOTE, mean_average_precision(runs)),
        ("First match".into(), "Distance from where the query was taken to its first match.", metres(runs)),
    ]);
    let note = "Number of queries with each value of this tag, and the recall of each file at the same N in percent. Groups \
                of few queries say little.";
    sections.extend(by_tag(runs).into_iter().map(|(tag, table)| (format!("By {tag}"), note, table)));
    let line = |run: &ScoredRun| Series {
        name: run.name.clone(),
        points: run.intervals.iter().map(|(n, share)| [*n as f64, share.value]).collect(),
    };
    let lines: Vec<Series> = runs.iter().map(line).collect();
    let curve = plot("Recall@N", ["N", "queries with a positive among the first N"], &lines, true, true);
    fill(context! {
        dataset => &summary.protocol.dataset,
        sentences => summary.sentences(),
        headline,
        sections => filled(sections),
        plots => [Value::from_safe_string(curve)],
        protocol => protocol(&summary.protocol, None),
        environment => [
            ("program", format!("{}, revision {}", run.program, run.revision)),
            ("command", run.line()),
            ("finished", run.finished.clone()),
        ],
    })
}

fn recall(runs: &[ScoredRun]) -> Table {
    let at = runs.first().map_or(&[][..], |run| &run.intervals);
    let heads = std::iter::once("file".to_string()).chain(at.iter().map(|(n, _)| format!("R@{n}")));
    let rows = runs.iter().map(|run| {
        let cells =
            run.intervals.iter().map(|(_, share)| format!("{} ({})", percent(share.value), interval(*share)));
        std::iter::once(run.name.clone()).chain(cells).collect()
    });
    (heads.collect(), rows.collect())
}

fn mean_average_precision(runs: &[ScoredRun]) -> Table {
    let at: Vec<usize> =
        runs.first().map_or_else(Vec::new, |run| run.intervals.iter().map(|(n, _)| *n).collect());
    let heads = std::iter::once("file".to_string()).chain(at.iter().map(|k| format!("mAP@{k}")));
    let rows = runs.iter().map(|run| {
        let cells = at.iter().map(|k| percent(run.mean_average_precision.at(*k)));
        std::iter::once(run.name.clone()).chain(cells).collect()
    });
    (heads.collect(), rows.collect())
}

fn metres(runs: &[ScoredRun]) -> Table {
    let rows = runs.iter().filter_map(|run| {
        let found = run.localisation?;
        Some(vec![run.name.clone(), format!("{:.1} m", found.median_m), format!("{:.1} m", found.p90_m)])
    });
    (strings(["file", "median distance", "90 % of queries within"]), rows.collect())
}

/// A table per tag: a row per value, a column per file.
fn by_tag(runs: &[ScoredRun]) -> Vec<(String, Table)> {
    let Some(first) = runs.first() else { return Vec::new() };
    let at: Vec<usize> = first.intervals.iter().map(|(n, _)| *n).collect();
    let table = |number: usize| {
        let tag = first.recall_by[number].tag.clone();
        let mut rows: BTreeMap<&String, Vec<String>> = BTreeMap::new();
        for run in runs {
            for (value, group) in &run.recall_by[number].groups {
                let row = rows.entry(value).or_insert_with(|| vec![value.clone(), group.queries.to_string()]);
                row.push(at.iter().map(|n| percent(group.recall.at(*n))).collect::<Vec<_>>().join(" / "));
            }
        }
        let heads =
            [tag.clone(), "queries".into()].into_iter().chain(runs.iter().map(|run| run.name.clone()));
        (tag, (heads.collect(), rows.into_values().collect()))
    };
    (0..first.recall_by.len()).map(table).collect()
}
