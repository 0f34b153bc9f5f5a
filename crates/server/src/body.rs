//! Bodies of requests: read within limits of size and time, then taken apart.

use crate::params::{LONGEST_NAME, Params};
use crate::problem::{Problem, Result};
use crate::service::Service;
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderMap};
use axum::http::request::Parts;
use futures_util::stream;
use http_body_util::BodyExt;
use r2former_data::image::format::{Format, sniff};
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Longest time from one piece of a body to the next.
const IDLE: Duration = Duration::from_secs(10);

/// How long a refused request is read, and the longest time from one piece of it to the next.
const DRAIN: Duration = Duration::from_secs(10);
const DRAIN_IDLE: Duration = Duration::from_secs(2);

/// Longest text field of a form.
const MOST_TEXT: usize = 64 << 10;

/// A photograph that came with a request.
#[derive(Debug, Clone)]
pub(crate) struct Upload {
    /// What the client calls it.
    pub(crate) name: String,
    pub(crate) format: Format,
    pub(crate) bytes: Bytes,
    _room: Arc<Room>,
}

/// A request, taken apart.
#[derive(Debug)]
pub(crate) struct Received {
    /// Those of the address and of the form.
    pub(crate) params: Params,
    pub(crate) images: Vec<Sent>,
}

/// What was sent as a photograph.
#[derive(Debug)]
pub(crate) struct Sent {
    /// What the client calls it.
    pub(crate) name: String,
    /// The photograph, or why it is none: of several the others are answered all the same.
    pub(crate) image: Result<Upload>,
}

impl Received {
    /// The one photograph.
    ///
    /// # Errors
    /// None, or several, or one that is no image.
    pub(crate) fn one(&mut self) -> Result<Upload> {
        match (self.images.pop(), self.images.len()) {
            (Some(sent), 0) => sent.image,
            (None, _) => Err(Problem::bad_request(
                "there is no image: send one as the body, or as the part image of a multipart form",
            )),
            (Some(_), more) => {
                Err(Problem::bad_request(format!("{} images were sent: one is expected", more + 1)))
            }
        }
    }
}

/// Room that a body takes in memory, among all bodies at a time.
#[derive(Debug)]
struct Room {
    service: Arc<Service>,
    bytes: AtomicU64,
}

impl Room {
    fn take(&self, bytes: usize) -> Result<()> {
        let bytes = bytes as u64;
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let all = self.service.metrics.body_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if all > self.service.limits.bodies {
            let detail = "the bodies of other requests fill the memory that there is for them";
            return Err(Problem::unavailable(detail, Duration::from_secs(2)));
        }
        Ok(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.service.metrics.body_bytes.fetch_sub(self.bytes.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// Reads and takes apart a request with photographs; one that is `queued` is refused at once where the queue is full.
///
/// # Errors
/// 429 for a full queue, 408 for a body that comes too slowly, 413 for one that is too large, 400 for a form that
/// is none, 503 while others fill the memory.
pub(crate) async fn receive(
    service: &Arc<Service>,
    parts: &Parts,
    mut body: Body,
    queued: bool,
) -> Result<Received> {
    let received = take(service, parts, &mut body, queued).await;
    if received.as_ref().is_err_and(|problem| problem.status != StatusCode::REQUEST_TIMEOUT) {
        drain(service, &parts.headers, body).await;
    }
    received
}

/// Reads what is left of a refused request, and keeps nothing of it: many clients read an answer only once they have sent
/// everything, and lose it where the connection is closed before. A body may be twice as large as one that is taken.
pub(crate) async fn drain(service: &Service, headers: &HeaderMap, mut body: Body) {
    let mut left = service.limits.body.saturating_mul(2);
    // A client that waits for the answer has sent nothing; one that sends more loses it anyway.
    if headers.contains_key(EXPECT) || stated_length(headers).is_some_and(|length| length > left as u64) {
        return;
    }
    let end = Instant::now() + DRAIN;
    while let Ok(Some(Ok(frame))) = timeout_at(end.min(Instant::now() + DRAIN_IDLE), body.frame()).await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        if length > left {
            return;
        }
        left -= length;
    }
}

async fn take(service: &Arc<Service>, parts: &Parts, body: &mut Body, queued: bool) -> Result<Received> {
    if queued {
        service.queue.admits()?;
    }
    let mut params = Params::of_query(parts.uri.query())?;
    let media = Media::of(parts)?;
    let room = Arc::new(Room { service: service.clone(), bytes: AtomicU64::new(0) });
    let bytes = read(service, parts, body, &room).await?;
    let sent = |name: String, bytes: Bytes| {
        let upload =
            |format| Upload { name: name.clone(), format, bytes: bytes.clone(), _room: room.clone() };
        let image = readable(&bytes).map(upload);
        Sent { name, image }
    };
    let mut images = Vec::new();
    match media {
        Media::Image if bytes.is_empty() => {}
        Media::Image => images.push(sent("image".into(), bytes)),
        Media::Form(boundary) => {
            let whole = stream::once(async move { Ok::<_, Infallible>(bytes) });
            let mut form = multer::Multipart::new(whole, boundary);
            while let Some(field) = form.next_field().await.map_err(|e| malformed(&e))? {
                let name = field.name().unwrap_or_default().to_owned();
                let file = field.file_name().map(query_name);
                if file.is_none() && !matches!(name.as_str(), "image" | "images") {
                    let text = field.bytes().await.map_err(|e| malformed(&e))?;
                    params.push(name, text_of(&text)?)?;
                    continue;
                }
                let bytes = field.bytes().await.map_err(|e| malformed(&e))?;
                let name = file.unwrap_or_else(|| "image".into());
                if images.len() == service.limits.batch {
                    return Err(Problem::too_large(format!("at most {} images a request", images.len())));
                }
                images.push(sent(name, bytes));
            }
        }
    }
    Ok(Received { params, images })
}

/// How a body is to be read.
enum Media {
    Image,
    Form(String),
}

impl Media {
    fn of(parts: &Parts) -> Result<Self> {
        if let Some(coding) = parts.headers.get(CONTENT_ENCODING)
            && coding.as_bytes() != b"identity"
        {
            return Err(Problem::unsupported(
                "compressed bodies are not read: images are compressed already",
            ));
        }
        let Some(value) = parts.headers.get(CONTENT_TYPE) else { return Ok(Self::Image) };
        let text = value.to_str().unwrap_or_default();
        let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "multipart/form-data" => match multer::parse_boundary(text) {
                Ok(boundary) if !boundary.is_empty() => Ok(Self::Form(boundary)),
                _ => Err(Problem::bad_request("the form's Content-Type has no boundary")),
            },
            // What `curl --data-binary` says of any file; the bytes decide.
            "application/x-www-form-urlencoded" | "application/octet-stream" => Ok(Self::Image),
            essence if essence.starts_with("image/") => Ok(Self::Image),
            _ => Err(Problem::unsupported(
                "an image is expected as the body (Content-Type image/jpeg and the like), or multipart/form-data",
            )),
        }
    }
}

/// Reads a body to its end.
async fn read(service: &Service, parts: &Parts, body: &mut Body, room: &Room) -> Result<Bytes> {
    let most = service.limits.body;
    let too_large = || Problem::too_large(format!("the body is larger than {most} bytes"));
    if stated_length(&parts.headers).is_some_and(|length| length > most as u64) {
        return Err(too_large());
    }
    let end = Instant::now() + service.limits.receive;
    let mut all = Vec::new();
    loop {
        let next = timeout_at(end.min(Instant::now() + IDLE), body.frame()).await;
        let frame = match next {
            Err(_) => return Err(Problem::timeout("the body came too slowly")),
            Ok(None) => return Ok(all.into()),
            Ok(Some(Err(_))) => return Err(Problem::bad_request("the body ended before its end")),
            Ok(Some(Ok(frame))) => frame,
        };
        if let Some(data) = frame.data_ref() {
            if all.len() + data.len() > most {
                return Err(too_large());
            }
            room.take(data.len())?;
            all.extend_from_slice(data);
        }
    }
}

/// How long a body is, as its head says.
fn stated_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The format of an image that can be read, by its first bytes.
fn readable(bytes: &[u8]) -> Result<Format> {
    let format = sniff(bytes);
    if format.is_readable() {
        return Ok(format);
    }
    if bytes.is_empty() {
        return Err(Problem::bad_request("the image is empty (0 bytes)"));
    }
    let what = match format {
        Format::Unknown => "no image".to_owned(),
        format => format!("{}, which is not read", format.name()),
    };
    Err(Problem::unsupported(format!(
        "what was sent is {what}: JPEG, PNG, WebP, TIFF, GIF, BMP, PPM and QOI are read"
    )))
}

fn malformed(error: &multer::Error) -> Problem {
    Problem::bad_request(format!("the multipart form is malformed: {error}"))
}

fn text_of(bytes: &[u8]) -> Result<String> {
    if bytes.len() > MOST_TEXT {
        return Err(Problem::too_large(format!("a field of text is longer than {MOST_TEXT} bytes")));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(Problem::bad_request("a field of the form is not UTF-8")),
    }
}

/// What a query is called: the last part of its file's name, without what steers a terminal.
fn query_name(file: &str) -> String {
    let last = file.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut name: String = last.chars().filter(|c| !c.is_control()).collect();
    while name.len() > LONGEST_NAME {
        name.pop();
    }
    if name.trim().is_empty() { "image".into() } else { name }
}

/// Media type of a format.
pub(crate) fn media_type(format: Format) -> &'static str {
    match format {
        Format::Jpeg => "image/jpeg",
        Format::Png => "image/png",
        Format::WebP => "image/webp",
        Format::Bmp => "image/bmp",
        Format::Tiff => "image/tiff",
        Format::Gif => "image/gif",
        Format::Pnm => "image/x-portable-anymap",
        Format::Qoi => "image/qoi",
        _ => "application/octet-stream",
    }
}

/// What files of a format are called at the end.
pub(crate) fn extension(format: Format) -> &'static str {
    match format {
        Format::Jpeg => "jpg",
        Format::Png => "png",
        Format::WebP => "webp",
        Format::Bmp => "bmp",
        Format::Tiff => "tif",
        Format::Gif => "gif",
        Format::Pnm => "ppm",
        Format::Qoi => "qoi",
        _ => "bin",
    }
}

/// What an image in memory is called where a path is expected.
pub(crate) fn in_memory() -> &'static Path {
    Path::new("image")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_names_alone() {
        assert_eq!(query_name("../../etc/passwd"), "passwd");
        assert_eq!(query_name("C:\\photos\\a b.jpg"), "a b.jpg");
        assert_eq!(query_name("x/"), "image");
        assert_eq!(query_name("a\u{1b}[2J.jpg"), "a[2J.jpg");
        assert!(query_name(&"é".repeat(300)).len() <= LONGEST_NAME);
    }
}
