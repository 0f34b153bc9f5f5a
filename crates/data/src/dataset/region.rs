//! A part of a map.

use super::Listing;
use serde::{Deserialize, Serialize};

/// A strip between two longitudes in degrees, or half the world, or all of it.
///
/// A region never crosses the line at 180 degrees.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// Keep what lies west of this longitude.
    pub west_of: Option<f64>,
    /// Keep what lies east of it.
    pub east_of: Option<f64>,
}

impl Region {
    /// Whether a longitude lies within; the borders do not.
    pub fn holds(&self, lon: f64) -> bool {
        self.west_of.is_none_or(|w| lon < w) && self.east_of.is_none_or(|e| lon > e)
    }

    /// Takes out of a listing what lies outside, and says so in its notes. Photographs without a position stay
    /// only where the region is the whole world.
    pub fn keep(&self, listing: &mut Listing) {
        if *self == Self::default() {
            return;
        }
        let before = listing.photos.len();
        listing.photos.retain(|photo| photo.lat_lon().is_some_and(|p| self.holds(p.lon)));
        let side = |name: &str, lon: Option<f64>| lon.map(|lon| format!("{name} of {lon}"));
        let sides: Vec<String> =
            side("west", self.west_of).into_iter().chain(side("east", self.east_of)).collect();
        listing.notes.push(format!(
            "{} of {before} photographs lie {} degrees of longitude",
            listing.photos.len(),
            sides.join(" and ")
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LatLon, Photo};

    #[test]
    fn what_lies_outside_goes() {
        let photo = |lon: Option<f64>| {
            let mut photo = Photo::new("a.jpg", "a.jpg");
            photo.position = lon.map(|lon| LatLon { lat: 52.0, lon }.into());
            photo
        };
        let photos = vec![photo(Some(0.1)), photo(Some(0.2)), photo(Some(0.3)), photo(None)];
        let all = Listing { photos, ..Listing::default() };
        let kept = |region: Region| {
            let mut listing = all.clone();
            region.keep(&mut listing);
            listing.photos.len()
        };
        assert_eq!(kept(Region::default()), 4);
        assert_eq!(kept(Region { west_of: Some(0.2), east_of: None }), 1);
        assert_eq!(kept(Region { west_of: Some(0.25), east_of: Some(0.15) }), 1);
        assert_eq!(kept(Region { west_of: None, east_of: Some(0.15) }), 2);
    }
}
