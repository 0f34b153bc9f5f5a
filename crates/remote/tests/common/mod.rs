//! A store on loopback that tests fill and break: list and get as S3 and Google's XML interface have them, and plain HTTP.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Keys of a page of a list: few, so that there are several.
const PAGE: usize = 7;

/// What goes wrong with an object, each time until its count is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The server says 503.
    Busy,
    /// The connection ends in the middle of the body.
    Cut,
    /// Nothing more comes in the middle of the body, for this long.
    Stall(Duration),
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, (Vec<u8>, u32)>,
    faults: BTreeMap<String, (Fault, usize)>,
    /// Requests, as `GET bucket/key` or `GET bucket/key bytes=0-99`.
    log: Vec<String>,
    /// Who requests have to be signed by: an access key of S3, or the address of an account of Google.
    access_key: Option<String>,
    etags: bool,
    ranges: bool,
}

/// The store.
pub(crate) struct Store {
    pub(crate) address: String,
    state: Arc<Mutex<State>>,
}

impl Store {
    /// An empty one, which runs until the test's process ends.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        let address = format!("http://{}", listener.local_addr().expect("is bound"));
        let state = Arc::new(Mutex::new(State { etags: true, ranges: true, ..State::default() }));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = shared.clone();
                std::thread::spawn(move || {
                    // A client that goes away is none of the store's business.
                    let _ = serve(stream, &state);
                });
            }
        });
        Self { address, state }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an object, `BUCKET/KEY`, in place of what was there.
    pub(crate) fn put(&self, key: &str, bytes: impl Into<Vec<u8>>) {
        let mut state = self.lock();
        let version = state.objects.get(key).map_or(1, |(_, version)| version + 1);
        state.objects.insert(key.to_owned(), (bytes.into(), version));
    }

    pub(crate) fn remove(&self, key: &str) {
        self.lock().objects.remove(key);
    }

    /// Breaks the next `times` answers with this object.
    pub(crate) fn fault(&self, key: &str, fault: Fault, times: usize) {
        self.lock().faults.insert(key.to_owned(), (fault, times));
    }

    pub(crate) fn require_key(&self, key: &str) {
        self.lock().access_key = Some(key.to_owned());
    }

    /// A server that says nothing of versions, or knows no ranges.
    pub(crate) fn plain(&self, etags: bool, ranges: bool) {
        let mut state = self.lock();
        (state.etags, state.ranges) = (etags, ranges);
    }

    /// The requests since the last call.
    pub(crate) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().log)
    }
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|two| std::str::from_utf8(two).ok());
        match (bytes[at], hex.and_then(|two| u8::from_str_radix(two, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (b'+', _) => {
                out.push(b' ');
                at += 1;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn serve(stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut out = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut parts = line.split_whitespace();
        let (method, target) =
            (parts.next().unwrap_or_default().to_owned(), parts.next().unwrap_or_default().to_owned());
        let mut headers = BTreeMap::new();
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let Some((name, value)) = header.trim_end().split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let key = decoded(path.trim_start_matches('/').trim_end_matches('/'));
        let query: BTreeMap<String, String> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), decoded(value)))
            .collect();
        answer(&mut out, &method, &key, &query, &headers, state)?;
    }
}

/// An answer without an object; that to a HEAD has no body.
fn simple(out: &mut TcpStream, method: &str, status: &str, body: &str) -> std::io::Result<()> {
    let length = body.len();
    let body = if method == "HEAD" { "" } else { body };
    write!(
        out,
        "HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

fn answer(
    out: &mut TcpStream,
    method: &str,
    key: &str,
    query: &BTreeMap<String, String>,
    headers: &BTreeMap<String, String>,
    state: &Mutex<State>,
) -> std::io::Result<()> {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(wanted) = &state.access_key {
        let signed = |text: &String| {
            text.contains(&format!("Credential={wanted}/")) || issuer(text).is_some_and(|by| by == *wanted)
        };
        if !headers.get("authorization").is_some_and(signed) {
            return simple(out, method, "403 Forbidden", "<Error><Code>AccessDenied</Code></Error>");
        }
    }
    if query.contains_key("list-type") {
        state.log.push(format!("LIST {key} {}", query.get("prefix").map_or("", String::as_str)));
        return list(out, key, query, &state);
    }
    let range = headers.get("range").filter(|_| state.ranges).cloned();
    state.log.push(format!(
        "{method} {key}{}",
        range.as_ref().map(|range| format!(" {range}")).unwrap_or_default()
    ));
    let Some((bytes, version)) = state.objects.get(key).cloned() else {
        return simple(out, method, "404 Not Found", "<Error><Code>NoSuchKey</Code></Error>");
    };
    let fault = match state.faults.get_mut(key) {
        Some((fault, times)) if *times > 0 && method == "GET" => {
            *times -= 1;
            Some(*fault)
        }
        _ => None,
    };
    let etags = state.etags;
    drop(state);
    if fault == Some(Fault::Busy) {
        return simple(out, method, "503 Slow Down", "<Error><Code>SlowDown</Code></Error>");
    }
    let (mut status, mut from, mut to) = ("200 OK", 0, bytes.len());
    if let Some((start, end)) =
        range.as_deref().and_then(|range| range.strip_prefix("bytes=")?.split_once('-'))
    {
        from = start.parse::<usize>().unwrap_or(0).min(bytes.len());
        to = end.parse::<usize>().map_or(bytes.len(), |end| (end + 1).min(bytes.len()));
        status = "206 Partial Content";
    }
    let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", to - from);
    if status.starts_with("206") {
        head.push_str(&format!("Content-Range: bytes {from}-{}/{}\r\n", to.max(1) - 1, bytes.len()));
    }
    if etags {
        let etag = etag(&bytes, version);
        head.push_str(&format!("ETag: \"{etag}\"\r\nLast-Modified: Wed, 01 May 2024 10:00:00 GMT\r\n"));
    }
    out.write_all(format!("{head}\r\n").as_bytes())?;
    if method == "HEAD" {
        return Ok(());
    }
    let body = &bytes[from..to];
    match fault {
        Some(Fault::Cut) => {
            out.write_all(&body[..body.len() / 2])?;
            out.shutdown(std::net::Shutdown::Both)
        }
        Some(Fault::Stall(time)) => {
            out.write_all(&body[..body.len() / 2])?;
            std::thread::sleep(time);
            out.shutdown(std::net::Shutdown::Both)
        }
        _ => out.write_all(body),
    }
}

/// Whose token a request carries: the claim `iss` of a JSON Web Token.
fn issuer(authorization: &str) -> Option<String> {
    let claims = authorization.strip_prefix("Bearer ")?.split('.').nth(1)?;
    let (mut bits, mut held, mut bytes) = (0_u32, 0, Vec::new());
    for letter in claims.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        (bits, held) = ((bits << 6) | u32::from(value), held + 6);
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    let text = String::from_utf8(bytes).ok()?;
    let (_, after) = text.split_once("\"iss\":\"")?;
    Some(after.split_once('"')?.0.to_owned())
}

/// 32 digits that depend on the bytes and, as here nothing needs MD5, on how often they were put.
fn etag(bytes: &[u8], version: u32) -> String {
    let sum = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{sum:016x}{:016x}", version)
}

fn list(
    out: &mut TcpStream,
    bucket: &str,
    query: &BTreeMap<String, String>,
    state: &State,
) -> std::io::Result<()> {
    let prefix = format!("{bucket}/{}", query.get("prefix").map_or("", String::as_str));
    let after = query.get("continuation-token").cloned().unwrap_or_default();
    let mut keys = state.objects.iter().filter(|(key, _)| key.starts_with(&prefix) && **key > after);
    let page: Vec<_> = keys.by_ref().take(PAGE).collect();
    let more = keys.next().is_some();
    let mut body = format!("<?xml version=\"1.0\"?><ListBucketResult><IsTruncated>{more}</IsTruncated>");
    for (key, (bytes, version)) in &page {
        let name = escaped(&key[bucket.len() + 1..]);
        body.push_str(&format!(
            "<Contents><Key>{name}</Key><LastModified>2024-05-01T10:00:00.000Z</LastModified><ETag>\"{}\"</ETag>\
             <Size>{}</Size></Contents>",
            etag(bytes, *version),
            bytes.len()
        ));
    }
    if let Some((last, _)) = page.last().filter(|_| more) {
        body.push_str(&format!("<NextContinuationToken>{}</NextContinuationToken>", escaped(last)));
    }
    body.push_str("</ListBucketResult>");
    simple(out, "GET", "200 OK", &body)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
