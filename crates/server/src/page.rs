//! `GET /`: what a person with a browser sees. The page goes here, its files into `crates/server/page/`: everything is part
//! of the binary.

use crate::json::typed;
use axum::body::Body;
use axum::http::header::{CONTENT_SECURITY_POLICY, HeaderValue};
use axum::http::{Response, StatusCode};

/// What the page may load: its own files alone, no inline scripts.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' blob: data:; script-src 'self'; \
                      connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

const PAGE: &str = include_str!("../page/index.html");

/// The page.
pub(crate) async fn index() -> Response<Body> {
    let mut response = typed(StatusCode::OK, "text/html; charset=utf-8", PAGE);
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}
