//! `/v1/places`: list, look at, remove.

use crate::index::{Index, PlaceId};
use crate::json::{json_response, typed};
use crate::keys::{Identity, Role};
use crate::params::{Params, Prior, shown};
use crate::problem::{Problem, Result};
use crate::service::{Service, blocking};
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{Response, StatusCode};
use r2former_engine::{Position, PositionKind, geojson_coordinates};
use r2former_index::{Filter, Page, Place, ReadPlaces, WritePlaces};
use serde_json::{Value, json};
use std::str::FromStr;
use std::sync::Arc;

/// Parameters of a listing.
pub(crate) const LIST_PARAMS: [&str; 10] =
    ["index", "limit", "after", "bbox", "near", "radius", "tag", "since", "until", "format"];

/// Places of a page, by default and at most.
const PAGE: usize = 100;
const LARGEST_PAGE: u32 = 5000;

/// Places that are looked at for a page: where few lie in a box, a page may be short, and its `next` continues.
const LOOKED_AT: usize = 50_000;

/// Media type of GeoJSON.
pub(crate) const GEO_JSON: &str = "application/geo+json";

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
    let bbox = params.bbox(index.kind())?;
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

pub(crate) fn check_geojson(index: &Index) -> Result<()> {
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
pub(crate) fn entry(id: PlaceId, place: &Place) -> Value {
    json!({ "id": id.to_string(), "place": place })
}

/// A place as a feature; RFC 7946 puts longitude first.
fn feature(index: &Index, id: PlaceId, place: &Place) -> Value {
    let origin = index.place.positions().origin();
    let point = place.position.and_then(|position| geojson_coordinates(position, origin));
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

/// The index that parameters name, and a place in it by its identifier.
pub(crate) async fn named(
    service: &Service,
    params: &Params,
    id: &str,
) -> Result<(Arc<Index>, PlaceId, Place)> {
    let index = service.index(params)?;
    let (id, place) = {
        let (index, id) = (index.clone(), id.to_owned());
        blocking(move || index.place(&id)).await?
    };
    Ok((index, id, place))
}

/// One place.
pub(crate) async fn one(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response<Body>> {
    let params = Params::of_query(request.uri().query())?;
    params.only(&["index"])?;
    let (_, id, place) = named(&service, &params, &id).await?;
    Ok(json_response(StatusCode::OK, &entry(id, &place)))
}

/// Removes a place durably, with its photograph if that was uploaded; photographs of folders that were added stay, and are
/// not added again where these are watched.
pub(crate) async fn remove(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response<Body>> {
    let params = Params::of_query(request.uri().query())?;
    params.only(&["index"])?;
    let (index, id, place) = named(&service, &params, &id).await?;
    let role = request.extensions().get::<Identity>().map(|identity| identity.role);
    let uploaded = {
        let (index, name) = (index.clone(), place.name.clone());
        blocking(move || {
            let sources = index.reader.sources()?;
            Ok(sources.iter().any(|source| source.is_uploads() && source.holds(&name)))
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
        let writer = held.writer()?;
        let failed = |error: std::io::Error| Problem::internal(format!("noting a removal: {error}"));
        writes.removed.add(&place).map_err(failed)?;
        let removed = writer.remove(&[id])?;
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
}
