//! UTM zones as people write them, and metres checked against the zone they are said to be in.

use super::angle::Side;
use crate::geo::{from_utm, zone_of};
use crate::{LatLon, Utm, UtmZone};

/// A latitude band's letters, from south to north.
const BANDS: &str = "CDEFGHJKLMNPQRSTUVWX";

/// A zone such as `33U`, `33N`, `56 South`, `EPSG:32756`, or a number beside its hemisphere.
///
/// A single letter is the latitude band, so that `33S` is the northern band S; `N` also stands for the whole northern
/// hemisphere. A word is a hemisphere, as is the letter of `UTM zone 56S`, EPSG's own name. The band of a southern
/// hemisphere is given as M, the first one south of the equator; only the hemisphere counts in projections.
///
/// # Errors
/// Says what is wrong, for use in a message: also for a number whose hemisphere is stated nowhere.
pub(super) fn parse_zone(text: &str, hemisphere: Option<Side>) -> Result<UtmZone, String> {
    let text = text.trim();
    let upper = text.to_uppercase();
    let bad = || {
        format!(
            "UTM zone \"{text}\" does not exist: expected a number from 1 to 60 and a band from C to X \
             without I and O, such as 33U, or a hemisphere, such as 56 South"
        )
    };
    if let Some(code) = epsg_code(&upper) {
        return match (code / 100, code % 100) {
            (326, number @ 1..=60) => Ok(UtmZone { number: number as u8, band: 'N' }),
            (327, number @ 1..=60) => Ok(UtmZone { number: number as u8, band: 'M' }),
            _ => Err(format!(
                "EPSG:{code} {}, and is not read: positions are read in degrees (EPSG:4326) or in UTM of WGS84 \
                 (EPSG:32601 to 32660 and 32701 to 32760); convert them, for example with cs2cs EPSG:{code} EPSG:4326",
                match code {
                    3857 | 3785 | 900_913 => "is Web Mercator, whose metres are those of map tiles",
                    4326 => "is degrees, which these columns do not hold",
                    _ => "is no UTM zone of WGS84",
                }
            )),
        };
    }
    let name = upper.rsplit_once('/').map_or(upper.as_str(), |(_, name)| name).trim();
    let (bare, named) = match name.strip_prefix("UTM") {
        Some(rest) => (rest.trim(), rest.trim().starts_with("ZONE")),
        None => (name, false),
    };
    let bare = bare.strip_prefix("ZONE").unwrap_or(bare).trim();
    let end = bare.find(|c: char| !c.is_ascii_digit()).unwrap_or(bare.len());
    let (number, word) = (bare[..end].parse().ok().filter(|n| (1..=60).contains(n)), bare[end..].trim());
    let number = number.ok_or_else(bad)?;
    let half = |side: Side| match side {
        Side::North => Ok('N'),
        Side::South => Ok('M'),
        _ => Err(bad()),
    };
    let mut letters = word.chars();
    let band = match (letters.next(), letters.next()) {
        (None, _) => match hemisphere {
            Some(side) => half(side)?,
            None => {
                return Err(format!(
                    "UTM zone {number} lies in both hemispheres: write {number} North or {number} South, its band \
                     (such as {number}U), or a column hemisphere"
                ));
            }
        },
        (Some('S'), None) if named => 'M',
        (Some(band), None) if BANDS.contains(band) => band,
        (Some(_), None) => return Err(bad()),
        _ => half(Side::parse(word).ok_or_else(bad)?)?,
    };
    match hemisphere {
        Some(side) if side.is_negative() == (band >= 'N') => Err(format!(
            "UTM zone \"{text}\" and the hemisphere {} contradict each other (a single letter is a latitude band)",
            side.letter()
        )),
        _ => Ok(UtmZone { number, band }),
    }
}

impl std::str::FromStr for UtmZone {
    type Err = String;

    /// As tables have it: `33U`, `56 South`, `EPSG:32756`.
    fn from_str(text: &str) -> Result<Self, String> {
        parse_zone(text, None)
    }
}

/// The number of `EPSG:32633`, `urn:ogc:def:crs:EPSG::32633` or a bare `32633`.
fn epsg_code(upper: &str) -> Option<u32> {
    let digits = match upper.rsplit_once("EPSG") {
        Some((_, code)) => code.trim_start_matches([':', ' ', '.', '0']),
        // Spreadsheets write 32633.0.
        None => {
            Some(upper.strip_suffix(".0").unwrap_or(upper)).filter(|code| (4..=6).contains(&code.len()))?
        }
    };
    digits.parse().ok()
}

/// Whether a zone's cell says that the columns hold degrees of WGS84: `EPSG:4326`, `4326`, `CRS84`.
pub(super) fn is_degrees(text: &str) -> bool {
    let upper = text.trim().to_uppercase();
    epsg_code(&upper) == Some(4326) || upper.ends_with("CRS84")
}

/// Degrees beyond its band that a position may lie: a band is found in degrees, and the metres beside it are rounded, to a
/// kilometre at most.
const ROUNDING: f64 = 0.01;

/// How many degrees a latitude lies outside a band.
fn beyond_band(lat: f64, band: char) -> f64 {
    let Some(index) = BANDS.find(band) else { return f64::INFINITY };
    let south = -80.0 + 8.0 * index as f64;
    // The last band, X, has twelve degrees.
    let north = if band == 'X' { 84.0 } else { south + 8.0 };
    (south - lat).max(lat - north).max(0.0)
}

/// Metres from a zone's middle beyond which nobody keeps to it: countries that have one zone for all of them reach 620 km.
const FARTHEST_M: f64 = 700_000.0;
/// Metres beyond the equator, likewise.
const BEYOND_EQUATOR_M: f64 = 1_000_000.0;

/// Refuses metres that are none, or those of another zone.
fn check_range(easting: f64, northing: f64, zone: UtmZone) -> Result<(), String> {
    let UtmZone { number, band } = zone;
    if easting.abs() <= 360.0 && northing.abs() <= 360.0 {
        return Err(format!(
            "easting {easting}, northing {northing} look like degrees: name the columns lat and lon"
        ));
    }
    // In kilometres eastings are 166 to 834, and northings up to 10,000.
    if easting.abs() < 1000.0 && northing.abs() <= 10_000.0 {
        return Err(format!(
            "easting {easting}, northing {northing} look like kilometres: write metres, as in {} and {}",
            (1000.0 * easting).round(),
            (1000.0 * northing).round()
        ));
    }
    let from_equator = northing - if zone.is_north() { 0.0 } else { 10_000_000.0 };
    let beyond = if zone.is_north() { -from_equator } else { from_equator };
    // What no zone has at all, the projection says better.
    let far = (-1_200_000.0..=2_200_000.0).contains(&easting) && (easting - 500_000.0).abs() > FARTHEST_M;
    if far || (BEYOND_EQUATOR_M..=9_900_000.0).contains(&beyond) {
        return Err(format!(
            "easting {easting}, northing {northing} lie far outside UTM zone {number}{band} (eastings 166000 to 834000): \
             write the zone that they are of, and metres"
        ));
    }
    Ok(())
}

/// The position of stated metres. A band that contradicts the northing is an error, since it usually
/// is an S meant as "south"; metres that look like degrees or kilometres, or lie far outside the zone, are one too.
pub(super) fn place_metres(easting: f64, northing: f64, zone: UtmZone) -> Result<LatLon, String> {
    check_range(easting, northing, zone)?;
    let position = from_utm(&Utm { easting, northing, zone: Some(zone) }).map_err(|e| e.to_string())?;
    // N is also written for "north" at any latitude, and M stands for "south".
    let truly = zone_of(position).map_err(|e| e.to_string())?.band;
    if !matches!(zone.band, 'N' | 'M') && beyond_band(position.lat, zone.band) > ROUNDING {
        // An S meant as "south", or a table that keeps to one letter across the border of its band.
        let number = zone.number;
        let instead = if zone.is_north() && position.lat > 0.0 && zone.band != 'S' {
            format!("where a table crosses bands write {number}N for the whole hemisphere")
        } else {
            format!("for the southern hemisphere write {number} South, or the band's own letter, C to M")
        };
        return Err(format!(
            "northing {northing} in zone {number}{} is latitude {:.2}, which is band {truly}, not {} (the letter is a \
             latitude band: {instead})",
            zone.band, position.lat, zone.band
        ));
    }
    Ok(position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_as_written() {
        for (text, number, band) in [
            ("33U", 33, 'U'),
            (" 1c ", 1, 'C'),
            ("60 N", 60, 'N'),
            ("33 North", 33, 'N'),
            ("56 South", 56, 'M'),
            ("56 Süd", 56, 'M'),
            ("56S", 56, 'S'),
            ("UTM 33U", 33, 'U'),
            ("Zone 33N", 33, 'N'),
            ("WGS 84 / UTM zone 56S", 56, 'M'),
            ("UTM zone 33N", 33, 'N'),
            ("EPSG:32633", 33, 'N'),
            ("epsg:32756", 56, 'M'),
            ("EPSG 32756", 56, 'M'),
            ("urn:ogc:def:crs:EPSG::32756", 56, 'M'),
            ("32756", 56, 'M'),
        ] {
            assert_eq!(parse_zone(text, None), Ok(UtmZone { number, band }), "{text}");
        }
        assert_eq!(parse_zone("56", Some(Side::South)), Ok(UtmZone { number: 56, band: 'M' }));
        assert_eq!(parse_zone("33", Some(Side::North)), Ok(UtmZone { number: 33, band: 'N' }));
        assert_eq!(parse_zone("56H", Some(Side::South)), Ok(UtmZone { number: 56, band: 'H' }));
        for bad in ["", "0N", "61U", "33I", "33O", "33UU", "U33", "-3U", "3é", "33 East", "33 Mars"] {
            assert!(parse_zone(bad, None).expect_err(bad).contains("does not exist"));
        }
        for (text, side, wanted) in [
            ("33", None, "33 North or 33 South"),
            ("EPSG:4326", None, "EPSG:4326 is degrees"),
            ("3857", None, "EPSG:3857 is Web Mercator"),
            ("EPSG:3857", None, "cs2cs EPSG:3857 EPSG:4326"),
            ("2154.0", None, "EPSG:2154 is no UTM zone of WGS84"),
            ("EPSG:25832", None, "EPSG:25832 is no UTM zone of WGS84"),
            ("32661", None, "32601 to 32660"),
            ("33U", Some(Side::South), "contradict"),
            ("56S", Some(Side::South), "a single letter is a latitude band"),
        ] {
            let said = parse_zone(text, side).expect_err(text);
            assert!(said.contains(wanted), "{said}");
        }
    }

    #[test]
    fn metres_must_fit_their_zone() {
        let london = place_metres(699_375.0, 5_710_155.0, UtmZone { number: 30, band: 'U' }).unwrap();
        assert!((london.lat - 51.5).abs() < 0.05 && (london.lon + 0.127).abs() < 0.05, "{london:?}");
        assert!(place_metres(699_375.0, 5_710_155.0, UtmZone { number: 30, band: 'N' }).is_ok());
        // Sydney lies in band H; "56S" is the northern band S.
        let sydney = |band| place_metres(334_000.0, 6_251_000.0, UtmZone { number: 56, band });
        assert!(sydney('H').unwrap().lat < -33.0);
        assert_eq!(sydney('M').unwrap(), sydney('H').unwrap());
        assert!(sydney('S').unwrap_err().contains("not S (the letter is a latitude band"));
        // The next band begins at 56 degrees.
        let scotland = |northing| place_metres(334_000.0, northing, UtmZone { number: 56, band: 'U' });
        assert!(scotland(6_209_500.0).unwrap().lat < 56.01);
        assert!(
            scotland(6_290_000.0)
                .unwrap_err()
                .contains("band V, not U (the letter is a latitude band: where")
        );
        assert!(
            place_metres(334_000.0, 5_308_000.0, UtmZone { number: 56, band: 'U' })
                .unwrap_err()
                .contains("band T")
        );
        let degrees = place_metres(0.1, 52.2, UtmZone { number: 30, band: 'U' });
        assert!(degrees.unwrap_err().contains("look like degrees"));
        let north = UtmZone { number: 33, band: 'N' };
        let said = |easting, northing, zone| place_metres(easting, northing, zone).expect_err("far out");
        assert!(
            said(699.375, 5710.155, north).contains("kilometres: write metres, as in 699375 and 5710155")
        );
        assert!(said(334.0, 6251.0, UtmZone { number: 56, band: 'M' }).contains("look like kilometres"));
        for (easting, northing) in [(1_699_375.0, 5_710_155.0), (-699_375.0, 5_710_155.0), (5e5, -5e6)] {
            let said = said(easting, northing, north);
            assert!(said.contains("far outside UTM zone 33N"), "{said}");
        }
        // Norway has one zone for all of it, and so has Ecuador, on both sides of the equator.
        for (easting, northing, number, band) in [
            (1_114_000.0, 7_900_000.0, 33, 'N'),
            (-75_000.0, 6_500_000.0, 33, 'N'),
            (780_000.0, 10_100_000.0, 17, 'M'),
        ] {
            assert!(place_metres(easting, northing, UtmZone { number, band }).is_ok(), "{easting}");
        }
        assert!(
            place_metres(5_710_155.0, 699_375.0, UtmZone { number: 30, band: 'U' })
                .unwrap_err()
                .contains("swapped")
        );
    }
}
