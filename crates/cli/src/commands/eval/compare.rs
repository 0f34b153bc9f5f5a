//! `r2former eval compare`: two rankings of the same queries.

use crate::exit::ExitStatus;
use crate::output::{self, print_comparison, print_json};
use anyhow::Result;
use clap::Args;
use r2former_eval::{RESULTS, compare};
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  r2former eval compare plain/results.json:reranked tuned/results.json --json")]
pub(crate) struct CompareArgs {
    /// results.json of a report, or its folder. Add :RANKING (global, ransac, mutual, reranked, or a scored predictions file)
    /// to choose a ranking other than the final one.
    #[arg(value_name = "RUN")]
    first: String,
    /// The run to compare with the first, in the same form.
    #[arg(value_name = "RUN")]
    second: String,
    /// Compare runs even if their protocols differ.
    #[arg(long)]
    any_protocol: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &CompareArgs) -> Result<ExitStatus> {
    let ((first, ranking), (second, other)) = (run_of(&args.first), run_of(&args.second));
    let found = compare((&first, ranking), (&second, other), args.any_protocol)?;
    match args.json {
        true => print_json(&found),
        false => print_comparison(&mut output::stdout(), &found).map(|()| ExitStatus::Done),
    }
}

/// File and ranking of a run; a path that exists is taken whole, colons included.
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
