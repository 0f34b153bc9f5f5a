//! The track of a sequence, as GeoJSON or CSV.

use super::answers::word;
use super::{quoted, quoted_path};
use anyhow::{Context, Result};
use r2former_engine::{LatLon, LocalPoint, Position, PositionKind, Positions, TrackPoint, track_geojson};
use std::path::Path;

/// Writes a track.
pub(crate) fn write_track(file: &Path, csv: bool, points: &[TrackPoint], positions: Positions) -> Result<()> {
    let text = match csv {
        true => table(points, positions.kind())?,
        false => track_geojson(points, positions.origin()).to_string().into_bytes(),
    };
    std::fs::write(file, text).with_context(|| file.display().to_string())
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
    for point in points {
        let mut row =
            vec![point.frame.to_string(), quoted_path(&point.query).into_owned(), number(point.time)];
        for fix in [&point.best, &point.live] {
            row.push(fix.as_ref().map_or(String::new(), |fix| quoted(&fix.place.path).into_owned()));
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
