//! The cost of a query as tables, a plot and files.

use super::{GROWTH_BATCH, Growth, Stages};
use crate::pictures::{Series, plot};
use crate::report::{put, put_json};
use crate::table::Table;
use crate::{Facts, Result, order_name};
use serde::Serialize;
use std::path::Path;

/// Everything that was measured in one run, and where.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CostReport {
    /// Machine, program, model.
    pub facts: Facts,
    /// The stages of a query (the paper's table 3).
    pub stages: Stages,
    /// Exact search by size of the database.
    pub growth: Vec<Growth>,
}

impl CostReport {
    /// Both tables in Markdown, with what they mean.
    pub fn markdown(&self) -> String {
        let (s, facts) = (&self.stages, &self.facts);
        let mut text = format!(
            "Milliseconds, medians of one at a time: {} photographs, {} candidates, a database of {} made-up images; \
             decoding {:.2} ms. {}, {} threads, {}, model {}.\n\n{}",
            s.photographs,
            s.candidates,
            s.database,
            s.decode_ms.median,
            facts.cpu,
            facts.threads,
            facts.device,
            facts.model.name,
            stages_table(s).markdown()
        );
        for note in &s.notes {
            text += &format!("\n{note}\n");
        }
        if !self.growth.is_empty() {
            text += &format!(
                "\nExact search by size of the database (made-up descriptors): alone on one thread, or {GROWTH_BATCH} \
                 queries together on all.\n\n{}",
                growth_table(&self.growth).markdown()
            );
        }
        text
    }

    /// Writes `cost.json`, `cost.md` and `growth.svg` into a folder, which is made where there is none.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn write(&self, dir: &Path) -> Result<()> {
        put_json(dir, "cost.json", self)?;
        put(&dir.join("cost.md"), self.markdown().as_bytes())?;
        if self.growth.is_empty() {
            return Ok(());
        }
        put(&dir.join("growth.svg"), growth_plot(&self.growth).as_bytes())
    }
}

fn stages_table(stages: &Stages) -> Table {
    let mut table = Table::new([
        "order",
        "local features",
        "extraction, ms",
        "retrieval, ms",
        "reranking, ms",
        "a query, ms",
        "bytes an image",
        "database, GB",
    ]);
    for row in &stages.rows {
        table.rows.push(vec![
            order_name(row.rerank).to_string(),
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

fn growth_table(growth: &[Growth]) -> Table {
    let mut table = Table::new([
        "images",
        "alone, ms a query",
        "together, ms a query",
        "descriptors in memory, MB",
        "stored with local features, GB",
    ]);
    for row in growth {
        table.rows.push(vec![
            row.images.to_string(),
            format!("{:.3}", row.alone_ms.median),
            format!("{:.3}", row.together_ms.median),
            format!("{:.1}", row.descriptor_bytes as f64 / 1e6),
            format!("{:.2}", row.stored_bytes as f64 / 1e9),
        ]);
    }
    table
}

fn growth_plot(growth: &[Growth]) -> String {
    let line = |name: &str, of: fn(&Growth) -> f64| Series {
        name: name.into(),
        points: growth.iter().map(|g| [g.images as f64, of(g)]).collect(),
    };
    let together = format!("{GROWTH_BATCH} queries together, all threads");
    let lines = [
        line("one query alone, one thread", |g| g.alone_ms.median),
        line(&together, |g| g.together_ms.median),
    ];
    plot("Exact search", ["images of the database", "milliseconds a query"], &lines, false, true)
}
