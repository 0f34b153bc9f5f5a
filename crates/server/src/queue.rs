//! Work that computes: a few threads, and a line before them that ends somewhere.

use crate::problem::{Problem, Result};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::time::timeout_at;

/// A bounded line of jobs, and the threads that do them.
#[derive(Debug)]
pub(crate) struct Queue {
    shared: Arc<Shared>,
    workers: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    ready: Condvar,
    /// Jobs that may wait.
    length: usize,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Job>,
    running: usize,
    closed: bool,
    /// Running mean of a job's time, in seconds.
    mean: f64,
}

struct Job {
    run: Box<dyn FnOnce() + Send>,
    abandoned: Arc<AtomicBool>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("abandoned", &self.abandoned).finish_non_exhaustive()
    }
}

/// Marks a job as abandoned when whoever waits for it stops: its client went away, or its deadline passed.
struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What came of a job, and how long it waited for its turn.
pub(crate) struct Finished<T> {
    pub(crate) value: T,
    pub(crate) waited: Duration,
}

impl Queue {
    /// `workers` threads, before which `length` jobs may wait.
    ///
    /// # Errors
    /// The system's, for a thread that cannot be started.
    pub(crate) fn new(workers: usize, length: usize) -> std::io::Result<Self> {
        let shared =
            Arc::new(Shared { state: Mutex::default(), ready: Condvar::new(), length: length.max(1) });
        let workers = (0..workers.max(1)).map(|number| {
            let shared = shared.clone();
            std::thread::Builder::new().name(format!("compute-{number}")).spawn(move || shared.work())
        });
        Ok(Self { workers: Mutex::new(workers.collect::<std::io::Result<_>>()?), shared })
    }

    /// Does `work` on one of the threads, once those before it are done.
    ///
    /// # Errors
    /// 429 where the line is full; 503 where its turn does not come before the deadline, which cancels it, or where the
    /// service is stopping; 500 where it panics.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Finished<T>> {
        let (sender, mut receiver) = oneshot::channel();
        let abandoned = Arc::new(AtomicBool::new(false));
        let began = Arc::new(AtomicBool::new(false));
        let pushed = Instant::now();
        let job = {
            let (abandoned, began) = (abandoned.clone(), began.clone());
            move || {
                if abandoned.load(Ordering::Relaxed) || Instant::now() >= deadline {
                    return;
                }
                began.store(true, Ordering::Relaxed);
                let waited = pushed.elapsed();
                let result = catch_unwind(AssertUnwindSafe(work));
                let result = result.map(|value| Ok(Finished { value, waited }));
                // Nobody may be there to receive it.
                let _ =
                    sender.send(result.unwrap_or_else(|_| Err(Problem::internal("a panic while computing"))));
            }
        };
        self.shared.push(Job { run: Box::new(job), abandoned: abandoned.clone() })?;
        let _waiting = Waiting(abandoned);
        let late = || {
            Problem::unavailable("the request's time was over before its turn came", self.shared.patience())
        };
        let received = match timeout_at(deadline.into(), &mut receiver).await {
            Ok(received) => received,
            // It is being worked on: what was begun is finished.
            Err(_) if began.load(Ordering::Relaxed) => receiver.await,
            Err(_) => return Err(late()),
        };
        match received {
            Ok(result) => result,
            // The job was dropped unseen: its time was over, or the service stops.
            Err(_) => Err(late()),
        }
    }

    /// Refuses at once what would be refused once it has arrived.
    pub(crate) fn admits(&self) -> Result<()> {
        self.shared.admit().map(drop)
    }

    /// Jobs that wait, and jobs that are being done.
    pub(crate) fn lengths(&self) -> (usize, usize) {
        let state = self.shared.lock();
        (state.waiting.len(), state.running)
    }

    /// Jobs that may wait.
    pub(crate) fn capacity(&self) -> usize {
        self.shared.length
    }

    /// Does what waits, takes no more, and ends the threads.
    pub(crate) fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.ready.notify_all();
        let workers = std::mem::take(&mut *self.workers.lock().unwrap_or_else(PoisonError::into_inner));
        for worker in workers {
            // A worker catches panics of jobs; it has none of its own to report.
            let _ = worker.join();
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The line, with room for one more.
    fn admit(&self) -> Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        if state.closed {
            return Err(Problem::unavailable("the service is stopping", Duration::from_secs(10)));
        }
        if state.waiting.len() >= self.length {
            state.waiting.retain(|job| !job.abandoned.load(Ordering::Relaxed));
        }
        if state.waiting.len() < self.length {
            return Ok(state);
        }
        drop(state);
        let detail = format!("{} requests are waiting, and no more are taken", self.length);
        Err(Problem::too_many(detail, self.patience()))
    }

    fn push(&self, job: Job) -> Result<()> {
        self.admit()?.waiting.push_back(job);
        self.ready.notify_one();
        Ok(())
    }

    /// How long what waits now will probably take.
    fn patience(&self) -> Duration {
        let state = self.lock();
        Duration::from_secs_f64((state.mean * (state.waiting.len() + 1) as f64).clamp(1.0, 60.0))
    }

    fn work(&self) {
        loop {
            let mut state = self.lock();
            let job = loop {
                if let Some(job) = state.waiting.pop_front() {
                    break job;
                }
                if state.closed {
                    return;
                }
                state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
            };
            state.running += 1;
            drop(state);
            let start = Instant::now();
            (job.run)();
            let mut state = self.lock();
            state.running -= 1;
            state.mean += 0.2 * (start.elapsed().as_secs_f64() - state.mean);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime")
    }

    fn soon(ms: u64) -> Instant {
        Instant::now() + Duration::from_millis(ms)
    }

    #[test]
    fn a_full_line_refuses_and_a_deadline_cancels_what_has_not_begun() {
        let queue = Arc::new(Queue::new(1, 1).expect("threads"));
        let (release, blocked) = mpsc::channel::<()>();
        let (started, begins) = mpsc::channel();
        runtime().block_on(async {
            let first = queue.run(soon(60_000), move || {
                started.send(()).expect("the test waits");
                blocked.recv().ok();
                1
            });
            let mut first = Box::pin(first);
            assert!(timeout_at(soon(50).into(), &mut first).await.is_err());
            begins.recv().expect("it has begun");
            let ran = Arc::new(AtomicBool::new(false));
            let mark = ran.clone();
            let mut second = Box::pin(queue.run(soon(200), move || mark.store(true, Ordering::Relaxed)));
            assert!(timeout_at(soon(20).into(), &mut second).await.is_err());
            let third = queue.run(soon(1000), || ()).await.err().expect("the line is full");
            assert_eq!(third.status.as_u16(), 429);
            assert!(third.response("x").headers().contains_key("retry-after"));
            let second = second.await.err().expect("its time is over");
            assert_eq!(second.status.as_u16(), 503);
            // What was abandoned makes room, and does not run.
            let mut fourth = Box::pin(queue.run(soon(60_000), || 4));
            assert!(timeout_at(soon(20).into(), &mut fourth).await.is_err());
            release.send(()).expect("the first waits");
            assert_eq!(
                (first.await.ok().map(|f| f.value), fourth.await.ok().map(|f| f.value)),
                (Some(1), Some(4))
            );
            assert!(!ran.load(Ordering::Relaxed));
        });
    }

    #[test]
    fn a_panic_is_an_error_of_its_request_alone() {
        let queue = Queue::new(1, 4).expect("threads");
        runtime().block_on(async {
            let failed = queue.run(soon(5000), || assert!(std::hint::black_box(false))).await;
            assert_eq!(failed.err().expect("a panic").status.as_u16(), 500);
            assert_eq!(queue.run(soon(5000), || 7).await.ok().map(|f| f.value), Some(7));
            queue.close();
            assert_eq!(queue.run(soon(5000), || 8).await.err().expect("closed").status.as_u16(), 503);
        });
    }
}
