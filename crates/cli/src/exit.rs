//! Exit codes that mean something; `r2former --help` lists them.

use r2former_engine::EngineError;
use r2former_index::IndexError;
use std::process::ExitCode;

/// How a command that did its work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everything was done.
    Done,
    /// The work went to its end, but some inputs could not be used; they were named.
    Partial,
}

/// Turns a command's end into the process's exit code, and tells errors on standard error.
pub(crate) fn report(result: anyhow::Result<Outcome>) -> ExitCode {
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Partial) => ExitCode::from(3),
        // A reader that closed the pipe (`| head`) has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(if is_busy(&error) { 4 } else { 1 })
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

fn is_busy(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let index = cause.downcast_ref::<IndexError>().or(match cause.downcast_ref::<EngineError>() {
            Some(EngineError::Index(error)) => Some(error),
            _ => None,
        });
        matches!(index, Some(IndexError::Busy { .. }))
    })
}
