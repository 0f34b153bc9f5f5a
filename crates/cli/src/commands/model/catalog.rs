//! `r2former model catalog`: published models.

use crate::exit::ExitStatus;
use crate::output::{self, print_json};
use anyhow::Result;
use clap::Args;
use r2former_model::catalog::{CATALOG, Published};
use serde_json::json;

#[derive(Debug, Args)]
pub(crate) struct CatalogArgs {
    /// Only models whose name or backbone contains this, in upper or lower case.
    filter: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &CatalogArgs) -> Result<ExitStatus> {
    let wanted = args.filter.as_deref().unwrap_or_default().to_lowercase();
    let matches = |text: &str| text.to_lowercase().contains(&wanted);
    let rows: Vec<&Published> =
        CATALOG.iter().filter(|row| matches(row.name) || matches(row.backbone)).collect();
    if args.json {
        return print_json(&json!({ "models": rows }));
    }
    let mut out = output::stdout();
    for row in rows {
        let lengths: Vec<String> = row.descriptors.iter().map(ToString::to_string).collect();
        let parameters =
            row.parameters_millions.map_or_else(String::new, |count| format!(", {count} M parameters"));
        let memory =
            row.weight_megabytes().map_or_else(String::new, |megabytes| format!(" ({megabytes:.0} MB)"));
        out.line(format_args!("{} ({})", row.name, row.backbone))?;
        out.line(format_args!("  descriptor   {} dimensions{parameters}{memory}", lengths.join(", ")))?;
        let time = row
            .milliseconds
            .map_or_else(String::new, |time| format!("; {time:.0} ms per image on 2 cores (Xeon, AVX-512)"));
        out.line(format_args!("  image size   {}{time}", row.image_size))?;
        let paper = if row.paper.is_empty() { String::new() } else { format!("{}; ", row.paper) };
        out.line(format_args!("  code         {paper}{}", row.code))?;
        if !row.recall.is_empty() {
            let each: Vec<String> =
                row.recall.iter().map(|of| format!("{} {}", of.dataset, of.recall_at_1)).collect();
            out.line(format_args!("  recall@1     {}, as {} says", each.join("; "), row.recall_source))?;
        }
        let file = if row.file.is_empty() { "" } else { ": " };
        out.line(format_args!("  file         {}{file}{}", row.source, row.file))?;
        out.line(format_args!("  licence      code {}; weights {}", row.code_license, row.weights_license))?;
        let note = if row.note.is_empty() { String::new() } else { format!(": {}", row.note) };
        out.line(format_args!("  import       {}{note}", if row.importable { "yes" } else { "no" }))?;
    }
    Ok(ExitStatus::Done)
}
