//! Distances, bearings and headings on the WGS84 ellipsoid.
//!
//! Distances are geodesics by Karney's method ("Algorithms for geodesics", 2013), exact to
//! nanometres; a sphere would be wrong by up to 0.5 %, which is 12 cm at the 25 m radius of ground
//! truth and metres across a town.

use crate::LatLon;
use geographiclib_rs::{DirectGeodesic, Geodesic, InverseGeodesic};
use std::sync::LazyLock;

/// The ellipsoid's series, computed once.
static WGS84: LazyLock<Geodesic> = LazyLock::new(Geodesic::wgs84);

/// Mean radius of the Earth in metres, where a sphere is exact enough.
pub const EARTH_M: f64 = 6_371_008.8;

/// Half the Earth's circumference in metres, rounded up: no two places are farther apart.
pub const FARTHEST_M: f64 = 20_040_000.0;

/// Length in metres of the shortest line on the ellipsoid between two positions.
///
/// ```
/// use r2former_geo::{LatLon, geodesic_m};
///
/// // New York to London, the example of GeographicLib's GeodSolve.
/// let (jfk, lhr) = (LatLon::new(40.6, -73.8)?, LatLon::new(51.6, -0.5)?);
/// assert!((geodesic_m(jfk, lhr) - 5_551_759.400_319).abs() < 1e-5);
/// # Ok::<(), r2former_geo::InvalidPosition>(())
/// ```
pub fn geodesic_m(from: LatLon, to: LatLon) -> f64 {
    let metres: f64 = WGS84.inverse(from.lat, from.lon, to.lat, to.lon);
    metres
}

/// Direction in which to leave `from` so as to reach `to` by the shortest line: degrees clockwise
/// from true north, 0 up to but excluding 360. Of two equal positions the answer is 0.
pub fn bearing(from: LatLon, to: LatLon) -> f64 {
    if from == to {
        return 0.0;
    }
    let (azimuth, _, _): (f64, f64, f64) = WGS84.inverse(from.lat, from.lon, to.lat, to.lon);
    wrap_heading(azimuth)
}

/// Where `metres` along the line that leaves `from` in direction `heading` lead
/// (degrees clockwise from true north; a negative distance goes backwards).
pub fn destination(from: LatLon, heading: f64, metres: f64) -> LatLon {
    let (lat, lon): (f64, f64) = WGS84.direct(from.lat, from.lon, heading, metres);
    LatLon { lat, lon: wrap_longitude(lon) }
}

/// The smaller angle between two directions, 0 to 180 degrees; any turn counts (370 is 10).
pub fn heading_difference(a: f64, b: f64) -> f64 {
    let turn = (a - b).rem_euclid(360.0);
    turn.min(360.0 - turn)
}

/// A direction as 0 up to but excluding 360; `rem_euclid` alone rounds a tiny negative to 360.
fn wrap_heading(degrees: f64) -> f64 {
    let turn = degrees.rem_euclid(360.0);
    if turn < 360.0 { turn } else { 0.0 }
}

/// A longitude of any number of turns as -180 to 180 degrees.
pub fn wrap_longitude(degrees: f64) -> f64 {
    if (-180.0..=180.0).contains(&degrees) { degrees } else { (degrees + 180.0).rem_euclid(360.0) - 180.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(lat: f64, lon: f64) -> LatLon {
        LatLon { lat, lon }
    }

    #[test]
    fn known_distances() {
        // One degree of the meridian at the equator and of the equator itself, WGS84.
        assert!((geodesic_m(at(0.0, 0.0), at(1.0, 0.0)) - 110_574.388_557_8).abs() < 1e-6);
        assert!((geodesic_m(at(0.0, 0.0), at(0.0, 1.0)) - 111_319.490_793_3).abs() < 1e-6);
        // Across the date line it is two degrees, not 358.
        assert!((geodesic_m(at(0.0, 179.0), at(0.0, -179.0)) - 222_638.981_586_5).abs() < 1e-6);
        assert_eq!(geodesic_m(at(48.0, 2.0), at(48.0, 2.0)), 0.0);
    }

    #[test]
    fn the_four_winds() {
        let here = at(45.0, 7.0);
        for heading in [0.0, 90.0, 180.0, 270.0, 359.5] {
            let there = destination(here, heading, 1000.0);
            assert!(heading_difference(bearing(here, there), heading) < 1e-6, "{heading}");
        }
        assert_eq!(bearing(here, here), 0.0);
        assert!((destination(at(0.0, 179.999), 90.0, 1000.0).lon + 179.992).abs() < 1e-3);
    }

    #[test]
    fn headings_wrap() {
        assert_eq!(heading_difference(350.0, 10.0), 20.0);
        assert_eq!(heading_difference(10.0, 350.0), 20.0);
        assert_eq!(heading_difference(0.0, 180.0), 180.0);
        assert_eq!(heading_difference(370.0, 0.0), 10.0);
        assert_eq!(heading_difference(-90.0, 90.0), 180.0);
        assert_eq!(wrap_heading(-1e-20), 0.0);
    }

    proptest! {
        #[test]
        fn going_and_looking_back_agree(
            lat in -85.0..85.0f64, lon in -180.0..180.0f64,
            heading in 0.0..360.0f64, metres in 0.1..50_000.0f64,
        ) {
            let from = at(lat, lon);
            let to = destination(from, heading, metres);
            prop_assert!((geodesic_m(from, to) - metres).abs() < 1e-6);
            prop_assert!((geodesic_m(to, from) - metres).abs() < 1e-6);
            prop_assert!(heading_difference(bearing(from, to), heading) * metres < 1e-3);
            prop_assert!(LatLon::new(to.lat, to.lon).is_ok());
        }

        #[test]
        fn heading_difference_is_a_distance(a in -720.0..720.0f64, b in -720.0..720.0f64) {
            let d = heading_difference(a, b);
            prop_assert!((0.0..=180.0).contains(&d));
            prop_assert!((d - heading_difference(b, a)).abs() < 1e-9);
            prop_assert!((d - heading_difference(a + 360.0, b)).abs() < 1e-9);
        }
    }
}
