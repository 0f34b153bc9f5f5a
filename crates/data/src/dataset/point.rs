//! Both coordinates in one cell: well-known text, and pairs.

use super::angle::{self, Angle, Axis};
use super::number::{Notation, Quantity, number_of};

/// Which coordinate of a pair comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// As the column's name says: `latlon`.
    LatLon,
    /// As the column's name says: `lonlat`.
    LonLat,
    /// The column's name does not say, so that only the sides of the world can.
    Unstated,
}

/// Latitude and longitude of a cell: `POINT (0.1189 52.2054)` (longitude first, by the standard), or a pair.
///
/// # Errors
/// Says what is wrong, for use in a message.
pub(super) fn parse(what: &str, cell: &str, order: Order, notation: Notation) -> Result<(f64, f64), String> {
    if cell.is_empty() {
        return Err(format!("{what} is empty"));
    }
    let text = cell.trim();
    let (srid, body) = match text.split_once(';') {
        Some((srid, body)) if srid.trim().to_ascii_uppercase().starts_with("SRID=") => (Some(srid), body),
        _ => (None, text),
    };
    if let Some(srid) = srid.filter(|srid| srid.trim()[5..].trim() != "4326") {
        return Err(format!("{what} \"{cell}\" is in {srid}: degrees of WGS84 (4326) are needed"));
    }
    let upper = body.trim().to_ascii_uppercase();
    if let Some(rest) = upper.strip_prefix("POINT") {
        return well_known(what, cell, rest);
    }
    if upper.contains('(') && upper.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err(format!("{what} \"{cell}\" is not a POINT"));
    }
    let text = text.trim_matches(['(', ')', '[', ']', ' ']);
    let halves = halves(text).ok_or_else(|| {
        format!(
            "{what} \"{cell}\" is not two coordinates: write latitude and longitude into columns lat and lon"
        )
    })?;
    let read = |axes: [Axis; 2]| -> Result<[Angle; 2], String> {
        let [a, b] = halves;
        Ok([angle::parse(what, a, axes[0], notation)?, angle::parse(what, b, axes[1], notation)?])
    };
    let (lat_first, lon_first) = ([Axis::Latitude, Axis::Longitude], [Axis::Longitude, Axis::Latitude]);
    let [lat, lon] = match order {
        Order::LatLon => read(lat_first)?,
        Order::LonLat => read(lon_first).map(|[lon, lat]| [lat, lon])?,
        Order::Unstated => {
            let sided = |angles: &[Angle; 2]| angles.iter().all(|angle| angle.side.is_some());
            let either = match read(lat_first) {
                Err(_) => read(lon_first).map(|[lon, lat]| [lat, lon]),
                pair => pair,
            };
            either.ok().filter(sided).ok_or_else(|| {
                format!(
                    "{what} \"{cell}\": which number is the latitude is not stated: name the column latlon or \
                     lonlat, or write columns lat and lon"
                )
            })?
        }
    };
    let degrees = |angle: Angle| angle.degrees(None).map_err(|e| format!("{what} \"{cell}\" {e}"));
    Ok((degrees(lat)?, degrees(lon)?))
}

/// Whether a cell holds two coordinates, in whatever order.
pub(super) fn is_pair(cell: &str) -> bool {
    let notation = Notation { comma: true, points: false };
    let text = cell.trim_matches(['(', ')', '[', ']', ' ']);
    let angles = |axes: [Axis; 2]| {
        halves(text).is_some_and(|[a, b]| {
            angle::parse("", a, axes[0], notation).is_ok() && angle::parse("", b, axes[1], notation).is_ok()
        })
    };
    cell.to_ascii_uppercase().contains("POINT")
        || angles([Axis::Latitude, Axis::Longitude])
        || angles([Axis::Longitude, Axis::Latitude])
}

/// ` Z (0.1 52.1 12)`: longitude, latitude and what follows.
fn well_known(what: &str, cell: &str, rest: &str) -> Result<(f64, f64), String> {
    let bad = || format!("{what} \"{cell}\" is not a POINT (LONGITUDE LATITUDE)");
    let rest = rest.trim().trim_start_matches(['Z', 'M']).trim();
    let inner = rest.strip_prefix('(').and_then(|r| r.strip_suffix(')')).ok_or_else(bad)?;
    let numbers: Vec<f64> = inner
        .split_whitespace()
        .map(|part| number_of(what, part, Quantity::Degrees, Notation::default()))
        .collect::<Result<_, _>>()
        .map_err(|e| format!("{}: {e}", bad()))?;
    match numbers.as_slice() {
        [lon, lat] | [lon, lat, _] | [lon, lat, _, _] => Ok((*lat, *lon)),
        _ => Err(bad()),
    }
}

/// The two halves of a pair: at its only semicolon, comma, or run of spaces.
fn halves(text: &str) -> Option<[&str; 2]> {
    for separator in [';', ','] {
        if let Some((a, b)) = text.split_once(separator) {
            if !b.contains(separator) {
                return Some([a.trim(), b.trim()]);
            }
            // 52,2054, 0,1189: the comma before a space separates.
            let (a, b) = text.split_once(", ").filter(|(_, b)| !b.contains(", "))?;
            return Some([a.trim(), b.trim()]);
        }
    }
    let (a, b) = text.split_once(char::is_whitespace)?;
    (!b.trim().contains(char::is_whitespace)).then_some([a.trim(), b.trim()])
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMA: Notation = Notation { comma: true, points: false };

    #[test]
    fn pairs_and_well_known_text() {
        for (cell, order, notation) in [
            ("POINT (0.1189 52.2054)", Order::Unstated, Notation::default()),
            ("Point(0.1189 52.2054)", Order::LatLon, Notation::default()),
            ("POINT Z (0.1189 52.2054 12)", Order::Unstated, COMMA),
            ("SRID=4326;POINT(0.1189 52.2054)", Order::Unstated, Notation::default()),
            ("52.2054,0.1189", Order::LatLon, Notation::default()),
            ("(52.2054, 0.1189)", Order::LatLon, Notation::default()),
            ("[0.1189, 52.2054]", Order::LonLat, Notation::default()),
            ("52.2054 0.1189", Order::LatLon, Notation::default()),
            ("52,2054; 0,1189", Order::LatLon, COMMA),
            ("52,2054, 0,1189", Order::LatLon, COMMA),
            ("52 deg 12' 19.44\" N, 0 deg 7' 8.04\" E", Order::Unstated, Notation::default()),
            ("0.1189E, 52.2054N", Order::Unstated, Notation::default()),
        ] {
            let (lat, lon) = parse("position", cell, order, notation).expect(cell);
            assert!((lat - 52.2054).abs() < 1e-9 && (lon - 0.1189).abs() < 1e-9, "{cell}: {lat} {lon}");
        }
    }

    #[test]
    fn what_is_no_point() {
        for (cell, wanted) in [
            ("", "is empty"),
            ("52.1,0.1", "name the column latlon or lonlat"),
            ("52.1", "is not two coordinates"),
            ("1,2,3", "is not two coordinates"),
            ("SRID=3857;POINT(1 2)", "SRID=3857: degrees of WGS84"),
            ("POINT(1)", "is not a POINT (LONGITUDE LATITUDE)"),
            ("POINT EMPTY", "is not a POINT (LONGITUDE LATITUDE)"),
            ("LINESTRING(1 2, 3 4)", "is not a POINT"),
        ] {
            let said = parse("position", cell, Order::Unstated, Notation::default()).expect_err(cell);
            assert!(said.contains(wanted), "{cell}: {said}");
        }
    }
}
