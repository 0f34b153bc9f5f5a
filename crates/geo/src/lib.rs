//! The position types that photographs, indexes and answers share, and the distance between two positions.
//!
//! A [`Position`] is on the globe ([`LatLon`]) or on a map in metres ([`LocalPoint`]); an [`Origin`] says where such a
//! map lies on the globe. Where only the globe makes sense (EXIF, UTM), it is a [`LatLon`].
//!
//! ```
//! use r2former_geo::{InvalidPosition, LatLon};
//!
//! let cambridge = LatLon::new(52.2054, 0.1190)?;
//! assert_eq!(cambridge.to_string(), "52.205400, 0.119000");
//! assert!(LatLon::new(f64::NAN, 0.0).is_err());
//! # Ok::<(), InvalidPosition>(())
//! ```

mod distance;
mod local;
mod origin;
mod position;

use serde::{Deserialize, Serialize};
use std::fmt;

pub use distance::{
    EARTH_M, FARTHEST_M, bearing, destination, geodesic_m, heading_difference, wrap_longitude,
};
pub use local::{LocalPoint, MAX_LOCAL_M};
pub use origin::{Origin, ecef};
pub use position::{Position, PositionKind, Positions};

/// A WGS84 position in degrees.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LatLon {
    /// Latitude in degrees, -90 (south) to 90 (north).
    pub lat: f64,
    /// Longitude in degrees, -180 (west) to 180 (east).
    pub lon: f64,
}

/// A coordinate that is not finite or outside its range.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPosition {
    /// A latitude beyond a pole.
    #[error(
        "latitude {0} is outside -90..90 degrees (are latitude and longitude swapped, or is the position in metres?)"
    )]
    Latitude(f64),
    /// A longitude beyond the date line.
    #[error("longitude {0} is outside -180..180 degrees (is the position in metres?)")]
    Longitude(f64),
    /// A coordinate in local metres that is not finite or beyond [`MAX_LOCAL_M`].
    #[error("{0} {1} is not finite, or beyond a million kilometres")]
    Local(char, f64),
    /// A height that is not finite or beyond 100 km.
    #[error("altitude {0} is outside -100000..100000 metres")]
    Altitude(f64),
}

impl LatLon {
    /// A checked position.
    ///
    /// # Errors
    /// [`InvalidPosition`] when a coordinate is not finite or outside its range; the message names it.
    pub fn new(lat: f64, lon: f64) -> Result<Self, InvalidPosition> {
        if !(-90.0..=90.0).contains(&lat) {
            return Err(InvalidPosition::Latitude(lat));
        }
        if !(-180.0..=180.0).contains(&lon) {
            return Err(InvalidPosition::Longitude(lon));
        }
        Ok(Self { lat, lon })
    }

    /// Whether both coordinates are finite and inside their ranges.
    pub fn is_valid(self) -> bool {
        Self::new(self.lat, self.lon).is_ok()
    }
}

impl fmt::Display for LatLon {
    /// Latitude and longitude with six decimals, about 0.1 m.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}, {:.6}", self.lat, self.lon)
    }
}
