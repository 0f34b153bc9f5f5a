//! Which slots pass a filter: worked out before anything is scored.

use r2former_geo::{EARTH_M, LatLon, LocalPoint, Position, Positions, geodesic_m};
use rayon::prelude::*;
use uuid::Uuid;

use crate::blocks::Tagged;
use crate::error::{IndexError, Result};
use crate::picture::Picture;
use crate::place::{Filter, Near, Place};
use crate::schema::{Db, FACT_ROWS, tag_key};
use crate::slots::SlotSet;
use crate::store::Cache;

/// How much shorter or longer than on a sphere of [`EARTH_M`] a line on the ellipsoid can be: at most 0.57 %, where
/// it follows a meridian at the equator.
const SPHERE_ERROR: f64 = 0.006;

/// Refuses a filter that nothing can be compared with.
pub(crate) fn check(filter: &Filter, positions: Positions) -> Result<(), String> {
    if let Some(near) = filter.near {
        if let Some(refusal) = positions.refusal(near.center) {
            return Err(format!("its centre: {refusal}"));
        }
        if !(near.radius_m.is_finite() && near.radius_m > 0.0) {
            return Err(format!("a radius of {} m; it must be above 0", near.radius_m));
        }
    }
    if let (Some(since), Some(until)) = (filter.since, filter.until)
        && since > until
    {
        return Err(format!("a time from {since} to {until}: it ends before it begins"));
    }
    Ok(())
}

/// For stores that have places and not slots.
impl Filter {
    /// Refuses a filter that nothing can be compared with.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, positions: Positions) -> Result<(), String> {
        check(self, positions)
    }

    /// Whether a place passes, by the rule of every index.
    pub fn holds(&self, id: Uuid, place: &Place) -> bool {
        let since = self.since.unwrap_or(i64::MIN);
        let until = self.until.unwrap_or(i64::MAX);
        // The least time stands for none, as in the columns of a folder's index.
        let time = place.time.filter(|&time| time != i64::MIN);
        let timed = self.since.is_some() || self.until.is_some();
        let region = self.near.map(Region::new);
        (!timed || time.is_some_and(|time| (since..=until).contains(&time)))
            && self.tags.iter().all(|(key, value)| place.tags.get(key) == Some(value))
            && !self.exclude.contains(&id)
            && region.is_none_or(|region| place.position.is_some_and(|at| region.holds(at)))
    }
}

/// The slots that pass; none if all slots do, and none is free.
pub(crate) fn slots(
    picture: &Picture,
    cache: &Cache,
    positions: Positions,
    filter: &Filter,
) -> Result<Option<SlotSet>> {
    check(filter, positions)
        .map_err(|problem| IndexError::request(picture.dir(), format!("the filter: {problem}")))?;
    let counters = picture.counters();
    if *filter == Filter::default() && counters.images == u64::from(counters.slots) {
        return Ok(None);
    }
    let mut set = (*cache.taken(picture)?).clone();
    for (key, value) in &filter.tags {
        set.intersect(&tagged(picture, key, value)?);
    }
    for &id in &filter.exclude {
        if let Some(slot) = picture.slot_of(id)? {
            set.remove(slot);
        }
    }
    if filter.near.is_some() || filter.since.is_some() || filter.until.is_some() {
        let disc = filter.near.map(Region::new);
        let since = filter.since.unwrap_or(i64::MIN);
        let until = filter.until.unwrap_or(i64::MAX);
        let timed = filter.since.is_some() || filter.until.is_some();
        let block = |block: usize, words: &mut [u64]| {
            if words.iter().all(|&word| word == 0) {
                return Ok(());
            }
            let facts = picture.facts(cache, block as u32)?;
            let passes = |row: usize| {
                (!timed || facts.time(row).is_some_and(|time| (since..=until).contains(&time)))
                    && disc.as_ref().is_none_or(|disc| facts.position(row).is_some_and(|at| disc.holds(at)))
            };
            for (i, word) in words.iter_mut().enumerate() {
                let mut rest = *word;
                while rest != 0 {
                    let bit = rest.trailing_zeros();
                    rest &= rest - 1;
                    if !passes(64 * i + bit as usize) {
                        *word &= !(1 << bit);
                    }
                }
            }
            Ok(())
        };
        const WORDS: usize = FACT_ROWS as usize / 64;
        let words = set.words_mut();
        if words.len() <= 4 * WORDS {
            words.chunks_mut(WORDS).enumerate().try_for_each(|(i, words)| block(i, words))?;
        } else {
            words.par_chunks_mut(WORDS).enumerate().try_for_each(|(i, words)| block(i, words))?;
        }
    }
    Ok(Some(set))
}

/// The slots that carry a tag.
fn tagged(picture: &Picture, key: &str, value: &str) -> Result<SlotSet> {
    let mut set = SlotSet::empty(picture.counters().slots);
    for block in 0..picture.fact_blocks() {
        if let Some(value) = picture.find(Db::Tags, &tag_key(key, value, block))? {
            let tagged =
                Tagged::decode(value).ok_or_else(|| picture.damaged("the slots of a tag are unreadable"))?;
            let first = block as usize * tagged.0.len();
            for (word, found) in set.words_mut()[first..].iter_mut().zip(tagged.0) {
                *word = found;
            }
        }
    }
    Ok(set)
}

/// What lies within a radius, on the globe or in local metres.
enum Region {
    Globe(Disc),
    /// The distance is the one that answers print, so that the radius is exact.
    Plan(LocalPoint, f64),
}

impl Region {
    fn new(near: Near) -> Self {
        match near.center {
            Position::Wgs84(center) => Self::Globe(Disc::new(center, near.radius_m)),
            Position::Local(center) => Self::Plan(center, near.radius_m),
        }
    }

    fn holds(&self, position: Position) -> bool {
        match (self, position) {
            (Self::Globe(disc), Position::Wgs84(position)) => disc.holds(position),
            (Self::Plan(center, radius), Position::Local(point)) => center.distance_m(point) <= *radius,
            (Self::Globe(_), Position::Local(_)) | (Self::Plan(..), Position::Wgs84(_)) => false,
        }
    }
}

/// A disc around a point on the globe. What is clearly inside or outside on a sphere is so on the ellipsoid; for the rest the
/// ellipsoid decides, with the distance that answers print.
struct Disc {
    center: LatLon,
    radius_m: f64,
    lat: f64,
    lon: f64,
    cos: f64,
}

impl Disc {
    fn new(center: LatLon, radius_m: f64) -> Self {
        let LatLon { lat, lon } = center;
        Self { center, radius_m, lat: lat.to_radians(), lon: lon.to_radians(), cos: lat.to_radians().cos() }
    }

    fn holds(&self, position: LatLon) -> bool {
        let radius = self.radius_m;
        let outside = radius * (1.0 + SPHERE_ERROR) + 1e-3;
        let lat = position.lat.to_radians();
        // A difference of latitude is a distance that no line is shorter than.
        if (lat - self.lat).abs() * EARTH_M > outside {
            return false;
        }
        let half = |angle: f64| (angle / 2.0).sin().powi(2);
        let lon = position.lon.to_radians() - self.lon;
        let part = (half(lat - self.lat) + self.cos * lat.cos() * half(lon)).clamp(0.0, 1.0);
        let sphere = 2.0 * EARTH_M * part.sqrt().asin();
        if sphere > outside {
            return false;
        }
        // Far from the antipode, where the arc sine is exact enough.
        if sphere < radius * (1.0 - SPHERE_ERROR) - 1e-3 && part < 0.99 {
            return true;
        }
        geodesic_m(self.center, position) <= radius
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the disc holds is what the geodesic says, everywhere.
    #[test]
    fn a_disc_is_that_of_the_ellipsoid() {
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        let mut inside = 0;
        for i in 0..40_000 {
            let special = [0.0, 90.0, -90.0, 89.9999, -0.001];
            let lat = if i % 3 == 0 { special[i % 5] } else { 180.0 * random() - 90.0 };
            let lon = if i % 5 == 0 { 180.0 } else { 360.0 * random() - 180.0 };
            let center = LatLon { lat, lon };
            let spread = 10.0_f64.powf(6.0 * random() - 4.0);
            let position = LatLon {
                lat: (lat + spread * (random() - 0.5)).clamp(-90.0, 90.0),
                lon: (lon + spread * (random() - 0.5) + 540.0).rem_euclid(360.0) - 180.0,
            };
            let exact = geodesic_m(center, position);
            let radius_m = if i % 7 == 0 { exact } else { exact * (0.98 + 0.04 * random()) };
            if radius_m <= 0.0 {
                continue;
            }
            let holds = Disc::new(center, radius_m).holds(position);
            assert_eq!(holds, exact <= radius_m, "{center} {position} {radius_m}");
            inside += usize::from(holds);
        }
        assert!((10_000..30_000).contains(&inside), "{inside}");
    }
}
