//! `r2former eval suite`: models on several datasets at once.

use super::StorageArgs;
use crate::common::{Machine, ensure_writable_folder};
use crate::exit::ExitStatus;
use crate::output::{self, print_json};
use crate::progress::Bar;
use anyhow::Result;
use clap::Args;
use r2former_engine::PrecisionChoice;
use r2former_eval::suite::{SuiteConfig, SuiteOptions, suite};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  r2former eval suite sites.toml --report before
  r2former eval suite sites.toml --model tuned=tuned/best.safetensors --baseline before/suite.json
  r2former eval suite sites.toml --precision int8 --baseline before    (what 8 bits change)")]
pub(crate) struct SuiteArgs {
    /// TOML file: datasets, models and a baseline.
    file: PathBuf,
    /// Add a model under this name, or replace the file of the one that has it; repeatable.
    #[arg(long, value_name = "NAME=FILE", value_parser = parse_model)]
    model: Vec<(String, PathBuf)>,
    /// Compare with a model of an earlier run: its suite.json, or the folder of its report.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// The baseline's model, by its name in the baseline's file, or in this suite if there is none [default: the first].
    #[arg(long, value_name = "NAME")]
    baseline_model: Option<String>,
    /// At most this many queries per dataset, evenly chosen, for a quick look.
    #[arg(long, value_name = "N")]
    max_queries: Option<NonZeroUsize>,
    /// Skip datasets whose files are absent, rather than fail; they are listed, and the exit code is 3.
    #[arg(long)]
    skip_missing: bool,
    /// Arithmetic of all models' products: f32, bf16, int8, or auto: int8 where a model's file says that rankings stay (`r2former
    /// model check`) and this CPU is faster in it, else the model's own.
    #[arg(long, value_name = "PRECISION", default_value_t)]
    precision: PrecisionChoice,
    #[command(flatten)]
    storage: StorageArgs,
    /// Write suite.json (with every query), suite.md and suite.csv into this folder.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print CSV: a row for each ranking of each model on each dataset.
    #[arg(long)]
    csv: bool,
}

fn parse_model(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => Ok((name.into(), file.into())),
        _ => Err(format!("'{text}' is not NAME=FILE, as in tuned=tuned/best.safetensors")),
    }
}

pub(crate) fn run(args: &SuiteArgs, machine: &Machine) -> Result<ExitStatus> {
    let config = config(args)?;
    args.report.as_deref().map(ensure_writable_folder).transpose()?;
    let device = machine.device()?;
    let options = SuiteOptions {
        storage: args.storage.storage(),
        skip_missing: args.skip_missing,
        precision: args.precision,
    };
    let found = suite(&config, &device, &options, &Bar::default())?;
    if let Some(dir) = &args.report {
        // The environment is that of the first model.
        let first = config.model.first().and_then(|model| model.path.as_deref());
        found.write(dir, &super::environment(first, Some(args.precision), machine, &device)?)?;
        eprintln!("report: {}", dir.display());
    }
    match (args.json, args.csv) {
        (true, _) => print_json(&found).map(drop)?,
        (_, true) => output::stdout().line(format_args!("{}", found.csv_table().csv().trim_end()))?,
        _ => output::stdout().line(format_args!("{}", found.markdown().trim_end()))?,
    }
    // Listed again where they are seen last.
    for skipped in &found.skipped {
        eprintln!("SKIPPED dataset {}: {}", skipped.name, skipped.reason);
    }
    Ok(if found.is_whole() { ExitStatus::Done } else { ExitStatus::Partial })
}

/// The file's configuration, with the changes of the command line.
fn config(args: &SuiteArgs) -> Result<SuiteConfig> {
    let mut config = SuiteConfig::read(&args.file)?;
    for (name, file) in &args.model {
        config.set_model(name, file);
    }
    if let Some(most) = args.max_queries {
        config.cap_queries(most.get());
    }
    if args.baseline.is_some() || args.baseline_model.is_some() {
        let mut baseline = config.baseline.take().unwrap_or_default();
        if let Some(path) = &args.baseline {
            baseline.file = Some(suite_json(path));
            baseline.model = None;
        }
        baseline.model = args.baseline_model.clone().or(baseline.model);
        config.baseline = Some(baseline);
    }
    Ok(config)
}

fn suite_json(path: &Path) -> PathBuf {
    if path.is_dir() { path.join("suite.json") } else { path.to_path_buf() }
}
