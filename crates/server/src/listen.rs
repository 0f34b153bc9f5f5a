//! Connections: accepted, bounded in number and time, and ended without losing what was taken.

use crate::error::{Result, ServeError};
use crate::patience::Patient;
use crate::routes::router;
use crate::service::Service;
use axum::Router;
use futures_util::future::{Either, select};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

/// Open connections at a time.
const CONNECTIONS: usize = 4096;

/// Open files that are asked of the system: one for each connection, and some more.
const FILES: u64 = 8192;

/// Threads that talk to clients: they compute nothing.
const THREADS: usize = 2;

/// Threads that read files.
const READERS: usize = 8;

/// Longest time for the head of a request to arrive, and for a connection to be idle.
const HEAD: Duration = Duration::from_secs(10);

/// Longest time for a handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Most headers of a request, and most bytes of its head.
const HEADERS: usize = 64;
const HEAD_BYTES: usize = 16 << 10;

/// How long connections may take to finish besides the time of a query.
const GRACE: Duration = Duration::from_secs(15);

/// A service that listens.
#[derive(Debug)]
pub struct Server {
    service: Arc<Service>,
    address: SocketAddr,
    runtime: Option<Runtime>,
    stop: watch::Sender<bool>,
    connections: Arc<Semaphore>,
}

impl Server {
    /// Listens on an address, in threads of its own; port 0 is any free one.
    ///
    /// # Errors
    /// [`ServeError::Io`] for an address that cannot be listened on.
    pub fn start(service: Arc<Service>, listen: SocketAddr, tls: Option<Arc<ServerConfig>>) -> Result<Self> {
        raise_file_limit();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .max_blocking_threads(READERS)
            .thread_name("http")
            .enable_all()
            .build()
            .map_err(|error| ServeError::io("threads", error))?;
        let refused = |error| ServeError::io(listen.to_string(), error);
        let listener = runtime.block_on(TcpListener::bind(listen)).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let (stop, stopped) = watch::channel(false);
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        let accept = Accept {
            router: router(&service),
            service: service.clone(),
            tls: tls.map(TlsAcceptor::from),
            connections: connections.clone(),
            stopped,
        };
        runtime.spawn(accept.run(listener));
        for watch in service.watches() {
            runtime.spawn(watch.run(service.clone()));
        }
        Ok(Self { service, address, runtime: Some(runtime), stop, connections })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it serves.
    pub fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// Waits for SIGTERM or SIGINT (Ctrl-C), then ends as [`stop`](Self::stop) does; a second signal ends at once.
    ///
    /// # Errors
    /// [`ServeError::Io`] where signals cannot be waited for.
    pub fn run_until_signal(mut self) -> Result<()> {
        let Some(runtime) = &self.runtime else { return Ok(()) };
        runtime.block_on(signal()).map_err(|error| ServeError::io("signals", error))?;
        tracing::info!("stopping: what was taken is finished, nothing more is taken");
        runtime.spawn(async {
            if signal().await.is_ok() {
                tracing::warn!("a second signal: ended at once");
                std::process::exit(1);
            }
        });
        self.end();
        Ok(())
    }

    /// Takes no more connections and requests, finishes what it has taken, and ends.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        self.service.stop();
        // Nobody listens only if the accepting task has ended.
        let _ = self.stop.send(true);
        let all = self.connections.acquire_many(CONNECTIONS as u32);
        let patience = self.service.limits.turn + GRACE;
        if runtime.block_on(async { timeout(patience, all).await }).is_err() {
            tracing::warn!("connections that did not finish are cut");
        }
        self.service.close();
        runtime.shutdown_timeout(Duration::from_secs(1));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// The first signal that asks the process to end.
async fn signal() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        select(pin!(terminate.recv()), pin!(interrupt.recv())).await;
        Ok(())
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}

/// Asks for room for as many connections as are accepted; what the system allows is enough to start.
fn raise_file_limit() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        if current.is_some_and(|current| current < FILES) {
            let current = Some(maximum.map_or(FILES, |maximum| maximum.min(FILES)));
            let _ = setrlimit(Resource::Nofile, Rlimit { current, maximum });
        }
    }
}

struct Accept {
    router: Router,
    service: Arc<Service>,
    tls: Option<TlsAcceptor>,
    connections: Arc<Semaphore>,
    stopped: watch::Receiver<bool>,
}

impl Accept {
    async fn run(self, listener: TcpListener) {
        loop {
            let next = async {
                let permit = self.connections.clone().acquire_owned().await;
                (permit, listener.accept().await)
            };
            let mut stopped = self.stopped.clone();
            match select(pin!(next), pin!(stopped.changed())).await {
                Either::Right(_) => return,
                Either::Left(((Ok(permit), Ok((stream, _))), _)) => self.connect(stream, permit),
                // Too many open files, or a client that went away: neither ends the service.
                Either::Left(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    }

    fn connect(&self, stream: TcpStream, permit: OwnedSemaphorePermit) {
        // An answer is sent whole: to wait for more would only delay it.
        let _ = stream.set_nodelay(true);
        let (service, router, stopped) = (self.service.clone(), self.router.clone(), self.stopped.clone());
        let tls = self.tls.clone();
        tokio::spawn(async move {
            service.metrics.connections.fetch_add(1, Ordering::Relaxed);
            match tls {
                None => converse(stream, router, stopped, &service).await,
                Some(tls) => {
                    if let Ok(Ok(stream)) = timeout(HANDSHAKE, tls.accept(stream)).await {
                        converse(stream, router, stopped, &service).await;
                    }
                }
            }
            service.metrics.connections.fetch_sub(1, Ordering::Relaxed);
            drop(permit);
        });
    }
}

/// Answers the requests of one connection until it ends, or the service does.
async fn converse<S>(stream: S, router: Router, mut stopped: watch::Receiver<bool>, service: &Service)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_headers(HEADERS)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(Patient::new(stream)), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    let ends = async {
        // The sender lives as long as the service.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    // How a connection failed is its client's concern.
    if let Either::Right(_) = select(connection.as_mut(), pin!(ends)).await {
        connection.as_mut().graceful_shutdown();
        let end = Instant::now() + service.limits.turn + GRACE;
        let _ = timeout_at(end, connection).await;
    }
}
