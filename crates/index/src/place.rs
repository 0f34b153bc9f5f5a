//! A place: one photograph's name, position and tags, and its identity in an index.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use r2former_geo::{LatLon, LocalPoint, Position};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::fingerprint::FileFingerprint;
use crate::picture::Picture;

/// Namespace of the identifiers: UUID v5 of the URL `https://github.com/r2former/r2former` in the URL namespace.
const NAMESPACE: Uuid = Uuid::from_u128(0x9284_3bef_5c1c_54d0_9860_88fc_96ef_de74);

/// Identifier of the image called `name`: UUID v5 (SHA-1) of `name` in this project's fixed namespace
/// `92843bef-5c1c-54d0-9860-88fc96efde74`.
///
/// The same name gives the same identifier on every machine, so adding an image again replaces it, and
/// many machines can fill one index without agreeing on identifiers.
pub fn place_id(name: &str) -> Uuid {
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}

/// What an index knows about one image besides its vectors.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// Its name: unique in an index, not empty. Names that `r2former index add` gives are `LABEL/PATH`: see [`Source`].
    pub name: String,
    /// Where the photograph was taken, in the index's kind of positions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// Direction of view in degrees clockwise from north; in local metres from the direction of y.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heading: Option<f64>,
    /// When it was taken: seconds since 1970-01-01 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<i64>,
    /// Height above the ellipsoid or the sea in metres, as the source says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub altitude: Option<f64>,
    /// Tags of any kind; a key is not empty and holds no `=`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// The file that the photograph was read from: names can be compared by what they stand for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileFingerprint>,
}

/// A folder or table whose photographs are in an index, under names that begin with its label and `/`.
///
/// An index remembers them, so that two folders never share a label, and so a name, by accident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// What the names of its photographs begin with: 1 to 255 bytes, no `/`.
    pub label: String,
    /// Where it lies, as text: an absolute path of the machine on which its photographs were added, or
    /// [`UPLOADS`](Self::UPLOADS).
    pub root: String,
}

impl Source {
    /// The root of the photographs that were sent to a service: relative to the index, which may be moved. No folder or
    /// table that is added has such a root, as theirs are absolute.
    pub const UPLOADS: &str = "uploads";

    /// Whether its photographs were sent to a service. Such a source keeps its label for good.
    pub fn is_uploads(&self) -> bool {
        self.root == Self::UPLOADS
    }

    /// Whether an image of this name is of this source.
    pub fn holds(&self, name: &str) -> bool {
        name.strip_prefix(self.label.as_str()).is_some_and(|rest| rest.starts_with('/'))
    }
}

/// A place to add, with its descriptors.
#[derive(Debug, Clone, PartialEq)]
pub struct NewPlace {
    /// What is known about the image.
    pub place: Place,
    /// Global descriptor: `global_dim` finite values, not all zero. Stored at unit length.
    pub global: Vec<f32>,
    /// Local features: up to `max_rows` rows of `row_width` bytes, one after the other; empty if the
    /// model has none.
    pub local: Vec<u8>,
}

/// One answer of a search.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Identifier of the image, see [`place_id`].
    pub id: Uuid,
    /// Cosine similarity to the query, -1 to 1, larger is nearer.
    pub similarity: f32,
    /// What is known about the image.
    pub place: Place,
}

/// The local features of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalFeatures {
    /// Rows one after the other: `row_width` bytes each, the bytes that were added.
    pub rows: FeatureBytes,
    /// Bytes in a row (the local dimension plus 3).
    pub row_width: usize,
}

/// Bytes of local features: those of the index itself where it is a file, without a copy.
///
/// They stay what they are while this lives; but an index grows while its older commits are kept, so keep them no
/// longer than an answer needs.
#[derive(Debug, Clone)]
pub struct FeatureBytes(Bytes);

#[derive(Debug, Clone)]
enum Bytes {
    Owned(Vec<u8>),
    Mapped { picture: Arc<Picture>, at: usize, length: usize },
}

impl FeatureBytes {
    /// Bytes within a picture's map.
    pub(crate) fn mapped(picture: &Arc<Picture>, value: &[u8]) -> Self {
        let at = value.as_ptr() as usize - picture.bytes().as_ptr() as usize;
        Self(Bytes::Mapped { picture: picture.clone(), at, length: value.len() })
    }
}

impl Deref for FeatureBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Bytes::Owned(bytes) => bytes,
            Bytes::Mapped { picture, at, length } => &picture.bytes()[*at..][..*length],
        }
    }
}

impl From<Vec<u8>> for FeatureBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Bytes::Owned(bytes))
    }
}

impl PartialEq for FeatureBytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for FeatureBytes {}

impl PartialEq<Vec<u8>> for FeatureBytes {
    fn eq(&self, other: &Vec<u8>) -> bool {
        **self == **other
    }
}

/// Which places a search, a listing or a count considers. The default considers all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// Only places with a position at most a radius away from a point: on the ellipsoid, or in local metres.
    pub near: Option<Near>,
    /// Only places that carry every one of these tags.
    pub tags: BTreeMap<String, String>,
    /// Only places with a time that is not before this one: seconds since 1970-01-01 UTC.
    pub since: Option<i64>,
    /// Only places with a time that is not after this one.
    pub until: Option<i64>,
    /// Never these images.
    pub exclude: Vec<Uuid>,
}

/// Everything within a radius, as a prior for a query or a filter of a listing: on the globe a disc on the ellipsoid; in
/// local metres a ball, and a disc on the plane of x and y for places, or around a centre, without a height.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Near {
    /// Centre, of the index's kind of positions.
    pub center: Position,
    /// Radius in metres, above 0.
    pub radius_m: f64,
}

impl Near {
    /// What lies within `radius_m` metres of `center`. A search refuses an unusable one.
    pub fn new(center: impl Into<Position>, radius_m: f64) -> Self {
        Self { center: center.into(), radius_m }
    }
}

/// One page of a listing, in the order of the identifiers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Page {
    /// The places of this page.
    pub places: Vec<(Uuid, Place)>,
    /// Where the next page starts; `None` after the last one.
    pub next: Option<Uuid>,
}

/// The smallest box around all positions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Extent {
    /// On the globe: it does not wrap around at 180 degrees.
    Wgs84 {
        /// The least latitude and the least longitude.
        south_west: LatLon,
        /// The greatest latitude and the greatest longitude.
        north_east: LatLon,
    },
    /// In local metres.
    Local {
        /// The least x, y and z; no z where no position has one.
        min: LocalPoint,
        /// The greatest x, y and z.
        max: LocalPoint,
    },
}

impl Extent {
    /// The box around one position.
    pub fn around(position: Position) -> Self {
        match position {
            Position::Wgs84(at) => Self::Wgs84 { south_west: at, north_east: at },
            Position::Local(at) => Self::Local { min: at, max: at },
        }
    }

    /// Grows so that it holds another position of the same kind.
    pub fn include(&mut self, position: Position) {
        match (self, position) {
            (Self::Wgs84 { south_west, north_east }, Position::Wgs84(LatLon { lat, lon })) => {
                south_west.lat = south_west.lat.min(lat);
                south_west.lon = south_west.lon.min(lon);
                north_east.lat = north_east.lat.max(lat);
                north_east.lon = north_east.lon.max(lon);
            }
            (Self::Local { min, max }, Position::Local(LocalPoint { x, y, z })) => {
                (min.x, min.y) = (min.x.min(x), min.y.min(y));
                (max.x, max.y) = (max.x.max(x), max.y.max(y));
                min.z = min.z.into_iter().chain(z).reduce(f64::min);
                max.z = max.z.into_iter().chain(z).reduce(f64::max);
            }
            (Self::Wgs84 { .. } | Self::Local { .. }, _) => {}
        }
    }
}
