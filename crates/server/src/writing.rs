//! Changes of an index: one thread makes them, one after the other. It holds the index's lock while there is something to
//! do and a moment longer, so that other programs can write in between.

use crate::problem::{Problem, Result};
use r2former_engine::{Extractor, IndexWriter, PlaceIndex};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// Changes that may wait.
const WAITING: usize = 32;

/// How long the lock is held after the last change.
const HOLD: Duration = Duration::from_secs(2);

/// The line of changes of one index.
#[derive(Debug)]
pub(crate) struct Writing {
    index: PlaceIndex,
    extractor: Arc<Extractor>,
    /// None before the first change, and after the last.
    thread: Mutex<Option<Thread>>,
    closed: std::sync::atomic::AtomicBool,
}

#[derive(Debug)]
struct Thread {
    sender: SyncSender<Task>,
    handle: JoinHandle<()>,
}

type Task = Box<dyn FnOnce(&mut Held) + Send>;

/// What a change works with.
pub(crate) struct Held {
    index: PlaceIndex,
    pub(crate) extractor: Arc<Extractor>,
    writer: Option<IndexWriter>,
}

impl Held {
    /// The writer, opened where it is not; looking through a large index takes a moment.
    pub(crate) fn writer(&mut self) -> Result<&mut IndexWriter> {
        match &mut self.writer {
            Some(writer) => Ok(writer),
            none => Ok(none.insert(self.index.writer()?)),
        }
    }

    /// The writer and the model.
    pub(crate) fn both(&mut self) -> Result<(&mut IndexWriter, &Extractor)> {
        self.writer()?;
        match &mut self.writer {
            Some(writer) => Ok((writer, &self.extractor)),
            None => Err(Problem::internal("the writer is gone")),
        }
    }
}

impl Writing {
    pub(crate) fn new(index: PlaceIndex, extractor: Arc<Extractor>) -> Self {
        Self { index, extractor, thread: Mutex::new(None), closed: false.into() }
    }

    /// Makes a change, once those before it are made, and waits for it. What was sent is done even if nobody waits any
    /// more.
    ///
    /// # Errors
    /// 429 where too many wait; 503 where another program writes, or the service is stopping; the change's own.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Held) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (sender, receiver) = oneshot::channel();
        let task = move |held: &mut Held| {
            let result = catch_unwind(AssertUnwindSafe(|| change(held)));
            let result = result.unwrap_or_else(|_| Err(Problem::internal("a panic while writing")));
            if result.as_ref().is_err_and(|problem| problem.status.is_server_error()) {
                // It may be in any state: the next change opens it again.
                held.writer = None;
            }
            let _ = sender.send(result);
        };
        self.send(Box::new(task))?;
        receiver.await.unwrap_or_else(|_| Err(stopping()))
    }

    fn send(&self, task: Task) -> Result<()> {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if self.closed.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(stopping());
        }
        let thread = match &mut *thread {
            Some(thread) => thread,
            none => none.insert(self.start()?),
        };
        match thread.sender.try_send(task) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => {
                let detail = format!("{WAITING} changes of this index are waiting, and no more are taken");
                Err(Problem::too_many(detail, Duration::from_secs(5)))
            }
            Err(TrySendError::Disconnected(_)) => Err(Problem::internal("the thread that writes has ended")),
        }
    }

    fn start(&self) -> Result<Thread> {
        let (sender, receiver) = sync_channel(WAITING);
        let held = Held { index: self.index.clone(), extractor: self.extractor.clone(), writer: None };
        let thread = std::thread::Builder::new().name("write".into()).spawn(move || work(held, &receiver));
        match thread {
            Ok(handle) => Ok(Thread { sender, handle }),
            Err(error) => Err(Problem::internal(format!("no thread to write with: {error}"))),
        }
    }

    /// Makes the changes that wait, takes no more, and lets go of the index.
    pub(crate) fn close(&self) {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        self.closed.store(true, std::sync::atomic::Ordering::Relaxed);
        let Some(Thread { sender, handle }) = thread.take() else { return };
        drop(sender);
        // Its panics are caught change by change.
        let _ = handle.join();
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.close();
    }
}

fn work(mut held: Held, tasks: &Receiver<Task>) {
    loop {
        match tasks.recv_timeout(HOLD) {
            Ok(task) => task(&mut held),
            Err(RecvTimeoutError::Timeout) => {
                held.writer = None;
                match tasks.recv() {
                    Ok(task) => task(&mut held),
                    Err(_) => return,
                }
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn stopping() -> Problem {
    Problem::unavailable("the service is stopping", Duration::from_secs(10))
}
