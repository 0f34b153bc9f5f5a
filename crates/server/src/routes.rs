//! Addresses and their handlers.

use crate::guard::guard;
use crate::problem::Problem;
use crate::service::Service;
use crate::{adding, basemap, explain, locate, page, pictures, places, reference, sessions, status};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use std::sync::Arc;

/// The service as a router: what [`Server`](crate::Server) serves, and what another program can nest into its own.
pub fn router(service: &Arc<Service>) -> Router {
    Router::new()
        .route("/", get(page::index))
        .route("/page/config.json", get(page::config))
        .route("/page/tiles.pmtiles", get(basemap::part))
        .route("/page/{*file}", get(page::file))
        .route("/healthz", get(status::healthz))
        .route("/readyz", get(status::readyz))
        .route("/metrics", get(status::metrics))
        .route("/openapi.json", get(status::openapi))
        .route("/docs", get(reference::index))
        .route("/docs/{file}", get(reference::file))
        .route("/v1/indexes", get(status::indexes))
        .route("/v1/locate", post(locate::one))
        .route("/v1/locate/batch", post(locate::batch))
        .route("/v1/explain", post(explain::pair))
        .route("/v1/sessions", post(sessions::create))
        .route("/v1/sessions/{id}", get(sessions::track).delete(sessions::end))
        .route("/v1/sessions/{id}/frames", post(sessions::frame))
        .route("/v1/places", get(places::list).post(adding::add))
        .route("/v1/places/{id}", get(places::one).delete(places::remove))
        .route("/v1/places/{id}/image", get(pictures::image))
        .route("/v1/places/{id}/thumbnail", get(pictures::thumbnail_of))
        .fallback(async || Problem::not_found("there is no such address; /openapi.json lists all"))
        // Bodies have limits of their own, which say so.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(service.clone(), guard))
        .with_state(service.clone())
}
