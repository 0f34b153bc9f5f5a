//! A position of either kind, and the kinds that an index can have.

use crate::{LatLon, LocalPoint, Origin, geodesic_m};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Where something is: on the globe, or on a map in metres.
///
/// As JSON it is plain: `{"lat": 52.2, "lon": 0.1}`, or `{"x": 1.0, "y": 2.0, "z": 3.0}` with or without the height.
///
/// ```
/// use r2former_geo::{LatLon, LocalPoint, Position};
///
/// let street = Position::from(LatLon::new(52.2, 0.1)?);
/// let door = Position::from(LocalPoint::new(0.0, 0.0, None)?);
/// assert_eq!(door.distance_m(LocalPoint::new(3.0, 4.0, None)?.into()), Some(5.0));
/// assert_eq!(door.distance_m(street), None);
/// # Ok::<(), r2former_geo::InvalidPosition>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Position {
    /// Degrees of WGS84.
    Wgs84(LatLon),
    /// Local metres.
    Local(LocalPoint),
}

impl Position {
    /// Metres between two positions: on the ellipsoid, or as [`LocalPoint::distance_m`]; `None` between two kinds.
    pub fn distance_m(self, to: Self) -> Option<f64> {
        match (self, to) {
            (Self::Wgs84(from), Self::Wgs84(to)) => Some(geodesic_m(from, to)),
            (Self::Local(from), Self::Local(to)) => Some(from.distance_m(to)),
            (Self::Wgs84(_), Self::Local(_)) | (Self::Local(_), Self::Wgs84(_)) => None,
        }
    }

    /// Which kind it is.
    pub fn kind(self) -> PositionKind {
        match self {
            Self::Wgs84(_) => PositionKind::Wgs84,
            Self::Local(_) => PositionKind::Local,
        }
    }

    /// Whether its coordinates are finite and inside their ranges.
    pub fn is_valid(self) -> bool {
        match self {
            Self::Wgs84(position) => position.is_valid(),
            Self::Local(point) => point.is_valid(),
        }
    }

    /// The degrees of a position on the globe.
    pub fn wgs84(self) -> Option<LatLon> {
        match self {
            Self::Wgs84(position) => Some(position),
            Self::Local(_) => None,
        }
    }

    /// The metres of a position on a local map.
    pub fn local(self) -> Option<LocalPoint> {
        match self {
            Self::Local(point) => Some(point),
            Self::Wgs84(_) => None,
        }
    }
}

impl From<LatLon> for Position {
    fn from(position: LatLon) -> Self {
        Self::Wgs84(position)
    }
}

impl From<LocalPoint> for Position {
    fn from(point: LocalPoint) -> Self {
        Self::Local(point)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wgs84(position) => position.fmt(f),
            Self::Local(point) => point.fmt(f),
        }
    }
}

/// The kinds of positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PositionKind {
    /// Degrees of WGS84.
    #[default]
    Wgs84,
    /// Local metres.
    Local,
    /// No positions: names and tags alone.
    None,
}

impl PositionKind {
    /// The kind in a sentence: "this index has ...".
    pub fn words(self) -> &'static str {
        match self {
            Self::Wgs84 => "WGS84 positions (latitude and longitude)",
            Self::Local => "positions in local metres (x, y, z)",
            Self::None => "no positions",
        }
    }
}

impl std::str::FromStr for PositionKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "wgs84" => Ok(Self::Wgs84),
            "local" => Ok(Self::Local),
            "none" => Ok(Self::None),
            _ => Err(format!("'{text}' is not a kind of positions: wgs84, local or none")),
        }
    }
}

impl fmt::Display for PositionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wgs84 => "wgs84",
            Self::Local => "local",
            Self::None => "none",
        })
    }
}

/// The positions of an index: one kind, and what it needs.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Positions {
    /// Degrees of WGS84.
    #[default]
    Wgs84,
    /// Local metres.
    Local {
        /// Where the map lies on the globe, if it does: x is east, y north and z up from there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        origin: Option<Origin>,
    },
    /// No positions.
    None,
}

impl Positions {
    /// Which kind they are.
    pub fn kind(self) -> PositionKind {
        match self {
            Self::Wgs84 => PositionKind::Wgs84,
            Self::Local { .. } => PositionKind::Local,
            Self::None => PositionKind::None,
        }
    }

    /// Where a local map lies on the globe.
    pub fn origin(self) -> Option<Origin> {
        match self {
            Self::Local { origin } => origin,
            Self::Wgs84 | Self::None => None,
        }
    }

    /// What is wrong with a position among these; `None` for one that fits.
    pub fn refusal(self, position: Position) -> Option<String> {
        if self.kind() != position.kind() {
            let kind = match position {
                Position::Wgs84(_) => "in WGS84",
                Position::Local(_) => "in local metres",
            };
            return Some(format!("a position {kind}; this index has {}", self.kind().words()));
        }
        let bad = match position {
            Position::Wgs84(LatLon { lat, lon }) => LatLon::new(lat, lon).err(),
            Position::Local(LocalPoint { x, y, z }) => LocalPoint::new(x, y, z).err(),
        };
        bad.map(|bad| bad.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn json_is_plain_and_says_the_kind() {
        let both = [
            (Position::from(LatLon { lat: 52.5, lon: -0.25 }), r#"{"lat":52.5,"lon":-0.25}"#),
            (LocalPoint { x: 1.5, y: -2.0, z: None }.into(), r#"{"x":1.5,"y":-2.0}"#),
            (LocalPoint { x: 1.5, y: -2.0, z: Some(3.0) }.into(), r#"{"x":1.5,"y":-2.0,"z":3.0}"#),
        ];
        for (position, json) in both {
            assert_eq!(serde_json::to_string(&position).unwrap(), json);
            assert_eq!(serde_json::from_str::<Position>(json).unwrap(), position);
        }
        let origin = Some(Origin { lat: 52.0, lon: 1.0, altitude: None });
        for (positions, json) in [
            (Positions::Wgs84, r#"{"kind":"wgs84"}"#),
            (Positions::None, r#"{"kind":"none"}"#),
            (Positions::Local { origin: None }, r#"{"kind":"local"}"#),
            (Positions::Local { origin }, r#"{"kind":"local","origin":{"lat":52.0,"lon":1.0}}"#),
        ] {
            assert_eq!(serde_json::to_string(&positions).unwrap(), json);
            assert_eq!(serde_json::from_str::<Positions>(json).unwrap(), positions);
        }
    }

    #[test]
    fn kinds_are_named_in_refusals() {
        let (globe, plan) =
            (LatLon { lat: 1.0, lon: 2.0 }.into(), LocalPoint { x: 1.0, y: 2.0, z: None }.into());
        let local = Positions::Local { origin: None };
        assert_eq!((Positions::Wgs84.refusal(globe), local.refusal(plan)), (None, None));
        for (positions, position, wanted) in [
            (Positions::Wgs84, plan, "in local metres; this index has WGS84"),
            (local, globe, "in WGS84; this index has positions in local metres"),
            (Positions::None, globe, "this index has no positions"),
            (Positions::Wgs84, LatLon { lat: 91.0, lon: 0.0 }.into(), "latitude 91"),
            (local, LocalPoint { x: 0.0, y: f64::NAN, z: None }.into(), "y NaN"),
            (local, LocalPoint { x: 0.0, y: 0.0, z: Some(1e10) }.into(), "z 10000000000"),
        ] {
            let said = positions.refusal(position).expect(wanted);
            assert!(said.contains(wanted), "{said}");
        }
        for kind in [PositionKind::Wgs84, PositionKind::Local, PositionKind::None] {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert!("utm".parse::<PositionKind>().unwrap_err().contains("wgs84, local or none"));
    }

    proptest! {
        #[test]
        fn local_distance_is_a_metric(p in prop::array::uniform9(-1e6..1e6f64)) {
            let at = |i: usize| LocalPoint { x: p[i], y: p[i + 1], z: Some(p[i + 2]) };
            let (a, b, c) = (at(0), at(3), at(6));
            prop_assert_eq!(a.distance_m(a), 0.0);
            prop_assert_eq!(a.distance_m(b), b.distance_m(a));
            prop_assert!(a.distance_m(c) <= (a.distance_m(b) + b.distance_m(c)) * (1.0 + 1e-12));
            let square = |k: usize| (p[k] - p[k + 3]).powi(2);
            let exact = (square(0) + square(1) + square(2)).sqrt();
            prop_assert!((a.distance_m(b) - exact).abs() <= 1e-9 * exact);
            let flat = LocalPoint { z: None, ..b };
            prop_assert!(a.distance_m(flat) <= a.distance_m(b));
        }
    }
}
