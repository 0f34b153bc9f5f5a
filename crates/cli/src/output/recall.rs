//! The summary of an evaluation, as text.

use super::{Out, bytes, escaped};
use anyhow::Result;
use r2former_engine::RerankMethod;
use r2former_eval::{
    EmptyQueries, EvalSummary, MAP_AT, MeanAveragePrecision, PerRanking, Protocol, RECALL_AT, Recall,
    ranking_name,
};

pub(crate) fn print_summary(out: &mut Out, summary: &EvalSummary) -> Result<()> {
    for sentence in summary.sentences() {
        out.line(format_args!("{sentence}"))?;
    }
    out.line(format_args!(""))?;
    print_protocol(out, &summary.protocol)?;
    let candidates = summary.protocol.input.as_ref().map_or(0, |input| input.candidates);
    let recall = |recall: &Recall| RECALL_AT.map(|n| recall.at(n)).to_vec();
    let precision = |mean: &MeanAveragePrecision| MAP_AT.map(|k| mean.at(k)).to_vec();
    heads(out, "recall, %", "R", &RECALL_AT)?;
    table(out, "", &summary.recall, candidates, recall)?;
    for by in &summary.recall_by {
        out.line(format_args!("by {}", escaped(&by.tag)))?;
        for (value, group) in &by.groups {
            let prefix = format!("{} ({}): ", escaped(value), group.queries);
            table(out, &prefix, &group.recall, candidates, recall)?;
        }
    }
    heads(out, "mean average precision, %", "mAP", &MAP_AT)?;
    table(out, "", &summary.mean_average_precision, candidates, precision)?;
    print_confidence(out, summary)?;
    print_windows(out, summary)?;
    out.line(format_args!(""))?;
    let cost = &summary.cost;
    let reranking = [
        ("RANSAC", cost.ransac_ms_per_query),
        ("mutual matches", cost.mutual_ms_per_query),
        ("reranking", cost.rerank_ms_per_query),
    ];
    let reranking: String = reranking
        .iter()
        .filter_map(|(name, ms)| ms.map(|ms| format!(", {name} {ms:.1} ms per query")))
        .collect();
    let rate = cost.images_per_second.map_or("extracted before".into(), |rate| format!("{rate:.1} images/s"));
    out.line(format_args!(
        "cost        {rate}, search {:.2} ms per query{reranking}, {} stored per image",
        cost.search_ms_per_query,
        bytes(cost.bytes_per_image as u64)
    ))?;
    if let Some(adaptive) = &summary.adaptive {
        out.line(format_args!(
            "adaptive    {:.1} % of the queries not reranked: their top-1 margin is at least {}",
            100.0 * adaptive.skipped,
            adaptive.top1_margin
        ))?;
    }
    if !summary.unusable.is_empty() {
        out.line(format_args!("unusable    {} images (listed above)", summary.unusable.len()))?;
    }
    Ok(())
}

/// How good the answers' confidences are, where that was measured.
fn print_confidence(out: &mut Out, summary: &EvalSummary) -> Result<()> {
    // Where nothing was measured, a sentence says why.
    let measured = summary.confidence.as_ref().filter(|found| !found.rankings.is_empty());
    let Some(found) = measured else { return Ok(()) };
    let queries = summary.protocol.queries;
    let unknown = found.unknown_queries;
    out.line(format_args!("\n{:<32}     ECE  area  accepted  precision", "confidence, %"))?;
    for of in &found.rankings {
        let quality = &of.quality;
        let precision = quality.precision.map_or("none".into(), |share| format!("{:.1}", 100.0 * share));
        out.line(format_args!(
            "{:<32}{:>8.1}{:>6.1}{:>10.1}{precision:>11}",
            format!("{} from {}", ranking_name(of.ranking), quality.threshold),
            100.0 * quality.expected_calibration_error,
            100.0 * quality.area_under_risk_coverage,
            100.0 * quality.coverage,
        ))?;
    }
    out.line(format_args!("unknown     {unknown} of {queries} queries, asked without their positives"))?;
    if found.unasked_queries > 0 {
        out.line(format_args!(
            "not asked   {} more: the whole database lies within four radii of where they were taken",
            found.unasked_queries
        ))?;
    }
    for of in &found.rankings {
        let Some(position) = &of.position else { continue };
        let region = position
            .region_holds
            .map_or(String::new(), |share| format!(", {:.1} % in the region of 90 %", 100.0 * share));
        let heading = position
            .heading_median_deg
            .map_or(String::new(), |degrees| format!(", heading within {degrees:.0} degrees"));
        out.line(format_args!(
            "position    {}: {} correct answers, median error {:.1} m by the best match, {:.1} m weighted{heading}{region}",
            ranking_name(of.ranking),
            position.answers,
            position.best_median_m,
            position.weighted_median_m
        ))?;
    }
    Ok(())
}

/// Recall@1 of windows, where that was measured.
fn print_windows(out: &mut Out, summary: &EvalSummary) -> Result<()> {
    let Some(found) = &summary.windows else { return Ok(()) };
    let title = format!("recall@1 with {} frames, %", found.frames);
    out.line(format_args!("\n{title:<32}   alone   fused  of missing"))?;
    for of in &found.rankings {
        let shares = [of.single, of.fused].map(|share| format!("{:>8.1}", 100.0 * share)).concat();
        let name = ranking_name(of.ranking);
        out.line(format_args!("{name:<32}{shares}{:>12.1}", 100.0 * of.of_missing))?;
    }
    Ok(())
}

/// The protocol that the numbers belong to.
pub(super) fn print_protocol(out: &mut Out, p: &Protocol) -> Result<()> {
    let dataset = escaped(&p.dataset);
    out.line(format_args!("dataset     {dataset}: {} queries, {} database images", p.queries, p.database))?;
    out.line(format_args!("positives   {}; {}", p.positives, p.cities))?;
    let empty = match p.empty_queries {
        EmptyQueries::Fail => "counted as failures",
        EmptyQueries::Drop => "dropped",
    };
    out.line(format_args!("no positive {} queries, {empty}", p.empty_query_count))?;
    if let Some(i) = &p.input {
        out.line(format_args!("input       {} ({} resize), {}", i.image_size, i.resize, i.precision))?;
        out.line(format_args!("queries     {}", i.query_preprocessing.describe(i.candidates > 0)))?;
        i.sequences.iter().try_for_each(|how| out.line(format_args!("sequences   {how}")))?;
    }
    p.notes.iter().try_for_each(|note| out.line(format_args!("note        {}", escaped(note))))
}

/// A blank line and the head of a table.
pub(super) fn heads(out: &mut Out, title: &str, measure: &str, at: &[usize]) -> Result<()> {
    let heads: String = at.iter().map(|n| format!("{:>8}", format!("{measure}@{n}"))).collect();
    out.line(format_args!("\n{title:<32}{heads}"))
}

/// A row of shares, in percent.
pub(super) fn row(out: &mut Out, name: &str, shares: &[f64]) -> Result<()> {
    let values: String = shares.iter().map(|share| format!("{:>8.1}", 100.0 * share)).collect();
    out.line(format_args!("{name:<32}{values}"))
}

fn table<T>(
    out: &mut Out,
    prefix: &str,
    rankings: &PerRanking<T>,
    candidates: usize,
    shares: impl Fn(&T) -> Vec<f64>,
) -> Result<()> {
    row(out, &format!("{prefix}global"), &shares(&rankings.global))?;
    for (method, found) in rankings.iter().filter(|(method, _)| *method != RerankMethod::None) {
        row(out, &format!("{prefix}{} {candidates}", ranking_name(method)), &shares(found))?;
    }
    Ok(())
}
