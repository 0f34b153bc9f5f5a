//! The base map of the page: pictures from an address, or a local PMTiles file that is read by ranges.

use crate::error::{Result, ServeError};
use crate::problem::{self, Problem};
use crate::service::{Service, blocking};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, RANGE};
use axum::http::{Response, StatusCode};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Largest part of a file of tiles that one request reads: far more than a tile or a directory.
const LARGEST_PART: u64 = 4 << 20;

/// Bytes that a PMTiles file of version 3 begins with.
const MAGIC: &[u8] = b"PMTiles\x03";

/// Where the page's map comes from.
///
/// ```
/// use r2former_server::Basemap;
///
/// let map = Basemap::open("https://tiles.example.org/{z}/{x}/{y}.png", "(c) Example")?;
/// assert_eq!(map.origin(), Some("https://tiles.example.org"));
/// # Ok::<(), r2former_server::ServeError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Basemap {
    source: Source,
    attribution: String,
}

#[derive(Debug, Clone)]
enum Source {
    /// The address with `{z}`, `{x}`, `{y}`, and its scheme and host.
    Address { url: String, origin: String },
    /// A file, and its length.
    File { path: PathBuf, length: u64 },
}

impl Basemap {
    /// An address of pictures with `{z}`, `{x}` and `{y}`, or a PMTiles file; and whom the map has to name.
    ///
    /// # Errors
    /// [`ServeError::Options`] for an address that is no such template, or a file that is not PMTiles of version 3;
    /// [`ServeError::Io`] for one that cannot be read.
    pub fn open(text: &str, attribution: &str) -> Result<Self> {
        let source = match text.split_once("://") {
            Some((scheme, rest)) => address(text, scheme, rest)?,
            None => file(Path::new(text))?,
        };
        Ok(Self { source, attribution: attribution.to_owned() })
    }

    /// The host that the page loads from, as a content security policy names it.
    pub fn origin(&self) -> Option<&str> {
        match &self.source {
            Source::Address { origin, .. } => Some(origin),
            Source::File { .. } => None,
        }
    }

    /// What the page needs to draw it.
    pub(crate) fn summary(&self) -> Value {
        match &self.source {
            Source::Address { url, .. } => {
                json!({ "kind": "url", "url": url, "attribution": self.attribution })
            }
            Source::File { .. } => {
                json!({ "kind": "pmtiles", "url": "page/tiles.pmtiles", "attribution": self.attribution })
            }
        }
    }
}

fn address(text: &str, scheme: &str, rest: &str) -> Result<Source> {
    let wrong = |what: &str| Err(ServeError::Options(format!("--tiles {text}: {what}")));
    if !matches!(scheme, "http" | "https") {
        return wrong("an address begins with https:// or http://");
    }
    let host = rest.split('/').next().unwrap_or_default();
    // Only what cannot end a directive of the policy.
    if host.is_empty() || !host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b)) {
        return wrong("the host has a name, or an address, and no placeholders");
    }
    if !["{z}", "{x}", "{y}"].iter().all(|part| text.contains(part)) {
        return wrong("the address has {z}, {x} and {y} where zoom, column and row of a tile go");
    }
    Ok(Source::Address { url: text.to_owned(), origin: format!("{scheme}://{host}") })
}

fn file(path: &Path) -> Result<Source> {
    let failed = |error| ServeError::io(path, error);
    let mut file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let mut head = [0u8; MAGIC.len()];
    if file.read_exact(&mut head).is_err() || head != MAGIC {
        return Err(ServeError::Options(format!(
            "--tiles {}: this is no PMTiles file of version 3, and no address with {{z}}, {{x}} and {{y}}",
            path.display()
        )));
    }
    Ok(Source::File { path: path.to_owned(), length })
}

/// A part of the PMTiles file.
pub(crate) async fn part(
    State(service): State<Arc<Service>>,
    request: Request,
) -> problem::Result<Response<Body>> {
    let Some(Basemap { source: Source::File { path, length }, .. }) = service.basemap.clone() else {
        return Err(Problem::not_found("the service was started without a PMTiles file"));
    };
    let range = request.headers().get(RANGE).and_then(|value| value.to_str().ok());
    let Some((start, end)) = range.and_then(|range| wanted(range, length)) else {
        return Err(Problem::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            "range",
            "This part of the file cannot be had",
            format!("send one range of at most {LARGEST_PART} bytes, as Range: bytes=0-126"),
        ));
    };
    let _permit = service.read_permit().await?;
    let bytes = blocking(move || {
        let read = || -> std::io::Result<Vec<u8>> {
            let mut file = File::open(&path)?;
            file.seek(SeekFrom::Start(start))?;
            let mut bytes = Vec::with_capacity((end - start) as usize);
            file.take(end - start).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(|error| Problem::internal(format!("the base map: {error}")))
    });
    let bytes = bytes.await?;
    let last = (start + bytes.len() as u64).saturating_sub(1);
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/vnd.pmtiles"));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=3600"));
    if let Ok(range) = HeaderValue::from_str(&format!("bytes {start}-{last}/{length}")) {
        headers.insert(CONTENT_RANGE, range);
    }
    Ok(response)
}

/// Start and end of `bytes=FIRST-LAST`, cut at the end of the file; `None` for anything else, or too much.
fn wanted(range: &str, length: u64) -> Option<(u64, u64)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let end = last.checked_add(1)?.min(length);
    (first < end && end - first <= LARGEST_PART).then_some((first, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_inside_the_file_and_bounded() {
        assert_eq!(wanted("bytes=0-126", 1000), Some((0, 127)));
        assert_eq!(wanted("bytes=990-2000", 1000), Some((990, 1000)));
        for range in [
            "bytes=1000-1001",
            "bytes=5-4",
            "bytes=-5",
            "bytes=5-",
            "bytes=0-1,3-4",
            "0-1",
            "bytes=0-18446744073709551615",
        ] {
            assert_eq!(wanted(range, if range.ends_with("615") { u64::MAX } else { 1000 }), None, "{range}");
        }
    }

    #[test]
    fn addresses_are_templates_of_one_host() {
        let map = Basemap::open("http://127.0.0.1:9/{z}/{x}/{y}.png", "").expect("a template");
        assert_eq!(map.origin(), Some("http://127.0.0.1:9"));
        for text in [
            "https://a.org/{z}/{x}.png",
            "ftp://a.org/{z}/{x}/{y}",
            "https://{s}.a.org/{z}/{x}/{y}",
            "https://a;b/{z}/{x}/{y}",
            "https:///{z}/{x}/{y}",
        ] {
            let message = Basemap::open(text, "").expect_err(text).to_string();
            assert!(message.contains(text), "{message}");
        }
    }

    #[test]
    fn other_files_are_refused() {
        let home = tempfile::tempdir().expect("temporary folder");
        let path = home.path().join("town.pmtiles");
        std::fs::write(&path, b"PMTiles\x02 and more").expect("a file");
        let text = path.to_str().expect("text");
        assert!(Basemap::open(text, "").expect_err("version 2").to_string().contains("version 3"));
        std::fs::write(&path, b"PMTiles\x03 and more").expect("a file");
        assert!(Basemap::open(text, "").expect("a file").origin().is_none());
        assert!(matches!(Basemap::open("/nowhere/x.pmtiles", ""), Err(ServeError::Io { .. })));
    }
}
