//! `r2former eval predictions`: scores predictions files on a dataset.

use super::datasets::{DatasetCommand, RulesArgs};
use crate::common::ensure_writable_folder;
use crate::exit::ExitStatus;
use crate::output::{self, escaped, print_json, print_scores, quoted};
use anyhow::Result;
use clap::Args;
use r2former_eval::{PAGE, PredictionFormat, read_predictions, score, write_scores};
use std::num::NonZeroUsize;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(subcommand_precedence_over_arg = true, after_help = FORMATS)]
pub(crate) struct PredictionsArgs {
    /// Predictions files; several are also compared with each other.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(subcommand)]
    dataset: DatasetCommand<ScoreArgs>,
}

const FORMATS: &str = "\
Formats, by a file's extension or --format:
  .txt     MSLS: one line per query with its key and the predicted keys, best first, separated by
           spaces; keys of a sequence joined by commas; lines that start with # are comments
  .csv     one row per query: query,ref1,ref2,...; names are relative to the dataset's folders
  kapture  pairs: # query_image, map_image, score (recognised by this comment)
Every query that counts must be present, with at least as many predictions as the largest N of --at.

Example:
  r2former eval predictions ours.txt theirs.txt msls MSLS --task seq2seq --sequence 3";

/// Options of scoring.
#[derive(Debug, Args)]
pub(crate) struct ScoreArgs {
    #[command(flatten)]
    rules: RulesArgs,
    /// N of recall@N and k of mAP@k, separated by commas.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,5,10,20")]
    at: Vec<NonZeroUsize>,
    /// Format of the files: msls, csv or kapture [default: by extension].
    #[arg(long)]
    format: Option<PredictionFormat>,
    /// Write report.html and results.json (every query, for `r2former eval compare`) into this folder.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &PredictionsArgs) -> Result<ExitStatus> {
    let how = args.dataset.rest();
    how.report.as_deref().map(ensure_writable_folder).transpose()?;
    let dataset = args.dataset.read()?;
    let runs = args.files.iter().map(|file| read_predictions(file, how.format, &dataset));
    let runs = runs.collect::<Result<Vec<_>, _>>()?;
    for run in &runs {
        if let Some(label) = &run.label {
            let (file, label) = (run.path.display().to_string(), quoted(label));
            eprintln!(
                "note: {}: names of references are taken without the label {label}, with which all of them begin",
                escaped(&file)
            );
        }
    }
    let at: Vec<usize> = how.at.iter().map(|n| n.get()).collect();
    let scores = score(&dataset, &runs, &args.dataset.rules(&how.rules), &at)?;
    if let Some(dir) = &how.report {
        write_scores(dir, &scores, &super::this_run())?;
        eprintln!("report: {}", dir.join(PAGE).display());
    }
    match how.json {
        true => print_json(&scores.summary),
        false => print_scores(&mut output::stdout(), &scores.summary).map(|()| ExitStatus::Done),
    }
}
