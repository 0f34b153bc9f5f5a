//! `r2former eval compare`: two runs over the same queries.

use crate::exit::ExitStatus;
use crate::output::{self, print_differences, print_json};
use anyhow::Result;
use clap::Args;
use r2former_eval::{RESULTS, compare};
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  r2former eval compare plain/results.json:reranked tuned/results.json --json")]
pub(crate) struct CompareArgs {
    /// results.json of a report, or its folder; with :ORDER (global, ransac, reranked, or a scored file) where the
    /// evaluation's last order is not meant.
    #[arg(value_name = "RUN")]
    first: String,
    /// Likewise: the run whose gain is told.
    #[arg(value_name = "RUN")]
    second: String,
    /// Compare runs whose datasets or protocols differ.
    #[arg(long)]
    any_protocol: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &CompareArgs) -> Result<ExitStatus> {
    let ((first, order), (second, other)) = (run_of(&args.first), run_of(&args.second));
    let found = compare((&first, order), (&second, other), args.any_protocol)?;
    match args.json {
        true => print_json(&found),
        false => print_differences(&mut output::stdout(), &found).map(|()| ExitStatus::Done),
    }
}

/// A run's file and order; a path that exists is taken as it is, colons and all.
fn run_of(text: &str) -> (PathBuf, Option<&str>) {
    let file = |path: &str| match Path::new(path) {
        folder if folder.is_dir() => folder.join(RESULTS),
        file => file.to_path_buf(),
    };
    match text.match_indices(':').map(|(at, _)| at).find(|at| Path::new(&text[..*at]).exists()) {
        Some(at) if !Path::new(text).exists() => (file(&text[..at]), Some(&text[at + 1..])),
        _ => (file(text), None),
    }
}
