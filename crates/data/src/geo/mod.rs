//! Positions on the Earth: WGS84 degrees, UTM metres, distances and headings.

mod types;
mod utm;

pub use r2former_geo::{
    EARTH_M, FARTHEST_M, InvalidPosition, LatLon, LocalPoint, Origin, Position, PositionKind, Positions,
    bearing, destination, ecef, geodesic_m, heading_difference,
};
pub use types::{Utm, UtmZone};
pub use utm::{from_utm, to_utm, to_utm_in, zone_of};
