//! `r2former model average`: weights between those of two models.

use super::{Weights, describe, print_description, write};
use crate::common::{bounded, ensure_model_output};
use crate::exit::ExitStatus;
use crate::output::{self, print_json};
use anyhow::{Context, Result};
use clap::Args;
use r2former_model::{Averaged, average, load};
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  r2former model average start.safetensors tuned.safetensors between.safetensors --only backbone")]
pub(crate) struct AverageArgs {
    /// The first model file: configuration, and tensors that are not averaged.
    #[arg(value_name = "A")]
    first: PathBuf,
    /// The second model file.
    #[arg(value_name = "B")]
    second: PathBuf,
    /// Model file to write (.safetensors).
    output: PathBuf,
    /// Share of B, 0 to 1: (1 - W) * A + W * B for every tensor.
    #[arg(long, default_value_t = 0.5, value_name = "W", allow_negative_numbers = true, value_parser = parse_weight)]
    weight: f64,
    /// Average only tensors whose names start with this: backbone, head, local_head, reranker or longer, as in
    /// backbone.blocks.11; repeat it for several. The others are A's [default: all tensors].
    #[arg(long, value_name = "PREFIX")]
    only: Vec<String>,
    /// Name of the model [default: A's].
    #[arg(long)]
    name: Option<String>,
    /// Store weights as 16-bit floats: half the file size.
    #[arg(long)]
    half: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn parse_weight(text: &str) -> Result<f64, String> {
    bounded(text, "a weight", 0.0..=1.0)
}

pub(super) fn run(args: &AverageArgs) -> Result<ExitStatus> {
    ensure_model_output(&args.output)?;
    let (first, second) = (load(&args.first)?, load(&args.second)?);
    let found = average(&first, &second, args.weight, &args.only)
        .with_context(|| format!("{} and {}", args.first.display(), args.second.display()))?;
    let Averaged { mut config, tensors, averaged, only_first, only_second, notes } = found;
    if let Some(name) = &args.name {
        config.name.clone_from(name);
    }
    write(&args.output, &config, &tensors, args.half)?;
    let weights = Weights::written(&tensors, args.half);
    if args.json {
        return print_json(&json!({
            "model": describe(&config, weights, None), "averaged": averaged, "only_first": only_first,
            "only_second": only_second, "notes": notes,
        }));
    }
    let mut out = output::stdout();
    out.line(format_args!("wrote {}", args.output.display()))?;
    print_description(&mut out, &config, weights, None)?;
    out.line(format_args!("averaged     {averaged} of {} tensors, weight {}", tensors.len(), args.weight))?;
    for note in &notes {
        out.line(format_args!("note: {note}"))?;
    }
    for (names, what) in [(only_first, "only A has, taken from it"), (only_second, "only B has, not used")] {
        if !names.is_empty() {
            out.line(format_args!("tensors that {what}: {}", names.join(", ")))?;
        }
    }
    Ok(ExitStatus::Done)
}
