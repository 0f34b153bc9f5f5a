//! The report's page: one HTML file that opens offline.

use super::charts;
use super::environment::Environment;
use super::examples::Examples;
use crate::compare::Comparison;
use crate::metrics::{Interval, PairedTest};
use crate::{
    AdaptiveReranking, Breakdown, ConfidenceSummary, EmptyQueries, EvalError, EvalSummary, Evaluation,
    MAP_AT, Protocol, RECALL_AT, Recall, RecallByRanking, Result, WindowSummary, ranking_name,
};
use minijinja::{Value, context};
use r2former_data::dataset::Dataset;
use r2former_model::ImageSize;
use std::collections::BTreeMap;

/// Column heads, and rows whose first cell is a head.
pub(super) type Table = (Vec<String>, Vec<Vec<String>>);

/// A section of the page: title, explanation, table.
pub(super) type Section = (String, &'static str, Table);

/// Explanations of the terms, each at its table.
pub(super) const RECALL_NOTE: &str = "Recall@N (R@N): share of queries with at least one positive, that is a correct \
    reference, among the first N matches, in percent. In brackets the 95 % bootstrap interval: the range in which the \
    value would be expected to lie if the evaluation were repeated with other queries of the same kind.";
pub(super) const COMPARISON_NOTE: &str = "Both rankings answer the same queries. Difference: in percentage points, with \
    its 95 % bootstrap interval. Only one correct: queries that one ranking gets right and the other wrong. p: McNemar's \
    exact test, the probability of so uneven a split of these queries if both rankings were equally good; below 0.05 the \
    difference is usually taken to be more than chance.";
pub(super) const MAP_NOTE: &str = "mAP@k: how early and how completely a ranking lists the positives of a query. The \
    precision at the rank of each positive up to rank k, summed, over the smaller of k and the number of positives; the \
    mean over all queries, in percent.";

pub(super) const CONFIDENCE_NOTE: &str = "Answers of all queries, the unknown ones asked of the database without their \
    positives, so that their every answer is wrong. ECE (expected calibration error): the mean difference of confidence and \
    share of correct answers over ten bins. Area: under the curve of risk (wrong among accepted answers) over coverage \
    (accepted among all), the smaller the better. Accepted and precision: at the model's threshold.";

pub(super) const WINDOWS_NOTE: &str = "Each query fused with those before it in its recording by a hidden Markov model over \
    the places found; recall@1 in percent of the last frame of each window. Of missing: the share of wrong answers put right, \
    less those spoilt.";

/// Renders the page. The template escapes all text; pictures are SVG of this crate.
pub(super) fn render(
    evaluation: &Evaluation,
    dataset: &Dataset,
    environment: &Environment,
    examples: &Examples,
) -> Result<String> {
    let summary = &evaluation.summary;
    let pictures = |all: &[(String, String)]| -> Vec<Value> {
        all.iter()
            .map(|(caption, svg)| context! { caption, svg => Value::from_safe_string(svg.clone()) })
            .collect()
    };
    let mut plots = vec![charts::recall(evaluation), charts::precision(evaluation)];
    plots.extend(charts::errors(evaluation));
    plots.push(charts::cost(evaluation));
    plots.extend(charts::confidence(evaluation));
    let plots: Vec<Value> = plots.into_iter().map(Value::from_safe_string).collect();
    let mut sections: Vec<Section> = vec![("Recall".to_string(), RECALL_NOTE, recall(evaluation))];
    sections.extend(compared(&summary.comparisons));
    sections.push(("Mean average precision".into(), MAP_NOTE, mean_average_precision(evaluation)));
    let measured = summary.confidence.as_ref().filter(|found| !found.rankings.is_empty());
    sections.extend(measured.map(|found| ("Confidence".into(), CONFIDENCE_NOTE, confidence(found))));
    sections.extend(
        summary
            .windows
            .as_ref()
            .map(|found| (format!("Windows of {} frames", found.frames), WINDOWS_NOTE, windows(found))),
    );
    let by_tag = summary.recall_by.iter().map(|table| {
        let note = "Number of queries with each value of this tag, and their recall@1 / @5 / @10 in percent. Groups of few \
                    queries say little.";
        (format!("By {}", table.tag), note, groups(summary, table))
    });
    sections.extend(by_tag);
    sections.extend([
        (
            "First match".into(),
            "Average precision: area under the curve of precision (correct among accepted first matches) over recall \
             (accepted and correct among all queries with a positive) as the threshold on the score falls. Recall at 100 % \
             precision: the largest recall without a wrong accepted match. Distance: from where the query was taken to its \
             first match.",
            first_match(evaluation),
        ),
        (
            "Cost".into(),
            "Measured in this run on the machine below; a query is extraction, search and reranking. Bytes are what an \
             index stores per image.",
            cost(evaluation),
        ),
    ]);
    let headline: Vec<Value> = summary
        .quality
        .iter()
        .map(|(method, quality)| {
            let recall = quality.recall[0].1;
            context! { name => format!("{} ranking", ranking_name(method)), value => percent(recall.value), interval => interval(recall) }
        })
        .collect();
    let unusable: Vec<String> =
        summary.unusable.iter().map(|image| format!("{}: {}", image.path.display(), image.reason)).collect();
    let config =
        serde_json::to_string_pretty(&environment.model).map_err(|e| EvalError::Request(e.to_string()))?;
    let rule = match summary.protocol.radius_m {
        Some(_) => summary.protocol.positives.replace(" (inclusive)", ""),
        None => "a listed positive".into(),
    };
    fill(context! {
        dataset => &summary.protocol.dataset,
        sentences => summary.sentences(),
        headline, plots, unusable, config,
        sections => filled(sections),
        protocol => protocol(&summary.protocol, summary.adaptive.as_ref()),
        maps => pictures(&charts::maps(evaluation, dataset, &rule)),
        galleries => pictures(&examples.galleries),
        pairs => pictures(&examples.pairs),
        attention => pictures(&examples.attention),
        environment => described(environment),
    })
}

/// Sections as the template takes them, without those whose table is empty.
pub(super) fn filled(sections: Vec<Section>) -> Vec<Value> {
    sections
        .into_iter()
        .filter(|(_, _, (_, rows))| !rows.is_empty())
        .map(|(title, note, (heads, rows))| context! { title, note, heads, rows })
        .collect()
}

/// Renders the template; parts without a value are left out.
pub(super) fn fill(values: Value) -> Result<String> {
    let broken =
        |error: minijinja::Error| EvalError::Request(format!("the report cannot be rendered: {error}"));
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
    let summary = &evaluation.summary;
    let heads = std::iter::once("ranking".to_string()).chain(RECALL_AT.iter().map(|n| format!("R@{n}")));
    let rows = summary.recall.iter().map(|(method, recall)| {
        let bounds: BTreeMap<usize, Interval> = summary
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

fn confidence(found: &ConfidenceSummary) -> Table {
    let heads = strings([
        "ranking",
        "unknown queries",
        "ECE, %",
        "area, %",
        "threshold",
        "accepted, %",
        "precision, %",
    ]);
    let rows = found.rankings.iter().map(|of| {
        vec![
            ranking_name(of.ranking).to_string(),
            format!("{} of {}", found.unknown_queries, of.quality.answers),
            percent(of.quality.expected_calibration_error),
            percent(of.quality.area_under_risk_coverage),
            of.quality.threshold.to_string(),
            percent(of.quality.coverage),
            of.quality.precision.map_or("none accepted".into(), percent),
        ]
    });
    (heads, rows.collect())
}

fn windows(found: &WindowSummary) -> Table {
    let heads = strings(["ranking", "alone", "fused", "of missing, %"]);
    let rows = found.rankings.iter().map(|of| {
        let name = ranking_name(of.ranking).to_string();
        vec![name, percent(of.single), percent(of.fused), percent(of.of_missing)]
    });
    (heads, rows.collect())
}

fn mean_average_precision(evaluation: &Evaluation) -> Table {
    let heads = std::iter::once("ranking".to_string()).chain(MAP_AT.iter().map(|k| format!("mAP@{k}")));
    let rows = evaluation.summary.mean_average_precision.iter().map(|(method, mean)| {
        let cells = MAP_AT.iter().map(|k| percent(mean.at(*k)));
        std::iter::once(ranking_name(method).to_string()).chain(cells).collect()
    });
    (heads.collect(), rows.collect())
}

/// A section per comparison, whose columns name both sides.
pub(super) fn compared(comparisons: &[Comparison]) -> Vec<Section> {
    comparisons
        .iter()
        .enumerate()
        .map(|(i, pair)| {
            let heads = vec![
                "measure".into(),
                pair.first.clone(),
                pair.second.clone(),
                "difference".into(),
                format!("only {} correct", pair.first),
                format!("only {} correct", pair.second),
                "p".into(),
            ];
            let rows = pair.recall.iter().map(|at| {
                let values = [format!("R@{}", at.at), percent(at.first), percent(at.second)];
                values.into_iter().chain(tested(&at.test)).collect()
            });
            let title = format!("{} compared with {}, {} queries", pair.second, pair.first, pair.queries);
            (title, if i == 0 { COMPARISON_NOTE } else { "" }, (heads, rows.collect()))
        })
        .collect()
}

/// Difference, queries that only one side gets right (first, second), and p.
fn tested(test: &PairedTest) -> [String; 4] {
    let signed = |share: f64| format!("{:+.1}", 100.0 * share);
    let d = test.difference;
    [
        format!("{} ({} to {})", signed(d.value), signed(d.low), signed(d.high)),
        test.only_first.to_string(),
        test.only_second.to_string(),
        test.p_text(),
    ]
}

fn groups(summary: &EvalSummary, table: &Breakdown<RecallByRanking>) -> Table {
    let rankings = summary.recall.iter().map(|(method, _)| ranking_name(method).to_string());
    let heads = [table.tag.clone(), "queries".into()].into_iter().chain(rankings);
    let rows = table.groups.iter().map(|(value, group)| {
        let cells = group
            .recall
            .iter()
            .map(|(_, recall): (_, &Recall)| [1, 5, 10].map(|n| percent(recall.at(n))).join(" / "));
        [value.clone(), group.queries.to_string()].into_iter().chain(cells).collect()
    });
    (heads.collect(), rows.collect())
}

fn first_match(evaluation: &Evaluation) -> Table {
    let heads = strings([
        "ranking",
        "average precision, %",
        "recall at 100 % precision, %",
        "median distance",
        "90 % of queries within",
    ]);
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
    let summary = &evaluation.summary;
    let heads = strings([
        "ranking",
        "extraction, ms per image",
        "search, ms per query",
        "reranking, ms per query",
        "query, ms",
        "bytes per image",
        "R@1",
    ]);
    let cost = &summary.cost;
    let rows = summary.recall.iter().map(|(method, recall)| {
        let rerank = cost.rerank_ms(method);
        vec![
            ranking_name(method).to_string(),
            cost.extraction_ms().map_or("extracted before".into(), |ms| format!("{ms:.2}")),
            format!("{:.3}", cost.search_ms_per_query),
            rerank.map_or("none".into(), |ms| format!("{ms:.1}")),
            format!("{:.1}", cost.query_ms(method)),
            if rerank.is_some() { cost.bytes_per_image } else { cost.global_bytes_per_image }.to_string(),
            percent(recall.at(1)),
        ]
    });
    (heads, rows.collect())
}

/// The protocol, as names and values.
pub(super) fn protocol(p: &Protocol, adaptive: Option<&AdaptiveReranking>) -> Vec<(&'static str, String)> {
    let empty = match p.empty_queries {
        EmptyQueries::Fail => "counted as failures",
        EmptyQueries::Drop => "dropped",
    };
    let mut rows = vec![
        ("dataset", p.dataset.clone()),
        ("queries", format!("{}; {} without a positive, {empty}", p.queries, p.empty_query_count)),
        ("database", format!("{} images; {}", p.database, p.cities)),
        ("positives", p.positives.clone()),
    ];
    if let Some(i) = &p.input {
        let size = i.image_size.parse::<ImageSize>().map_or(i.image_size.clone(), ImageSize::described);
        let input = format!("{size}, {} resize, {}", i.resize, i.precision);
        let of_them = i.cascade.map_or(String::new(), |count| {
            format!(", of which the model scores the {count} that geometry ranks first")
        });
        let reranked = match (i.candidates, adaptive) {
            (0, _) => "nothing".into(),
            (candidates, None) => format!("the first {candidates} candidates of every query{of_them}"),
            (candidates, Some(adaptive)) => format!(
                "the first {candidates} candidates{of_them}, except for {} % of the queries, whose top-1 margin is at least {}",
                percent(adaptive.skipped),
                adaptive.top1_margin
            ),
        };
        let preprocessing = i.query_preprocessing.describe(i.candidates > 0);
        rows.extend([("query preprocessing", preprocessing), ("input", input), ("reranked", reranked)]);
        rows.extend(i.sequences.iter().map(|how| ("sequences", how.clone())));
    }
    rows.extend(p.notes.iter().map(|note| ("note", note.clone())));
    rows
}

/// The environment, as names and values.
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
