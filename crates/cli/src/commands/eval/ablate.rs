//! `r2former eval ablate`: what each choice is worth.

use super::KeepingArgs;
use crate::common::{Machine, load_model};
use crate::exit::ExitStatus;
use crate::output::{self, print_json};
use crate::progress::Bar;
use anyhow::Result;
use clap::Args;
use r2former_engine::{Extractor, Settings};
use r2former_eval::Facts;
use r2former_eval::ablate::{AblationConfig, ablate};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct AblateArgs {
    /// TOML file: datasets, models, a baseline and what is changed of it (docs/ABLATIONS.md).
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    keeping: KeepingArgs,
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
    let device = machine.device()?;
    let keeping = args.keeping.keeping();
    let found = ablate(&config, &device, &keeping, &Bar::default())?;
    if let Some(dir) = &args.report {
        // The facts are those of the baseline's model.
        let loaded = load_model(config.model.first().and_then(|model| model.path.as_deref()))?;
        let settings = Settings::of(&loaded.config);
        let extractor = Extractor::new(loaded, settings, &device)?;
        let facts = Facts::gather(super::this_run(), &extractor, &machine.device);
        found.write(dir, &facts)?;
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
