//! What happens to every request, before and after its handler: an identifier, rights, headers, counts, a line in the log.

use crate::body::drain;
use crate::keys::{Identity, Role};
use crate::problem::{PROBLEM_JSON, Problem, Result};
use crate::service::Service;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ALLOW,
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{Method, Response, StatusCode};
use axum::middleware::Next;
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// What an answer that is no page may load: nothing.
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";

/// Where requests without a route of ours are counted.
const UNKNOWN: &str = "unknown";

/// The role that a route needs; `None` where anybody may ask. Routes below `/v1` need one unless they are listed here.
pub(crate) fn needed(method: &Method, route: &str) -> Option<Role> {
    match route {
        "/metrics" => Some(Role::Read),
        _ if !route.starts_with("/v1/") => None,
        "/v1/places" if method == Method::POST => Some(Role::Write),
        "/v1/places/{id}" if method == Method::DELETE => Some(Role::Write),
        _ => Some(Role::Read),
    }
}

/// Stands around every handler.
pub(crate) async fn guard(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Response<Body> {
    let start = Instant::now();
    let method = known_method(request.method());
    let route = request.extensions().get::<MatchedPath>().map_or(UNKNOWN, MatchedPath::as_str).to_owned();
    let id = request_id(request.headers());
    let length = request
        .headers()
        .get("content-length")
        .and_then(|value| value.to_str().ok())
        .unwrap_or("-")
        .to_owned();

    let (mut parts, body) = request.into_parts();
    let (origin, admitted) = admit(&service, &parts, &route);
    let mut key = None;
    let mut response = match admitted {
        Err(problem) => {
            drain(&service, &parts.headers, body).await;
            problem.response(&id)
        }
        Ok(Admitted::Preflight) => preflight(),
        Ok(Admitted::Asks(identity)) => {
            if let Some(identity) = identity {
                key = Some(identity.name.clone());
                parts.extensions.insert(identity);
            }
            let handled = next.run(Request::from_parts(parts, body));
            let response = AssertUnwindSafe(handled).catch_unwind().await;
            response.unwrap_or_else(|_| problem_response(Problem::internal("a panic")))
        }
    };
    let internal = explain(&mut response, &id);
    let headers = response.headers_mut();
    protect(headers, origin);
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    let (status, took) = (response.status().as_u16(), start.elapsed());
    service.metrics.request(&route, method, status, took);
    let key = key.as_deref().unwrap_or("-");
    let ms = (took.as_secs_f64() * 1e4).round() / 10.0;
    match internal {
        Some(reason) => tracing::error!(id, method, route, status, ms, length, key, reason, "failed"),
        None => tracing::info!(id, method, route, status, ms, length, key, "answered"),
    }
    response
}

/// A request that may pass.
enum Admitted {
    /// A browser's question whether a page of another origin may ask.
    Preflight,
    /// With its key's name and role, where one is needed.
    Asks(Option<Identity>),
}

/// Whether a request may pass, and the origin of its page where that is an allowed other one.
fn admit(service: &Service, parts: &Parts, route: &str) -> (Option<HeaderValue>, Result<Admitted>) {
    let rights = &service.rights;
    let origin = match rights.check_host(parts).and_then(|()| rights.check_origin(parts)) {
        Ok(origin) => origin,
        Err(problem) => return (None, Err(problem)),
    };
    if origin.is_some() && is_preflight(&parts.method, &parts.headers) {
        return (origin, Ok(Admitted::Preflight));
    }
    let identity = match needed(&parts.method, route) {
        None => Ok(None),
        Some(role) => rights.identify(parts, role).map(Some),
    };
    (origin, identity.map(Admitted::Asks))
}

fn problem_response(problem: Problem) -> Response<Body> {
    axum::response::IntoResponse::into_response(problem)
}

/// Gives every error its problem details; returns what only the log says.
fn explain(response: &mut Response<Body>, id: &str) -> Option<String> {
    let status = response.status();
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let internal = problem.internal_reason().map(str::to_owned);
        *response = problem.response(id);
        return internal;
    }
    if !(status.is_client_error() || status.is_server_error()) {
        return None;
    }
    let kind = response.headers().get(CONTENT_TYPE);
    if kind.is_some_and(|kind| kind.as_bytes().starts_with(PROBLEM_JSON.as_bytes())) {
        return None;
    }
    // Of the router itself.
    let problem = match status {
        StatusCode::METHOD_NOT_ALLOWED => {
            let methods = response.headers().get(ALLOW).cloned();
            let problem = Problem::new(
                status,
                "method-not-allowed",
                "This method is not allowed here",
                "the header Allow lists the methods of this address",
            );
            methods.into_iter().fold(problem, Problem::allowing)
        }
        StatusCode::NOT_FOUND => Problem::not_found("there is no such address; /openapi.json lists all"),
        status if status.is_server_error() => Problem::internal(format!("status {status}")),
        status => {
            Problem::new(status, "bad-request", "The request is not understood", "the request is malformed")
        }
    };
    let internal = problem.internal_reason().map(str::to_owned);
    *response = problem.response(id);
    internal
}

/// Headers that keep browsers from doing more with an answer than it is for. Handlers may have set their own.
fn protect(headers: &mut HeaderMap, origin: Option<HeaderValue>) {
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (CONTENT_SECURITY_POLICY, NOTHING),
        (CACHE_CONTROL, "no-store"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    headers.append(VARY, HeaderValue::from_static("origin"));
    match origin {
        None => {
            headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
        }
        Some(origin) => {
            headers.insert(RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(
                ACCESS_CONTROL_EXPOSE_HEADERS,
                HeaderValue::from_static("x-request-id, retry-after, location, etag"),
            );
        }
    }
}

fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to a browser that asks what a page of an allowed origin may send.
fn preflight() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, DELETE"));
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("authorization, x-api-key, content-type, x-request-id"),
    );
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

/// The client's identifier, or one of ours.
fn request_id(headers: &HeaderMap) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(|id| {
        (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    });
    match given {
        Some(id) => id.to_owned(),
        None => {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let start =
                std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            format!("{:012x}-{count:x}", start.as_micros() as u64 & 0xffff_ffff_ffff)
        }
    }
}

/// Methods as labels: others share one.
fn known_method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "OTHER",
    }
}
