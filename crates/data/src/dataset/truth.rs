//! Which database images are right for a query, by distance and viewing direction.

use super::placed::{Placed, UTM_MIN_SCALE, distance, place};
use crate::geo::{ecef, heading_difference};
use crate::{DataError, Photo, Result};
use kiddo::{ImmutableKdTree, SquaredEuclidean};
use rayon::prelude::*;

/// The largest radius that ground truth accepts, in metres. Up to here the plane of a query's own
/// UTM zone reaches every candidate.
pub const MAX_RADIUS_M: f64 = 100_000.0;

/// Metres by which candidates are gathered beyond the radius, against rounding; the exact rule then
/// decides.
const SLACK_M: f64 = 0.01;

/// The right answers of each query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroundTruth {
    /// For each query, in order, the indices of its positives in the database: ascending, without
    /// repetition; empty for a query that nothing matches.
    pub positives: Vec<Vec<u32>>,
}

impl GroundTruth {
    /// Positives are the database images within `radius_m` metres (inclusive) and, with a limit,
    /// whose heading differs by at most `heading_limit_deg` degrees (inclusive, 0 to 180).
    ///
    /// Distances are those of the UTM plane, as the published protocols have them:
    /// - two photographs that state metres ([`Photo::utm`]) are compared within one zone only;
    /// - a position in degrees is projected into the zone that the other photograph states;
    /// - two positions in degrees are compared on the plane of the query's own zone, into which the
    ///   database image is projected, so that the border between zones loses nothing;
    /// - local metres are compared with local metres alone, in space where both have a height.
    ///
    /// # Errors
    /// [`DataError::Request`] for an empty database or no queries, a radius that is not above 0 and
    /// at most [`MAX_RADIUS_M`], a heading limit outside 0 to 180, or (with the photograph's name) a
    /// photograph without a position, without the heading that a limit needs, or in metres without
    /// a zone, or in local metres, while others are on the globe. [`DataError::Position`] for a position outside UTM.
    pub fn by_radius(
        database: &[Photo],
        queries: &[Photo],
        radius_m: f64,
        heading_limit_deg: Option<f64>,
    ) -> Result<Self> {
        check(database, queries, radius_m, heading_limit_deg)?;
        let references = Places::of(database)?;
        let searched = Places::of(queries)?;
        searched.check_zones(&references, queries, database)?;
        let index = Index::build(&references.places)?;
        let positives = queries
            .par_iter()
            .zip(&searched.places)
            .map(|(query, place)| {
                let mut near: Vec<u32> = index
                    .candidates(place, radius_m)
                    .into_iter()
                    .filter(|at| {
                        is_positive(
                            (query, place),
                            &database[*at as usize],
                            &references.places[*at as usize],
                            radius_m,
                            heading_limit_deg,
                        )
                    })
                    .collect();
                near.sort_unstable();
                near
            })
            .collect();
        Ok(Self { positives })
    }
}

/// The rule itself, for one query and one database image.
fn is_positive(
    (query, at): (&Photo, &Placed),
    reference: &Photo,
    there: &Placed,
    radius_m: f64,
    heading_limit_deg: Option<f64>,
) -> bool {
    distance(at, there).is_some_and(|metres| metres <= radius_m)
        && heading_limit_deg.is_none_or(|limit| {
            query.heading.zip(reference.heading).is_some_and(|(a, b)| heading_difference(a, b) <= limit)
        })
}

fn check(database: &[Photo], queries: &[Photo], radius_m: f64, heading_limit_deg: Option<f64>) -> Result<()> {
    let problem = if database.is_empty() {
        "the database is empty: ground truth needs images to be found".to_owned()
    } else if queries.is_empty() {
        "there are no queries: ground truth needs at least one".to_owned()
    } else if !(radius_m > 0.0 && radius_m <= MAX_RADIUS_M) {
        format!("radius {radius_m} m is outside 0 to {MAX_RADIUS_M} m (0 excluded)")
    } else if let Some(limit) = heading_limit_deg.filter(|limit| !(0.0..=180.0).contains(limit)) {
        format!("heading limit {limit} is outside 0 to 180 degrees")
    } else if let Some(photo) = heading_limit_deg
        .and_then(|_| database.iter().chain(queries).find(|p| p.heading.is_none_or(|h| !h.is_finite())))
    {
        format!(
            "{}: has no heading, which a heading limit needs: leave the limit out, or the photograph",
            photo.name
        )
    } else {
        return Ok(());
    };
    Err(DataError::Request(problem))
}

/// Where the photographs of one side are.
struct Places {
    places: Vec<Placed>,
    /// Index of a photograph in metres without a zone, where there is one.
    bare: Option<usize>,
    /// Index of one in local metres.
    local: Option<usize>,
    /// Index of any other photograph.
    zoned: Option<usize>,
}

impl Places {
    fn of(photos: &[Photo]) -> Result<Self> {
        let places = photos.par_iter().map(place).collect::<Result<Vec<_>>>()?;
        let first = |of: fn(&Placed) -> bool| places.iter().position(of);
        let bare = first(|p| matches!(p, Placed::Bare { .. }));
        let local = first(|p| matches!(p, Placed::Local(_)));
        let zoned = first(|p| matches!(p, Placed::Stated { .. } | Placed::Degrees { .. }));
        Ok(Self { bare, local, zoned, places })
    }

    /// Local metres, and metres without a zone, can only be compared with their like.
    fn check_zones(&self, other: &Self, here: &[Photo], there: &[Photo]) -> Result<()> {
        let name = |i: usize, photos: &[Photo]| photos[i].name.clone();
        let bare = self.bare.map(|i| name(i, here)).or(other.bare.map(|i| name(i, there)));
        let zoned = self.zoned.map(|i| name(i, here)).or(other.zoned.map(|i| name(i, there)));
        let local = self.local.map(|i| name(i, here)).or(other.local.map(|i| name(i, there)));
        if let (Some(local), Some(globe)) = (local, bare.as_ref().or(zoned.as_ref())) {
            return Err(DataError::Request(format!(
                "{local}: its position is in local metres, while that of {globe} is on the globe: no distance between \
                 them is known; give both sides positions of one kind"
            )));
        }
        match (bare, zoned) {
            (Some(bare), Some(zoned)) => Err(DataError::Request(format!(
                "{bare}: its metres state no UTM zone, while {zoned} has one: give every photograph its zone"
            ))),
            _ => Ok(()),
        }
    }
}

/// Database images by place. Those with a known zone stand as points in space (Earth-centred metres),
/// where no border between zones exists: a distance on a UTM plane is never shorter than 0.9996 of the
/// true one, and a chord never longer than it. Those in bare or local metres stand on their plane.
struct Index {
    space: Option<(ImmutableKdTree<f64, 3>, Vec<u32>)>,
    plane: Option<(ImmutableKdTree<f64, 2>, Vec<u32>)>,
}

impl Index {
    fn build(places: &[Placed]) -> Result<Self> {
        let (mut space, mut space_ids) = (Vec::new(), Vec::new());
        let (mut plane, mut plane_ids) = (Vec::new(), Vec::new());
        for (id, place) in (0u32..).zip(places) {
            match place {
                Placed::Bare { easting, northing } => {
                    plane.push([*easting, *northing]);
                    plane_ids.push(id);
                }
                Placed::Local(point) => {
                    plane.push([point.x, point.y]);
                    plane_ids.push(id);
                }
                Placed::Stated { position, .. } | Placed::Degrees { position, .. } => {
                    space.push(ecef(*position, 0.0));
                    space_ids.push(id);
                }
            }
        }
        let failed = |e: kiddo::kd_tree::ConstructionError| {
            DataError::Request(format!("cannot index {} database positions: {e}", places.len()))
        };
        Ok(Self {
            space: match space.is_empty() {
                true => None,
                false => Some((ImmutableKdTree::new_from_slice(&space).map_err(failed)?, space_ids)),
            },
            plane: match plane.is_empty() {
                true => None,
                false => Some((ImmutableKdTree::new_from_slice(&plane).map_err(failed)?, plane_ids)),
            },
        })
    }

    /// Database images that may lie within the radius, in any order; none that does is left out.
    fn candidates(&self, place: &Placed, radius_m: f64) -> Vec<u32> {
        match place {
            Placed::Bare { easting, northing } => {
                let reach = radius_m + SLACK_M;
                near(self.plane.as_ref(), &[*easting, *northing], reach)
            }
            // On the plane no distance is longer than in space.
            Placed::Local(point) => near(self.plane.as_ref(), &[point.x, point.y], radius_m + SLACK_M),
            Placed::Stated { position, .. } | Placed::Degrees { position, .. } => {
                let reach = radius_m / UTM_MIN_SCALE + SLACK_M;
                near(self.space.as_ref(), &ecef(*position, 0.0), reach)
            }
        }
    }
}

fn near<const K: usize>(
    index: Option<&(ImmutableKdTree<f64, K>, Vec<u32>)>,
    point: &[f64; K],
    reach: f64,
) -> Vec<u32> {
    let Some((tree, ids)) = index else { return Vec::new() };
    let found = tree.query(point).within::<SquaredEuclidean<f64>>(reach * reach).unsorted().execute();
    found.into_iter().map(|hit| ids[hit.item as usize]).collect()
}

#[cfg(test)]
#[path = "truth_tests.rs"]
mod tests;
