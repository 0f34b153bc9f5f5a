//! Exit codes that mean something; `r2former --help` lists them.

use crate::output::escape::escaped;
use r2former_engine::EngineError;
use r2former_index::IndexError;
use std::fmt;
use std::panic::PanicHookInfo;
use std::process::ExitCode;
#[cfg(unix)]
use std::sync::{Arc, atomic::AtomicBool};
use std::sync::{Mutex, PoisonError};

/// How a command that did its work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitStatus {
    /// Everything was done.
    Done,
    /// The work went to its end, but some inputs could not be used; they were named.
    Partial,
}

/// A command line that no files could make right: options that exclude each other, values that do not exist. It is refused
/// as clap refuses what it can see itself. What depends on what an index or a file holds is an ordinary error.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Returns from a function with a [`Usage`].
macro_rules! usage {
    ($($message:tt)*) => {
        return Err($crate::exit::Usage(format!($($message)*)).into())
    };
}
pub(crate) use usage;

/// Runs the program, and turns its end into the process's exit code; errors go to standard error.
pub(crate) fn report(run: impl FnOnce() -> anyhow::Result<ExitStatus> + std::panic::UnwindSafe) -> ExitCode {
    outlive_signals();
    std::panic::set_hook(Box::new(remember));
    let result = match std::panic::catch_unwind(run) {
        Ok(result) => result,
        Err(_) => {
            let what = PANIC.lock().unwrap_or_else(PoisonError::into_inner).take();
            eprintln!("{}", internal_error(&what.unwrap_or_default()));
            return ExitCode::from(1);
        }
    };
    match result {
        Ok(ExitStatus::Done) => ExitCode::SUCCESS,
        Ok(ExitStatus::Partial) => ExitCode::from(3),
        // A reader that closed the pipe (`| head`) has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", message(&error));
            ExitCode::from(code_of(&error))
        }
    }
}

/// The latest panic: where, and what it said.
static PANIC: Mutex<Option<String>> = Mutex::new(None);

/// Keeps a panic for the end instead of printing a trace: what catches it reports it in its own words.
/// `RUST_BACKTRACE` brings the trace back.
fn remember(info: &PanicHookInfo<'_>) {
    let said = info.payload_as_str().unwrap_or("no message");
    let place = info.location().map(|at| format!("{}:{}: ", at.file(), at.line())).unwrap_or_default();
    if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
        eprintln!("{place}{said}\n{}", std::backtrace::Backtrace::force_capture());
    }
    *PANIC.lock().unwrap_or_else(PoisonError::into_inner) = Some(format!("{place}{said}"));
}

/// One line for a panic that reached the end.
fn internal_error(what: &str) -> String {
    // A thread or a mapping that the system refuses is no fault of the program.
    let starved =
        ["failed to spawn thread", "ThreadPoolBuildError", "Cannot allocate memory", "out of memory"];
    if starved.iter().any(|words| what.contains(words)) {
        let what = what.lines().next().unwrap_or_default();
        return format!("error: out of memory or threads: {}", escaped(what));
    }
    format!(
        "internal error: {}; please report this with the output of `r2former doctor`",
        escaped(what.lines().next().unwrap_or_default())
    )
}

/// Signals that would end the process without a word become errors: a file beyond the size limit fails its
/// write, and a failed allocation, which the standard library reports in one line, ends with exit code 1
/// instead of a core dump.
fn outlive_signals() {
    #[cfg(unix)]
    {
        use signal_hook::consts::{SIGABRT, SIGXFSZ};
        // Either can only fail for a signal that cannot be caught.
        let _ = signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
        let _ = signal_hook::flag::register_conditional_shutdown(SIGABRT, 1, Arc::new(AtomicBool::new(true)));
    }
}

/// The error and its causes, each thing once: many errors repeat their cause in their own message.
fn message(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if said.is_empty() {
            said = cause;
        } else if !said.contains(&cause) {
            said = format!("{said}: {cause}");
        }
    }
    // Some messages have lines of their own.
    said.split('\n').map(escaped).collect::<Vec<_>>().join("\n")
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

fn code_of(error: &anyhow::Error) -> u8 {
    match error {
        error if error.is::<Usage>() => 2,
        error if is_busy(error) => 4,
        _ => 1,
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn causes_are_said_once() {
        let io = || std::io::Error::from_raw_os_error(2);
        let data = r2former_data::DataError::io("a.jpg", io());
        let words = io().to_string();
        assert_eq!(message(&data.into()), format!("a.jpg: {words}"));
        let bare = Err::<(), _>(io()).context("b.jpg").expect_err("an error");
        assert_eq!(message(&bare), format!("b.jpg: {words}"));
        assert_eq!(message(&anyhow::anyhow!("x\u{1b}[2J")), "x\\u{1b}[2J");
    }

    #[test]
    fn a_wrong_command_line_has_its_own_code() {
        let refused = || -> anyhow::Result<()> { usage!("--a and {}", "--b") };
        let error = refused().expect_err("a usage error");
        assert_eq!((code_of(&error), message(&error).as_str()), (2, "--a and --b"));
        assert_eq!(code_of(&error.context("x")), 2);
        assert_eq!(code_of(&anyhow::anyhow!("x")), 1);
    }

    #[test]
    fn a_panic_becomes_one_line() {
        assert!(internal_error("src/x.rs:3: index out of bounds\nmore").ends_with("`r2former doctor`"));
        assert!(!internal_error("a\nb").contains('\n'));
        assert!(internal_error("failed to spawn thread: Os {").starts_with("error: out of memory"));
    }
}
