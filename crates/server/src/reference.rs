//! `GET /docs`: the OpenAPI document for people.

use crate::json::typed;
use crate::problem::{Problem, Result};
use axum::body::Body;
use axum::extract::Path;
use axum::http::header::{CONTENT_SECURITY_POLICY, HeaderValue};
use axum::http::{Response, StatusCode};

/// What the page may load: its own files and the document.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; frame-ancestors 'none'; \
                      base-uri 'none'; form-action 'none'";

const PAGE: &str = include_str!("../reference/index.html");

/// Its files: name, media type, text.
const FILES: [(&str, &str, &str); 2] = [
    ("reference.css", "text/css; charset=utf-8", include_str!("../reference/reference.css")),
    ("reference.js", "text/javascript; charset=utf-8", include_str!("../reference/reference.js")),
];

/// The page.
pub(crate) async fn index() -> Response<Body> {
    let mut response = typed(StatusCode::OK, "text/html; charset=utf-8", PAGE);
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

/// A file of the page.
pub(crate) async fn file(Path(name): Path<String>) -> Result<Response<Body>> {
    let found = FILES.into_iter().find(|(known, ..)| *known == name);
    let (_, kind, text) = found.ok_or_else(|| Problem::not_found("the page has no such file"))?;
    Ok(typed(StatusCode::OK, kind, text))
}
