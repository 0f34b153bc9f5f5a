//! All stores of a run: their clients, what is known of their objects, and the reading of photographs.

use crate::address::{Address, is_address};
use crate::ahead::Ahead;
use crate::client::{About, Fetched, about, client, fetch, location, words};
use futures_util::StreamExt;
use object_store::{ObjectStore, ObjectStoreExt};
use r2former_data::image::{Limits, Shape};
use r2former_data::{DataError, Result};
use r2former_engine::{Disk, PhotoFiles};
use r2former_index::FileFingerprint;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

/// Bytes that an object of unknown size is taken to have.
const USUAL_BYTES: u64 = 4 << 20;

/// How objects are fetched.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct FetchOptions {
    /// Requests at a time; 32 by default.
    pub concurrency: usize,
    /// Bytes of photographs that were fetched and are not extracted yet, about; 256 MiB by default.
    pub ahead_bytes: u64,
    /// How often a request is tried again; 5 times by default.
    pub retries: usize,
    /// The wait before the first of those, which doubles with each; 200 ms by default.
    pub backoff: Duration,
    /// Longest time in which nothing arrives; 30 s by default.
    pub stall: Duration,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            concurrency: 32,
            ahead_bytes: 256 << 20,
            retries: 5,
            backoff: Duration::from_millis(200),
            stall: Duration::from_secs(30),
        }
    }
}

impl FetchOptions {
    /// Sets how often a request is tried again, and the wait before the first of those.
    #[must_use]
    pub fn with_retries(self, retries: usize, backoff: Duration) -> Self {
        Self { retries, backoff, ..self }
    }

    /// Sets the longest time in which nothing arrives.
    #[must_use]
    pub fn with_stall(self, stall: Duration) -> Self {
        Self { stall, ..self }
    }
}

/// An object by the path that stands for it.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) address: Address,
    pub(crate) about: Option<About>,
    pub(crate) shape: Option<Shape>,
}

/// Stores, and files of this machine: whatever sources a run has.
pub struct Stores {
    runtime: Runtime,
    pub(crate) shared: Arc<Shared>,
}

/// What requests share.
pub(crate) struct Shared {
    pub(crate) options: FetchOptions,
    /// By scheme and host.
    clients: Mutex<HashMap<String, Arc<dyn ObjectStore>>>,
    known: Mutex<HashMap<PathBuf, Known>>,
    ahead: Mutex<Ahead>,
    requests: Semaphore,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is complete before anything can panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stores").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

impl Shared {
    fn client(&self, address: &Address) -> Result<Arc<dyn ObjectStore>, String> {
        let new = || client(address, &self.options).map_err(|error| words(&error, address));
        // Signed addresses have a client each, which nobody asks for twice.
        if address.query.is_some() {
            return new();
        }
        let key = format!("{:?} {}", address.scheme, address.host);
        if let Some(client) = lock(&self.clients).get(&key) {
            return Ok(client.clone());
        }
        let new = new()?;
        lock(&self.clients).insert(key, new.clone());
        Ok(new)
    }

    pub(crate) fn of(&self, path: &Path) -> Option<Known> {
        lock(&self.known).get(path).cloned()
    }

    /// Remembers what stands for an object, and what its store says of it.
    pub(crate) fn remember(&self, address: &Address, about: Option<About>) -> PathBuf {
        let path = address.path();
        lock(&self.known).insert(path.clone(), Known { address: address.clone(), about, shape: None });
        path
    }

    pub(crate) fn note(&self, path: &Path, about: About, shape: Option<Shape>) {
        if let Some(known) = lock(&self.known).get_mut(path) {
            known.about = Some(about);
            known.shape = shape.or(known.shape.take());
        }
    }

    /// The bytes of an object, or its first ones.
    pub(crate) async fn fetch(
        &self,
        address: &Address,
        head: Option<u64>,
        most: u64,
    ) -> Result<Fetched, String> {
        let client = self.client(address)?;
        let _turn = self.requests.acquire().await.map_err(|error| error.to_string())?;
        fetch(&*client, address, head, most, &self.options).await
    }

    /// What a store says of an object.
    pub(crate) async fn about(&self, address: &Address) -> Result<About, String> {
        let client = self.client(address)?;
        let _turn = self.requests.acquire().await.map_err(|error| error.to_string())?;
        let location = location(address).map_err(|error| words(&error, address))?;
        let meta = client.head(&location).await.map_err(|error| words(&error, address))?;
        Ok(about(address, &meta))
    }

    /// Every object under an address, with its name relative to it, in the order of the names.
    pub(crate) async fn objects(&self, address: &Address) -> Result<Vec<(String, Address, About)>, String> {
        let client = self.client(address)?;
        let prefix = location(address).map_err(|error| words(&error, address))?;
        let mut listed = client.list(Some(&prefix));
        let mut objects = Vec::new();
        let start = if address.key.is_empty() { String::new() } else { format!("{}/", prefix.as_ref()) };
        while let Some(meta) = listed.next().await {
            let meta = meta.map_err(|error| words(&error, address))?;
            let key = meta.location.as_ref();
            let Some(name) = key.strip_prefix(&start).filter(|name| !name.is_empty()) else { continue };
            let at = address.with_key(key);
            let about = about(&at, &meta);
            objects.push((name.to_owned(), at, about));
        }
        objects.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(objects)
    }

    /// Fetches what comes next, as far as the window goes.
    fn fill(self: &Arc<Self>, runtime: &Runtime, most: u64) {
        loop {
            let mut ahead = lock(&self.ahead);
            let next = ahead.next(2 * self.options.concurrency, self.options.ahead_bytes);
            let Some((path, size)) = next else { return };
            let (send, arrival) = sync_channel(1);
            ahead.fetching(path.clone(), size, arrival);
            drop(ahead);
            let Some(known) = self.of(&path) else { continue };
            let shared = self.clone();
            runtime.spawn(async move {
                // Nobody may wait for it any more.
                let _ = send.send(shared.fetch(&known.address, None, most).await);
            });
        }
    }
}

impl Stores {
    /// Starts two threads for requests.
    ///
    /// # Errors
    /// [`DataError::Request`] where the system refuses them.
    pub fn new(options: FetchOptions) -> Result<Arc<Self>> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("requests")
            .enable_all()
            .build()
            .map_err(|error| {
                DataError::Request(format!("threads for requests could not be started: {error}"))
            })?;
        let shared = Shared {
            requests: Semaphore::new(options.concurrency.max(1)),
            options,
            clients: Mutex::default(),
            known: Mutex::default(),
            ahead: Mutex::default(),
        };
        Ok(Arc::new(Self { runtime, shared: Arc::new(shared) }))
    }

    /// Waits for requests.
    pub(crate) fn wait<T>(&self, requests: impl Future<Output = T>) -> T {
        self.runtime.block_on(requests)
    }

    /// Width, height and panorama of a photograph that was listed.
    pub fn shape(&self, path: &Path) -> Option<Shape> {
        self.shared.of(path)?.shape
    }

    /// Whether a path stands for an object.
    pub fn holds(&self, path: &Path) -> bool {
        path.to_str().is_some_and(is_address)
    }

    fn address(&self, path: &Path) -> Result<Known> {
        if let Some(known) = self.shared.of(path) {
            return Ok(known);
        }
        let address = Address::parse(&path.to_string_lossy())?;
        Ok(Known { address, about: None, shape: None })
    }
}

impl PhotoFiles for Stores {
    fn read(&self, path: &Path, limits: &Limits) -> Result<(Vec<u8>, FileFingerprint)> {
        if !self.holds(path) {
            return Disk.read(path, limits);
        }
        let problem = |problem: String| DataError::image(path, problem);
        let arrival = lock(&self.shared.ahead).take(path);
        self.shared.fill(&self.runtime, limits.max_bytes);
        let fetched = match arrival.map(|arrival| arrival.recv()) {
            Some(Ok(fetched)) => fetched.map_err(problem)?,
            // The task is gone, which a request by itself can say more about.
            Some(Err(_)) | None => {
                let address = self.address(path)?.address;
                self.wait(self.shared.fetch(&address, None, limits.max_bytes)).map_err(problem)?
            }
        };
        self.shared.note(path, fetched.about, None);
        let file = fetched.about.version.unwrap_or_else(|| FileFingerprint::of(&fetched.bytes));
        Ok((fetched.bytes, file))
    }

    fn fingerprints(&self, paths: &[&Path]) -> Vec<Result<FileFingerprint>> {
        let of = |path: &Path| {
            let (shared, path) = (self.shared.clone(), path.to_owned());
            let known = self.address(&path);
            async move {
                let known = known?;
                let problem = |problem: String| DataError::image(&path, problem);
                let about = match known.about {
                    Some(about) => about,
                    None => shared.about(&known.address).await.map_err(problem)?,
                };
                shared.note(&path, about, None);
                if let Some(version) = about.version {
                    return Ok(version);
                }
                let most = Limits::default().max_bytes;
                let fetched = shared.fetch(&known.address, None, most).await.map_err(problem)?;
                Ok(FileFingerprint::of(&fetched.bytes))
            }
        };
        let (mut remote, mut local) = (Vec::new(), Vec::new());
        for (number, path) in paths.iter().enumerate() {
            if self.holds(path) { remote.push((number, *path)) } else { local.push((number, *path)) }
        }
        let files: Vec<&Path> = local.iter().map(|(_, path)| *path).collect();
        let mut all: Vec<(usize, Result<FileFingerprint>)> =
            local.iter().map(|(number, _)| *number).zip(Disk.fingerprints(&files)).collect();
        let requests = remote.into_iter().map(|(number, path)| {
            let request = of(path);
            async move { (number, request.await) }
        });
        let concurrency = self.shared.options.concurrency;
        all.extend(self.wait(futures_util::stream::iter(requests).buffered(concurrency).collect::<Vec<_>>()));
        all.sort_by_key(|(number, _)| *number);
        all.into_iter().map(|(_, fingerprint)| fingerprint).collect()
    }

    fn announce(&self, paths: &[&Path], limits: &Limits) {
        let size = |path: &Path| self.shared.of(path).and_then(|known| known.about).map(|about| about.bytes);
        let objects: Vec<(PathBuf, u64)> = paths
            .iter()
            .filter(|path| self.shared.of(path).is_some())
            .map(|path| (path.to_path_buf(), size(path).unwrap_or(USUAL_BYTES)))
            .collect();
        lock(&self.shared.ahead).announce(objects.into_iter());
        self.shared.fill(&self.runtime, limits.max_bytes);
    }
}
