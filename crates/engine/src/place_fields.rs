//! What is known of an image that is added from memory, as a document: what other languages hand over.

use crate::query_options::{parse, position, request};
use crate::{PositionKind, Result};
use r2former_data::image::PhotoTags;
use r2former_data::{Photo, tag_refusal};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Position, heading, altitude, time and tags of an image as a JSON object, with the names of `index list --json`. All keys
/// may be left out.
///
/// ```
/// use r2former_engine::{PlaceFields, PositionKind};
///
/// let fields = PlaceFields::parse(r#"{"position": [52.205, 0.119], "heading": 450, "tags": {"camera": "front"}}"#)?;
/// let photo = fields.photo("robot/1", Default::default(), PositionKind::Wgs84)?;
/// assert_eq!((photo.name.as_str(), photo.heading), ("robot/1", Some(90.0)));
/// # Ok::<(), r2former_engine::EngineError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlaceFields {
    /// `[lat, lon]` in degrees, or `[x, y]` or `[x, y, z]` in local metres.
    pub position: Option<Value>,
    /// Degrees clockwise from north.
    pub heading: Option<f64>,
    /// Metres above sea level.
    pub altitude: Option<f64>,
    /// Seconds since 1970 UTC.
    pub time: Option<f64>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

impl PlaceFields {
    /// Reads a document; an empty text stands for one without keys.
    ///
    /// # Errors
    /// [`EngineError::Request`](crate::EngineError::Request) for what is no such document.
    pub fn parse(json: &str) -> Result<Self> {
        parse(json)
    }

    /// The photograph that is called `name`, in an index with positions of this kind. What the fields do not say, its EXIF
    /// says.
    ///
    /// # Errors
    /// [`EngineError::Request`](crate::EngineError::Request) for a value out of range, or where no position is known
    /// and the index needs one.
    pub fn photo(&self, name: &str, exif: PhotoTags, kind: PositionKind) -> Result<Photo> {
        let mut photo = exif.photo("", name);
        match (&self.position, kind) {
            (Some(at), kind) => {
                photo.position = Some(position("position", at, kind)?);
                // They are those of the EXIF's position.
                (photo.position_error, photo.position_method) = (None, None);
            }
            (None, PositionKind::None) => photo.position = None,
            (None, PositionKind::Wgs84) if photo.position.is_some() => {}
            (None, _) => {
                return Err(request(format!(
                    "{name}: where was it taken? A position is needed, as this index has {}",
                    kind.words()
                )));
            }
        }
        let within = |what: &str, value: Option<f64>, low: f64, high: f64| match value {
            // NaN is in no range.
            Some(value) if !(low..=high).contains(&value) => {
                Err(request(format!("{name}: {what}={value} is outside {low} to {high}")))
            }
            value => Ok(value),
        };
        if let Some(heading) = within("heading", self.heading, -3600.0, 3600.0)? {
            (photo.heading, photo.heading_ref) = (Some(heading.rem_euclid(360.0)), None);
        }
        photo.altitude = within("altitude", self.altitude, -12_000.0, 100_000.0)?.or(photo.altitude);
        photo.time = within("time", self.time, -1e11, 1e11)?.map(|time| time.floor() as i64).or(photo.time);
        if let Some(why) = self.tags.iter().find_map(|(key, value)| tag_refusal(key, value)) {
            return Err(request(format!("{name}: {why}")));
        }
        photo.tags.extend(self.tags.clone());
        Ok(photo)
    }
}
