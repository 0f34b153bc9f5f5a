//! One photograph, before its pixels are decoded.

use crate::image::HeadingReference;
use crate::{LatLon, Position, Utm};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Longest key and longest value of a tag in bytes: an address or a sentence, and no document.
const LONGEST_TAG: [usize; 2] = [200, 1000];

/// Why a photograph cannot carry a tag, if so.
pub fn tag_refusal(key: &str, value: &str) -> Option<String> {
    let [longest_key, longest_value] = LONGEST_TAG;
    if key.is_empty() || key.contains('=') {
        return Some("the key of a tag is not empty, and holds no '='".into());
    }
    if key.len() > longest_key {
        return Some(format!("the key of a tag has at most {longest_key} bytes, and this one {}", key.len()));
    }
    (value.len() > longest_value).then(|| {
        format!("the value of a tag has at most {longest_value} bytes, and this one {}", value.len())
    })
}

/// A photograph and what its source says of where and when it was taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Photo {
    /// The file to open.
    pub path: PathBuf,
    /// Its name within the source: the path relative to the source's root, with `/` between parts.
    /// The same on every machine; identifiers derive from it.
    pub name: String,
    /// Where it was taken, on the globe or in local metres, where known.
    pub position: Option<Position>,
    /// Radius in metres that the position is said to be good to.
    pub position_error: Option<f64>,
    /// How the position was found, as EXIF says: `GPS`, `CELLID`, `WLAN`, `MANUAL` and the like.
    pub position_method: Option<String>,
    /// Position in metres where the source itself states one (datasets_vg, MSLS, CSV in UTM);
    /// ground truth prefers it, so that distances equal the dataset's own.
    pub utm: Option<Utm>,
    /// Viewing direction in degrees clockwise from north, 0 to 360; in local metres from the direction of y.
    pub heading: Option<f64>,
    /// Which north the heading is from, where the source says.
    pub heading_ref: Option<HeadingReference>,
    /// Metres above sea level.
    pub altitude: Option<f64>,
    /// Seconds since 1970-01-01 UTC.
    pub time: Option<i64>,
    /// The part of the file to look at, where the file is a panorama: the whole file if `None`.
    pub view: Option<PanoramaView>,
    /// Anything else that the source says: `city`, `pano_id`, `sequence`, `frame`, `night`, ...
    pub tags: BTreeMap<String, String>,
}

/// A perspective view of an equirectangular panorama, looking at the horizon.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PanoramaView {
    /// Degrees clockwise from the panorama's middle column.
    pub yaw: f64,
    /// Horizontal field of view in degrees, 1 to 170.
    pub fov: f64,
    /// Row of the horizon as a part of the panorama's height: 0.5 unless rows are cropped.
    pub horizon: f64,
}

impl PanoramaView {
    pub(crate) fn is_valid(&self) -> bool {
        self.yaw.is_finite() && (1.0..=170.0).contains(&self.fov) && (0.0..=1.0).contains(&self.horizon)
    }
}

impl Photo {
    /// A photograph of which only the file is known.
    pub fn new(path: impl Into<PathBuf>, name: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            name: name.into(),
            position: None,
            position_error: None,
            position_method: None,
            utm: None,
            heading: None,
            heading_ref: None,
            altitude: None,
            time: None,
            view: None,
            tags: BTreeMap::new(),
        }
    }

    /// Its position on the globe, if it has one there.
    pub fn lat_lon(&self) -> Option<LatLon> {
        self.position.and_then(Position::wgs84)
    }
}

/// Refuses an altitude that no photograph has: above every balloon, below every sea, or -9999, which stands for none.
///
/// # Errors
/// Says so, for use in a message after the altitude.
pub(crate) fn check_altitude(metres: f64) -> Result<f64, &'static str> {
    if metres == -9999.0 {
        Err("stands for none")
    } else if !(-12_000.0..=20_000.0).contains(&metres) {
        Err("is no altitude in metres")
    } else {
        Ok(metres)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_short() {
        assert_eq!(tag_refusal(&"k".repeat(200), &"v".repeat(1000)), None);
        assert_eq!(tag_refusal("k", ""), None);
        for (key, value, says) in [
            ("", "v", "not empty"),
            ("a=b", "v", "no '='"),
            (&"k".repeat(201), "v", "at most 200 bytes, and this one 201"),
            ("k", &"é".repeat(501), "at most 1000 bytes, and this one 1002"),
        ] {
            assert!(tag_refusal(key, value).is_some_and(|why| why.contains(says)), "{says}");
        }
    }
}
