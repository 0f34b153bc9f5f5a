//! Scored predictions and comparisons, as text.

use super::recall::{heads, print_protocol, row};
use super::{Out, escaped};
use anyhow::Result;
use r2former_eval::{Comparison, ScoreSummary, ScoredRun};

pub(crate) fn print_scores(out: &mut Out, summary: &ScoreSummary) -> Result<()> {
    for sentence in summary.sentences() {
        out.line(format_args!("{sentence}"))?;
    }
    out.line(format_args!(""))?;
    print_protocol(out, &summary.protocol)?;
    let runs = &summary.runs;
    let at: Vec<usize> = runs.first().map(|run| run.recall.0.keys().copied().collect()).unwrap_or_default();
    let recall = |run: &ScoredRun| at.iter().map(|n| run.recall.at(*n)).collect::<Vec<f64>>();
    let precision =
        |run: &ScoredRun| at.iter().map(|k| run.mean_average_precision.at(*k)).collect::<Vec<f64>>();
    heads(out, "recall, % (95 % interval)", "R", &at)?;
    for run in runs {
        row(out, &escaped(&run.name), &recall(run))?;
        row(out, "  from", &run.intervals.iter().map(|(_, i)| i.low).collect::<Vec<f64>>())?;
        row(out, "  to", &run.intervals.iter().map(|(_, i)| i.high).collect::<Vec<f64>>())?;
        for by in &run.recall_by {
            out.line(format_args!("  by {}", escaped(&by.tag)))?;
            for (value, group) in &by.groups {
                let shares: Vec<f64> = at.iter().map(|n| group.recall.at(*n)).collect();
                row(out, &format!("  {} ({})", escaped(value), group.queries), &shares)?;
            }
        }
    }
    heads(out, "mean average precision, %", "mAP", &at)?;
    runs.iter().try_for_each(|run| row(out, &escaped(&run.name), &precision(run)))?;
    summary.comparisons.iter().try_for_each(|comparison| {
        out.line(format_args!(""))?;
        print_comparison(out, comparison)
    })
}

/// The names stand above the table as A and B: they are often too long for its columns.
pub(crate) fn print_comparison(out: &mut Out, comparison: &Comparison) -> Result<()> {
    out.line(format_args!("A  {}", escaped(&comparison.first)))?;
    out.line(format_args!("B  {}", escaped(&comparison.second)))?;
    out.line(format_args!("{} queries; recall in %, B minus A with its 95 % interval", comparison.queries))?;
    out.line(format_args!(
        "{:<6}{:>8}{:>8}{:>9}{:>18}{:>16}{:>16}{:>12}",
        "", "A", "B", "B - A", "interval", "only A correct", "only B correct", "McNemar p"
    ))?;
    for at in &comparison.recall {
        let t = &at.test;
        let interval = format!("{:+.1} to {:+.1}", 100.0 * t.difference.low, 100.0 * t.difference.high);
        out.line(format_args!(
            "{:<6}{:>8.1}{:>8.1}{:>+9.1}{interval:>18}{:>16}{:>16}{:>12}",
            format!("R@{}", at.at),
            100.0 * at.first,
            100.0 * at.second,
            100.0 * t.difference.value,
            t.only_first,
            t.only_second,
            t.p_text(),
        ))?;
    }
    Ok(())
}
