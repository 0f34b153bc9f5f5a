//! Where a photograph is, as ground truth compares it.

use crate::geo::{LocalPoint, Position, from_utm, to_utm, to_utm_in};
use crate::{DataError, LatLon, Photo, Result, Utm, UtmZone};

/// Smallest scale of any UTM plane: metres on it for a true metre, on the central meridian.
pub(super) const UTM_MIN_SCALE: f64 = 0.9996;

/// Where a photograph is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Placed {
    /// Metres in a stated zone, and the position that they mean.
    Stated { utm: Utm, zone: UtmZone, position: LatLon },
    /// Metres without a zone.
    Bare { easting: f64, northing: f64 },
    /// Degrees, and their metres in the zone in which they lie.
    Degrees { position: LatLon, own: Utm, zone: UtmZone },
    /// Metres of a map of its own.
    Local(LocalPoint),
}

/// Where a photograph is; its own metres count before its degrees. Metres without a zone but with
/// degrees beside them take the zone of the degrees.
///
/// # Errors
/// [`DataError::Request`] for a photograph without a position or with metres that are not finite;
/// [`DataError::Position`] for one outside UTM. Both name it.
pub(super) fn place(photo: &Photo) -> Result<Placed> {
    let named = |e: DataError| DataError::Position(format!("{}: {e}", photo.name));
    match (photo.utm, photo.position) {
        (Some(utm), _) if !(utm.easting.is_finite() && utm.northing.is_finite()) => {
            Err(DataError::Request(format!("{}: its easting or northing is not a finite number", photo.name)))
        }
        (Some(utm @ Utm { zone: Some(zone), .. }), _) => {
            Ok(Placed::Stated { utm, zone, position: from_utm(&utm).map_err(named)? })
        }
        (Some(Utm { easting, northing, zone: None }), _) => Ok(Placed::Bare { easting, northing }),
        (None, Some(Position::Local(point))) => Ok(Placed::Local(point)),
        (None, Some(Position::Wgs84(position))) => {
            let own = to_utm(position).map_err(named)?;
            match own.zone {
                Some(zone) => Ok(Placed::Degrees { position, own, zone }),
                None => Ok(Placed::Bare { easting: own.easting, northing: own.northing }),
            }
        }
        (None, None) => Err(DataError::Request(format!(
            "{}: has no position, so no distance is known: leave it out, or give its position",
            photo.name
        ))),
    }
}

/// Metres between a query and a database image as ground truth measures them; none where either has no position, or
/// none that can be compared with the other's.
pub fn distance_m(query: &Photo, reference: &Photo) -> Option<f64> {
    distance(&place(query).ok()?, &place(reference).ok()?)
}

/// Metres between a query and a database image on the plane that both share; none where there is no
/// such plane.
pub(super) fn distance(query: &Placed, reference: &Placed) -> Option<f64> {
    let apart = |a: Utm, b: Utm| Some((a.easting - b.easting).hypot(a.northing - b.northing));
    match (query, reference) {
        (Placed::Stated { utm: a, zone, .. }, Placed::Stated { utm: b, zone: other, .. }) => {
            if same_plane(*zone, *other) { apart(*a, *b) } else { None }
        }
        (Placed::Stated { utm, zone, .. }, Placed::Degrees { position, .. })
        | (Placed::Degrees { position, .. }, Placed::Stated { utm, zone, .. }) => {
            apart(*utm, to_utm_in(*position, *zone).ok()?)
        }
        (Placed::Degrees { own, zone, .. }, Placed::Degrees { own: other, zone: other_zone, position }) => {
            if same_plane(*zone, *other_zone) {
                return apart(*own, *other);
            }
            apart(*own, to_utm_in(*position, *zone).ok()?)
        }
        (Placed::Bare { easting, northing }, Placed::Bare { easting: e, northing: n }) => {
            Some((easting - e).hypot(northing - n))
        }
        (Placed::Local(a), Placed::Local(b)) => Some(a.distance_m(*b)),
        (Placed::Bare { .. } | Placed::Local(_), _) | (_, Placed::Bare { .. } | Placed::Local(_)) => None,
    }
}

/// Two bands of one zone share a plane on either side of the equator, but not across it.
fn same_plane(a: UtmZone, b: UtmZone) -> bool {
    a.number == b.number && a.is_north() == b.is_north()
}
