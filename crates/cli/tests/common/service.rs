//! `r2former serve` as a process.

use super::PROGRAM;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

/// The program, serving on a free port.
pub(crate) struct Serving {
    pub(crate) child: Child,
    address: String,
}

impl Serving {
    /// Serves an index: a folder, or the address of a collection.
    pub(crate) fn start(index: impl AsRef<OsStr>, more: &[&str], env: &[(&str, &str)]) -> Self {
        let mut child = Command::new(PROGRAM)
            .arg("serve")
            .arg(index)
            .args(more)
            .envs(env.iter().copied())
            .args(["--listen", "127.0.0.1:0", "--log", "json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        let out = child.stdout.take().expect("a pipe");
        BufReader::new(out).read_line(&mut line).expect("a line");
        let address = line.split_whitespace().next().and_then(|url| url.strip_prefix("http://"));
        Self { address: address.unwrap_or_else(|| panic!("{line}")).to_owned(), child }
    }

    /// Sends a photograph; returns the whole answer.
    pub(crate) fn post(&self, path: &str, body: &[u8]) -> String {
        self.ask("POST", path, body)
    }

    /// The whole answer to a request, as far as it is text.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &[u8]) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat()).expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        String::from_utf8_lossy(&answer).into_owned()
    }
}
