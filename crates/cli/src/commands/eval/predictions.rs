//! `r2former eval predictions`: files of predictions, scored on a dataset.

use super::datasets::{DatasetCommand, RulesArgs};
use crate::exit::ExitStatus;
use crate::output::{self, print_json, print_scores};
use anyhow::Result;
use clap::Args;
use r2former_eval::{PAGE, PredictionFormat, read_predictions, score, write_scores};
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(subcommand_precedence_over_arg = true, after_help = FORMATS)]
pub(crate) struct PredictionsArgs {
    /// Files of predictions; several are also compared with each other.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(subcommand)]
    dataset: DatasetCommand<ScoreArgs>,
}

const FORMATS: &str = "\
Formats, by a file's ending or --format:
  .txt     MSLS: a line a query, its key and the predicted keys, best first, separated by blanks;
           keys of a sequence joined by commas; lines that start with # are comments
  .csv     a row a query: query,ref1,ref2,...; names are relative to the dataset's folders
  kapture  pairs: # query_image, map_image, score (known by this comment)
Every query that counts must be there, with at least as many predictions as the largest of --at.

Example:
  r2former eval predictions ours.txt theirs.txt msls MSLS --task seq2seq --sequence 3";

/// How predictions are scored.
#[derive(Debug, Args)]
pub(crate) struct ScoreArgs {
    #[command(flatten)]
    rules: RulesArgs,
    /// Ranks down to which recall and mean average precision are told.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,5,10,20")]
    at: Vec<usize>,
    /// msls, csv or kapture [default: by the file].
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
    let (dataset, how) = (args.dataset.read()?, args.dataset.rest());
    let runs = args.files.iter().map(|file| read_predictions(file, how.format, &dataset));
    let runs = runs.collect::<Result<Vec<_>, _>>()?;
    let scores = score(&dataset, &runs, &args.dataset.rules(&how.rules), &how.at)?;
    if let Some(dir) = &how.report {
        write_scores(dir, &scores, &super::this_run())?;
        eprintln!("report: {}", dir.join(PAGE).display());
    }
    match how.json {
        true => print_json(&scores.report),
        false => print_scores(&mut output::stdout(), &scores.report).map(|()| ExitStatus::Done),
    }
}
