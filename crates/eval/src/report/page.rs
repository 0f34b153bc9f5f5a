//! The report's page: one file that opens offline.

use super::charts;
use super::environment::Environment;
use super::examples::Examples;
use crate::metrics::{Interval, PairedTest};
use crate::{
    AdaptiveReranking, Breakdown, EmptyQueries, EvalError, EvalSummary, Evaluation, MAP_AT, Protocol,
    RECALL_AT, Recall, RecallByRanking, Result, ranking_name,
};
use minijinja::{Value, context};
use r2former_data::dataset::Dataset;
use std::collections::BTreeMap;

/// A table: heads, and rows whose first cell is a head.
pub(super) type Table = (Vec<String>, Vec<Vec<String>>);

/// What the tables of recall and of mean average precision say.
pub(super) const RECALL_NOTE: &str = "Share of queries with at least one positive among the first N, in percent; in brackets the 95 % bootstrap interval.";
pub(super) const MAP_NOTE: &str = "mAP@k: the sum of the precision at each correct rank up to k, over the smaller of k and the number of positives, in percent.";

/// Renders the page. Everything that the template gets as text is escaped; pictures are SVG of this crate.
pub(super) fn render(
    evaluation: &Evaluation,
    dataset: &Dataset,
    environment: &Environment,
    examples: &Examples,
) -> Result<String> {
    let report = &evaluation.summary;
    let pictures = |all: &[(String, String)]| -> Vec<Value> {
        all.iter()
            .map(|(words, svg)| context! { words, svg => Value::from_safe_string(svg.clone()) })
            .collect()
    };
    let mut plots = vec![charts::recall(evaluation), charts::precision(evaluation)];
    plots.extend(charts::errors(evaluation));
    plots.push(charts::cost(evaluation));
    let plots: Vec<Value> = plots.into_iter().map(Value::from_safe_string).collect();
    let mut sections = vec![
        ("Recall".to_string(), RECALL_NOTE, recall(evaluation)),
        (
            "Differences".into(),
            "Two orders of the same queries, by recall@1: difference in points with its 95 % bootstrap interval, queries that only one of them gets right, and McNemar's exact test.",
            differences(evaluation),
        ),
        ("Mean average precision".into(), MAP_NOTE, mean_average_precision(evaluation)),
    ];
    let words = "Queries that count, and recall@1, @5 and @10 in percent.";
    let by_tag =
        report.recall_by.iter().map(|table| (format!("By {}", table.tag), words, groups(report, table)));
    sections.extend(by_tag);
    sections.extend([
        ("Beyond recall".into(), "Of the first match: average precision, the largest recall at which every accepted answer is right, and its distance from the query.", beyond(evaluation)),
        ("Cost".into(), "Measured in this run, one query after the other, on the machine below. Bytes are what an index stores of an image.", cost(evaluation)),
    ]);
    let sections = filled(sections);
    let headline: Vec<Value> = report
        .quality
        .iter()
        .map(|(method, quality)| {
            let recall = quality.recall[0].1;
            context! { name => ranking_name(method), value => percent(recall.value), interval => interval(recall) }
        })
        .collect();
    let unusable: Vec<String> =
        report.unusable.iter().map(|image| format!("{}: {}", image.path.display(), image.reason)).collect();
    let config =
        serde_json::to_string_pretty(&environment.model).map_err(|e| EvalError::Request(e.to_string()))?;
    fill(context! {
        dataset => &report.protocol.dataset,
        headline, sections, plots, unusable, config,
        protocol => protocol(&report.protocol, report.adaptive.as_ref()),
        maps => pictures(&charts::maps(evaluation, dataset)),
        galleries => pictures(&examples.galleries),
        pairs => pictures(&examples.pairs),
        attention => pictures(&examples.attention),
        environment => described(environment),
    })
}

/// Titles, words and tables as the template takes them, without empty tables.
pub(super) fn filled(sections: Vec<(String, &str, Table)>) -> Vec<Value> {
    sections
        .into_iter()
        .filter(|(_, _, (_, rows))| !rows.is_empty())
        .map(|(title, words, (heads, rows))| context! { title, words, heads, rows })
        .collect()
}

/// The template with these values; what it has no value for it leaves out.
pub(super) fn fill(values: Value) -> Result<String> {
    let broken =
        |error: minijinja::Error| EvalError::Request(format!("the report's page cannot be made: {error}"));
    let mut environment = minijinja::Environment::new();
    environment.add_template("page.html", include_str!("page.html")).map_err(broken)?;
    environment.get_template("page.html").and_then(|template| template.render(values)).map_err(broken)
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.1}", 100.0 * share)
}

pub(super) fn interval(of: Interval) -> String {
    format!("{} to {}", percent(of.low), percent(of.high))
}

pub(super) fn strings<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_string).to_vec()
}

fn recall(evaluation: &Evaluation) -> Table {
    let report = &evaluation.summary;
    let heads = std::iter::once("order".to_string()).chain(RECALL_AT.iter().map(|n| format!("R@{n}")));
    let rows = report.recall.iter().map(|(method, recall)| {
        let bounds: BTreeMap<usize, Interval> = report
            .quality
            .get(method)
            .map(|quality| quality.recall.iter().copied().collect())
            .unwrap_or_default();
        let cell = |n: &usize| match bounds.get(n) {
            Some(bounds) => format!("{} ({})", percent(recall.at(*n)), interval(*bounds)),
            None => percent(recall.at(*n)),
        };
        std::iter::once(ranking_name(method).to_string()).chain(RECALL_AT.iter().map(cell)).collect()
    });
    (heads.collect(), rows.collect())
}

fn mean_average_precision(evaluation: &Evaluation) -> Table {
    let heads = std::iter::once("order".to_string()).chain(MAP_AT.iter().map(|k| format!("mAP@{k}")));
    let rows = evaluation.summary.mean_average_precision.iter().map(|(method, mean)| {
        let cells = MAP_AT.iter().map(|k| percent(mean.at(*k)));
        std::iter::once(ranking_name(method).to_string()).chain(cells).collect()
    });
    (heads.collect(), rows.collect())
}

fn differences(evaluation: &Evaluation) -> Table {
    let heads = strings(["orders", "difference", "only the first", "only the second", "p"]);
    let rows = evaluation.summary.comparisons.iter().map(|comparison| {
        let orders = format!("{} against {}", comparison.second, comparison.first);
        std::iter::once(orders).chain(tested(&comparison.recall[0].test)).collect()
    });
    (heads, rows.collect())
}

/// Difference, queries that only one gets right, and the chance of it.
pub(super) fn tested(test: &PairedTest) -> [String; 4] {
    [
        format!("{:+.1} ({})", 100.0 * test.difference.value, interval(test.difference)),
        test.only_first.to_string(),
        test.only_second.to_string(),
        test.p_text(),
    ]
}

fn groups(report: &EvalSummary, table: &Breakdown<RecallByRanking>) -> Table {
    let orders = report.recall.iter().map(|(method, _)| ranking_name(method).to_string());
    let heads = [table.tag.clone(), "queries".into()].into_iter().chain(orders);
    let rows = table.groups.iter().map(|(value, group)| {
        let cells = group
            .recall
            .iter()
            .map(|(_, recall): (_, &Recall)| [1, 5, 10].map(|n| percent(recall.at(n))).join(" / "));
        [value.clone(), group.queries.to_string()].into_iter().chain(cells).collect()
    });
    (heads.collect(), rows.collect())
}

fn beyond(evaluation: &Evaluation) -> Table {
    let heads =
        strings(["order", "average precision", "recall at 100 % precision", "median error", "90 % within"]);
    let rows = evaluation.summary.quality.iter().map(|(method, quality)| {
        let metres = |value: Option<f64>| value.map_or("unknown".to_string(), |m| format!("{m:.1} m"));
        vec![
            ranking_name(method).to_string(),
            percent(quality.precision_recall.average_precision),
            percent(quality.precision_recall.recall_at_full_precision),
            metres(quality.localisation.map(|l| l.median_m)),
            metres(quality.localisation.map(|l| l.p90_m)),
        ]
    });
    (heads, rows.collect())
}

fn cost(evaluation: &Evaluation) -> Table {
    let report = &evaluation.summary;
    let heads = strings([
        "order",
        "extraction, ms an image",
        "search, ms a query",
        "reranking, ms a query",
        "a query, ms",
        "bytes an image",
        "R@1",
    ]);
    let cost = &report.cost;
    let rows = report.recall.iter().map(|(method, recall)| {
        let rerank = cost.rerank_ms(method);
        vec![
            ranking_name(method).to_string(),
            cost.extraction_ms().map_or("done before".into(), |ms| format!("{ms:.2}")),
            format!("{:.3}", cost.search_ms_per_query),
            rerank.map_or("none".into(), |ms| format!("{ms:.1}")),
            format!("{:.1}", cost.query_ms(method)),
            if rerank.is_some() { cost.bytes_per_image } else { cost.global_bytes_per_image }.to_string(),
            percent(recall.at(1)),
        ]
    });
    (heads, rows.collect())
}

/// What the numbers mean, as names and words.
pub(super) fn protocol(p: &Protocol, adaptive: Option<&AdaptiveReranking>) -> Vec<(&'static str, String)> {
    let empty = match p.empty_queries {
        EmptyQueries::Fail => "counted as failures",
        EmptyQueries::Drop => "left out",
    };
    let mut rows = vec![
        ("dataset", p.dataset.clone()),
        ("queries", format!("{}; {} without a positive, {empty}", p.queries, p.empty_query_count)),
        ("database", format!("{} references; {}", p.database, p.cities)),
        ("positives", p.positives.clone()),
    ];
    if let Some(i) = &p.input {
        let input = format!("{} pixels (height x width), {} resize, {}", i.image_size, i.resize, i.precision);
        let reranked = match (i.candidates, adaptive) {
            (0, _) => "nothing".into(),
            (candidates, None) => format!("the first {candidates}"),
            (candidates, Some(adaptive)) => format!(
                "the first {candidates}, but for {} % of the queries, whose margin is at least {}",
                percent(adaptive.skipped),
                adaptive.top1_margin
            ),
        };
        let query_preprocessing = i.query_preprocessing.describe(i.candidates > 0);
        rows.extend([("queries as", query_preprocessing), ("input", input), ("reranked", reranked)]);
        rows.extend(i.sequences.iter().map(|words| ("sequences", words.clone())));
    }
    rows.extend(p.notes.iter().map(|note| ("note", note.clone())));
    rows
}

/// Where it was run, as names and words.
fn described(environment: &Environment) -> Vec<(&'static str, String)> {
    vec![
        ("program", format!("{}, revision {}", environment.run.program, environment.run.revision)),
        ("command", environment.run.line()),
        ("finished", environment.run.finished.clone()),
        ("model", format!("{}, SHA-256 {}", environment.model.name, environment.model_sha256)),
        ("device", format!("{}, {} threads", environment.device, environment.threads)),
        ("processor", format!("{}, {} cores", environment.cpu, environment.cores)),
        ("memory", format!("{:.1} GiB", environment.memory_bytes as f64 / (1u64 << 30) as f64)),
        ("system", environment.system.clone()),
    ]
}
