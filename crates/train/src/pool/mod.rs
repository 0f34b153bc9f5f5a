//! What a run may look at: places in all sources, and which show the same.

#[cfg(test)]
mod disk_tests;
mod folders;
mod gsv;
mod panoramas;
mod photos;
#[cfg(test)]
mod tests;
mod town;

use crate::config::{PlaceRules, SourceConfig, SourceKind};
use crate::random::Rng;
use crate::{Result, TrainError};
use r2former_data::Photo;
use r2former_data::dataset::{GroundTruth, MslsOptions, VgOptions, read_msls, read_vg};
use r2former_data::geo::heading_difference;
use r2former_data::image::Rgb8;
use rand::Rng as _;

/// Photographs of one kind.
pub(crate) trait Source: Send + Sync {
    /// Items that can be looked at, in an order that never changes.
    fn items(&self) -> Vec<Item>;

    /// What an item looks like: always the same without `vary`, else from another viewpoint each time where the
    /// source knows its geometry. `size` (height, width) is what it will be scaled to; sources that render may
    /// use it.
    fn look(&self, key: usize, size: [usize; 2], vary: Option<&mut Rng>) -> Result<Rgb8>;

    /// How many of the first items are queries, where the source tells them from its database; else 0.
    fn queries(&self) -> usize {
        0
    }

    /// Whether its items stay from epoch to epoch, so that mining them once is worth it.
    fn stays(&self) -> bool {
        true
    }
}

/// Something to look at.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    /// Position and heading, where known; also tags.
    pub(crate) photo: Photo,
    /// The place by its own number within the source, where the source names places.
    pub(crate) place: Option<u32>,
}

/// How two items relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relation {
    /// The same place.
    Positive,
    /// Too near to be another place, too far or too turned to be the same.
    Unknown,
    /// Another place.
    Negative,
}

/// An item with what is needed to compare it quickly.
#[derive(Debug, Clone)]
struct Entry {
    source: u32,
    key: u32,
    place: Option<u32>,
    heading: Option<f64>,
    /// Metres east and north in the source's own plane.
    at: Option<[f64; 2]>,
    item: Item,
}

/// All sources of a run.
pub(crate) struct Pool {
    sources: Vec<Box<dyn Source>>,
    weights: Vec<f64>,
    entries: Vec<Entry>,
    /// Where each source's entries begin and end.
    ranges: Vec<[usize; 2]>,
    /// Items of the same place, the item itself left out.
    positives: Vec<Vec<u32>>,
    rules: PlaceRules,
}

impl Pool {
    /// Lists every source as it is in an epoch.
    pub(crate) fn open(configs: &[SourceConfig], rules: PlaceRules, epoch: u64) -> Result<Self> {
        let mut pool = Self::empty(rules);
        // Sources that change come last, so that the numbers of what stays are the same every epoch.
        let mut ordered: Vec<&SourceConfig> = configs.iter().collect();
        ordered.sort_by_key(|config| matches!(config.kind, SourceKind::Town { .. }));
        for config in ordered {
            let source: Box<dyn Source> = match &config.kind {
                SourceKind::Panoramas { path, region, headings, fov } => {
                    Box::new(panoramas::Panoramas::open(path, *region, *headings, *fov)?)
                }
                SourceKind::Photos { path, region } => Box::new(photos::Photos::open(path, *region)?),
                SourceKind::Vg { path, split } => {
                    Box::new(photos::Photos::of(read_vg(path, &VgOptions { split: split.clone() })?))
                }
                SourceKind::Msls { path, cities } => {
                    let options =
                        MslsOptions { cities: cities.clone(), all_queries: true, ..Default::default() };
                    Box::new(photos::Photos::of(read_msls(path, &options)?))
                }
                SourceKind::Folders { path, without } => Box::new(folders::Folders::open(path, without)?),
                SourceKind::GsvCities { path, cities } => Box::new(gsv::GsvCities::open(path, cities)?),
                SourceKind::Town { seed, blocks, spacing, conditions } => {
                    Box::new(town::Streets::open(seed.wrapping_add(epoch), *blocks, *spacing, conditions)?)
                }
            };
            pool.add(source, config.weight)?;
        }
        Ok(pool)
    }

    fn empty(rules: PlaceRules) -> Self {
        Self {
            sources: Vec::new(),
            weights: Vec::new(),
            entries: Vec::new(),
            ranges: Vec::new(),
            positives: Vec::new(),
            rules,
        }
    }

    fn add(&mut self, source: Box<dyn Source>, weight: f64) -> Result<()> {
        let items = source.items();
        let start = self.entries.len();
        let number = self.sources.len() as u32;
        let origin = items.iter().find_map(|item| item.photo.position);
        let metric = items.iter().all(|item| item.photo.utm.is_some());
        for (key, item) in items.iter().enumerate() {
            let at = match (origin, item.photo.position, item.photo.utm) {
                // Zones far apart: photographs of two are never compared closely.
                (_, _, Some(utm)) if metric => {
                    let zone = utm.zone.map_or(0.0, |zone| f64::from(zone.number) * 1e7);
                    Some([utm.easting + zone, utm.northing])
                }
                (Some(origin), Some(position), _) => {
                    // Far from the origin only the order of magnitude counts: such pairs are negatives.
                    let north = (position.lat - origin.lat).to_radians() * EARTH_M;
                    let middle = ((position.lat + origin.lat) / 2.0).to_radians();
                    let east = (position.lon - origin.lon).to_radians() * EARTH_M * middle.cos();
                    Some([east, north])
                }
                _ => None,
            };
            self.entries.push(Entry {
                source: number,
                key: key as u32,
                place: item.place,
                heading: item.photo.heading,
                at,
                item: item.clone(),
            });
        }
        let positives = self.positives_of(&items, start)?;
        if positives.iter().all(Vec::is_empty) {
            return Err(TrainError::Config(format!(
                "data source {}: none of its {} photographs shows the same place as another; check positions and \
                 places.positive_m",
                number + 1,
                items.len()
            )));
        }
        self.positives.extend(positives);
        self.ranges.push([start, self.entries.len()]);
        self.sources.push(source);
        self.weights.push(weight);
        Ok(())
    }

    fn positives_of(&self, items: &[Item], start: usize) -> Result<Vec<Vec<u32>>> {
        let named = items.iter().all(|item| item.place.is_some());
        if named {
            let mut of_place = std::collections::BTreeMap::<u32, Vec<u32>>::new();
            for (i, item) in items.iter().enumerate() {
                of_place.entry(item.place.unwrap_or(0)).or_default().push((start + i) as u32);
            }
            let others = |i: usize, item: &Item| -> Vec<u32> {
                let same = &of_place[&item.place.unwrap_or(0)];
                same.iter().copied().filter(|other| *other != (start + i) as u32).collect()
            };
            return Ok(items.iter().enumerate().map(|(i, item)| others(i, item)).collect());
        }
        let photos: Vec<Photo> = items.iter().map(|item| item.photo.clone()).collect();
        let turned = photos.iter().all(|p| p.heading.is_some()) && self.rules.heading_deg < 180.0;
        let limit = turned.then_some(self.rules.heading_deg);
        let truth = GroundTruth::by_radius(&photos, &photos, self.rules.positive_m, limit)?;
        let others = |(i, list): (usize, Vec<u32>)| -> Vec<u32> {
            list.into_iter().filter(|p| *p as usize != i).map(|p| p + start as u32).collect()
        };
        Ok(truth.positives.into_iter().enumerate().map(others).collect())
    }

    /// Items of all sources.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What is known of an item.
    pub(crate) fn photo(&self, item: usize) -> &Photo {
        &self.entries[item].item.photo
    }

    /// Whether the item is the same next epoch.
    pub(crate) fn stays(&self, item: usize) -> bool {
        self.sources[self.entries[item].source as usize].stays()
    }

    /// The only source's queries and all of its items, where it tells queries from a database.
    pub(crate) fn sides(&self) -> Option<(usize, usize)> {
        match &self.sources[..] {
            [source] if source.queries() > 0 => Some((source.queries(), self.entries.len())),
            _ => None,
        }
    }

    /// Whether every item is.
    pub(crate) fn stays_all(&self) -> bool {
        self.sources.iter().all(|source| source.stays())
    }

    /// Items that show the same place as this one.
    pub(crate) fn positives(&self, item: usize) -> &[u32] {
        &self.positives[item]
    }

    /// What an item looks like: see [`Source::look`].
    pub(crate) fn look(&self, item: usize, size: [usize; 2], vary: Option<&mut Rng>) -> Result<Rgb8> {
        let entry = &self.entries[item];
        self.sources[entry.source as usize].look(entry.key as usize, size, vary)
    }

    /// Whether two items show the same place.
    pub(crate) fn relation(&self, a: usize, b: usize) -> Relation {
        let (x, y) = (&self.entries[a], &self.entries[b]);
        if a == b {
            return Relation::Positive;
        }
        if x.source != y.source {
            return Relation::Negative;
        }
        let apart = match (x.at, y.at) {
            (Some(p), Some(q)) => Some((p[0] - q[0]).hypot(p[1] - q[1])),
            _ => None,
        };
        match (x.place, y.place) {
            (Some(p), Some(q)) if p == q => return Relation::Positive,
            // Two places by name that are so near that each may show the other.
            (Some(_), Some(_)) if apart.is_none_or(|d| d > self.rules.negative_m) => {
                return Relation::Negative;
            }
            (Some(_), Some(_)) => return Relation::Unknown,
            _ => {}
        }
        let Some(apart) = apart else { return Relation::Unknown };
        let turned = match (x.heading, y.heading) {
            (Some(p), Some(q)) => heading_difference(p, q) > self.rules.heading_deg,
            _ => false,
        };
        if apart > self.rules.negative_m {
            Relation::Negative
        } else if apart <= self.rules.positive_m && !turned {
            Relation::Positive
        } else {
            Relation::Unknown
        }
    }

    /// An item of a source that is drawn by its weight; it has a positive.
    pub(crate) fn draw(&self, rng: &mut Rng) -> usize {
        let total: f64 = self.weights.iter().sum();
        let mut at = rng.random::<f64>() * total;
        let mut source = self.weights.len() - 1;
        for (i, weight) in self.weights.iter().enumerate() {
            at -= weight;
            if at < 0.0 {
                source = i;
                break;
            }
        }
        let [start, end] = self.ranges[source];
        // `add` has made sure that some item has a positive.
        loop {
            let item = rng.random_range(start..end);
            if !self.positives[item].is_empty() {
                return item;
            }
        }
    }

    /// Any item of any source.
    pub(crate) fn draw_any(&self, rng: &mut Rng) -> usize {
        rng.random_range(0..self.entries.len())
    }
}

/// Mean radius.
const EARTH_M: f64 = 6_371_008.8;
