//! Cost as tables, a plot and files.

use super::{SCALING_BATCH, SearchScaling, Stages};
use crate::output::{write_json, write_output};
use crate::pictures::{Series, plot};
use crate::table::Table;
use crate::{Environment, Result, ranking_name};
use serde::Serialize;
use std::path::Path;

/// Everything measured in one run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CostReport {
    /// Program, machine and model.
    pub environment: Environment,
    /// Stages of a query (table 3 of the paper).
    pub stages: Stages,
    /// Exact search by database size.
    pub search_scaling: Vec<SearchScaling>,
}

impl CostReport {
    /// Both tables as Markdown, with their legends.
    pub fn markdown(&self) -> String {
        let (s, environment) = (&self.stages, &self.environment);
        let mut text = format!(
            "Median milliseconds, one photograph or query at a time: {} photographs, {} candidates, a database of {} \
             synthetic images; decoding {:.2} ms. {}, {} threads, {}, model {}.\n\n{}",
            s.photographs,
            s.candidates,
            s.database,
            s.decode_ms.median,
            environment.cpu,
            environment.threads,
            environment.device,
            environment.model.name,
            stages_table(s).markdown()
        );
        for note in &s.notes {
            text += &format!("\n{note}\n");
        }
        if !self.search_scaling.is_empty() {
            text += &format!(
                "\nExact search by database size (synthetic descriptors): a single query on one thread, and \
                 {SCALING_BATCH} queries in a batch on all threads.\n\n{}",
                search_scaling_table(&self.search_scaling).markdown()
            );
        }
        text
    }

    /// Writes `cost.json`, `cost.md` and `growth.svg` into a folder, which is created if it does not exist.
    ///
    /// # Errors
    /// [`EvalError::File`](crate::EvalError::File): the folder cannot be written.
    pub fn write(&self, dir: &Path) -> Result<()> {
        write_json(dir, "cost.json", self)?;
        write_output(&dir.join("cost.md"), self.markdown().as_bytes())?;
        if self.search_scaling.is_empty() {
            return Ok(());
        }
        write_output(&dir.join("growth.svg"), search_scaling_plot(&self.search_scaling).as_bytes())
    }
}

fn stages_table(stages: &Stages) -> Table {
    let mut table = Table::new([
        "ranking",
        "local features",
        "extraction, ms",
        "retrieval, ms",
        "reranking, ms",
        "query, ms",
        "bytes per image",
        "database, GB",
    ]);
    for row in &stages.rows {
        table.rows.push(vec![
            ranking_name(row.rerank).to_string(),
            row.local_features.to_string(),
            format!("{:.2}", row.extraction_ms.median),
            format!("{:.3}", row.retrieval_ms.median),
            row.reranking_ms.map_or("0".into(), |times| format!("{:.2}", times.median)),
            format!("{:.2}", row.query_ms),
            row.bytes_per_image.to_string(),
            format!("{:.3}", row.database_bytes as f64 / 1e9),
        ]);
    }
    table
}

fn search_scaling_table(search_scaling: &[SearchScaling]) -> Table {
    let mut table = Table::new([
        "images",
        "single query, ms",
        "in a batch, ms per query",
        "descriptors in memory, MB",
        "stored with local features, GB",
    ]);
    for row in search_scaling {
        table.rows.push(vec![
            row.images.to_string(),
            format!("{:.3}", row.single_ms.median),
            format!("{:.3}", row.batched_ms.median),
            format!("{:.1}", row.descriptor_bytes as f64 / 1e6),
            format!("{:.2}", row.stored_bytes as f64 / 1e9),
        ]);
    }
    table
}

fn search_scaling_plot(search_scaling: &[SearchScaling]) -> String {
    let line = |name: &str, of: fn(&SearchScaling) -> f64| Series {
        name: name.into(),
        points: search_scaling.iter().map(|row| [row.images as f64, of(row)]).collect(),
    };
    let batch = format!("batch of {SCALING_BATCH} queries, all threads");
    let lines = [
        line("single query, one thread", |row| row.single_ms.median),
        line(&batch, |row| row.batched_ms.median),
    ];
    plot("Exact search", ["database images", "ms per query"], &lines, false, true)
}
