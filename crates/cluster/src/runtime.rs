//! The runtime on which all requests run, and waiting for them from any thread.

use std::future::Future;
use std::sync::OnceLock;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

/// Threads of the runtime: they pass messages on; what takes time is done by the caller's thread and by the cluster.
const THREADS: usize = 2;

/// How much longer than the deadline of a request its caller waits: a request ends by itself, unless the runtime's
/// threads are gone (in a process that was forked).
const GRACE: Duration = Duration::from_secs(30);

/// The process's one runtime. It is never shut down: that would not be allowed within another runtime's thread.
fn runtime() -> Result<&'static Runtime, String> {
    static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();
    let made = RUNTIME.get_or_init(|| {
        let built = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("r2former-cluster")
            .enable_all()
            .build();
        built.map_err(|error| format!("no threads for requests can be started: {error}"))
    });
    made.as_ref().map_err(Clone::clone)
}

/// Runs a request to its end and returns what it returns. It runs on the threads of this module, so that the caller
/// may be a thread of another runtime; that thread is blocked meanwhile.
///
/// # Errors
/// If there are no such threads, or the request does not end by its deadline.
pub(crate) fn wait<T: Send + 'static>(
    deadline: Duration,
    request: impl Future<Output = T> + Send + 'static,
) -> Result<T, String> {
    let (sender, receiver) = sync_channel(1);
    runtime()?.spawn(async move {
        // Whoever gave up waiting has no use for it.
        let _ = sender.send(request.await);
    });
    receiver
        .recv_timeout(deadline.saturating_add(GRACE))
        .map_err(|error| format!("a request did not come to its end: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_runs_inside_and_outside_of_another_runtime() {
        let ask = || wait(Duration::from_secs(5), async { 6 * 7 });
        assert_eq!(ask(), Ok(42));
        let other = Builder::new_current_thread().enable_all().build().unwrap();
        assert_eq!(other.block_on(async { ask() }), Ok(42));
        let other = Builder::new_multi_thread().worker_threads(1).build().unwrap();
        assert_eq!(other.block_on(async { tokio::spawn(async move { ask() }).await }).unwrap(), Ok(42));
    }

    #[test]
    fn a_request_that_panics_is_an_error() {
        let failed: Result<(), String> = wait(Duration::from_secs(5), async { panic!("on purpose") });
        assert!(failed.is_err());
    }
}
