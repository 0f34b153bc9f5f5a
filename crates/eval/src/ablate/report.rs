//! An ablation as one table, a plot of recall over cost, and files.

use super::results::{Ablation, AblationRow};
use crate::output::{write_json, write_output};
use crate::pictures::{Series, plot};
use crate::table::Table;
use crate::{Environment, Result};
use serde::Serialize;
use std::path::Path;

/// `ablation.json`.
#[derive(Serialize)]
struct Results<'a> {
    environment: &'a Environment,
    #[serde(flatten)]
    ablation: &'a Ablation,
}

impl Ablation {
    /// The table of all datasets and pools.
    pub fn table(&self) -> Table {
        let mut table = Table::new([
            "dataset",
            "model",
            "change",
            "value",
            "R@1",
            "R@5",
            "R@10",
            "R@1 against baseline",
            "p",
            "reranked, %",
            "search, ms",
            "reranking, ms",
            "bytes per image",
        ]);
        table.rows = self.tables().flat_map(|(name, rows)| rows.iter().map(|row| cells(name, row))).collect();
        table
    }

    /// The rows of each dataset and each pool, with its name.
    fn tables(&self) -> impl Iterator<Item = (&str, &[AblationRow])> {
        let single = self.datasets.iter().map(|dataset| (dataset.name.as_str(), dataset.rows.as_slice()));
        single.chain(self.pooled.iter().map(|pool| (pool.name.as_str(), pool.rows.as_slice())))
    }

    /// The table as Markdown, with its legend.
    pub fn markdown(&self) -> String {
        let mut text = self.table().markdown();
        text += "\nRecall in percent with 95 % bootstrap intervals; difference from the baseline on the same queries in \
                 percentage points, with the p-value of McNemar's exact test. Search and reranking in milliseconds per \
                 query.\n";
        for dataset in &self.datasets {
            let p = &dataset.protocol;
            let candidates = self.config.candidates;
            text += &format!(
                "\n{}: {} queries, {} database images, positives {}, {} without a positive, {}, {} candidates.\n",
                dataset.name, p.queries, p.database, p.positives, p.empty_query_count, p.cities, candidates
            );
        }
        for pool in &self.pooled {
            text += &format!(
                "\n{}: the pooled {} queries of {}.\n",
                pool.name,
                pool.queries,
                pool.parts.join(", ")
            );
        }
        for note in &self.notes {
            text += &format!("\n{note}\n");
        }
        text
    }

    /// Writes `ablation.json`, `ablation.md`, `ablation.csv` and a plot per dataset and pool (`cost-1.svg`, ...) into a
    /// folder, which is created if it does not exist.
    ///
    /// # Errors
    /// [`EvalError::File`](crate::EvalError::File): the folder cannot be written.
    pub fn write(&self, dir: &Path, environment: &Environment) -> Result<()> {
        write_json(dir, "ablation.json", &Results { environment, ablation: self })?;
        write_output(&dir.join("ablation.md"), self.markdown().as_bytes())?;
        write_output(&dir.join("ablation.csv"), self.table().csv().as_bytes())?;
        for (i, (name, rows)) in self.tables().enumerate() {
            write_output(&dir.join(format!("cost-{}.svg", i + 1)), cost_plot(name, rows).as_bytes())?;
        }
        Ok(())
    }
}

fn cells(dataset: &str, row: &AblationRow) -> Vec<String> {
    let percent = |share: f64| format!("{:.1}", 100.0 * share);
    let mut cells =
        vec![dataset.to_string(), row.model.clone(), row.axis.replace('_', " "), row.value.clone()];
    cells.extend(row.recall.iter().map(|(_, interval)| {
        format!("{} ({} to {})", percent(interval.value), percent(interval.low), percent(interval.high))
    }));
    let (difference, p) = match &row.difference {
        Some(test) => (format!("{:+.1}", 100.0 * test.difference.value), test.p_text()),
        None => (String::new(), String::new()),
    };
    let reranked = row.rerank_ms.map_or(0.0, |_| 1.0 - row.skipped.unwrap_or(0.0));
    cells.extend([
        difference,
        p,
        percent(reranked),
        format!("{:.3}", row.search_ms),
        format!("{:.2}", row.rerank_ms.unwrap_or(0.0)),
        row.bytes_per_image.to_string(),
    ]);
    cells
}

/// Recall@1 over the cost of search and reranking: a line per axis through the baseline, a point per further model, and
/// the Pareto front of combinations.
fn cost_plot(name: &str, rows: &[AblationRow]) -> String {
    let point = |row: &AblationRow| [row.ranking_ms(), row.recall[0].1.value];
    let mut lines: Vec<Series> = Vec::new();
    for row in rows {
        if row.axis == "model" {
            lines.push(Series { name: row.model.clone(), points: vec![point(row)] });
            continue;
        }
        let axis = row.axis.replace('_', " ");
        match lines.iter_mut().find(|line| line.name == axis) {
            Some(line) => line.points.push(point(row)),
            None => {
                let baseline = rows.first().filter(|first| first.axis != row.axis).map(point);
                lines.push(Series { name: axis, points: baseline.into_iter().chain([point(row)]).collect() });
            }
        }
    }
    for line in &mut lines {
        line.points.sort_by(|a, b| a[0].total_cmp(&b[0]));
        if line.name == "combination" {
            line.name = "best combinations".into();
            line.points = pareto_front(&line.points);
        }
    }
    plot(name, ["search and reranking, ms per query", "recall@1"], &lines, true, true)
}

/// The points that are higher than all cheaper ones.
fn pareto_front(points: &[[f64; 2]]) -> Vec<[f64; 2]> {
    let mut highest = f64::NEG_INFINITY;
    let higher = points.iter().copied().filter(|[_, y]| {
        let better = *y > highest;
        highest = highest.max(*y);
        better
    });
    higher.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pareto_front_has_no_dominated_point() {
        let points = [[1.0, 0.5], [2.0, 0.4], [3.0, 0.5], [4.0, 0.7], [5.0, 0.6]];
        assert_eq!(pareto_front(&points), [[1.0, 0.5], [4.0, 0.7]]);
        assert!(pareto_front(&[]).is_empty());
    }
}
