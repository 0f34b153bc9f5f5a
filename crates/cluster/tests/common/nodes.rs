//! A Qdrant cluster on this machine, for tests: started from the program that `R2FORMER_QDRANT` names, on free ports of the
//! loopback, and killed when it is dropped. Without the variable a test that needs one says so and does nothing.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test uses some of it")]

use std::fs::File;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use r2former_cluster::Address;

/// How long a node may take to answer after its start.
const START: Duration = Duration::from_secs(90);

/// A cluster of one node or several.
pub struct Nodes {
    program: PathBuf,
    dir: tempfile::TempDir,
    nodes: Vec<Node>,
    key: Option<String>,
    /// Settings besides those of every node.
    settings: Vec<(&'static str, String)>,
    /// One cluster at a time: they are large programs.
    _one: MutexGuard<'static, ()>,
}

struct Node {
    http: u16,
    grpc: u16,
    p2p: u16,
    child: Option<Child>,
}

impl Nodes {
    /// Starts `count` nodes; none where there is no program.
    pub fn start(count: usize) -> Option<Self> {
        Self::start_with(count, None, Vec::new())
    }

    /// Like [`start`](Self::start), with a key that requests must have, and more settings.
    pub fn start_with(
        count: usize,
        key: Option<&str>,
        settings: Vec<(&'static str, String)>,
    ) -> Option<Self> {
        static ONE: Mutex<()> = Mutex::new(());
        let Some(program) = std::env::var_os("R2FORMER_QDRANT") else {
            // Not by a macro, whose output a passing test does not show.
            let _ = writeln!(std::io::stderr(), "SKIPPED: R2FORMER_QDRANT names no program of Qdrant");
            return None;
        };
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let node = |_| {
            let [http, grpc, p2p] = free_ports();
            Node { http, grpc, p2p, child: None }
        };
        let mut cluster = Self {
            program: program.into(),
            dir: tempfile::tempdir().unwrap(),
            nodes: (0..count).map(node).collect(),
            key: key.map(Into::into),
            settings,
            _one: one,
        };
        for i in 0..count {
            cluster.restart(i);
        }
        cluster.wait_for_peers(count);
        Some(cluster)
    }

    /// Starts a node that is not running, with what it had.
    pub fn restart(&mut self, i: usize) {
        let dir = self.dir.path().join(format!("node-{i}"));
        std::fs::create_dir_all(&dir).unwrap();
        let log = File::options().create(true).append(true).open(dir.join("log")).unwrap();
        let first = self.nodes[0].p2p;
        let Node { http, grpc, p2p, .. } = self.nodes[i];
        let mut command = Command::new(&self.program);
        command
            .current_dir(&dir)
            .env("QDRANT__SERVICE__HOST", "127.0.0.1")
            .env("QDRANT__SERVICE__HTTP_PORT", http.to_string())
            .env("QDRANT__SERVICE__GRPC_PORT", grpc.to_string())
            .env("QDRANT__STORAGE__STORAGE_PATH", dir.join("storage"))
            .env("QDRANT__STORAGE__SNAPSHOTS_PATH", dir.join("snapshots"))
            .env("QDRANT__TELEMETRY_DISABLED", "true")
            .env("QDRANT__LOG_LEVEL", "INFO")
            .arg("--disable-telemetry")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        if let Some(key) = &self.key {
            command.env("QDRANT__SERVICE__API_KEY", key);
        }
        if self.nodes.len() > 1 {
            command
                .env("QDRANT__CLUSTER__ENABLED", "true")
                .env("QDRANT__CLUSTER__P2P__PORT", p2p.to_string())
                .args(["--uri", &format!("http://127.0.0.1:{p2p}")]);
            if i > 0 {
                command.args(["--bootstrap", &format!("http://127.0.0.1:{first}")]);
            }
        }
        self.nodes[i].child = Some(command.spawn().unwrap());
        let until = Instant::now() + START;
        while TcpStream::connect(("127.0.0.1", grpc)).is_err() {
            let ended = self.nodes[i].child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < until, "node {i} does not start: {}", self.log(i));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Kills a node as a power cut would: at once.
    pub fn kill(&mut self, i: usize) {
        if let Some(mut child) = self.nodes[i].child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// The last lines of a node's log.
    pub fn log(&self, i: usize) -> String {
        let text = std::fs::read(self.dir.path().join(format!("node-{i}")).join("log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().rev().take(40).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// The address of a collection, which names every node, the `first` of them first.
    pub fn address_from(&self, first: usize, collection: &str) -> Address {
        let count = self.nodes.len();
        let hosts: Vec<_> =
            (0..count).map(|i| format!("127.0.0.1:{}", self.nodes[(first + i) % count].grpc)).collect();
        format!("qdrant://{}/{collection}", hosts.join(",")).parse().unwrap()
    }

    /// The address of a collection.
    pub fn address(&self, collection: &str) -> Address {
        self.address_from(0, collection)
    }

    /// A node's folder.
    pub fn folder(&self, i: usize) -> PathBuf {
        self.dir.path().join(format!("node-{i}")).join("storage")
    }

    /// A node's process.
    pub fn process(&self, i: usize) -> Option<u32> {
        self.nodes[i].child.as_ref().map(Child::id)
    }

    /// A request of HTTP/1 to a node, and its answer.
    pub fn http(&self, i: usize, method: &str, path: &str, body: &str) -> String {
        use std::io::{Read, Write};
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.nodes[i].http)) else {
            return String::new();
        };
        let key = self.key.as_ref().map(|key| format!("api-key: {key}\r\n")).unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{key}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut answer = String::new();
        let sent = stream.write_all(request.as_bytes());
        if sent.is_ok() {
            let _ = stream.read_to_string(&mut answer);
        }
        answer
    }

    /// Waits until every node knows of all.
    fn wait_for_peers(&self, count: usize) {
        if count < 2 {
            return;
        }
        let until = Instant::now() + START;
        for i in 0..count {
            while self.http(i, "GET", "/cluster", "").matches("\"uri\":").count() < count {
                assert!(Instant::now() < until, "node {i} does not find the others: {}", self.log(i));
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }

    /// Waits until all replicas of a collection are in use again, as every node says.
    pub fn wait_for_replicas(&self, collection: &str) {
        let until = Instant::now() + 2 * START;
        for i in 0..self.nodes.len() {
            loop {
                let answer = self.http(i, "GET", &format!("/collections/{collection}/cluster"), "");
                let inactive = ["Dead", "Partial", "Initializing", "Listener", "Recovery", "PartialSnapshot"]
                    .iter()
                    .any(|state| answer.contains(&format!("\"state\":\"{state}\"")));
                if answer.contains("\"state\":\"Active\"") && !inactive {
                    break;
                }
                assert!(Instant::now() < until, "node {i}: {answer}\n{}", self.log(i));
                std::thread::sleep(Duration::from_millis(200));
            }
        }
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for i in 0..self.nodes.len() {
            if std::thread::panicking() {
                eprintln!("node {i}:\n{}", self.log(i));
            }
            self.kill(i);
        }
    }
}

/// Ports that nothing uses at the moment.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners: [TcpListener; N] = std::array::from_fn(|_| TcpListener::bind(("127.0.0.1", 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
