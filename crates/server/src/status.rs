//! What is served, and how the service is: `/v1/indexes`, `/healthz`, `/readyz`, `/metrics`, `/openapi.json`.

use crate::json::{json_response, typed};
use crate::metrics::label;
use crate::params::Params;
use crate::problem::{Problem, Result};
use crate::service::{Service, blocking};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The media type of metrics.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The indexes, and what may be asked of each.
pub(crate) async fn indexes(State(service): State<Arc<Service>>, request: Request) -> Result<Response<Body>> {
    Params::of_query(request.uri().query())?.only(&[])?;
    let document = blocking(move || {
        let indexes =
            service.indexes().iter().map(|index| index.summary()).collect::<Result<Vec<Value>>>()?;
        Ok(json!({
            "version": env!("CARGO_PKG_VERSION"),
            "indexes": indexes,
            "limits": {
                "body_bytes": service.limits.body,
                "images_per_batch": service.limits.batch,
                "top": crate::params::MOST,
                "candidates": crate::params::MOST,
            },
        }))
    });
    Ok(json_response(StatusCode::OK, &document.await?))
}

/// Whether the process is alive.
pub(crate) async fn healthz() -> Response<Body> {
    json_response(StatusCode::OK, &json!({ "status": "ok" }))
}

/// Whether requests are answered: every index can be read, and the service is not stopping.
pub(crate) async fn readyz(State(service): State<Arc<Service>>) -> Result<Response<Body>> {
    if service.is_stopping() {
        return Err(Problem::unavailable("the service is stopping", Duration::from_secs(10)));
    }
    blocking(move || service.indexes().iter().try_for_each(|index| index.count().map(drop))).await?;
    Ok(json_response(StatusCode::OK, &json!({ "status": "ready" })))
}

/// Counters, histograms and gauges for Prometheus.
pub(crate) async fn metrics(State(service): State<Arc<Service>>) -> Result<Response<Body>> {
    let text = blocking(move || {
        let (waiting, running) = service.queue.lengths();
        let none = String::new;
        let connections = service.metrics.connections.load(Ordering::Relaxed) as f64;
        let bodies = service.metrics.body_bytes.load(Ordering::Relaxed) as f64;
        let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
        let mut gauges = vec![
            ("r2former_build_info", version, "The program; always 1.", 1.0),
            ("r2former_queue_waiting", none(), "Queries that wait.", waiting as f64),
            ("r2former_queue_running", none(), "Queries that are computed.", running as f64),
            ("r2former_queue_capacity", none(), "Queries that may wait.", service.queue.capacity() as f64),
            ("r2former_connections", none(), "Open connections.", connections),
            ("r2former_body_bytes", none(), "Bytes of requests' bodies in memory.", bodies),
            (
                "r2former_uptime_seconds",
                none(),
                "Time since the start.",
                service.started.elapsed().as_secs_f64(),
            ),
        ];
        if let Some(bytes) = resident_bytes() {
            gauges.push(("process_resident_memory_bytes", none(), "Resident memory.", bytes));
        }
        for index in service.indexes() {
            // An index that fails shows in readyz; the other figures are worth having then.
            let count = index.count().map_or(f64::NAN, |count| count as f64);
            let name = format!("index=\"{}\"", label(&index.name));
            gauges.push(("r2former_index_images", name, "Images of an index.", count));
        }
        Ok(service.metrics.text(&gauges))
    });
    Ok(typed(StatusCode::OK, METRICS, text.await?))
}

/// Resident memory, where the system says it.
fn resident_bytes() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<f64>().ok().map(|kib| kib * 1024.0)
}

/// The description of everything here.
pub(crate) async fn openapi() -> Response<Body> {
    json_response(StatusCode::OK, &crate::openapi::document())
}
