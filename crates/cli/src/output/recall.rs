//! An evaluation as a table.

use super::{Out, bytes};
use anyhow::Result;
use r2former_eval::{EvalReport, RECALL_AT, Recall, Stage};

pub(crate) fn print_report(out: &mut Out, report: &EvalReport) -> Result<()> {
    let p = &report.protocol;
    out.line(format_args!(
        "dataset     {}: {} queries, {} database images",
        p.dataset, p.queries, p.database
    ))?;
    out.line(format_args!("positives   {}; {}", p.positives, p.cities))?;
    let empty = match p.empty_queries {
        r2former_eval::EmptyQueries::Fail => "counted as failures",
        r2former_eval::EmptyQueries::Drop => "left out",
    };
    out.line(format_args!("no positive {} queries, {empty}", p.empty_query_count))?;
    out.line(format_args!("input       {} ({} resize), {}", p.image_size, p.resize, p.precision))?;
    out.line(format_args!("queries as  {}", p.queries_as.describe(p.candidates > 0)))?;
    for note in &p.notes {
        out.line(format_args!("note        {note}"))?;
    }
    out.line(format_args!(""))?;
    let heads: String = RECALL_AT.iter().map(|n| format!("{:>8}", format!("R@{n}"))).collect();
    out.line(format_args!("{:<32}{heads}", "recall, %"))?;
    table(out, "", &report.recall, p.candidates)?;
    for by in &report.recall_by {
        out.line(format_args!("by {}", by.tag))?;
        for (value, group) in &by.groups {
            table(out, &format!("{value} ({}): ", group.queries), &group.recall, p.candidates)?;
        }
    }
    out.line(format_args!(""))?;
    let cost = &report.cost;
    let reranking = [("RANSAC", cost.ransac_ms_per_query), ("reranking", cost.rerank_ms_per_query)];
    let reranking: String = reranking
        .iter()
        .filter_map(|(name, ms)| ms.map(|ms| format!(", {name} {ms:.1} ms a query")))
        .collect();
    let rate = cost.images_per_second.map_or("extracted before".into(), |rate| format!("{rate:.1} images/s"));
    out.line(format_args!(
        "cost        {rate}, search {:.2} ms a query{reranking}, {} stored an image",
        cost.search_ms_per_query,
        bytes(cost.bytes_per_image as u64)
    ))?;
    if let Some(adaptive) = &report.adaptive {
        out.line(format_args!(
            "adaptive    {:.1} % of the queries keep their global order: their margin is at least {}",
            100.0 * adaptive.skipped,
            adaptive.margin
        ))?;
    }
    if !report.unusable.is_empty() {
        out.line(format_args!("unusable    {} images (named above)", report.unusable.len()))?;
    }
    Ok(())
}

fn table(out: &mut Out, prefix: &str, stage: &Stage, candidates: usize) -> Result<()> {
    row(out, &format!("{prefix}global"), &stage.global)?;
    if let Some(ransac) = &stage.ransac {
        row(out, &format!("{prefix}RANSAC {candidates}"), ransac)?;
    }
    if let Some(reranked) = &stage.reranked {
        row(out, &format!("{prefix}reranked {candidates}"), reranked)?;
    }
    Ok(())
}

fn row(out: &mut Out, name: &str, recall: &Recall) -> Result<()> {
    let values: String = RECALL_AT.iter().map(|n| format!("{:>8.1}", 100.0 * recall.at(*n))).collect();
    out.line(format_args!("{name:<32}{values}"))
}
