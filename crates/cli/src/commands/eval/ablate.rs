//! `r2former eval ablate`: the effect of each choice made at evaluation time.

use super::StorageArgs;
use crate::common::{Machine, ensure_writable_folder};
use crate::exit::ExitStatus;
use crate::output::{self, print_json};
use crate::progress::Bar;
use anyhow::Result;
use clap::Args;
use r2former_eval::ablate::{AblationConfig, ablate};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct AblateArgs {
    /// TOML file: datasets, models, a baseline and changes of it.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    storage: StorageArgs,
    /// Write ablation.json, ablation.md, ablation.csv and plots of recall over cost into this folder.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print CSV.
    #[arg(long)]
    csv: bool,
}

pub(crate) fn run(args: &AblateArgs, machine: &Machine) -> Result<ExitStatus> {
    let config = AblationConfig::read(&args.config)?;
    args.report.as_deref().map(ensure_writable_folder).transpose()?;
    let device = machine.device()?;
    let storage = args.storage.storage();
    let found = ablate(&config, &device, &storage, &Bar::default())?;
    if let Some(dir) = &args.report {
        // The environment is that of the baseline's model.
        let first = config.model.first().and_then(|model| model.path.as_deref());
        found.write(dir, &super::environment(first, None, machine, &device)?)?;
        eprintln!("report: {}", dir.display());
    }
    match (args.json, args.csv) {
        (true, _) => print_json(&found).map(drop)?,
        (_, true) => output::stdout().line(format_args!("{}", found.table().csv().trim_end()))?,
        _ => output::stdout().line(format_args!("{}", found.markdown().trim_end()))?,
    }
    let whole = found.datasets.iter().all(|dataset| dataset.unusable.is_empty());
    Ok(if whole { ExitStatus::Done } else { ExitStatus::Partial })
}
