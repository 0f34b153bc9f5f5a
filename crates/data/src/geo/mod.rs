//! Positions on the Earth: WGS84 degrees, UTM metres, distances and headings.

mod distance;
mod types;
mod utm;

pub use distance::{bearing, destination, geodesic_m, heading_difference};
pub use r2former_geo::{InvalidPosition, LatLon};
pub use types::{Utm, UtmZone};
pub use utm::{from_utm, to_utm, to_utm_in, zone_of};
