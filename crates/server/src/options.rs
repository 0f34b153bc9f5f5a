//! What a service is started with.

use crate::basemap::Basemap;
use crate::error::{Result, ServeError};
use crate::keys::{Keys, Role};
use r2former_data::image::Limits;
use r2former_engine::{Extractor, PlaceIndex};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// An index to serve.
#[derive(Debug)]
pub struct ServedIndex {
    /// What requests call it.
    pub name: String,
    /// The index.
    pub index: PlaceIndex,
    /// Its model; indexes of one model share it.
    pub extractor: Arc<Extractor>,
    /// Folders below which its photographs lie, besides those that the index remembers: the folder that was added, or the
    /// folder above it.
    pub photos: Vec<PathBuf>,
    /// Folder of its own that keeps the photographs that are sent to an index of a cluster; without it they are not kept. One
    /// in a folder keeps them there.
    pub uploads: Option<PathBuf>,
}

/// Bounds and rights of a service.
///
/// ```
/// use r2former_server::ServiceOptions;
///
/// let mut options = ServiceOptions::default();
/// options.queue = 8;
/// assert_eq!(options.max_body, 32 << 20);
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct ServiceOptions {
    /// Queries that may wait while others are computed; 32 by default.
    pub queue: usize,
    /// Queries that are computed at a time, each by all cores; 1 by default.
    pub workers: usize,
    /// Longest time that a query waits for its turn; 30 s by default.
    pub timeout: Duration,
    /// Largest body of a request in bytes; 32 MiB by default.
    pub max_body: usize,
    /// Most pixels of a photograph; 64 million by default.
    pub max_pixels: u64,
    /// Most photographs of one request to `/v1/locate/batch`; 64 by default.
    pub max_batch: usize,
    /// Sessions at a time, of which one key may have a quarter; 64 by default.
    pub sessions: usize,
    /// Frames of a session that its track remembers: the last ones; 4096 by default.
    pub session_frames: usize,
    /// How long a session stays without a frame; 15 minutes by default.
    pub session_idle: Duration,
    /// Folders whose new photographs are added, each to the index of a name, or to the first.
    pub watch: Vec<(Option<String>, PathBuf)>,
    /// Keys; without them everybody has the role [`anonymous`](Self::anonymous).
    pub keys: Option<Keys>,
    /// The role of requests without a key; none is let in if `None`.
    pub anonymous: Option<Role>,
    /// Names by which the service is called, in the header Host; any if `None`.
    pub hosts: Option<Vec<String>>,
    /// Origins whose pages may read answers; `*` is all.
    pub cors: Vec<String>,
    /// The base map of the page; a grid if `None`.
    pub basemap: Option<Basemap>,
}

impl Default for ServiceOptions {
    fn default() -> Self {
        Self {
            queue: 32,
            workers: 1,
            timeout: Duration::from_secs(30),
            max_body: 32 << 20,
            max_pixels: 64_000_000,
            max_batch: 64,
            sessions: 64,
            session_frames: 4096,
            session_idle: Duration::from_secs(15 * 60),
            watch: Vec::new(),
            keys: None,
            anonymous: Some(Role::Read),
            hosts: None,
            cors: Vec::new(),
            basemap: None,
        }
    }
}

impl ServiceOptions {
    /// Sets who may do what on an address.
    ///
    /// On loopback everybody is on this machine and may do everything, unless there are keys; requests must be addressed
    /// to a loopback name, so that no page of the web reaches the service under a name of its own. On any other address, or
    /// under other `names` (behind a proxy), keys are needed, or `unauthenticated`: anybody may read.
    ///
    /// # Errors
    /// [`ServeError::Options`] for an address that others reach, without keys; for CORS that would let any page of the web
    /// do everything.
    pub fn for_address(
        mut self,
        listen: SocketAddr,
        names: Vec<String>,
        keys: Option<Keys>,
        unauthenticated: bool,
    ) -> Result<Self> {
        let here = listen.ip().is_loopback() && names.is_empty();
        self.anonymous = match (&keys, unauthenticated) {
            (None, false) if here => Some(Role::Admin),
            (None, false) => {
                let reached = if listen.ip().is_loopback() {
                    format!("{} is served under other names", listen.ip())
                } else {
                    format!("{} is reached from other machines", listen.ip())
                };
                return Err(ServeError::Options(format!(
                    "{reached}: give --keys FILE (r2former serve --new-key read makes a key), or let anybody read with \
                     --allow-unauthenticated"
                )));
            }
            (Some(_), false) => None,
            (_, true) => Some(Role::Read),
        };
        if self.cors.iter().any(|origin| origin == "*") && keys.is_none() && !unauthenticated {
            return Err(ServeError::Options(
                "--cors '*' without keys: any page of the web could change the index; name the origins, or give --keys FILE"
                    .into(),
            ));
        }
        self.hosts = (listen.ip().is_loopback() || !names.is_empty()).then(|| {
            let loopback = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned);
            loopback
                .into_iter()
                .chain(listen.ip().is_loopback().then(|| host_of(listen)))
                .chain(names)
                .collect()
        });
        self.keys = keys;
        Ok(self)
    }

    /// Limits of a photograph, for [`Extractor::with_limits`].
    pub fn image_limits(&self) -> Limits {
        Limits { max_pixels: self.max_pixels, max_bytes: self.max_body as u64, ..Limits::default() }
    }
}

/// An address without its port, as the header Host has it.
fn host_of(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(listen: &str, names: &[&str], keys: bool, open: bool) -> Result<ServiceOptions> {
        let home = tempfile::tempdir().expect("temporary folder");
        let file = home.path().join("keys");
        std::fs::write(&file, format!("role=read sha256={}", "a".repeat(64))).expect("a file");
        let keys = keys.then(|| Keys::open(&file).expect("sound"));
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        ServiceOptions::default().for_address(listen.parse().expect("an address"), names, keys, open)
    }

    #[test]
    fn an_address_decides_who_may_do_what() {
        for (listen, names, keys, open, anonymous) in [
            ("127.0.0.1:0", &[][..], false, false, Some(Role::Admin)),
            ("[::1]:0", &[], false, false, Some(Role::Admin)),
            ("127.0.0.1:0", &[], true, false, None),
            ("127.0.0.1:0", &["example.org"], true, false, None),
            ("0.0.0.0:0", &[], true, false, None),
            ("0.0.0.0:0", &[], true, true, Some(Role::Read)),
            ("0.0.0.0:0", &[], false, true, Some(Role::Read)),
        ] {
            let options = rights(listen, names, keys, open).expect(listen);
            assert_eq!(options.anonymous, anonymous, "{listen}");
            assert_eq!(options.hosts.is_some(), listen != "0.0.0.0:0");
        }
        for (listen, names) in [("0.0.0.0:0", &[][..]), ("127.0.0.1:0", &["example.org"]), ("[::]:0", &[])] {
            let message = rights(listen, names, false, false).expect_err(listen).to_string();
            assert!(message.contains("--keys FILE"), "{message}");
        }
    }
}
