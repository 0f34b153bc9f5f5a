//! The track of a sequence, as GeoJSON or CSV.

use super::answers::word;
use super::escaped;
use crate::commands::sequence::TrackPoint;
use anyhow::{Context, Result};
use geojson::{Feature, FeatureCollection, Geometry, GeometryValue};
use r2former_engine::{Fix, LatLon, LocalPoint, Position, PositionKind, Positions};
use serde_json::{Value, json};
use std::path::Path;

/// Writes a track.
pub(crate) fn write_track(file: &Path, csv: bool, points: &[TrackPoint], positions: Positions) -> Result<()> {
    let text =
        if csv { table(points, positions.kind())? } else { collection(points, positions)?.into_bytes() };
    std::fs::write(file, text).with_context(|| file.display().to_string())
}

/// A line along the frames, and a point for each of them.
fn collection(points: &[TrackPoint], positions: Positions) -> Result<String> {
    let degrees = |position: Position| match position {
        Position::Wgs84(LatLon { lat, lon }) => Some(vec![lon, lat]),
        Position::Local(point) => {
            let position = positions.origin()?.position(point);
            Some(vec![position.lon, position.lat])
        }
    };
    let at = |fix: &Option<Fix>| fix.as_ref().and_then(|fix| fix.position).and_then(degrees);
    let feature = |geometry: Option<Geometry>, properties: Value| Feature {
        bbox: None,
        geometry,
        id: None,
        properties: properties.as_object().cloned(),
        foreign_members: None,
    };
    let line: Vec<Vec<f64>> = points.iter().filter_map(|point| at(&point.best)).collect();
    // A line has two ends.
    let geometry = (line.len() > 1).then(|| Geometry::new(GeometryValue::new_line_string(line)));
    let mut features = vec![feature(geometry, json!({ "kind": "track", "frames": points.len() }))];
    for (i, point) in points.iter().enumerate() {
        let live = at(&point.live);
        let properties = json!({
            "kind": "frame", "frame": i + 1, "query": point.query, "time": point.time,
            "path": point.best.as_ref().map(|fix| &fix.place.path),
            "probability": point.best.as_ref().map(|fix| fix.probability),
            "live_path": point.live.as_ref().map(|fix| &fix.place.path),
            "live_lat": live.as_ref().map(|at| at[1]), "live_lon": live.as_ref().map(|at| at[0]),
            "live_probability": point.live.as_ref().map(|fix| fix.probability),
        });
        let geometry = at(&point.best).map(|at| Geometry::new(GeometryValue::new_point(at)));
        features.push(feature(geometry, properties));
    }
    Ok(serde_json::to_string(&FeatureCollection { bbox: None, features, foreign_members: None })?)
}

/// A row for each frame.
fn table(points: &[TrackPoint], kind: PositionKind) -> Result<Vec<u8>> {
    let coordinates: &[&str] = match kind {
        PositionKind::Wgs84 => &["lat", "lon"],
        PositionKind::Local => &["x", "y", "z"],
        PositionKind::None => &[],
    };
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut heads: Vec<String> = ["frame", "query", "time"].map(String::from).to_vec();
    for prefix in ["", "live_"] {
        heads.extend(
            ["path"].iter().chain(coordinates).chain(&["probability"]).map(|name| format!("{prefix}{name}")),
        );
    }
    writer.write_record(&heads)?;
    let number = |value: Option<f64>| value.map_or(String::new(), |value| word(value).to_string());
    for (i, point) in points.iter().enumerate() {
        let mut row = vec![(i + 1).to_string(), escaped(&point.query).into_owned(), number(point.time)];
        for fix in [&point.best, &point.live] {
            row.push(fix.as_ref().map_or(String::new(), |fix| escaped(&fix.place.path).into_owned()));
            let numbers = match fix.as_ref().and_then(|fix| fix.position) {
                Some(Position::Wgs84(LatLon { lat, lon })) => vec![Some(lat), Some(lon)],
                Some(Position::Local(LocalPoint { x, y, z })) => vec![Some(x), Some(y), z],
                None => Vec::new(),
            };
            row.extend((0..coordinates.len()).map(|c| number(numbers.get(c).copied().flatten())));
            row.push(number(fix.as_ref().map(|fix| fix.probability)));
        }
        writer.write_record(&row)?;
    }
    writer.into_inner().map_err(|error| error.into_error().into())
}
