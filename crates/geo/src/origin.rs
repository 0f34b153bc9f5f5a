//! Where a map in local metres lies on the globe: the plane that touches the ellipsoid at an origin.

use crate::{InvalidPosition, LatLon, LocalPoint};
use serde::{Deserialize, Serialize};
use std::fmt;

/// WGS84: the semi-major axis in metres and the flattening.
const A: f64 = 6_378_137.0;
const F: f64 = 1.0 / 298.257_223_563;

/// The first eccentricity squared.
const E2: f64 = F * (2.0 - F);

/// Earth-centred, Earth-fixed metres of a position at a height above the WGS84 ellipsoid.
pub fn ecef(position: LatLon, height_m: f64) -> [f64; 3] {
    let (sin_lat, cos_lat) = position.lat.to_radians().sin_cos();
    let (sin_lon, cos_lon) = position.lon.to_radians().sin_cos();
    let n = A / (1.0 - E2 * sin_lat * sin_lat).sqrt();
    let across = (n + height_m) * cos_lat;
    [across * cos_lon, across * sin_lon, (n * (1.0 - E2) + height_m) * sin_lat]
}

/// The position under a point in Earth-centred metres, and its height above the ellipsoid: Bowring's iteration (1976),
/// which has converged to rounding after a few steps for any point within thousands of kilometres of the surface.
fn geodetic([x, y, z]: [f64; 3]) -> (LatLon, f64) {
    let across = x.hypot(y);
    let b = A * (1.0 - F);
    let second = E2 / (1.0 - E2);
    let mut lat = z.atan2(across * (1.0 - E2));
    for _ in 0..5 {
        // The parametric latitude.
        let beta = ((1.0 - F) * lat.sin()).atan2(lat.cos());
        lat = (z + second * b * beta.sin().powi(3)).atan2(across - E2 * A * beta.cos().powi(3));
    }
    let (sin, cos) = lat.sin_cos();
    let height = across * cos + z * sin - A * (1.0 - E2 * sin * sin).sqrt();
    (LatLon { lat: lat.to_degrees(), lon: y.atan2(x).to_degrees() }, height)
}

/// The origin of local metres on the globe: x is east, y north and z up from here.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// Latitude in degrees.
    pub lat: f64,
    /// Longitude in degrees.
    pub lon: f64,
    /// Height above the ellipsoid in metres, where it is known; taken as 0 where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub altitude: Option<f64>,
}

impl Origin {
    /// A checked origin.
    ///
    /// # Errors
    /// [`InvalidPosition`] for a latitude or longitude outside its range, or a height that is not finite or beyond
    /// 100 km.
    pub fn new(lat: f64, lon: f64, altitude: Option<f64>) -> Result<Self, InvalidPosition> {
        LatLon::new(lat, lon)?;
        match altitude.filter(|metres| !(-1e5..=1e5).contains(metres)) {
            Some(metres) => Err(InvalidPosition::Altitude(metres)),
            None => Ok(Self { lat, lon, altitude }),
        }
    }

    /// The position of a local point, by the tangent plane: with E the Earth-centred metres of the origin and e, n, u
    /// the unit vectors there to the east, to the north and up (along the ellipsoid's normal), the point is
    /// E + x e + y n + z u in Earth-centred metres (a z that is missing is 0), and its position is where the normal
    /// through it meets the ellipsoid. This is exact, not an approximation for short distances.
    ///
    /// ```
    /// use r2former_geo::{LocalPoint, Origin, geodesic_m, LatLon};
    ///
    /// let origin = Origin::new(52.2054, 0.119, Some(20.0))?;
    /// let east = origin.position(LocalPoint::new(100.0, 0.0, None)?);
    /// let metres = geodesic_m(LatLon::new(52.2054, 0.119)?, east);
    /// // At 20 m above the ellipsoid, 100 m are 0.3 mm less on it.
    /// assert!((metres - 100.0).abs() < 0.001);
    /// # Ok::<(), r2former_geo::InvalidPosition>(())
    /// ```
    pub fn position(self, point: LocalPoint) -> LatLon {
        self.place(point).0
    }

    /// The height above the ellipsoid of a local point; `None` where the origin's height or the point's is not known.
    pub fn height_m(self, point: LocalPoint) -> Option<f64> {
        (self.altitude.is_some() && point.z.is_some()).then(|| self.place(point).1)
    }

    fn place(self, point: LocalPoint) -> (LatLon, f64) {
        let [x, y, z] = ecef(LatLon { lat: self.lat, lon: self.lon }, self.altitude.unwrap_or(0.0));
        let (sin_lat, cos_lat) = self.lat.to_radians().sin_cos();
        let (sin_lon, cos_lon) = self.lon.to_radians().sin_cos();
        let (east, north, up) = (point.x, point.y, point.z.unwrap_or(0.0));
        geodetic([
            x - sin_lon * east - sin_lat * cos_lon * north + cos_lat * cos_lon * up,
            y + cos_lon * east - sin_lat * sin_lon * north + cos_lat * sin_lon * up,
            z + cos_lat * north + sin_lat * up,
        ])
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6},{:.6}", self.lat, self.lon)?;
        self.altitude.map_or(Ok(()), |metres| write!(f, ",{metres:.1}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{bearing, destination, geodesic_m, heading_difference};
    use proptest::prelude::*;

    #[test]
    fn known_points() {
        // Semi-major and semi-minor axes.
        let close = |a: [f64; 3], b: [f64; 3]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(close(ecef(LatLon { lat: 0.0, lon: 0.0 }, 10.0), [6_378_147.0, 0.0, 0.0]));
        assert!(close(ecef(LatLon { lat: 90.0, lon: 0.0 }, 0.0), [0.0, 0.0, 6_356_752.314_245_18]));
        let pole = Origin { lat: 90.0, lon: 0.0, altitude: Some(0.0) };
        assert!((pole.position(LocalPoint { x: 0.0, y: 0.0, z: None }).lat - 90.0).abs() < 1e-9);
        // East at the pole, whose longitude is 0, is along the meridian of 90 degrees.
        assert!((pole.position(LocalPoint { x: 50.0, y: 0.0, z: None }).lon - 90.0).abs() < 1e-6);
        for (lat, lon, altitude) in [(91.0, 0.0, None), (0.0, f64::NAN, None), (0.0, 0.0, Some(f64::NAN))] {
            assert!(Origin::new(lat, lon, altitude).is_err());
        }
    }

    proptest! {
        #[test]
        fn earth_centred_metres_and_back(
            lat in -90.0..90.0f64, lon in -180.0..180.0f64, height in -5000.0..50_000.0f64,
        ) {
            let (back, up) = geodetic(ecef(LatLon { lat, lon }, height));
            prop_assert!((back.lat - lat).abs() < 1e-10 && (up - height).abs() < 1e-6, "{back:?} {up}");
            prop_assert!(((back.lon - lon).abs() * lat.to_radians().cos()) < 1e-10);
        }

        /// Nearby, the plane agrees with the ellipsoid's own distances and directions.
        #[test]
        fn the_plane_is_that_of_the_ellipsoid(
            lat in -80.0..80.0f64, lon in -180.0..180.0f64,
            heading in 0.0..360.0f64, metres in 1.0..1000.0f64,
        ) {
            let origin = Origin { lat, lon, altitude: None };
            let (sin, cos) = heading.to_radians().sin_cos();
            let there = origin.position(LocalPoint { x: metres * sin, y: metres * cos, z: None });
            let from = LatLon { lat, lon };
            prop_assert!((geodesic_m(from, there) - metres).abs() < 1e-4);
            prop_assert!(geodesic_m(there, destination(from, heading, metres)) < 1e-3);
            prop_assert!(heading_difference(bearing(from, there), heading) * metres < 0.01);
        }

        #[test]
        fn up_is_up(lat in -89.0..89.0f64, lon in -180.0..180.0f64, z in -500.0..5000.0f64) {
            let origin = Origin { lat, lon, altitude: Some(100.0) };
            let point = LocalPoint { x: 0.0, y: 0.0, z: Some(z) };
            let metres = geodesic_m(origin.position(point), LatLon { lat, lon });
            prop_assert!(metres < 1e-6);
            prop_assert!((origin.height_m(point).unwrap() - 100.0 - z).abs() < 1e-6);
            prop_assert_eq!(origin.height_m(LocalPoint { z: None, ..point }), None);
        }
    }
}
