//! A suite as one table, and as files.

use super::results::{Overall, RankingResults, SetResults, Suite, Worst};
use crate::metrics::Interval;
use crate::output::{write_json, write_output};
use crate::table::Table;
use crate::{Environment, Result, ranking_name};
use r2former_engine::RerankMethod;
use serde::Serialize;
use std::path::Path;

/// Cells of a ranking that a model does not have.
const NONE: &str = "-";

/// The rankings of a model, in the order of the columns.
const RANKINGS: [RerankMethod; 4] =
    [RerankMethod::None, RerankMethod::Ransac, RerankMethod::Mutual, RerankMethod::Model];

/// `suite.json`.
#[derive(Serialize)]
struct Results<'a> {
    environment: &'a Environment,
    #[serde(flatten)]
    suite: &'a Suite,
}

impl Suite {
    /// The table: a row for each set, one for the mean and one for the worst; recall@1 of each ranking of each model, and
    /// its difference from the baseline.
    pub fn table(&self) -> Table {
        let mut columns = Vec::new();
        let mut heads = vec!["dataset".to_string(), "queries".to_string()];
        for model in &self.models {
            for method in RANKINGS {
                // Few ask for mutual matches: no column of dashes for the others.
                if method == RerankMethod::Mutual && self.overall(&model.name, method).is_none() {
                    continue;
                }
                let head = format!("{} {}", model.name, ranking_name(method));
                heads.push(head.clone());
                columns.push((model.name.as_str(), method, false));
                if self.overall(&model.name, method).is_some_and(|o| o.mean_difference.is_some()) {
                    heads.push(format!("{head}, change"));
                    columns.push((model.name.as_str(), method, true));
                }
            }
        }
        let row = |name: &str, queries: String, cell: &dyn Fn(&str, RerankMethod, bool) -> Option<String>| {
            let cells = columns
                .iter()
                .map(|(model, method, change)| cell(model, *method, *change).unwrap_or(NONE.into()));
            [name.to_string(), queries].into_iter().chain(cells).collect::<Vec<_>>()
        };
        let mut rows: Vec<Vec<String>> = Vec::new();
        for set in &self.sets {
            rows.push(row(&set.name, set.queries.len().to_string(), &|model, method, change| {
                let found = ranking(set, model, method)?;
                if !change {
                    return Some(with_interval(&found.recall[0].1));
                }
                let test = &found.difference.as_ref()?.test;
                Some(format!("{:+.1} (p {})", 100.0 * test.difference.value, test.p_text()))
            }));
        }
        let all: usize = self.sets.iter().map(|set| set.queries.len()).sum();
        rows.push(row("mean of all sets", all.to_string(), &|model, method, change| {
            let found = self.overall(model, method)?;
            match change {
                false => Some(with_interval(&found.mean[0].1)),
                true => found.mean_difference.as_ref().map(|difference| {
                    let [value, low, high] =
                        [difference.value, difference.low, difference.high].map(|share| 100.0 * share);
                    format!("{value:+.1} ({low:+.1} to {high:+.1})")
                }),
            }
        }));
        rows.push(row("worst", String::new(), &|model, method, change| {
            let found = self.overall(model, method)?;
            match change {
                false => Some(format!("{} ({})", percent(found.worst.value), found.worst.set)),
                true => {
                    found.worst_difference.as_ref().map(|w| format!("{:+.1} ({})", 100.0 * w.value, w.set))
                }
            }
        }));
        Table { heads, rows }
    }

    fn overall(&self, model: &str, method: RerankMethod) -> Option<&Overall> {
        self.overall.iter().find(|overall| overall.model == model && overall.rerank == method)
    }

    /// One row for each ranking of each model on each set, then for mean and worst; all values in columns of their own.
    pub fn csv_table(&self) -> Table {
        let mut heads = ["dataset", "queries", "model", "ranking"].map(str::to_string).to_vec();
        for n in ["R@1", "R@5", "R@10", "R@1 change"] {
            heads.extend(["", " low", " high"].map(|which| format!("{n}{which}")));
        }
        heads.extend(
            ["p", "compared queries", "worst set", "worst change set", "precision"].map(str::to_string),
        );
        let mut table = Table { heads, rows: Vec::new() };
        for set in &self.sets {
            for found in &set.rankings {
                let mut cells =
                    first_cells(&set.name, set.queries.len().to_string(), &found.model, found.rerank);
                cells.extend(found.recall.iter().flat_map(|(_, interval)| three(interval)));
                match &found.difference {
                    Some(change) => {
                        cells.extend(three(&change.test.difference));
                        cells.extend([format!("{:.6}", change.test.p), change.queries.to_string()]);
                    }
                    None => cells.extend(empty(5)),
                }
                cells.extend(empty(2));
                table.rows.push(cells);
            }
        }
        let all: usize = self.sets.iter().map(|set| set.queries.len()).sum();
        for found in &self.overall {
            let mut cells = first_cells("mean of all sets", all.to_string(), &found.model, found.rerank);
            cells.extend(found.mean.iter().flat_map(|(_, interval)| three(interval)));
            cells.extend(found.mean_difference.as_ref().map_or_else(|| empty(3), three));
            cells.extend(empty(4));
            table.rows.push(cells);
        }
        for found in &self.overall {
            let value = |worst: Option<&Worst>| {
                worst.map_or_else(String::new, |worst| format!("{:.2}", 100.0 * worst.value))
            };
            let set = |worst: Option<&Worst>| worst.map_or_else(String::new, |worst| worst.set.clone());
            let change = found.worst_difference.as_ref();
            let mut cells = first_cells("worst", String::new(), &found.model, found.rerank);
            cells.push(value(Some(&found.worst)));
            cells.extend(empty(8));
            cells.push(value(change));
            cells.extend(empty(4));
            cells.extend([set(Some(&found.worst)), set(change)]);
            table.rows.push(cells);
        }
        for row in &mut table.rows {
            let model = self.models.iter().find(|model| model.name == row[MODEL]);
            row.extend(model.map(|model| model.precision.to_string()));
        }
        table
    }

    /// The table as Markdown, with its legend.
    pub fn markdown(&self) -> String {
        let mut text = self.table().markdown();
        text += "\nRecall@1 in percent with 95 % bootstrap intervals. The mean counts every set the same; the worst is the \
                 lowest of all sets.\n";
        let precisions: Vec<String> =
            self.models.iter().map(|model| format!("{} in {}", model.name, model.precision)).collect();
        text += &format!("\nArithmetic of the products: {}.\n", precisions.join(", "));
        if let Some(origin) = &self.baseline {
            let file =
                origin.file.as_ref().map_or_else(String::new, |file| format!(" of {}", file.display()));
            text += &format!(
                "\nChange: recall@1 minus that of the baseline, model {}{file}, by the same ranking on the same queries, \
                 in percentage points, with the p-value of McNemar's exact test; the worst is the largest loss.\n",
                origin.model
            );
        }
        for set in &self.sets {
            for part in &set.parts {
                let (p, candidates) = (&part.protocol, self.config.candidates);
                text += &format!(
                    "\n{}: {} queries, {} database images, positives {}, {} without a positive, {}, {candidates} \
                     candidates.\n",
                    part.name, p.queries, p.database, p.positives, p.empty_query_count, p.cities
                );
                let lost = part.left_out + part.unusable.len();
                if lost > 0 {
                    text += &format!("\n{}: {lost} images could not be used.\n", part.name);
                }
            }
            if set.parts.len() > 1 {
                let names: Vec<&str> = set.parts.iter().map(|part| part.name.as_str()).collect();
                text += &format!(
                    "\n{}: the pooled {} queries of {}.\n",
                    set.name,
                    set.queries.len(),
                    names.join(", ")
                );
            }
        }
        for skipped in &self.skipped {
            text += &format!("\nSKIPPED: {}, whose files are absent ({}).\n", skipped.name, skipped.reason);
        }
        for note in &self.notes {
            text += &format!("\n{note}\n");
        }
        text
    }

    /// Writes `suite.json`, `suite.md` and `suite.csv` into a folder, which is created if it does not exist.
    ///
    /// # Errors
    /// [`EvalError::File`](crate::EvalError::File): the folder cannot be written.
    pub fn write(&self, dir: &Path, environment: &Environment) -> Result<()> {
        write_json(dir, "suite.json", &Results { environment, suite: self })?;
        write_output(&dir.join("suite.md"), self.markdown().as_bytes())?;
        write_output(&dir.join("suite.csv"), self.csv_table().csv().as_bytes())
    }
}

fn ranking<'a>(set: &'a SetResults, model: &str, method: RerankMethod) -> Option<&'a RankingResults> {
    set.rankings.iter().find(|ranking| ranking.model == model && ranking.rerank == method)
}

fn percent(share: f64) -> String {
    format!("{:.1}", 100.0 * share)
}

fn with_interval(of: &Interval) -> String {
    format!("{} ({} to {})", percent(of.value), percent(of.low), percent(of.high))
}

/// The column of a model's name in the CSV table.
const MODEL: usize = 2;

fn first_cells(set: &str, queries: String, model: &str, method: RerankMethod) -> Vec<String> {
    vec![set.to_string(), queries, model.to_string(), ranking_name(method).to_string()]
}

/// Value and interval in percent.
fn three(of: &Interval) -> Vec<String> {
    [of.value, of.low, of.high].map(|share| format!("{:.2}", 100.0 * share)).to_vec()
}

fn empty(count: usize) -> Vec<String> {
    vec![String::new(); count]
}
