//! Places as the store keeps them, and filters as it reads them.
//!
//! `path` is the name, `location` the position as `{lat, lon}` (the form that its geographic index takes),
//! `tags` a list of `key=value` strings, so that one keyword index serves tags of any key.

use serde_json::{Map, Value, json};

use r2former_geo::LatLon;

use crate::place::{Filter, Place};

/// Payload field with a geographic index.
pub(crate) const LOCATION: &str = "location";

/// Payload field with a keyword index.
pub(crate) const TAGS: &str = "tags";

/// The payload of a place.
pub(crate) fn of_place(place: &Place) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("path".into(), json!(place.name));
    if let Some(LatLon { lat, lon }) = place.position {
        map.insert(LOCATION.into(), json!({ "lat": lat, "lon": lon }));
    }
    if let Some(heading) = place.heading {
        map.insert("heading".into(), json!(heading));
    }
    if let Some(time) = place.time {
        map.insert("time".into(), json!(time));
    }
    if let Some(altitude) = place.altitude {
        map.insert("altitude".into(), json!(altitude));
    }
    if !place.tags.is_empty() {
        let words: Vec<_> = place.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
        map.insert(TAGS.into(), json!(words));
    }
    map
}

/// The place of a payload, or what is wrong with it.
pub(crate) fn to_place(map: &Map<String, Value>) -> Result<Place, String> {
    let number = |key: &str| match map.get(key) {
        None => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or_else(|| format!("{key} is not a number")),
    };
    let name = map.get("path").and_then(Value::as_str).ok_or("it has no path")?;
    let position = match map.get(LOCATION) {
        None => None,
        Some(value) => Some(to_position(value)?),
    };
    let time = match map.get("time") {
        None => None,
        Some(value) => Some(value.as_i64().ok_or("time is not an integer")?),
    };
    let mut tags = std::collections::BTreeMap::new();
    if let Some(words) = map.get(TAGS) {
        for word in words.as_array().ok_or("tags is no list")? {
            let (key, value) =
                word.as_str().and_then(|word| word.split_once('=')).ok_or("a tag has no '='")?;
            tags.insert(key.to_owned(), value.to_owned());
        }
    }
    let (heading, altitude) = (number("heading")?, number("altitude")?);
    Ok(Place { name: name.into(), position, heading, time, altitude, tags })
}

fn to_position(value: &Value) -> Result<LatLon, String> {
    let part = |key| value.get(key).and_then(Value::as_f64).ok_or(format!("{LOCATION} has no {key}"));
    let position = LatLon { lat: part("lat")?, lon: part("lon")? };
    if position.is_valid() { Ok(position) } else { Err(format!("{LOCATION} is outside the globe")) }
}

/// A filter in the store's JSON form; none if everything passes.
pub(crate) fn of_filter(filter: &Filter) -> Option<Value> {
    let mut must = Vec::new();
    if let Some(near) = filter.near {
        let LatLon { lat, lon } = near.center;
        let radius = json!({ "center": { "lat": lat, "lon": lon }, "radius": near.radius_m });
        must.push(json!({ "key": LOCATION, "geo_radius": radius }));
    }
    for (key, value) in &filter.tags {
        must.push(json!({ "key": TAGS, "match": { "value": format!("{key}={value}") } }));
    }
    if must.is_empty() && filter.exclude.is_empty() {
        return None;
    }
    let mut whole = json!({ "must": must });
    if !filter.exclude.is_empty() {
        whole["must_not"] = json!([{ "has_id": filter.exclude }]);
    }
    Some(whole)
}
