//! Long work: without the interpreter's lock, ended by Ctrl-C, its progress reported to Python.

use crate::errors::Failure;
use pyo3::prelude::*;
use r2former_engine::Progress;
use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

/// How often signals are looked for and progress is reported.
const TICK: Duration = Duration::from_millis(50);

/// Work that is watched.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    cancelled: AtomicBool,
    done: AtomicU64,
    /// What is counted, and how many steps there are.
    stage: Mutex<(String, u64)>,
    notes: Mutex<Vec<String>>,
}

/// What work that was cancelled unwinds with.
struct Cancelled;

impl Watch {
    /// Ends the work here if that was asked for. It unwinds as from a panic, without a message, so that whatever the work
    /// holds is dropped.
    pub(crate) fn check(&self) {
        if self.cancelled.load(Ordering::Relaxed) {
            resume_unwind(Box::new(Cancelled));
        }
    }

    /// The same as an error, for the closures of parallel iterators: these stop at once for an error, but not for a panic.
    pub(crate) fn ended(&self) -> Result<(), Failure> {
        match self.cancelled.load(Ordering::Relaxed) {
            true => Err(Failure::request("cancelled")),
            false => Ok(()),
        }
    }

    /// Reports how far work on several threads is, and says whether it is to be broken off.
    pub(crate) fn at(&self, what: &str, done: u64, total: u64) -> ControlFlow<()> {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = (what.to_owned(), total);
        self.done.fetch_max(done, Ordering::Relaxed);
        if self.ended().is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Remarks of the work, in their order.
    pub(crate) fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn state(&self) -> (String, u64, u64) {
        let (what, total) = self.stage.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (what, self.done.load(Ordering::Relaxed), total)
    }
}

impl Progress for Watch {
    fn start(&self, what: &str, total: u64) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = (what.to_owned(), total);
        self.done.store(0, Ordering::Relaxed);
        self.check();
    }

    fn advance(&self, steps: u64) {
        self.done.fetch_add(steps, Ordering::Relaxed);
        self.check();
    }

    fn finish(&self) {}

    fn note(&self, line: &str) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(line.to_owned());
    }
}

/// Does work on a thread of its own, while this one lets other Python threads run and looks for signals. `progress` is
/// called with what is counted, the number of steps done, and that of all.
pub(crate) fn run<T, W>(py: Python<'_>, progress: Option<Py<PyAny>>, work: W) -> PyResult<T>
where
    T: Send,
    W: FnOnce(&Watch) -> Result<T, Failure> + Send,
{
    check_process()?;
    let watch = Watch::default();
    let mut stopped: Option<PyErr> = None;
    let outcome = py.detach(|| {
        thread::scope(|scope| {
            // Nothing is sent: the end of the thread closes the channel, however it ends.
            let (alive, end) = sync_channel::<()>(0);
            let worker = scope.spawn(|| {
                let _alive = alive;
                work(&watch)
            });
            let mut shown = None;
            while end.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                if stopped.is_none()
                    && let Err(error) = Python::attach(|py| look(py, &watch, progress.as_ref(), &mut shown))
                {
                    watch.cancelled.store(true, Ordering::Relaxed);
                    stopped = Some(error);
                }
            }
            worker.join()
        })
    });
    if let Some(stopped) = stopped {
        return Err(stopped);
    }
    match outcome {
        Ok(Ok(made)) => {
            if let Some(progress) = &progress {
                let (what, done, total) = watch.state();
                progress.call1(py, (what, done, total))?;
            }
            Ok(made)
        }
        Ok(Err(failure)) => Err(failure.into()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(Failure::internal(text.unwrap_or("no message")).into())
        }
    }
}

/// Signals, then progress where it has changed.
fn look(
    py: Python<'_>,
    watch: &Watch,
    progress: Option<&Py<PyAny>>,
    shown: &mut Option<(String, u64, u64)>,
) -> PyResult<()> {
    py.check_signals()?;
    let Some(progress) = progress else { return Ok(()) };
    let state = watch.state();
    if state.2 > 0 && shown.as_ref() != Some(&state) {
        progress.call1(py, state.clone())?;
        *shown = Some(state);
    }
    Ok(())
}

/// Refuses to compute in a process that was forked from one that computed: the threads stayed behind, and the work would
/// wait for them for ever.
fn check_process() -> PyResult<()> {
    static PROCESS: OnceLock<u32> = OnceLock::new();
    let own = std::process::id();
    if *PROCESS.get_or_init(|| own) == own {
        return Ok(());
    }
    Err(Failure::request(
        "this process was forked from one that used r2former already, whose threads are not in it: start processes with \
         multiprocessing's \"spawn\" or \"forkserver\" (of a torch DataLoader: multiprocessing_context=\"spawn\")",
    )
    .into())
}
