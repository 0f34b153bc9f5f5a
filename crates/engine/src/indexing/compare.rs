//! What a source says about a photograph, against what the index knows.

use super::FieldChange;
use r2former_data::Photo;
use r2former_index::{FileFingerprint, LatLon, LocalPoint, Place, Position};
use std::collections::BTreeSet;

/// What the index keeps of a photograph. What it has no field for becomes a tag: `heading_ref` (`true` or `magnetic`),
/// `position_error_m` and `position_method`.
pub(super) fn place_of(photo: &Photo, file: Option<FileFingerprint>) -> Place {
    let mut tags = photo.tags.clone();
    let more = [
        ("heading_ref", photo.heading_ref.map(|north| north.name().to_owned())),
        ("position_error_m", photo.position_error.map(|metres| metres.to_string())),
        ("position_method", photo.position_method.clone()),
    ];
    for (key, value) in more {
        if let Some(value) = value {
            tags.entry(key.to_owned()).or_insert(value);
        }
    }
    Place {
        name: photo.name.clone(),
        position: photo.position,
        heading: photo.heading,
        altitude: photo.altitude,
        time: photo.time,
        tags,
        file,
    }
}

/// What differs between two places of one name.
pub(crate) fn differences(old: &Place, new: &Place) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    let mut compare = |what: &str, from: Option<String>, to: Option<String>| {
        if from != to {
            changes.push(FieldChange { what: what.to_owned(), from, to });
        }
    };
    // Numbers are written in full: the same text is the same number.
    let number = |value: Option<f64>| value.map(|value| value.to_string());
    let file = |place: &Place| place.file.map(|file| file.to_string());
    let position = |place: &Place| place.position.map(in_full);
    compare("file", file(old), file(new));
    compare("position", position(old), position(new));
    compare("heading", number(old.heading), number(new.heading));
    compare("altitude", number(old.altitude), number(new.altitude));
    compare("time", old.time.map(|time| time.to_string()), new.time.map(|time| time.to_string()));
    for key in old.tags.keys().chain(new.tags.keys()).collect::<BTreeSet<_>>() {
        compare(&format!("tag {key}"), old.tags.get(key).cloned(), new.tags.get(key).cloned());
    }
    changes
}

fn in_full(position: Position) -> String {
    match position {
        Position::Wgs84(LatLon { lat, lon }) => format!("{lat},{lon}"),
        Position::Local(LocalPoint { x, y, z: None }) => format!("{x},{y}"),
        Position::Local(LocalPoint { x, y, z: Some(z) }) => format!("{x},{y},{z}"),
    }
}

/// Whether a photograph with these differences shows something else: its file is another, or a view of a panorama looks
/// elsewhere or wider.
pub(super) fn shows_another(photo: &Photo, changes: &[FieldChange]) -> bool {
    let of_pixels = ["heading", "tag panorama_fov"];
    changes.iter().any(|change| {
        change.what == "file" || photo.view.is_some() && of_pixels.contains(&change.what.as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use r2former_data::PanoramaView;

    #[test]
    fn every_field_is_compared() {
        let file = |bytes: &[u8]| Some(FileFingerprint::of(bytes));
        let mut photo = Photo::new("a.jpg", "cam/a.jpg");
        photo.position = Some(LatLon { lat: 52.1, lon: 0.1 }.into());
        photo.tags.insert("city".into(), "ulm".into());
        photo.position_error = Some(3.5);
        let old = place_of(&photo, file(b"one"));
        assert_eq!(old.tags["position_error_m"], "3.5");
        assert_eq!(differences(&old, &old), []);
        // The least step of a number counts.
        photo.position = Some(LatLon { lat: 52.1_f64.next_up(), lon: 0.1 }.into());
        photo.heading = Some(0.0);
        photo.altitude = Some(-1.5);
        photo.time = Some(7);
        photo.tags = [("night".to_owned(), "yes".to_owned())].into();
        let changes = differences(&old, &place_of(&photo, file(b"two")));
        let what: Vec<_> = changes.iter().map(|change| change.what.as_str()).collect();
        assert_eq!(what, ["file", "position", "heading", "altitude", "time", "tag city", "tag night"]);
        assert_eq!(changes[2], FieldChange { what: "heading".into(), from: None, to: Some("0".into()) });
        assert_eq!((changes[5].from.as_deref(), changes[5].to.as_deref()), (Some("ulm"), None));
    }

    #[test]
    fn a_view_that_looks_elsewhere_is_extracted_again() {
        let change = |what: &str| FieldChange { what: what.into(), from: None, to: None };
        let photo = Photo::new("a.jpg", "a.jpg");
        let view = Photo { view: Some(PanoramaView { yaw: 0.0, fov: 90.0, horizon: 0.5 }), ..photo.clone() };
        for (what, whole, part) in [
            ("file", true, true),
            ("heading", false, true),
            ("tag panorama_fov", false, true),
            ("position", false, false),
        ] {
            assert_eq!(shows_another(&photo, &[change(what)]), whole, "{what}");
            assert_eq!(shows_another(&view, &[change(what)]), part, "{what}");
        }
    }
}
