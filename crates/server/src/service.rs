//! The state of a service: its indexes, its queue, its limits.

use crate::error::{Result, ServeError};
use crate::index::Index;
use crate::metrics::Metrics;
use crate::options::{ServedIndex, ServiceOptions};
use crate::params::{Params, shown};
use crate::problem::{self, Problem};
use crate::queue::Queue;
use crate::rights::Rights;
use crate::thumbnails::Thumbnails;
use crate::watch::Watch;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// Bodies that fit into memory at a time, at their largest.
const BODIES: u64 = 8;

/// Longest time that a body takes to arrive.
const RECEIVE: Duration = Duration::from_secs(60);

/// Photographs that are read from the disk, and thumbnails that are made, at a time.
const READS: usize = 2;

/// Bounds of requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Bytes of one body.
    pub(crate) body: usize,
    /// Bytes of all bodies.
    pub(crate) bodies: u64,
    /// Pixels of a photograph.
    pub(crate) pixels: u64,
    /// Photographs of a request.
    pub(crate) batch: usize,
    /// Time for a body to arrive.
    pub(crate) receive: Duration,
    /// Time until a query's turn comes.
    pub(crate) turn: Duration,
}

/// Indexes that are served, and everything that requests share.
#[derive(Debug)]
pub struct Service {
    indexes: Vec<Arc<Index>>,
    pub(crate) queue: Queue,
    pub(crate) limits: Bounds,
    pub(crate) metrics: Metrics,
    pub(crate) rights: Rights,
    pub(crate) thumbnails: Thumbnails,
    reads: Semaphore,
    pub(crate) started: Instant,
    /// Until they are started.
    watches: Mutex<Vec<Watch>>,
    stopping: AtomicBool,
}

impl Service {
    /// Opens indexes for requests. The first is the one that requests mean when they name none.
    ///
    /// # Errors
    /// [`ServeError::Options`] for no index or two of one name; [`ServeError::Engine`] for one that is damaged;
    /// [`ServeError::Io`] for threads that cannot be started.
    pub fn new(indexes: Vec<ServedIndex>, options: ServiceOptions) -> Result<Arc<Self>> {
        if indexes.is_empty() {
            return Err(ServeError::Options("there is no index to serve".into()));
        }
        for (i, index) in indexes.iter().enumerate() {
            if indexes[..i].iter().any(|other| other.name == index.name) {
                return Err(ServeError::Options(format!(
                    "two indexes are called {}: give one another name with NAME=FOLDER",
                    index.name
                )));
            }
        }
        let limits = Bounds {
            body: options.max_body,
            bodies: BODIES * options.max_body as u64,
            pixels: options.max_pixels,
            batch: options.max_batch.max(1),
            receive: RECEIVE,
            turn: options.timeout,
        };
        let threads = |error| ServeError::io("threads", error);
        let queue = Queue::new(options.workers, options.queue).map_err(threads)?;
        let indexes = indexes.into_iter().map(|index| Ok(Arc::new(Index::open(index)?)));
        let indexes = indexes.collect::<Result<Vec<_>>>()?;
        let watch = |(name, dir): (Option<String>, PathBuf)| {
            let index = match &name {
                None => indexes.first(),
                Some(name) => indexes.iter().find(|index| index.name == *name),
            };
            let index = index.cloned().ok_or_else(|| {
                ServeError::Options(format!(
                    "--watch {}=...: there is no index of this name",
                    name.unwrap_or_default()
                ))
            })?;
            Watch::new(index, &dir)
        };
        let watches = options.watch.into_iter().map(watch).collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(Self {
            watches: Mutex::new(watches),
            indexes,
            queue,
            limits,
            metrics: Metrics::default(),
            rights: Rights::new(options.keys, options.anonymous, options.hosts, options.cors),
            thumbnails: Thumbnails::default(),
            reads: Semaphore::new(READS),
            started: Instant::now(),
            stopping: AtomicBool::new(false),
        }))
    }

    /// All indexes, in their order.
    pub(crate) fn indexes(&self) -> &[Arc<Index>] {
        &self.indexes
    }

    /// The index that a request names.
    pub(crate) fn index(&self, params: &Params) -> problem::Result<Arc<Index>> {
        let Some(name) = params.one("index")? else { return Ok(self.indexes[0].clone()) };
        self.named(name).ok_or_else(|| {
            let names: Vec<&str> = self.indexes.iter().map(|index| index.name.as_str()).collect();
            Problem::not_found(format!("there is no index {}; there are {}", shown(name), names.join(", ")))
        })
    }

    /// The index of this name.
    pub(crate) fn named(&self, name: &str) -> Option<Arc<Index>> {
        self.indexes.iter().find(|index| index.name == name).cloned()
    }

    /// When a query that arrives now is cancelled, if its turn has not come.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.limits.turn
    }

    /// The right to read a photograph from the disk: a few at a time.
    pub(crate) async fn read_permit(&self) -> problem::Result<SemaphorePermit<'_>> {
        match timeout(self.limits.turn, self.reads.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Problem::unavailable("too many photographs are being read", Duration::from_secs(2))),
        }
    }

    /// Whether the service is about to end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Folders to watch; they are handed out once.
    pub(crate) fn watches(&self) -> Vec<Watch> {
        std::mem::take(&mut *self.watches.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From here on the service is not ready.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Ends the threads, once what they have taken is done.
    pub(crate) fn close(&self) {
        self.stop();
        self.queue.close();
        for index in &self.indexes {
            index.writing.close();
        }
    }
}

/// Does what reads files, off the threads that talk to clients.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> problem::Result<T> + Send + 'static,
) -> problem::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(_) => Err(Problem::internal("a panic while reading")),
    }
}
