//! Positions on the Earth: WGS84 degrees, UTM metres, distances and headings.

mod types;

pub use types::{LatLon, Utm, UtmZone};
