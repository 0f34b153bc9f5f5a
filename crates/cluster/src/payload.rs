//! A place as the payload of a point, and back.
//!
//! `place` is the place as JSON, which is what answers hold: numbers in a payload may lose their last bit on the way. The
//! other fields are what filters read.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use qdrant_client::qdrant::{ListValue, PointId, Struct, Value, point_id::PointIdOptions, value::Kind};
use r2former_geo::Position;
use r2former_index::{Place, place_id};
use uuid::Uuid;

/// The place.
pub(crate) const PLACE: &str = "place";
/// Latitude and longitude, as Qdrant's geo index reads them.
pub(crate) const GEO: &str = "geo";
/// Each of the two, for boxes.
pub(crate) const LAT: &str = "geo.lat";
pub(crate) const LON: &str = "geo.lon";
/// x, y and z in local metres.
pub(crate) const AT: &str = "at";
pub(crate) const X: &str = "at.x";
pub(crate) const Y: &str = "at.y";
pub(crate) const Z: &str = "at.z";
/// Seconds since 1970.
pub(crate) const TIME: &str = "time";
/// `KEY=VALUE` of each tag.
pub(crate) const TAGS: &str = "tags";
/// The fingerprint of the file.
pub(crate) const FILE: &str = "file";

/// The local features, as base64.
pub(crate) const LOCAL: &str = "local";

/// What filters read.
pub(crate) const FIELDS: [&str; 5] = [GEO, AT, TIME, TAGS, FILE];

/// A point's payload.
pub(crate) type Payload = HashMap<String, Value>;

/// The payload of a place.
pub(crate) fn encode(place: &Place) -> Result<Payload, String> {
    let json = serde_json::to_string(place).map_err(|error| error.to_string())?;
    let mut payload = Payload::from([(PLACE.into(), text(json))]);
    let mut put = |key: &str, value: Value| payload.insert(key.into(), value);
    match place.position {
        Some(Position::Wgs84(at)) => {
            put(GEO, numbers(&[("lat", Some(at.lat)), ("lon", Some(at.lon))]));
        }
        Some(Position::Local(at)) => {
            put(AT, numbers(&[("x", Some(at.x)), ("y", Some(at.y)), ("z", at.z)]));
        }
        None => {}
    }
    // The least time stands for none, as in a folder's index.
    if let Some(time) = place.time.filter(|&time| time != i64::MIN) {
        put(TIME, value(Kind::IntegerValue(time)));
    }
    if !place.tags.is_empty() {
        let values = place.tags.iter().map(|(key, value)| text(tag(key, value))).collect();
        put(TAGS, value(Kind::ListValue(ListValue { values })));
    }
    if let Some(file) = place.file {
        put(FILE, text(file.to_string()));
    }
    Ok(payload)
}

/// The place of a payload.
pub(crate) fn decode(payload: &Payload) -> Result<Place, String> {
    let json = string(payload, PLACE).ok_or("its payload has no place")?;
    serde_json::from_str(json).map_err(|error| format!("its place is unreadable: {error}"))
}

/// The place of a point, whose identifier must be that of its name.
pub(crate) fn decode_of(id: Uuid, payload: &Payload) -> Result<Place, String> {
    let place = decode(payload).map_err(|problem| format!("image {id}: {problem}"))?;
    if place_id(&place.name) == id {
        return Ok(place);
    }
    Err(format!("image {id} leads to the place {:?}", place.name))
}

/// A tag as one word. A key holds no `=`.
pub(crate) fn tag(key: &str, value: &str) -> String {
    format!("{key}={value}")
}

/// Local features as a value.
pub(crate) fn encode_local(rows: &[u8]) -> Value {
    text(STANDARD.encode(rows))
}

/// The local features of a payload: none if it has none.
pub(crate) fn decode_local(payload: &Payload) -> Result<Vec<u8>, String> {
    match payload.get(LOCAL) {
        None => Ok(Vec::new()),
        Some(_) => {
            let rows = string(payload, LOCAL).and_then(|rows| STANDARD.decode(rows).ok());
            rows.ok_or_else(|| "its local features are unreadable".into())
        }
    }
}

/// The text of a field.
pub(crate) fn string<'p>(payload: &'p Payload, key: &str) -> Option<&'p str> {
    match payload.get(key)?.kind.as_ref()? {
        Kind::StringValue(text) => Some(text),
        _ => None,
    }
}

/// The integer of a field.
pub(crate) fn integer(payload: &Payload, key: &str) -> Option<i64> {
    match payload.get(key)?.kind.as_ref()? {
        Kind::IntegerValue(number) => Some(*number),
        _ => None,
    }
}

/// A text as a value.
pub(crate) fn text(text: impl Into<String>) -> Value {
    value(Kind::StringValue(text.into()))
}

/// A value.
pub(crate) fn value(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

fn numbers(fields: &[(&str, Option<f64>)]) -> Value {
    let fields =
        fields.iter().filter_map(|&(key, number)| Some((key.into(), value(Kind::DoubleValue(number?)))));
    value(Kind::StructValue(Struct { fields: fields.collect() }))
}

/// An identifier as Qdrant has it.
pub(crate) fn point_id(id: Uuid) -> PointId {
    PointId { point_id_options: Some(PointIdOptions::Uuid(id.to_string())) }
}

/// The identifier of a point; none if it is not one of an image.
pub(crate) fn uuid(id: Option<&PointId>) -> Option<Uuid> {
    match id?.point_id_options.as_ref()? {
        PointIdOptions::Uuid(text) => text.parse().ok(),
        PointIdOptions::Num(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use r2former_index::{FileFingerprint, LatLon, LocalPoint};

    fn position() -> impl Strategy<Value = Position> {
        let metres = -1e9..1e9_f64;
        prop_oneof![
            (-90.0..=90.0_f64, -180.0..=180.0_f64).prop_map(|(lat, lon)| LatLon { lat, lon }.into()),
            (metres.clone(), metres.clone(), prop::option::of(metres)).prop_map(|(x, y, z)| LocalPoint {
                x,
                y,
                z
            }
            .into()),
        ]
    }

    proptest! {
        /// Every bit comes back.
        #[test]
        fn a_place_comes_back(
            name in ".{1,40}",
            position in prop::option::of(position()),
            heading in prop::option::of(-1e3..1e3_f64),
            time in prop::option::of(any::<i64>()),
            altitude in prop::option::of(any::<f64>().prop_filter("finite", |x| x.is_finite())),
            tags in prop::collection::btree_map("[^=]{1,8}", ".{0,12}", 0..4),
            file in prop::option::of((any::<u64>(), any::<u64>())),
        ) {
            let file = file.map(|(bytes, xxh3)| FileFingerprint { bytes, xxh3 });
            let place = Place { name, position, heading, time, altitude, tags, file };
            let payload = encode(&place).unwrap();
            prop_assert_eq!(decode_of(place_id(&place.name), &payload).unwrap(), place.clone());
            prop_assert_eq!(payload.contains_key(GEO), matches!(position, Some(Position::Wgs84(_))));
            prop_assert_eq!(payload.contains_key(AT), matches!(position, Some(Position::Local(_))));
            prop_assert_eq!(integer(&payload, TIME), time.filter(|&time| time != i64::MIN));
            prop_assert_eq!(payload.contains_key(TAGS), !place.tags.is_empty());
            prop_assert_eq!(string(&payload, FILE).map(str::to_owned), file.map(|file| file.to_string()));
        }
    }

    #[test]
    fn local_features_come_back() {
        for length in [0, 1, 2, 3, 131 * 50] {
            let rows: Vec<u8> = (0..length).map(|i| (i * 7) as u8).collect();
            let payload = Payload::from([(LOCAL.into(), encode_local(&rows))]);
            assert_eq!(decode_local(&payload).unwrap(), rows);
        }
        assert!(decode_local(&Payload::new()).unwrap().is_empty());
        for broken in [text("?"), value(Kind::IntegerValue(3))] {
            assert!(decode_local(&Payload::from([(LOCAL.into(), broken)])).is_err());
        }
    }

    #[test]
    fn a_foreign_payload_is_named() {
        let id = place_id("a");
        assert!(decode_of(id, &Payload::new()).unwrap_err().contains(&id.to_string()));
        let broken = Payload::from([(PLACE.into(), text("{"))]);
        assert!(decode_of(id, &broken).unwrap_err().contains("unreadable"));
        let other = encode(&Place { name: "b".into(), ..Place::default() }).unwrap();
        assert!(decode_of(id, &other).unwrap_err().contains("\"b\""));
        assert_eq!(uuid(Some(&point_id(id))), Some(id));
        assert_eq!(uuid(Some(&PointId { point_id_options: Some(PointIdOptions::Num(3)) })), None);
    }
}
