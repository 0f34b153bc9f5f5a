//! Connections to the nodes of a cluster: which node is asked, how long, and how often.
//!
//! A node is asked until it does not answer; then the next one is. Each connection is made once: a node that died and
//! came back is connected to again, knowingly, since what it has may be behind what was acknowledged meanwhile. Before
//! it is asked anything, the other nodes are asked what they think of it.

use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hyper_util::rt::TokioIo;
use qdrant_client::qdrant::collections_client::CollectionsClient;
use qdrant_client::qdrant::{CollectionClusterInfoRequest, CollectionClusterInfoResponse, ReplicaState};
use r2former_index::{IndexError, Result};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tonic::codegen::Service;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Uri};
use tonic::{Request, Response, Status};

use crate::address::Address;
use crate::backoff::Backoff;
use crate::failure::{Trouble, chain, sort};

/// Where the key comes from, and the authority of the nodes' certificates.
const KEY: &str = "R2FORMER_QDRANT_KEY";
const KEY_FILE: &str = "R2FORMER_QDRANT_KEY_FILE";
const CA: &str = "R2FORMER_QDRANT_CA";

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(4);

/// How long another node may take to say what it thinks of one.
const OPINION: Duration = Duration::from_secs(2);

/// Rounds through all nodes before a cluster counts as unreachable that never answered.
const ROUNDS: usize = 4;

/// Bytes on their way that need no confirmation: answers have megabytes.
const WINDOW: u32 = 8 << 20;

/// A kind of request: what it does, in words, and how long it may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask {
    pub(crate) doing: &'static str,
    /// With all repetitions.
    pub(crate) deadline: Duration,
    /// One try of one node.
    pub(crate) each: Duration,
}

/// A cluster, and the connections to it.
pub(crate) struct Cluster {
    address: Address,
    key: Option<MetadataValue<Ascii>>,
    /// Where the key came from, in words.
    key_from: &'static str,
    hosts: Vec<Host>,
    /// The node that is asked.
    current: AtomicUsize,
    /// Whether any node ever answered.
    answered: AtomicBool,
}

struct Host {
    name: String,
    endpoint: Endpoint,
    channel: Mutex<Option<Channel>>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Cluster {
    /// Reads the key and the authority; connects to nothing.
    pub(crate) fn new(address: &Address) -> Result<Self> {
        let refuse = |problem: String| IndexError::Request { dir: address.path(), problem };
        let (key, key_from) = key()?;
        let key = match key {
            Some(key) => {
                let mut value = MetadataValue::try_from(&key)
                    .map_err(|_cannot_show| refuse(format!("{key_from} holds characters that no key has")))?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        let tls = if address.tls() { Some(tls()?) } else { None };
        let scheme = if address.tls() { "https" } else { "http" };
        let host = |name: &String| {
            let endpoint = Endpoint::from_shared(format!("{scheme}://{name}"));
            let endpoint = endpoint.map_err(|error| refuse(format!("{name}: {error}")))?;
            let endpoint = endpoint
                .http2_keep_alive_interval(Duration::from_secs(10))
                .keep_alive_timeout(Duration::from_secs(10))
                .initial_stream_window_size(WINDOW)
                .initial_connection_window_size(2 * WINDOW);
            let endpoint = match &tls {
                Some(tls) => endpoint
                    .tls_config(tls.clone())
                    .map_err(|error| refuse(format!("TLS cannot be used: {}", chain(&error))))?,
                None => endpoint,
            };
            Ok(Host { name: name.clone(), endpoint, channel: Mutex::new(None) })
        };
        let hosts = address.hosts().iter().map(host).collect::<Result<_>>()?;
        Ok(Self {
            address: address.clone(),
            key,
            key_from,
            hosts,
            current: AtomicUsize::new(0),
            answered: AtomicBool::new(false),
        })
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Asks one node after the other, until one answers or the deadline is over.
    pub(crate) async fn ask<Q, A, F>(
        &self,
        ask: Ask,
        request: &Q,
        send: impl Fn(Channel, Request<Q>) -> F,
    ) -> Result<A>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let until = Instant::now() + ask.deadline;
        let mut waits = Backoff::new();
        let mut failures = 0;
        let mut unreachable = BTreeMap::new();
        loop {
            let at = self.current.load(Ordering::Relaxed) % self.hosts.len();
            let name = &self.hosts[at].name;
            let mut wait_for = None;
            let last;
            match self.attempt(at, ask, until, request.clone(), &send).await {
                Ok(answer) => {
                    self.answered.store(true, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(Trouble::Final(error)) => return Err(error),
                Err(Trouble::Connection(problem)) => {
                    *self.hosts[at].channel.lock().await = None;
                    last = format!("{name}: {problem}");
                    unreachable.insert(name, problem);
                }
                Err(Trouble::Node(problem, wait)) => {
                    last = format!("{name}: {problem}");
                    wait_for = wait;
                    unreachable.clear();
                }
            }
            failures += 1;
            let next = (at + 1) % self.hosts.len();
            let _ = self.current.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
            let hopeless = !self.answered.load(Ordering::Relaxed) && failures >= ROUNDS * self.hosts.len();
            // Another node is asked at once; all of them again after a while.
            let wait = if failures % self.hosts.len() == 0 || wait_for.is_some() {
                waits.next(wait_for)
            } else {
                Duration::ZERO
            };
            let late = Instant::now() + wait >= until;
            if unreachable.len() == self.hosts.len() && (hopeless || late) {
                let each: Vec<_> =
                    unreachable.iter().map(|(name, problem)| format!("{name}: {problem}")).collect();
                return Err(IndexError::Unreachable {
                    address: self.address.to_string(),
                    problem: each.join("; "),
                });
            }
            if late {
                return Err(IndexError::Deadline {
                    address: self.address.to_string(),
                    doing: ask.doing,
                    seconds: ask.deadline.as_secs(),
                    problem: last,
                });
            }
            tokio::time::sleep(wait).await;
        }
    }

    async fn attempt<Q, A, F>(
        &self,
        at: usize,
        ask: Ask,
        until: Instant,
        request: Q,
        send: impl Fn(Channel, Request<Q>) -> F,
    ) -> Result<A, Trouble>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let channel = self.channel(at, true).await?;
        let each = ask.each.min(until.saturating_duration_since(Instant::now()));
        match timeout(each, send(channel, self.request(request))).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(sort(&self.address, self.key_from, ask.doing, &status)),
            Err(_elapsed) => {
                Err(Trouble::Node(format!("no answer within {} s", each.as_secs_f32().round()), None))
            }
        }
    }

    fn request<Q>(&self, message: Q) -> Request<Q> {
        let mut request = Request::new(message);
        if let Some(key) = &self.key {
            request.metadata_mut().insert("api-key", key.clone());
        }
        request
    }

    /// The connection to a node; a new one only if the others do not say that it is behind.
    async fn channel(&self, at: usize, check: bool) -> Result<Channel, Trouble> {
        let host = &self.hosts[at];
        let mut slot = host.channel.lock().await;
        if let Some(channel) = &*slot {
            return Ok(channel.clone());
        }
        let channel = host.connect().await.map_err(Trouble::Connection)?;
        if check && self.hosts.len() > 1 {
            // Raft needs a moment until all nodes have heard of a change.
            for i in 0..3 {
                match self.behind(at, &channel).await {
                    None => break,
                    Some(problem) if i == 2 => return Err(Trouble::Node(problem, None)),
                    Some(_) => tokio::time::sleep(Duration::from_millis(200)).await,
                }
            }
        }
        *slot = Some(channel.clone());
        Ok(channel)
    }

    /// Whether another node has a shard of this one out of use that this one takes for good: it has not yet heard of
    /// what happened while it was away.
    async fn behind(&self, at: usize, channel: &Channel) -> Option<String> {
        let own = self.view(channel.clone()).await?;
        let others = (0..self.hosts.len()).filter(|&other| other != at).map(|other| async move {
            // A node that does not answer thinks nothing.
            let channel = match self.hosts[other].channel.try_lock() {
                Ok(slot) => slot.clone(),
                Err(_busy) => None,
            };
            let channel = match channel {
                Some(channel) => channel,
                None => timeout(OPINION, self.hosts[other].connect()).await.ok()?.ok()?,
            };
            self.view(channel).await
        });
        let active = ReplicaState::Active as i32;
        for other in join_all(others).await.into_iter().flatten() {
            for shard in own.local_shards.iter().filter(|shard| shard.state == active) {
                let seen = other
                    .remote_shards
                    .iter()
                    .find(|remote| remote.peer_id == own.peer_id && remote.shard_id == shard.shard_id);
                if seen.is_some_and(|seen| seen.state != active) {
                    return Some(format!(
                        "its shard {} is behind, as another node says: it is being brought up to date",
                        shard.shard_id
                    ));
                }
            }
        }
        None
    }

    /// What a node knows of the collection's shards.
    async fn view(&self, channel: Channel) -> Option<CollectionClusterInfoResponse> {
        let mut client = CollectionsClient::new(channel);
        let request = CollectionClusterInfoRequest { collection_name: self.address.collection().into() };
        let answer = timeout(OPINION, client.collection_cluster_info(self.request(request))).await;
        answer.ok()?.ok().map(Response::into_inner)
    }

    /// Each node's answer to a request, where it can be reached.
    pub(crate) async fn ask_each<Q: Clone, A, F>(
        &self,
        request: &Q,
        send: impl Fn(Channel, Request<Q>) -> F,
    ) -> Vec<Result<A, Status>>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let mut answers = Vec::new();
        for at in 0..self.hosts.len() {
            if let Ok(channel) = self.channel(at, false).await
                && let Ok(answer) = timeout(OPINION, send(channel, self.request(request.clone()))).await
            {
                answers.push(answer.map(Response::into_inner));
            }
        }
        answers
    }
}

impl Host {
    async fn connect(&self) -> Result<Channel, String> {
        let dial = Dial { host: self.name.clone(), used: Arc::new(AtomicBool::new(false)) };
        match timeout(CONNECT, self.endpoint.connect_with_connector(dial)).await {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(error)) => Err(chain(&error)),
            Err(_elapsed) => Err(format!("no connection within {} s", CONNECT.as_secs())),
        }
    }
}

/// Connects once: the channel above it would otherwise do so again by itself.
#[derive(Clone)]
struct Dial {
    host: String,
    used: Arc<AtomicBool>,
}

impl Service<Uri> for Dial {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Self { host, used } = self.clone();
        Box::pin(async move {
            if used.swap(true, Ordering::Relaxed) {
                return Err(io::Error::new(io::ErrorKind::NotConnected, "the connection ended"));
            }
            let stream = TcpStream::connect(&host).await?;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(stream))
        })
    }
}

/// The key, and where it came from in words.
fn key() -> Result<(Option<String>, &'static str)> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(key) = set(KEY) {
        return Ok((Some(key), "the key of R2FORMER_QDRANT_KEY"));
    }
    match set(KEY_FILE) {
        Some(path) => {
            let key =
                fs::read_to_string(&path).map_err(|source| IndexError::Io { path: path.into(), source })?;
            Ok((Some(key.trim().to_owned()), "the key in the file that R2FORMER_QDRANT_KEY_FILE names"))
        }
        None => Ok((None, "requests without a key")),
    }
}

/// TLS by the authority of `R2FORMER_QDRANT_CA`, or those that the system trusts.
fn tls() -> Result<ClientTlsConfig> {
    match std::env::var(CA).ok().filter(|path| !path.is_empty()) {
        Some(path) => {
            let path = PathBuf::from(path);
            let pem = fs::read(&path).map_err(|source| IndexError::Io { path, source })?;
            Ok(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)))
        }
        None => Ok(ClientTlsConfig::new().with_native_roots()),
    }
}
