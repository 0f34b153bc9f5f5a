//! Universal Transverse Mercator on WGS84.
//!
//! The projection is Krüger's series in the third flattening n to the sixth order, as given by
//! Karney, "Transverse Mercator with an accuracy of a few nanometers" (2011), equations 7 to 36:
//! below a micrometre anywhere that this module accepts.

use super::{LatLon, Utm, UtmZone};
use crate::{DataError, Result};
use r2former_geo::wrap_longitude;

/// Flattening of WGS84.
const F: f64 = 1.0 / 298.257_223_563;
/// Third flattening.
const N: f64 = F / (2.0 - F);
const N2: f64 = N * N;
const N3: f64 = N2 * N;
const N4: f64 = N3 * N;
const N5: f64 = N4 * N;
const N6: f64 = N5 * N;
/// Radius in metres of the sphere whose meridian is as long as the ellipsoid's, times UTM's scale
/// of 0.9996 on the central meridian.
const RADIUS: f64 = 0.9996 * 6_378_137.0 / (1.0 + N) * (1.0 + N2 / 4.0 + N4 / 64.0 + N6 / 256.0);

/// Karney's alpha 1 to 6: from the conformal sphere to the plane.
const ALPHA: [f64; 6] = [
    N / 2.0 - 2.0 / 3.0 * N2 + 5.0 / 16.0 * N3 + 41.0 / 180.0 * N4 - 127.0 / 288.0 * N5
        + 7891.0 / 37_800.0 * N6,
    13.0 / 48.0 * N2 - 3.0 / 5.0 * N3 + 557.0 / 1440.0 * N4 + 281.0 / 630.0 * N5
        - 1_983_433.0 / 1_935_360.0 * N6,
    61.0 / 240.0 * N3 - 103.0 / 140.0 * N4 + 15_061.0 / 26_880.0 * N5 + 167_603.0 / 181_440.0 * N6,
    49_561.0 / 161_280.0 * N4 - 179.0 / 168.0 * N5 + 6_601_661.0 / 7_257_600.0 * N6,
    34_729.0 / 80_640.0 * N5 - 3_418_889.0 / 1_995_840.0 * N6,
    212_378_941.0 / 319_334_400.0 * N6,
];

/// Karney's beta 1 to 6: from the plane back to the conformal sphere.
const BETA: [f64; 6] = [
    N / 2.0 - 2.0 / 3.0 * N2 + 37.0 / 96.0 * N3 - 1.0 / 360.0 * N4 - 81.0 / 512.0 * N5
        + 96_199.0 / 604_800.0 * N6,
    1.0 / 48.0 * N2 + 1.0 / 15.0 * N3 - 437.0 / 1440.0 * N4 + 46.0 / 105.0 * N5
        - 1_118_711.0 / 3_870_720.0 * N6,
    17.0 / 480.0 * N3 - 37.0 / 840.0 * N4 - 209.0 / 4480.0 * N5 + 5569.0 / 90_720.0 * N6,
    4397.0 / 161_280.0 * N4 - 11.0 / 504.0 * N5 - 830_251.0 / 7_257_600.0 * N6,
    4583.0 / 161_280.0 * N5 - 108_847.0 / 3_991_680.0 * N6,
    20_648_693.0 / 638_668_800.0 * N6,
];

/// Metres added to eastings, so that none is negative within its zone.
const FALSE_EASTING: f64 = 500_000.0;
/// Metres added to northings south of the equator.
const FALSE_NORTHING: f64 = 10_000_000.0;
/// Latitude bands from 80 degrees south, 8 degrees each, the last one 12.
const BANDS: [char; 20] =
    ['C', 'D', 'E', 'F', 'G', 'H', 'J', 'K', 'L', 'M', 'N', 'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W', 'X'];
/// How far from a zone's central meridian its plane is still used, in degrees: two zones and a half,
/// enough for a dataset that keeps to one zone across its border.
const MAX_FROM_MERIDIAN: f64 = 15.0;

/// The zone in which a position lies, with the exceptions of south-west Norway (32V) and
/// Svalbard (31X, 33X, 35X, 37X). Longitude 180 belongs to zone 1.
///
/// # Errors
/// [`DataError::Position`] for a position outside UTM (south of -80 or north of 84 degrees) or not on
/// the Earth at all.
pub fn zone_of(position: LatLon) -> Result<UtmZone> {
    let LatLon { lat, lon } = LatLon::new(position.lat, position.lon)?;
    if !(-80.0..=84.0).contains(&lat) {
        return Err(DataError::Position(format!(
            "latitude {lat} has no UTM zone: they reach from -80 to 84 degrees"
        )));
    }
    let band = BANDS[(((lat + 80.0) / 8.0) as usize).min(BANDS.len() - 1)];
    let regular = ((lon + 180.0) / 6.0) as u8 % 60 + 1;
    let number = match (band, regular) {
        ('V', 31) if lon >= 3.0 => 32,
        ('X', 32) => {
            if lon < 9.0 {
                31
            } else {
                33
            }
        }
        ('X', 34) => {
            if lon < 21.0 {
                33
            } else {
                35
            }
        }
        ('X', 36) => {
            if lon < 33.0 {
                35
            } else {
                37
            }
        }
        _ => regular,
    };
    Ok(UtmZone { number, band })
}

/// A position on the plane of its own zone; the answer's `zone` is set.
///
/// # Errors
/// As [`zone_of`].
pub fn to_utm(position: LatLon) -> Result<Utm> {
    to_utm_in(position, zone_of(position)?)
}

/// A position on the plane of a chosen zone, so that a dataset across a border keeps one plane.
/// Only the zone's number and hemisphere count; a position across the equator stays on the zone's
/// side (its northing is then negative, or above 10,000,000).
///
/// # Errors
/// [`DataError::Position`] for a position outside UTM, more than 15 degrees of longitude from the
/// zone's central meridian, or a zone that does not exist.
pub fn to_utm_in(position: LatLon, zone: UtmZone) -> Result<Utm> {
    zone_of(position)?;
    let meridian = central_meridian(zone)?;
    let delta = wrap_longitude(position.lon - meridian);
    if delta.abs() > MAX_FROM_MERIDIAN {
        return Err(DataError::Position(format!(
            "longitude {} is too far from UTM zone {}{} (central meridian {meridian}): use its own zone",
            position.lon, zone.number, zone.band
        )));
    }
    let (sin_d, cos_d) = delta.to_radians().sin_cos();
    let tau = conformal_tangent(position.lat.to_radians().tan());
    let xi = tau.atan2(cos_d);
    let eta = (sin_d / tau.hypot(cos_d)).asinh();
    let (mut north, mut east) = (xi, eta);
    for (j, a) in (1..).zip(ALPHA) {
        let k = 2.0 * f64::from(j);
        north += a * (k * xi).sin() * (k * eta).cosh();
        east += a * (k * xi).cos() * (k * eta).sinh();
    }
    let false_northing = if zone.is_north() { 0.0 } else { FALSE_NORTHING };
    Ok(Utm {
        easting: FALSE_EASTING + RADIUS * east,
        northing: false_northing + RADIUS * north,
        zone: Some(zone),
    })
}

/// The position of a point on a UTM plane; its `zone` must be set.
///
/// # Errors
/// [`DataError::Position`] when the zone is missing or does not exist, or when the metres lie beyond
/// what any zone covers (often eastings and northings swapped).
pub fn from_utm(utm: &Utm) -> Result<LatLon> {
    let zone = utm.zone.ok_or_else(|| {
        DataError::Position(format!(
            "UTM position {}, {} states no zone, so it could be in any of 120 places",
            utm.easting, utm.northing
        ))
    })?;
    let meridian = central_meridian(zone)?;
    // At the equator 15 degrees are 1,690 km; the poles lie 9,998 km from it on the plane.
    if !(-1_200_000.0..=2_200_000.0).contains(&utm.easting) {
        return Err(DataError::Position(format!(
            "easting {} m is outside UTM (-1,200,000 to 2,200,000; usually 166,000 to 834,000): are \
             easting and northing swapped, or degrees given for metres?",
            utm.easting
        )));
    }
    let from_equator = utm.northing - if zone.is_north() { 0.0 } else { FALSE_NORTHING };
    if !(-9_900_000.0..=9_900_000.0).contains(&from_equator) {
        return Err(DataError::Position(format!(
            "northing {} m is outside UTM zone {}{}",
            utm.northing, zone.number, zone.band
        )));
    }
    let xi = from_equator / RADIUS;
    let eta = (utm.easting - FALSE_EASTING) / RADIUS;
    let (mut xi_sphere, mut eta_sphere) = (xi, eta);
    for (j, b) in (1..).zip(BETA) {
        let k = 2.0 * f64::from(j);
        xi_sphere -= b * (k * xi).sin() * (k * eta).cosh();
        eta_sphere -= b * (k * xi).cos() * (k * eta).sinh();
    }
    let (sinh_eta, cos_xi) = (eta_sphere.sinh(), xi_sphere.cos());
    let tau = geographic_tangent(xi_sphere.sin() / sinh_eta.hypot(cos_xi));
    let lon = wrap_longitude(meridian + sinh_eta.atan2(cos_xi).to_degrees());
    Ok(LatLon::new(tau.atan().to_degrees(), lon)?)
}

/// Longitude in degrees of a zone's middle.
fn central_meridian(zone: UtmZone) -> Result<f64> {
    if !(1..=60).contains(&zone.number) || !BANDS.contains(&zone.band) {
        return Err(DataError::Position(format!(
            "UTM zone {}{} does not exist: numbers go from 1 to 60, bands from C to X without I and O",
            zone.number, zone.band
        )));
    }
    Ok(f64::from(zone.number) * 6.0 - 183.0)
}

/// Tangent of the conformal latitude, from that of the geographic one (Karney, equations 7 to 9).
fn conformal_tangent(tau: f64) -> f64 {
    let e = (F * (2.0 - F)).sqrt();
    let sigma = (e * (e * tau / 1f64.hypot(tau)).atanh()).sinh();
    tau * 1f64.hypot(sigma) - sigma * 1f64.hypot(tau)
}

/// The inverse of [`conformal_tangent`] by Newton's method (Karney, equations 19 to 21); two steps
/// reach the last bit, the third costs nothing and is a reserve.
fn geographic_tangent(conformal: f64) -> f64 {
    let e2 = F * (2.0 - F);
    let mut tau = conformal;
    for _ in 0..3 {
        let now = conformal_tangent(tau);
        tau += (conformal - now) / 1f64.hypot(now) * (1.0 + (1.0 - e2) * tau * tau)
            / ((1.0 - e2) * 1f64.hypot(tau));
    }
    tau
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn zone(lat: f64, lon: f64) -> String {
        let z = zone_of(LatLon { lat, lon }).expect("a position inside UTM");
        format!("{}{}", z.number, z.band)
    }

    #[test]
    fn zones_and_their_exceptions() {
        assert_eq!(zone(48.85, 2.35), "31U");
        assert_eq!(zone(0.0, 0.0), "31N");
        assert_eq!(zone(-1e-9, 0.0), "31M");
        assert_eq!(zone(-33.9, 151.2), "56H");
        assert_eq!(zone(-80.0, -180.0), "1C");
        assert_eq!(zone(84.0, 180.0), "1X");
        // Bergen is in 32V although 5 degrees east would be 31; beyond the band it is 31 again.
        assert_eq!(zone(60.39, 5.32), "32V");
        assert_eq!(zone(56.0, 3.0), "32V");
        assert_eq!(zone(56.0, 2.999), "31V");
        assert_eq!(zone(55.999, 5.0), "31U");
        assert_eq!(zone(64.0, 5.0), "31W");
        for (lon, expected) in [
            (0.0, "31X"),
            (8.999, "31X"),
            (9.0, "33X"),
            (20.999, "33X"),
            (21.0, "35X"),
            (32.999, "35X"),
            (33.0, "37X"),
            (41.9, "37X"),
            (42.0, "38X"),
        ] {
            assert_eq!(zone(78.0, lon), expected, "{lon}");
        }
        assert_eq!(zone(71.999, 9.0), "32W");
    }

    #[test]
    fn outside_is_an_error_that_says_so() {
        for lat in [-80.001, 84.001, 90.0] {
            let e = to_utm(LatLon { lat, lon: 0.0 }).expect_err("outside UTM").to_string();
            assert!(e.contains("-80 to 84"), "{e}");
        }
        assert!(to_utm(LatLon { lat: f64::NAN, lon: 0.0 }).is_err());
        let far = to_utm_in(LatLon { lat: 0.0, lon: 30.0 }, UtmZone { number: 31, band: 'N' });
        assert!(far.expect_err("too far").to_string().contains("too far from UTM zone 31N"));
        let metres = |easting, northing, zone| from_utm(&Utm { easting, northing, zone });
        let z = Some(UtmZone { number: 31, band: 'U' });
        assert!(metres(5e5, 5e6, None).expect_err("no zone").to_string().contains("no zone"));
        assert!(metres(5e6, 4e5, z).expect_err("swapped").to_string().contains("swapped"));
        assert!(metres(5e5, 2e7, z).is_err());
        assert!(metres(f64::NAN, 5e6, z).is_err());
        assert!(metres(5e5, 5e6, Some(UtmZone { number: 61, band: 'U' })).is_err());
        assert!(metres(5e5, 5e6, Some(UtmZone { number: 31, band: 'I' })).is_err());
    }

    proptest! {
        #[test]
        fn there_and_back(lat in -80.0..84.0f64, lon in -180.0..180.0f64) {
            let position = LatLon { lat, lon };
            let back = from_utm(&to_utm(position).unwrap()).unwrap();
            prop_assert!((back.lat - lat).abs() < 1e-9);
            prop_assert!(wrap_longitude(back.lon - lon).abs() < 1e-9);
        }

        #[test]
        fn there_and_back_in_a_neighbour(lat in -80.0..84.0f64, lon in -180.0..180.0f64, step in -1i16..=1) {
            let own = zone_of(LatLon { lat, lon }).unwrap();
            let number = ((i16::from(own.number) - 1 + step).rem_euclid(60) + 1) as u8;
            let there = to_utm_in(LatLon { lat, lon }, UtmZone { number, ..own }).unwrap();
            let back = from_utm(&there).unwrap();
            prop_assert!((back.lat - lat).abs() < 1e-9);
            prop_assert!(wrap_longitude(back.lon - lon).abs() < 1e-9);
        }
    }
}
