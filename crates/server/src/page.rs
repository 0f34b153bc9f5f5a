//! `GET /` and `/page/...`: what a person with a browser sees. Its files lie in `crates/server/page/`, and all are part of the
//! binary: the page works without a network.

use crate::basemap::Basemap;
use crate::json::{json_response, typed};
use crate::keys::Role;
use crate::problem::{Problem, Result};
use crate::service::Service;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, ETAG, HeaderMap, HeaderValue,
    IF_NONE_MATCH, VARY,
};
use axum::http::{Response, StatusCode};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::io::Write;
use std::sync::{Arc, OnceLock};

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SVG: &str = "image/svg+xml";
const TEXT: &str = "text/plain; charset=utf-8";

/// A file of the page.
struct File {
    name: &'static str,
    media_type: &'static str,
    bytes: &'static [u8],
    /// Its fingerprint and its bytes with gzip, once somebody asks.
    made: OnceLock<(HeaderValue, Bytes)>,
}

macro_rules! files {
    ($($name:literal $media_type:ident,)*) => {
        [$(File {
            name: $name,
            media_type: $media_type,
            bytes: include_bytes!(concat!("../page/", $name)),
            made: OnceLock::new(),
        }),*]
    };
}

static FILES: [File; 24] = files![
    "index.html" HTML,
    "style.css" STYLE,
    "icon.svg" SVG,
    "answer.js" SCRIPT,
    "api.js" SCRIPT,
    "app.js" SCRIPT,
    "basemap.js" SCRIPT,
    "batch.js" SCRIPT,
    "compare.js" SCRIPT,
    "export.js" SCRIPT,
    "filters.js" SCRIPT,
    "floor.js" SCRIPT,
    "geo.js" SCRIPT,
    "grid.js" SCRIPT,
    "main.js" SCRIPT,
    "map.js" SCRIPT,
    "places.js" SCRIPT,
    "pmtiles.js" SCRIPT,
    "texts.js" SCRIPT,
    "util.js" SCRIPT,
    "vendor/maplibre-gl/maplibre-gl.mjs" SCRIPT,
    "vendor/maplibre-gl/maplibre-gl-worker.mjs" SCRIPT,
    "vendor/maplibre-gl/maplibre-gl.css" STYLE,
    "vendor/maplibre-gl/LICENSE.txt" TEXT,
];

impl File {
    fn made(&self) -> &(HeaderValue, Bytes) {
        self.made.get_or_init(|| {
            let digest = Sha256::digest(self.bytes);
            let tag = digest[..12].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            let tag =
                HeaderValue::from_str(&format!("W/\"{tag}\"")).unwrap_or(HeaderValue::from_static("\"\""));
            let mut packed = GzEncoder::new(Vec::new(), Compression::default());
            // Memory does not refuse to be written; without the packed bytes the plain ones are sent.
            let packed = packed.write_all(self.bytes).and_then(|()| packed.finish()).unwrap_or_default();
            (tag, packed.into())
        })
    }

    fn response(&self, headers: &HeaderMap, policy: HeaderValue) -> Response<Body> {
        let (tag, packed) = self.made();
        let known = headers.get(IF_NONE_MATCH).is_some_and(|known| known == tag);
        let gzip = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).is_some_and(takes_gzip);
        let mut response = match (known, gzip && !packed.is_empty()) {
            (true, _) => typed(StatusCode::NOT_MODIFIED, self.media_type, Body::empty()),
            (false, true) => {
                let mut response = typed(StatusCode::OK, self.media_type, packed.clone());
                response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                response
            }
            (false, false) => typed(StatusCode::OK, self.media_type, self.bytes),
        };
        let headers = response.headers_mut();
        headers.insert(ETAG, tag.clone());
        // Asked for again each time, and answered without bytes while it is the same.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.append(VARY, HeaderValue::from_static("accept-encoding"));
        headers.insert(CONTENT_SECURITY_POLICY, policy);
        response
    }
}

/// Whether `Accept-Encoding` lists gzip, and not with a weight of 0.
fn takes_gzip(accepted: &str) -> bool {
    accepted.split(',').any(|one| {
        let mut parts = one.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let weight = parts.find_map(|part| part.strip_prefix("q=")).and_then(|q| q.parse::<f32>().ok());
        named && weight != Some(0.0)
    })
}

/// What the page may load: its own files, pictures that it holds itself, and a base map's host. No inline scripts or styles.
fn policy(basemap: Option<&Basemap>) -> HeaderValue {
    let host = basemap.and_then(Basemap::origin).map(|origin| format!(" {origin}")).unwrap_or_default();
    let text = format!(
        "default-src 'none'; style-src 'self'; img-src 'self' blob: data:{host}; script-src 'self'; worker-src 'self'; \
         connect-src 'self'{host}; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    );
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

fn find(name: &str) -> Result<&'static File> {
    let found = FILES.iter().find(|file| file.name == name);
    found.ok_or_else(|| Problem::not_found("the page has no such file"))
}

/// The page.
pub(crate) async fn index(State(service): State<Arc<Service>>, request: Request) -> Result<Response<Body>> {
    Ok(find("index.html")?.response(request.headers(), policy(service.basemap.as_ref())))
}

/// One of its files.
pub(crate) async fn file(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response<Body>> {
    Ok(find(&name)?.response(request.headers(), policy(service.basemap.as_ref())))
}

/// What the page has to know before it asks anything: the role of its key, and the base map.
pub(crate) async fn config(State(service): State<Arc<Service>>, request: Request) -> Result<Response<Body>> {
    let (parts, _) = request.into_parts();
    let role = service.rights.identify(&parts, Role::Read).map(|identity| identity.role.to_string());
    let document = json!({
        "role": role.unwrap_or_else(|_| "none".into()),
        "tiles": service.basemap.as_ref().map(Basemap::summary),
    });
    Ok(json_response(StatusCode::OK, &document))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every file of the folder is served, and none has a name that a browser would take for another kind.
    #[test]
    fn all_files_are_listed() {
        fn walk(dir: &std::path::Path, found: &mut Vec<String>, prefix: &str) {
            for entry in std::fs::read_dir(dir).expect("a folder") {
                let entry = entry.expect("an entry");
                let name = format!("{prefix}{}", entry.file_name().to_str().expect("text"));
                match entry.file_type().expect("a type").is_dir() {
                    true => walk(&entry.path(), found, &format!("{name}/")),
                    false => found.push(name),
                }
            }
        }
        let mut found = Vec::new();
        walk(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("page"), &mut found, "");
        found.sort();
        let mut listed: Vec<String> = FILES.iter().map(|file| file.name.to_owned()).collect();
        listed.sort();
        assert_eq!(found, listed);
    }

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        assert!(takes_gzip("gzip") && takes_gzip("br, GZIP;q=0.5") && takes_gzip("deflate,gzip"));
        assert!(!takes_gzip("br") && !takes_gzip("gzip;q=0") && !takes_gzip(""));
    }
}
