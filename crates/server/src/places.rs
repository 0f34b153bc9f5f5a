//! `/v1/places`: list, add, look at, remove.

use crate::body::{Upload, extension, in_memory, media_type, receive};
use crate::index::{Index, PlaceId};
use crate::json::{json_response, typed};
use crate::keys::{Identity, Role};
use crate::params::{Params, Prior, shown};
use crate::photos::{StoredPhoto, is_uploads, uploads_source};
use crate::problem::{Problem, Result};
use crate::service::{Service, blocking};
use crate::thumbnails::{ThumbnailKey, thumbnail};
use crate::writing::Held;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, LOCATION,
};
use axum::http::{Response, StatusCode};
use r2former_data::Photo;
use r2former_data::image::{Limits, shape_of_bytes, tags_of_bytes};
use r2former_engine::{AddOptions, NoProgress, Position, PositionKind, add_photos};
use r2former_index::{Filter, Page, Place, ReadPlaces, WritePlaces, place_id};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::str::FromStr;
use std::sync::Arc;

/// Parameters of a listing.
pub(crate) const LIST_PARAMS: [&str; 10] =
    ["index", "limit", "after", "bbox", "near", "radius", "tag", "since", "until", "format"];

/// Parameters of a place to add.
pub(crate) const ADD_PARAMS: [&str; 8] =
    ["index", "position", "heading", "altitude", "time", "tag", "name", "replace"];

/// Places of a page, by default and at most.
const PAGE: usize = 100;
const LARGEST_PAGE: u32 = 5000;

/// Places that are looked at for a page: where few lie in a box, a page may be short, and its `next` continues.
const LOOKED_AT: usize = 50_000;

/// Media type of GeoJSON.
pub(crate) const GEO_JSON: &str = "application/geo+json";

/// Longest name of an upload in bytes.
const LONGEST_NAME: usize = 200;

/// The longer side of thumbnails in pixels, by default and at most.
const THUMBNAIL: usize = 320;
const LARGEST_THUMBNAIL: u32 = 1024;

/// A page of places.
pub(crate) async fn list(State(service): State<Arc<Service>>, request: Request) -> Result<Response<Body>> {
    let params = Params::of_query(request.uri().query())?;
    params.only(&LIST_PARAMS)?;
    let index = service.index(&params)?;
    let limit = params.count("limit", 1..=LARGEST_PAGE)?.unwrap_or(PAGE);
    let from = params.one("after")?.map(|text| {
        PlaceId::from_str(text)
            .ok()
            .ok_or_else(|| Problem::bad_request(format!("after={} is no identifier", shown(text))))
    });
    let from = from.transpose()?;
    let mut filter = params.filter()?;
    filter.near = match params.prior(index.kind())? {
        Prior::Everywhere => None,
        Prior::Near(near) => Some(near),
        Prior::Exif(_) => {
            return Err(Problem::bad_request("near=exif is for photographs; a listing has none"));
        }
    };
    let bbox = params.bbox()?;
    let is_geojson = params.word("format", &["json", "geojson"])? == "geojson";
    if is_geojson {
        check_geojson(&index)?;
    }
    let Page { places, next } = blocking({
        let index = index.clone();
        move || page(&index, from, limit, &filter, bbox)
    })
    .await?;
    let next = next.map(|id| id.to_string());
    if !is_geojson {
        let places: Vec<Value> = places.iter().map(|(id, place)| entry(*id, place)).collect();
        return Ok(json_response(StatusCode::OK, &json!({ "places": places, "next": next })));
    }
    let features: Vec<Value> = places.iter().map(|(id, place)| feature(&index, *id, place)).collect();
    let document = json!({ "type": "FeatureCollection", "features": features, "next": next });
    Ok(typed(StatusCode::OK, GEO_JSON, document.to_string()))
}

/// Up to `limit` places, and where the next page starts.
fn page(
    index: &Index,
    mut from: Option<PlaceId>,
    limit: usize,
    filter: &Filter,
    bbox: Option<[f64; 4]>,
) -> Result<Page> {
    index.check()?;
    let mut found = Vec::new();
    let mut looked_at = 0;
    loop {
        let size = if bbox.is_some() { limit.max(1000) } else { limit };
        let page = index.reader.list(from, size, filter)?;
        looked_at += page.places.len();
        for (id, place) in page.places {
            if bbox.is_some_and(|bbox| !place.position.is_some_and(|position| lies_in(bbox, position))) {
                continue;
            }
            if found.len() == limit {
                return Ok(Page { places: found, next: Some(id) });
            }
            found.push((id, place));
        }
        from = page.next;
        if from.is_none() || looked_at >= LOOKED_AT || bbox.is_none() {
            return Ok(Page { places: found, next: from });
        }
    }
}

/// Whether a position lies in a box; one whose west is east of its east crosses the date line.
fn lies_in([west, south, east, north]: [f64; 4], position: Position) -> bool {
    let (x, y, wraps) = match position {
        Position::Wgs84(at) => (at.lon, at.lat, true),
        Position::Local(at) => (at.x, at.y, false),
    };
    let across = if west <= east { (west..=east).contains(&x) } else { wraps && (x >= west || x <= east) };
    across && (south..=north).contains(&y)
}

fn check_geojson(index: &Index) -> Result<()> {
    let positions = index.place.positions();
    match positions.kind() {
        PositionKind::Local if positions.origin().is_none() => Err(Problem::unprocessable(
            "format=geojson: this index has positions in local metres without an origin, and GeoJSON needs degrees",
        )),
        PositionKind::None => Err(Problem::unprocessable("format=geojson: this index has no positions")),
        _ => Ok(()),
    }
}

/// A place as the program's listing has it.
fn entry(id: PlaceId, place: &Place) -> Value {
    json!({ "id": id.to_string(), "place": place })
}

/// A place as a feature; RFC 7946 puts longitude first.
fn feature(index: &Index, id: PlaceId, place: &Place) -> Value {
    let origin = index.place.positions().origin();
    let point = match place.position {
        Some(Position::Wgs84(at)) => Some(vec![at.lon, at.lat]),
        Some(Position::Local(at)) => origin.map(|origin| {
            let degrees = origin.position(at);
            [degrees.lon, degrees.lat].into_iter().chain(origin.height_m(at)).collect()
        }),
        None => None,
    };
    let mut properties = json!({
        "name": place.name, "heading": place.heading, "time": place.time, "altitude": place.altitude, "tags": place.tags,
    });
    if let (Some(map), Some(Position::Local(at))) = (properties.as_object_mut(), place.position) {
        map.insert("local".into(), serde_json::to_value(at).unwrap_or_default());
    }
    json!({
        "type": "Feature",
        "id": id.to_string(),
        "geometry": point.map(|point| json!({ "type": "Point", "coordinates": point })),
        "properties": properties,
    })
}

/// One place.
pub(crate) async fn one(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response<Body>> {
    let params = Params::of_query(request.uri().query())?;
    params.only(&["index"])?;
    let index = service.index(&params)?;
    let (id, place) = blocking(move || index.place(&id)).await?;
    Ok(json_response(StatusCode::OK, &entry(id, &place)))
}

/// The photograph of a place, as it was indexed.
pub(crate) async fn image(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response<Body>> {
    let params = Params::of_query(request.uri().query())?;
    params.only(&["index"])?;
    let index = service.index(&params)?;
    let (id, place) = {
        let index = index.clone();
        blocking(move || index.place(&id)).await?
    };
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
    let index = service.index(&params)?;
    let size = params.count("size", 16..=LARGEST_THUMBNAIL)?.unwrap_or(THUMBNAIL);
    let (id, place) = {
        let index = index.clone();
        blocking(move || index.place(&id)).await?
    };
    let etag = etag(id, &place, size);
    if is_known(request.headers(), &etag) {
        return Ok(kept(typed(StatusCode::NOT_MODIFIED, "image/jpeg", Body::empty()), &etag));
    }
    let file = place.file.map(|file| file.to_string()).unwrap_or_default();
    let key = ThumbnailKey { index: index.name.clone(), id, file, size };
    let bytes = match service.thumbnails.get(&key) {
        Some(bytes) => {
            service.metrics.thumbnail_hits.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            bytes
        }
        None => {
            service.metrics.thumbnail_misses.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
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

/// A place to add.
struct NewPlace {
    image: Upload,
    /// Without the label.
    name: String,
    photo: Photo,
    replace: bool,
}

impl NewPlace {
    fn of(params: &Params, index: &Index, image: Upload, limits: &Limits) -> Result<Self> {
        shape_of_bytes(&image.bytes, in_memory(), limits)?;
        let tags = tags_of_bytes(&image.bytes, in_memory()).unwrap_or_default();
        let kind = index.kind();
        let mut photo = tags.photo("", "");
        match params.position(kind)? {
            Some(position) => {
                photo.position = Some(position);
                // They are those of the EXIF's position.
                (photo.position_error, photo.position_method) = (None, None);
            }
            None if kind == PositionKind::Wgs84 && photo.position.is_some() => {}
            None if kind == PositionKind::None => photo.position = None,
            None => {
                return Err(Problem::unprocessable(match kind {
                    PositionKind::Wgs84 => {
                        "where was it taken? Its EXIF has no position: give position=LAT,LON"
                    }
                    _ => "where was it taken? Give position=X,Y or position=X,Y,Z in metres",
                }));
            }
        }
        if let Some(heading) = params.number("heading", -360.0..=360.0)? {
            (photo.heading, photo.heading_ref) = (Some(heading.rem_euclid(360.0)), None);
        }
        photo.altitude = params.number("altitude", -12_000.0..=100_000.0)?.or(photo.altitude);
        photo.time = params.number("time", -1e11..=1e11)?.map(|time| time as i64).or(photo.time);
        photo.tags.extend(params.tags()?);
        let name = match params.one("name")? {
            Some(name) => checked_name(name)?.to_owned(),
            None => {
                // Of its bytes: what is sent twice because an answer was lost is one place.
                let sum: String =
                    Sha256::digest(&image.bytes)[..16].iter().map(|b| format!("{b:02x}")).collect();
                format!("{sum}.{}", extension(image.format))
            }
        };
        Ok(Self { image, name, photo, replace: params.flag("replace")? })
    }

    /// Puts it into the index. The photograph's file is durable before the place is, and the place before this returns.
    fn add(mut self, index: &Index, held: &mut Held) -> Result<(StatusCode, Value)> {
        let (writer, extractor) = held.both()?;
        let source = uploads_source(&writer.sources()?);
        self.photo.name = format!("{}/{}", source.label, self.name);
        let id = place_id(&self.photo.name);
        let failed = |error: std::io::Error| Problem::internal(format!("storing a photograph: {error}"));
        self.photo.path = index.photos.store(id, &self.image.bytes).map_err(failed)?;
        let options = AddOptions::default().update(self.replace).sources(vec![source]);
        let report = add_photos(writer, extractor, &[self.photo], &options, &NoProgress);
        let known = writer.get(&[id]).map(|mut places| places.pop().flatten());
        if let Ok(known) = &known {
            index.photos.keep_only(id, known.as_ref().and_then(|place| place.file));
        }
        let report = report?;
        if let Some((_, reason)) = report.unreadable.first() {
            // The reason begins with the path of the file.
            let reason = reason.split_once(": ").map_or(reason.as_str(), |(_, reason)| reason);
            return Err(Problem::unprocessable(format!("the image: {reason}")));
        }
        if let Some(changed) = report.changed.first() {
            let what: Vec<&str> = changed.changes.iter().map(|change| change.what.as_str()).collect();
            return Err(Problem::conflict(format!(
                "the index has another photograph or another statement of this name: {} differ; replace=true takes the \
                 new one",
                what.join(", ")
            )));
        }
        let place = known?.ok_or_else(|| Problem::internal("what was added is not in the index"))?;
        let status = if report.added > 0 { StatusCode::CREATED } else { StatusCode::OK };
        Ok((status, entry(id, &place)))
    }
}

/// A name without anything that means something to a file system or a terminal.
fn checked_name(name: &str) -> Result<&str> {
    let usable = (1..=LONGEST_NAME).contains(&name.len())
        && !name.starts_with('.')
        && !name.contains(['/', '\\', '#'])
        && !name.contains(char::is_control)
        && name.trim() == name;
    match usable {
        true => Ok(name),
        false => Err(Problem::bad_request(format!(
            "name={}: a name has 1 to {LONGEST_NAME} bytes, no '/', '\\', '#' or control characters, and no '.' in front",
            shown(name)
        ))),
    }
}

/// Adds a photograph with its position; it is searchable, and would survive a power cut, once this answers.
pub(crate) async fn add(State(service): State<Arc<Service>>, request: Request) -> Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let mut received = receive(&service, &parts, body, false).await?;
    received.params.only(&ADD_PARAMS)?;
    let index = service.index(&received.params)?;
    index.check()?;
    let limits = Limits { max_pixels: service.limits.pixels, ..Limits::default() };
    let image = received.one()?;
    let place = NewPlace::of(&received.params, &index, image, &limits)?;
    let writes = index.clone();
    let (status, document) = index.writing.run(move |held| place.add(&writes, held)).await?;
    let mut response = json_response(status, &document);
    let location = format!("/v1/places/{}", document["id"].as_str().unwrap_or_default());
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// Removes a place durably, with its photograph if that was uploaded; photographs of folders that were added stay.
pub(crate) async fn remove(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response<Body>> {
    let params = Params::of_query(request.uri().query())?;
    params.only(&["index"])?;
    let index = service.index(&params)?;
    let role = request.extensions().get::<Identity>().map(|identity| identity.role);
    let (id, uploaded) = {
        let index = index.clone();
        blocking(move || {
            let (id, place) = index.place(&id)?;
            let sources = index.reader.sources()?;
            Ok((id, sources.iter().any(|source| is_uploads(source) && source.holds(&place.name))))
        })
        .await?
    };
    if !uploaded && role < Some(Role::Admin) {
        return Err(Problem::forbidden(
            "this place was not added through the service: to remove it needs the role admin",
        ));
    }
    let writes = index.clone();
    let removed = index.writing.run(move |held| {
        let removed = held.writer()?.remove(&[id])?;
        writes.photos.keep_only(id, None);
        Ok(removed)
    });
    match removed.await? {
        0 => Err(Problem::not_found("there is no place of this identifier in the index")),
        _ => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            Ok(response)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use r2former_engine::LatLon;

    #[test]
    fn boxes_may_cross_the_date_line() {
        let at = |lat, lon| Position::from(LatLon { lat, lon });
        assert!(lies_in([-1.0, 51.0, 1.0, 53.0], at(52.0, 0.5)));
        assert!(!lies_in([-1.0, 51.0, 1.0, 53.0], at(52.0, 1.5)));
        assert!(lies_in([170.0, -20.0, -170.0, 20.0], at(0.0, -175.0)));
        assert!(!lies_in([170.0, -20.0, -170.0, 20.0], at(0.0, 0.0)));
    }

    #[test]
    fn names_lead_nowhere() {
        assert!(checked_name("kitchen 1.jpg").is_ok());
        for bad in
            ["", ".", "..", ".hidden", "a/b", "../a", "a\\b", "a#1", "a\0", "a\n", " a", &"x".repeat(201)]
        {
            assert!(checked_name(bad).is_err(), "{bad}");
        }
    }
}
