//! Local metres on the globe.

use crate::errors::Failure;
use pyo3::prelude::*;
use r2former_data::LocalPoint;
use r2former_engine::{Origin, Position, geojson_coordinates};

/// Local points as GeoJSON has them: longitude, latitude and, where it is known, the height. `origin` is latitude, longitude and,
/// where it is known, the altitude.
#[pyfunction]
pub(crate) fn degrees(origin: Vec<f64>, points: Vec<(f64, f64, Option<f64>)>) -> PyResult<Vec<Vec<f64>>> {
    let origin = match *origin.as_slice() {
        [lat, lon] => Origin { lat, lon, altitude: None },
        [lat, lon, altitude] => Origin { lat, lon, altitude: Some(altitude) },
        _ => return Err(Failure::request("origin: (lat, lon) or (lat, lon, altitude) is needed").into()),
    };
    let place = |(x, y, z)| geojson_coordinates(Position::Local(LocalPoint { x, y, z }), Some(origin));
    Ok(points.into_iter().filter_map(place).collect())
}
