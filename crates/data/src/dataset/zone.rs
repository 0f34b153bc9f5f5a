//! UTM zones as people write them, and metres checked against the zone they are said to be in.

use crate::geo::{from_utm, zone_of};
use crate::{LatLon, Utm, UtmZone};

/// A latitude band's letters, from south to north.
const BANDS: &str = "CDEFGHJKLMNPQRSTUVWX";

/// A zone such as `33U`, `33 u`, `33N` or `33`.
///
/// The letter is the latitude band, so that `33S` is the northern band S; `N` also stands for the
/// whole northern hemisphere, and a number alone is taken as northern. The error says what is wrong.
pub(super) fn parse_zone(text: &str) -> Result<UtmZone, String> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, letter) = text.split_at(end);
    let number = number.parse().ok().filter(|n| (1..=60).contains(n));
    let mut letters = letter.trim().chars();
    let band = letters.next().unwrap_or('N').to_ascii_uppercase();
    match number {
        Some(number) if letters.next().is_none() && BANDS.contains(band) => Ok(UtmZone { number, band }),
        _ => Err(format!(
            "UTM zone \"{text}\" does not exist: expected a number from 1 to 60 and a band from C to X \
             without I and O, such as 33U"
        )),
    }
}

/// The position of stated metres. A band that contradicts the northing is an error, since it usually
/// is an S meant as "south"; metres that look like degrees are one too.
pub(super) fn place_metres(easting: f64, northing: f64, zone: UtmZone) -> Result<LatLon, String> {
    if easting.abs() <= 360.0 && northing.abs() <= 360.0 {
        return Err(format!(
            "easting {easting}, northing {northing} look like degrees: name the columns lat and lon"
        ));
    }
    let position = from_utm(&Utm { easting, northing, zone: Some(zone) }).map_err(|e| e.to_string())?;
    // N is also written for "north" at any latitude. A band further off is a contradiction; the next
    // one may be a dataset that keeps to one zone.
    let truly = zone_of(position).map_err(|e| e.to_string())?.band;
    let index = |band: char| BANDS.find(band);
    if zone.band != 'N' && index(zone.band).zip(index(truly)).is_none_or(|(a, b)| a.abs_diff(b) > 1) {
        return Err(format!(
            "northing {northing} in zone {}{} is latitude {:.2}, which is band {truly}, not {} (the letter is \
             a latitude band: for the southern hemisphere write the band's own letter, C to M)",
            zone.number, zone.band, position.lat, zone.band
        ));
    }
    Ok(position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_as_written() {
        for (text, number, band) in [("33U", 33, 'U'), (" 1c ", 1, 'C'), ("33", 33, 'N'), ("60 N", 60, 'N')] {
            assert_eq!(parse_zone(text), Ok(UtmZone { number, band }), "{text}");
        }
        for bad in ["", "0N", "61U", "33I", "33O", "33UU", "U33", "-3U", "3é"] {
            assert!(parse_zone(bad).expect_err(bad).contains("does not exist"));
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
        assert!(sydney('S').unwrap_err().contains("not S (the letter is a latitude band"));
        let degrees = place_metres(0.1, 52.2, UtmZone { number: 30, band: 'U' });
        assert!(degrees.unwrap_err().contains("look like degrees"));
        assert!(
            place_metres(5_710_155.0, 699_375.0, UtmZone { number: 30, band: 'U' })
                .unwrap_err()
                .contains("swapped")
        );
    }
}
