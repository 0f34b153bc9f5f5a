//! UTM positions and zones.

use serde::{Deserialize, Serialize};

/// One of the 60 UTM zones, with its latitude band; written as in `33U`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UtmZone {
    /// Zone number, 1 to 60.
    pub number: u8,
    /// Latitude band, C to X without I and O; N and later are the northern hemisphere.
    pub band: char,
}

impl TryFrom<String> for UtmZone {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<UtmZone> for String {
    fn from(zone: UtmZone) -> Self {
        format!("{}{}", zone.number, zone.band)
    }
}

impl UtmZone {
    /// Whether northings count from the equator (true) or from 10,000 km south of it.
    pub fn is_north(self) -> bool {
        self.band >= 'N'
    }
}

/// A position in metres on a UTM plane.
///
/// ```
/// use r2former_data::geo::{LatLon, from_utm, to_utm};
///
/// let opera_house = LatLon::new(-33.8568, 151.2153)?;
/// let utm = to_utm(opera_house)?;
/// assert_eq!((utm.easting.round(), utm.northing.round()), (334_901.0, 6_252_289.0));
/// assert_eq!(utm.zone, Some("56H".parse()?));
/// let back = from_utm(&utm)?;
/// assert!((back.lat - opera_house.lat).abs() < 1e-9 && (back.lon - opera_house.lon).abs() < 1e-9);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Utm {
    /// Metres east, 500,000 on the zone's central meridian.
    pub easting: f64,
    /// Metres north of the equator, plus 10,000,000 in the southern hemisphere.
    pub northing: f64,
    /// The zone, where the source states it.
    pub zone: Option<UtmZone>,
}
