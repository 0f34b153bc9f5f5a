//! The JSON that Mapillary's tools write into a photograph's ImageDescription.

use super::photo_tags::{HeadingReference, PhotoTags};
use super::time;
use crate::LatLon;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Heading {
    true_heading: Option<f64>,
    magnetic_heading: Option<f64>,
}

#[derive(Deserialize)]
struct Description {
    #[serde(rename = "MAPLatitude")]
    lat: f64,
    #[serde(rename = "MAPLongitude")]
    lon: f64,
    #[serde(rename = "MAPAltitude")]
    altitude: Option<f64>,
    #[serde(rename = "MAPCompassHeading")]
    heading: Option<Heading>,
    #[serde(rename = "MAPCaptureTime")]
    time: Option<String>,
}

/// Position, heading, altitude and time of a description; `None` for one that is not Mapillary's or states no position.
pub(super) fn tags(description: &str) -> Option<PhotoTags> {
    if !description.trim_start().starts_with('{') {
        return None;
    }
    let found: Description = serde_json::from_str(description.trim()).ok()?;
    let position = LatLon::new(found.lat, found.lon).ok().filter(|p| (p.lat, p.lon) != (0.0, 0.0))?;
    let heading = found.heading.and_then(|heading| {
        let valid = |degrees: Option<f64>| degrees.filter(|d| (-360.0..=360.0).contains(d));
        let north = |degrees: Option<f64>, north| Some((valid(degrees)?.rem_euclid(360.0) % 360.0, north));
        north(heading.true_heading, HeadingReference::True)
            .or_else(|| north(heading.magnetic_heading, HeadingReference::Magnetic))
    });
    Some(PhotoTags {
        position: Some(position),
        heading: heading.map(|h| h.0),
        heading_ref: heading.map(|h| h.1),
        altitude: found.altitude.filter(|a| a.is_finite()),
        time: found.time.as_deref().and_then(capture_time),
        ..PhotoTags::default()
    })
}

/// `2016_05_04_13_11_11_600`: UTC, to the millisecond.
fn capture_time(text: &str) -> Option<i64> {
    let parts: Vec<i64> =
        text.split('_').map(|p| p.parse::<u16>().ok().map(i64::from)).collect::<Option<_>>()?;
    match parts[..] {
        [year, month, day, hour, minute, second] | [year, month, day, hour, minute, second, _] => {
            time::seconds([year, month, day], [hour, minute, second])
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_of_mapillary_s_tools() {
        let tags = tags(
            "{\"MAPLatitude\":52.2054,\"MAPLongitude\":0.1189,\"MAPAltitude\":12.5,\"MAPCompassHeading\":\
             {\"TrueHeading\":-90.0,\"MagneticHeading\":268.0},\"MAPCaptureTime\":\"2016_05_04_13_11_11_600\",\
             \"MAPSequenceUUID\":\"x\"}",
        )
        .expect("tags");
        assert_eq!(tags.position, Some(LatLon { lat: 52.2054, lon: 0.1189 }));
        assert_eq!((tags.heading, tags.heading_ref), (Some(270.0), Some(HeadingReference::True)));
        assert_eq!((tags.altitude, tags.time), (Some(12.5), Some(1_462_367_471)));
    }

    #[test]
    fn other_descriptions_are_none() {
        for text in [
            "",
            "a street",
            "{",
            "{}",
            "{\"MAPLatitude\":52.2}",
            "{\"MAPLatitude\":0,\"MAPLongitude\":0}",
            "{\"MAPLatitude\":91,\"MAPLongitude\":0}",
            "{\"MAPLatitude\":\"52\",\"MAPLongitude\":0}",
        ] {
            assert_eq!(tags(text), None, "{text}");
        }
        let bare =
            tags("{\"MAPLatitude\":52.2,\"MAPLongitude\":0,\"MAPCaptureTime\":\"yesterday\"}").unwrap();
        assert_eq!((bare.heading, bare.time), (None, None));
    }
}
