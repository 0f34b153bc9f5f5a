//! Scored predictions, and runs against each other, as tables.

use super::Out;
use super::recall::{heads, print_protocol, row};
use anyhow::Result;
use r2former_eval::{Differences, ScoredRun, ScoresSummary};

pub(crate) fn print_scores(out: &mut Out, report: &ScoresSummary) -> Result<()> {
    print_protocol(out, &report.protocol)?;
    let runs = &report.runs;
    let at: Vec<usize> = runs.first().map(|run| run.recall.0.keys().copied().collect()).unwrap_or_default();
    let recall = |run: &ScoredRun| at.iter().map(|n| run.recall.at(*n)).collect::<Vec<f64>>();
    let precision = |run: &ScoredRun| at.iter().map(|k| run.mean_average_precision.at(*k)).collect::<Vec<f64>>();
    heads(out, "recall, %", "R", &at)?;
    for run in runs {
        row(out, &run.name, &recall(run))?;
        row(out, "  95 % from", &run.intervals.iter().map(|(_, i)| i.low).collect::<Vec<f64>>())?;
        row(out, "  to", &run.intervals.iter().map(|(_, i)| i.high).collect::<Vec<f64>>())?;
        for by in &run.recall_by {
            out.line(format_args!("  by {}", by.tag))?;
            for (value, group) in &by.groups {
                let shares: Vec<f64> = at.iter().map(|n| group.recall.at(*n)).collect();
                row(out, &format!("  {value} ({})", group.queries), &shares)?;
            }
        }
    }
    heads(out, "mean average precision, %", "mAP", &at)?;
    runs.iter().try_for_each(|run| row(out, &run.name, &precision(run)))?;
    report.comparisons.iter().try_for_each(|differences| {
        out.line(format_args!(""))?;
        print_differences(out, differences)
    })
}

pub(crate) fn print_differences(out: &mut Out, differences: &Differences) -> Result<()> {
    out.line(format_args!(
        "{} against {}, {} queries",
        differences.second, differences.first, differences.queries
    ))?;
    out.line(format_args!(
        "{:<6}{:>8}{:>8}{:>12}{:>20}{:>12}{:>13}{:>10}",
        "%", "first", "second", "difference", "95 % interval", "only first", "only second", "McNemar p"
    ))?;
    for at in &differences.recall {
        let t = &at.test;
        let interval = format!("{:+.1} to {:+.1}", 100.0 * t.difference.low, 100.0 * t.difference.high);
        let p = t.p_text();
        out.line(format_args!(
            "{:<6}{:>8.1}{:>8.1}{:>+12.1}{interval:>20}{:>12}{:>13}{p:>10}",
            format!("R@{}", at.at),
            100.0 * at.first,
            100.0 * at.second,
            100.0 * t.difference.value,
            t.only_first,
            t.only_second,
        ))?;
    }
    Ok(())
}
