//! `/v1/places/{id}/image` and `/thumbnail`: photographs of what is in the index.

use crate::body::media_type;
use crate::index::{Index, PlaceId};
use crate::json::typed;
use crate::params::Params;
use crate::photos::StoredPhoto;
use crate::places::named;
use crate::problem::Result;
use crate::service::{Service, blocking};
use crate::thumbnails::{ThumbnailKey, thumbnail};
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH};
use axum::http::{Response, StatusCode};
use r2former_index::{Place, ReadPlaces};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The longer side of thumbnails in pixels, by default and at most.
const THUMBNAIL: usize = 320;
const LARGEST_THUMBNAIL: u32 = 1024;

/// The photograph of a place, as it was indexed.
pub(crate) async fn image(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response<Body>> {
    let params = Params::of_query(request.uri().query())?;
    params.only(&["index"])?;
    let (index, id, place) = named(&service, &params, &id).await?;
    let etag = etag(id, &place, 0);
    if is_known(request.headers(), &etag) {
        return Ok(kept(typed(StatusCode::NOT_MODIFIED, "image/jpeg", Body::empty()), &etag));
    }
    let _permit = service.read_permit().await?;
    let photo = blocking(move || stored(&index, id, &place)).await?;
    let mut response = typed(StatusCode::OK, media_type(photo.format), photo.bytes);
    response.headers_mut().insert(CONTENT_DISPOSITION, HeaderValue::from_static("inline"));
    Ok(kept(response, &etag))
}

/// A small JPEG of the photograph of a place.
pub(crate) async fn thumbnail_of(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response<Body>> {
    let params = Params::of_query(request.uri().query())?;
    params.only(&["index", "size"])?;
    let size = params.count("size", 16..=LARGEST_THUMBNAIL)?.unwrap_or(THUMBNAIL);
    let (index, id, place) = named(&service, &params, &id).await?;
    let etag = etag(id, &place, size);
    if is_known(request.headers(), &etag) {
        return Ok(kept(typed(StatusCode::NOT_MODIFIED, "image/jpeg", Body::empty()), &etag));
    }
    let file = place.file.map(|file| file.to_string()).unwrap_or_default();
    let key = ThumbnailKey { index: index.name.clone(), id, file, size };
    let bytes = match service.thumbnails.get(&key) {
        Some(bytes) => {
            service.metrics.thumbnail_hits.fetch_add(1, Ordering::Relaxed);
            bytes
        }
        None => {
            service.metrics.thumbnail_misses.fetch_add(1, Ordering::Relaxed);
            let _permit = service.read_permit().await?;
            let bytes = blocking(move || thumbnail(&stored(&index, id, &place)?.bytes, size)).await?;
            service.thumbnails.put(key, bytes.clone());
            bytes
        }
    };
    Ok(kept(typed(StatusCode::OK, "image/jpeg", bytes), &etag))
}

/// The photograph of a place.
pub(crate) fn stored(index: &Index, id: PlaceId, place: &Place) -> Result<StoredPhoto> {
    index.photos.read(id, place, &index.reader.sources()?)
}

/// Changes with the photograph.
fn etag(id: PlaceId, place: &Place, size: usize) -> String {
    let file = place.file.map(|file| file.to_string()).unwrap_or_default();
    format!("\"{id}-{file}-{size}\"")
}

fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get(IF_NONE_MATCH)
        .and_then(|known| known.to_str().ok())
        .is_some_and(|known| known.split(',').any(|known| known.trim().trim_start_matches("W/") == etag))
}

/// Lets the client alone keep what needs a key.
fn kept(mut response: Response<Body>, etag: &str) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, max-age=3600"));
    if let Ok(etag) = HeaderValue::from_str(etag) {
        headers.insert(ETAG, etag);
    }
    response
}
