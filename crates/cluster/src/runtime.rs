//! The runtime on which all requests run, and waiting for them from any thread.

use std::future::Future;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, sync_channel};

use tokio::runtime::{Builder, Runtime};

/// Threads of the runtime: they pass messages on; what takes time is done by the caller's thread and by the cluster.
const THREADS: usize = 2;

/// The process's one runtime. It is never shut down: that would not be allowed within another runtime's thread.
fn runtime() -> Result<&'static Runtime, String> {
    static RUNTIME: OnceLock<Result<(u32, Runtime), String>> = OnceLock::new();
    let process = std::process::id();
    let made = RUNTIME.get_or_init(|| {
        let built = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("r2former-cluster")
            .enable_all()
            .build();
        let failed = |error| format!("no threads for requests can be started: {error}");
        built.map(|runtime| (process, runtime)).map_err(failed)
    });
    match made {
        Ok((of, runtime)) if *of == process => Ok(runtime),
        // Threads do not survive that, and nothing would ever be answered.
        Ok(_) => {
            Err("this process was forked from one that had opened an index of a cluster; start it afresh \
                      (Python: the start method \"spawn\")"
                .into())
        }
        Err(problem) => Err(problem.clone()),
    }
}

/// A request on its way.
#[derive(Debug)]
pub(crate) struct Pending<T>(Receiver<T>);

impl<T> Pending<T> {
    /// Waits for its end. The thread is blocked meanwhile, whatever else runs on it.
    ///
    /// # Errors
    /// If the request panicked.
    pub(crate) fn wait(self) -> Result<T, String> {
        self.0.recv().map_err(|error| format!("a request did not come to its end: {error}"))
    }
}

/// Starts a request on the threads of this module, so that the caller may be a thread of another runtime.
///
/// # Errors
/// If there are no such threads.
pub(crate) fn start<T: Send + 'static>(
    request: impl Future<Output = T> + Send + 'static,
) -> Result<Pending<T>, String> {
    let (sender, receiver) = sync_channel(1);
    runtime()?.spawn(async move {
        // Whoever gave up waiting has no use for it.
        let _ = sender.send(request.await);
    });
    Ok(Pending(receiver))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_runs_inside_and_outside_of_another_runtime() {
        let ask = || start(async { 6 * 7 }).and_then(Pending::wait);
        assert_eq!(ask(), Ok(42));
        let other = Builder::new_current_thread().enable_all().build().unwrap();
        assert_eq!(other.block_on(async { ask() }), Ok(42));
        let other = Builder::new_multi_thread().worker_threads(1).build().unwrap();
        assert_eq!(other.block_on(async { tokio::spawn(async move { ask() }).await }).unwrap(), Ok(42));
    }

    #[test]
    fn a_request_that_panics_is_an_error() {
        let failed: Result<(), String> = start(async { panic!("on purpose") }).and_then(Pending::wait);
        assert!(failed.is_err());
    }
}
