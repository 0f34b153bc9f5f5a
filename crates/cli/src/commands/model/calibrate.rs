//! `r2former model calibrate`: how probable a model's answers are to be correct.

use crate::commands::eval::StorageArgs;
use crate::common::{Machine, ensure_model_output, load_model, parse_radius, parse_share};
use crate::exit::ExitStatus;
use crate::output::{self, escaped, print_json};
use crate::progress::Bar;
use anyhow::{Result, bail};
use clap::Args;
use r2former_engine::Settings;
use r2former_eval::{CalibrateOptions, Calibrated, calibrate, read_datasets, weigh_inliers};
use r2former_model::checkpoint::save_with_config;
use r2former_model::{Clue, InlierWeights};
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(after_help = "\
Example, a file of two datasets as `eval suite` takes them:
  [[dataset]]
  kind = \"photos\"
  name = \"old town\"
  database = \"town/database.csv\"
  queries = \"town/queries.csv\"

  [[dataset]]
  kind = \"panoramas\"
  path = \"streets\"

  r2former model calibrate model.safetensors calibrated.safetensors --data sets.toml")]
pub(crate) struct CalibrateArgs {
    /// Model file to read.
    input: PathBuf,
    /// Model file to write (.safetensors): the same weights with the calibration in its header.
    output: PathBuf,
    /// TOML file of datasets, `[[dataset]]` entries as in a suite (docs/datasets.md); repeatable. Each dataset counts the
    /// same.
    #[arg(long, value_name = "FILE", required = true)]
    data: Vec<PathBuf>,
    /// Answers within this many metres are correct, where a dataset does not list what is.
    #[arg(long, default_value = "25", value_name = "METRES", allow_negative_numbers = true, value_parser = parse_radius)]
    radius: f64,
    /// Candidates to rerank per query.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    candidates: u32,
    /// First fit how much RANSAC's score counts beside the reranker's logits; from then on a pair's score, and so the ranking
    /// by the model, is made of both.
    #[arg(long)]
    weigh_inliers: bool,
    /// From now on the model's reranker scores only the N candidates that RANSAC ranks first, unless a query asks for another
    /// number; the calibration is fitted on such rankings [default: as the model's file says].
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    cascade: Option<u32>,
    /// Choose the threshold so that this share of the answers it accepts is correct.
    #[arg(long, default_value_t = 0.97, value_name = "SHARE", value_parser = parse_share)]
    precision: f64,
    #[command(flatten)]
    storage: StorageArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &CalibrateArgs, machine: &Machine) -> Result<ExitStatus> {
    ensure_model_output(&args.output)?;
    let mut datasets = Vec::new();
    for file in &args.data {
        datasets.extend(read_datasets(file)?);
    }
    let mut names: Vec<&str> = datasets.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        bail!("two datasets are called {}: give one of them another name", escaped(pair[0]));
    }
    let mut loaded = load_model(Some(&args.input))?;
    let settings = Settings::of(&loaded.config);
    let mut options = CalibrateOptions::default();
    (options.radius_m, options.candidates) = (args.radius, args.candidates as usize);
    (options.precision, options.storage) = (args.precision, args.storage.storage());
    if args.weigh_inliers || args.cascade.is_some() {
        let Some(mut reranker) = loaded.config.reranker.take() else {
            bail!(
                "{}: has no reranker, so there is nothing to weigh or to choose for it",
                args.input.display()
            );
        };
        let cascade = args.cascade.map_or(reranker.cascade, |count| Some(count as usize));
        if args.weigh_inliers {
            (reranker.inliers, reranker.cascade) = (None, None);
            let mut plain = loaded.clone();
            plain.config.reranker = Some(reranker.clone());
            let extractor = machine.extractor(plain, settings)?;
            reranker.inliers = Some(weigh_inliers(&extractor, &datasets, &options, &Bar::default())?);
        }
        reranker.cascade = cascade;
        loaded.config.reranker = Some(reranker);
    }
    let mut config = loaded.config.clone();
    let extractor = machine.extractor(loaded, settings)?;
    let found = calibrate(&extractor, &datasets, &options, &Bar::default())?;
    config.calibration = Some(found.calibration.clone());
    save_with_config(&args.input, &args.output, &config)?;
    if args.json {
        return print_json(&found);
    }
    let inliers = config.reranker.and_then(|reranker| reranker.inliers);
    print(&mut output::stdout(), args, &found, inliers)
}

fn print(
    out: &mut output::Out,
    args: &CalibrateArgs,
    found: &Calibrated,
    inliers: Option<InlierWeights>,
) -> Result<ExitStatus> {
    out.line(format_args!("wrote {}", args.output.display()))?;
    if let Some(InlierWeights { logit, inliers, bias }) = inliers {
        out.line(format_args!(
            "a pair's score: {logit:.3} x logit + {inliers:.3} x ln(1 + inliers) {bias:+.3}"
        ))?;
    }
    for set in &found.calibration.fitted_on {
        let (database, queries, unknown) = (set.database, set.queries, set.unknown);
        let name = escaped(&set.dataset);
        out.line(format_args!("{name}: {database} references, {queries} queries, {unknown} unknown"))?;
    }
    out.line(format_args!("threshold   {}", found.calibration.threshold))?;
    for fit in &found.calibration.fits {
        let of = |(clue, weight)| format!("{} {weight:.3}", name_of(clue));
        let weights: Vec<String> = fit.weights.iter().map(of).collect();
        let positions = if fit.positions { "positions" } else { "no positions" };
        let (ranking, bias) = (&fit.ranking, fit.bias);
        out.line(format_args!("{ranking}, {positions}: bias {bias:.3}, {}", weights.join(", ")))?;
    }
    if found.left_out.is_empty() {
        return Ok(ExitStatus::Done);
    }
    out.line(format_args!(
        "\neach dataset by a fit on the others: ECE, and above a confidence of 0.5 coverage and precision"
    ))?;
    for set in &found.left_out {
        let precision = set.quality.precision.map_or("none".into(), |p| format!("{:.1} %", 100.0 * p));
        out.line(format_args!(
            "{:<32}{:<8}{:<14}{:.3}  {:>5.1} %  {precision}",
            escaped(&set.dataset),
            set.ranking.name(),
            if set.positions { "positions" } else { "no positions" },
            set.quality.expected_calibration_error,
            100.0 * set.quality.coverage
        ))?;
    }
    Ok(ExitStatus::Done)
}

/// A clue as it is written in the file.
fn name_of(clue: &Clue) -> String {
    serde_json::to_value(clue).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}
