//! Points in metres on a map of one's own: a building's plan, a model of structure from motion.

use crate::InvalidPosition;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The largest coordinate of a [`LocalPoint`], in metres.
pub const MAX_LOCAL_M: f64 = 1e9;

/// A point in local metres. Where the map has an [`Origin`](crate::Origin), x is east, y north and z up.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LocalPoint {
    /// Metres along the first axis.
    pub x: f64,
    /// Metres along the second axis.
    pub y: f64,
    /// Height in metres, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub z: Option<f64>,
}

impl LocalPoint {
    /// A checked point.
    ///
    /// # Errors
    /// [`InvalidPosition::Local`] for a coordinate that is not finite, or beyond [`MAX_LOCAL_M`]; it names the axis.
    pub fn new(x: f64, y: f64, z: Option<f64>) -> Result<Self, InvalidPosition> {
        for (axis, value) in [('x', Some(x)), ('y', Some(y)), ('z', z)] {
            if let Some(value) = value.filter(|value| !(-MAX_LOCAL_M..=MAX_LOCAL_M).contains(value)) {
                return Err(InvalidPosition::Local(axis, value));
            }
        }
        Ok(Self { x, y, z })
    }

    /// Whether every coordinate is finite and within its range.
    pub fn is_valid(self) -> bool {
        Self::new(self.x, self.y, self.z).is_ok()
    }

    /// Metres between two points: in space where both have a height, else on the plane of x and y.
    ///
    /// ```
    /// use r2former_geo::LocalPoint;
    ///
    /// let door = LocalPoint::new(0.0, 0.0, Some(0.0))?;
    /// assert_eq!(door.distance_m(LocalPoint::new(3.0, 4.0, Some(12.0))?), 13.0);
    /// assert_eq!(door.distance_m(LocalPoint::new(3.0, 4.0, None)?), 5.0);
    /// # Ok::<(), r2former_geo::InvalidPosition>(())
    /// ```
    pub fn distance_m(self, to: Self) -> f64 {
        let plane = (self.x - to.x).hypot(self.y - to.y);
        match (self.z, to.z) {
            (Some(z), Some(other)) => plane.hypot(z - other),
            _ => plane,
        }
    }
}

impl fmt::Display for LocalPoint {
    /// x, y and z with two decimals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2}, {:.2}", self.x, self.y)?;
        self.z.map_or(Ok(()), |z| write!(f, ", {z:.2}"))
    }
}
