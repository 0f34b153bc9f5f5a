//! One photograph, before anything looked at its pixels.

use crate::{LatLon, Utm};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A photograph and what its source says of where and when it was taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Photo {
    /// The file to open.
    pub path: PathBuf,
    /// Its name within the source: the path relative to the source's root, with `/` between parts.
    /// The same on every machine; identifiers derive from it.
    pub name: String,
    /// WGS84 position, where known.
    pub position: Option<LatLon>,
    /// Position in metres where the source itself states one (datasets_vg, MSLS, CSV in UTM);
    /// ground truth prefers it, so that distances equal the dataset's own.
    pub utm: Option<Utm>,
    /// Viewing direction in degrees clockwise from north, 0 to 360.
    pub heading: Option<f64>,
    /// Metres above sea level.
    pub altitude: Option<f64>,
    /// Seconds since 1970-01-01 UTC.
    pub time: Option<i64>,
    /// Anything else that the source says: `city`, `pano_id`, `sequence`, `frame`, `night`, ...
    pub tags: BTreeMap<String, String>,
}

impl Photo {
    /// A photograph of which only the file is known.
    pub fn new(path: impl Into<PathBuf>, name: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            name: name.into(),
            position: None,
            utm: None,
            heading: None,
            altitude: None,
            time: None,
            tags: BTreeMap::new(),
        }
    }
}
