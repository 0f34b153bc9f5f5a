//! What commands print.

mod answer_table;
mod answers;
pub(crate) mod escape;
mod recall;
mod scores;
mod track;
mod words;

pub(crate) use answers::{AnswerFormat, PairsFormat, check_pair_names, print_answers};
pub(crate) use escape::{escaped, escaped_json, quoted, quoted_path, unescaped};
pub(crate) use recall::print_summary;
pub(crate) use scores::{print_comparison, print_scores};
pub(crate) use track::write_track;
pub(crate) use words::{backbone, bytes, global_head, input, untrained};

use crate::exit::ExitStatus;
use anyhow::Context;
use std::fmt::Arguments;
use std::io::{BufWriter, StdoutLock, Write};

/// Standard output whose closed pipe is an error like any other, not a panic.
pub(crate) struct Out(BufWriter<StdoutLock<'static>>);

/// Locks standard output for a command's results.
pub(crate) fn stdout() -> Out {
    Out(BufWriter::new(std::io::stdout().lock()))
}

impl Out {
    /// Prints one line. Lines appear at once on a terminal.
    pub(crate) fn line(&mut self, text: Arguments<'_>) -> anyhow::Result<()> {
        let mut write = || {
            self.0.write_fmt(text)?;
            self.0.write_all(b"\n")?;
            self.0.flush()
        };
        write().context("standard output")
    }
}

/// Prints one JSON document.
pub(crate) fn print_json(value: &impl serde::Serialize) -> anyhow::Result<ExitStatus> {
    stdout().line(format_args!("{}", escaped_json(&serde_json::to_string_pretty(value)?)))?;
    Ok(ExitStatus::Done)
}
