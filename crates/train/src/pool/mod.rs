//! The training set: photographs of all sources, and which show the same place.

#[cfg(test)]
mod disk_tests;
mod folders;
mod gsv;
mod matches;
mod pairs;
mod panoramas;
mod photos;
mod source;
#[cfg(test)]
mod tests;
mod town;

pub(crate) use source::{Item, LeftOut, Partner, Source};

use crate::config::{PlaceRules, SourceConfig, SourceKind, Stage, TrainConfig};
use crate::random::Rng;
use crate::{Result, TrainError};
use r2former_data::Photo;
use r2former_data::dataset::{GroundTruth, MslsOptions, VgOptions, read_msls, read_vg};
use r2former_data::geo::{EARTH_M, heading_difference};
use r2former_data::image::Rgb8;
use rand::Rng as _;

/// How two items relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relation {
    /// They show the same place.
    Positive,
    /// Too near to be different places, too far apart or too different in heading to be the same.
    Unknown,
    /// They show different places.
    Negative,
}

/// An item in a form that is quick to compare.
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
    /// Other items of the same place.
    positives: Vec<Vec<u32>>,
    /// Whether some item of each source has a positive.
    paired: Vec<bool>,
    /// Whether each source lists its pairs.
    listed: Vec<bool>,
    rules: PlaceRules,
    /// Whether sources may be without positives.
    alone: bool,
    left_out: Vec<LeftOut>,
    notes: Vec<String>,
}

impl Pool {
    /// Lists every source of a configuration as of an epoch.
    pub(crate) fn of(config: &TrainConfig, epoch: u64) -> Result<Self> {
        // A photograph is its own positive in pairs of warps, and with this share of queries.
        let alone = config.stage == Stage::Local || config.batch.same_photo > 0.0;
        Self::list(&config.data, config.places, epoch, alone)
    }

    /// Lists every source, each with positives, as of an epoch.
    #[cfg(test)]
    pub(crate) fn open(configs: &[SourceConfig], rules: PlaceRules, epoch: u64) -> Result<Self> {
        Self::list(configs, rules, epoch, false)
    }

    fn list(configs: &[SourceConfig], rules: PlaceRules, epoch: u64, alone: bool) -> Result<Self> {
        let mut pool = Self { alone, ..Self::empty(rules) };
        // Sources that change come last, so that items of the others have the same numbers in every epoch.
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
                SourceKind::Folders { path, exclude, aligned } => {
                    Box::new(folders::Folders::open(path, exclude, *aligned)?)
                }
                SourceKind::Pairs { database, queries, positives, part } => {
                    Box::new(pairs::Pairs::open([database, queries, positives], *part)?)
                }
                SourceKind::Matches { path } => Box::new(matches::Matches::open(path)?),
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
            paired: Vec::new(),
            listed: Vec::new(),
            rules,
            alone: false,
            left_out: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn add(&mut self, source: Box<dyn Source>, weight: f64) -> Result<()> {
        let items = source.items();
        let start = self.entries.len();
        let number = self.sources.len() as u32;
        let origin = items.iter().find_map(|item| item.photo.lat_lon());
        let metric = items.iter().all(|item| item.photo.utm.is_some());
        for (key, item) in items.iter().enumerate() {
            let at = match (origin, item.photo.lat_lon(), item.photo.utm) {
                // Zones are moved far apart: photographs of different zones are never positives.
                (_, _, Some(utm)) if metric => {
                    let zone = utm.zone.map_or(0.0, |zone| f64::from(zone.number) * 1e7);
                    Some([utm.easting + zone, utm.northing])
                }
                (Some(origin), Some(position), _) => {
                    // Far from the origin the order of magnitude is enough: such pairs are negatives.
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
        let pairs = source.pairs();
        self.listed.push(pairs.is_some());
        let positives = match pairs {
            Some(pairs) => {
                let numbered = |of: Vec<u32>| of.into_iter().map(|key| key + start as u32).collect();
                pairs.into_iter().map(numbered).collect()
            }
            None => self.positives_of(&items, start)?,
        };
        let paired = !positives.iter().all(Vec::is_empty);
        if !paired && !self.alone {
            return Err(TrainError::Config(format!(
                "data source {}: none of its {} photographs shows the same place as another; check positions, \
                 places.positive_m and places.heading_deg",
                number + 1,
                items.len()
            )));
        }
        self.left_out.extend_from_slice(source.left_out());
        self.notes.push(self.summary(number, &items, &positives, source.left_out().len()));
        self.paired.push(paired);
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
        let truth = GroundTruth::by_radius(&photos, &photos, self.rules.positive_m, None)?;
        let others = |(i, list): (usize, Vec<u32>)| -> Vec<u32> {
            let same =
                |p: &u32| *p as usize != i && !self.turned(photos[i].heading, photos[*p as usize].heading);
            list.into_iter().filter(same).map(|p| p + start as u32).collect()
        };
        Ok(truth.positives.into_iter().enumerate().map(others).collect())
    }

    /// Whether two headings, where both are known, differ too much for the same place.
    fn turned(&self, a: Option<f64>, b: Option<f64>) -> bool {
        matches!((a, b), (Some(a), Some(b)) if heading_difference(a, b) > self.rules.heading_deg)
    }

    /// A line about a source for people to read.
    fn summary(&self, number: u32, items: &[Item], positives: &[Vec<u32>], left_out: usize) -> String {
        let paired = positives.iter().filter(|list| !list.is_empty()).count();
        let mut text = format!(
            "data source {}: {} training images, {paired} of them with another of the same place",
            number + 1,
            items.len()
        );
        if left_out > 0 {
            text += &format!("; {left_out} photographs left out");
        }
        let headings = items.iter().filter(|item| item.photo.heading.is_some()).count();
        let named = items.iter().all(|item| item.place.is_some());
        let listed = self.listed[number as usize];
        if !listed && !named && self.rules.heading_deg < 180.0 && headings < items.len() {
            text += &format!(
                "; {} of them have no heading: their places are decided by distance alone, so photographs looking in \
                 opposite directions count as the same place",
                items.len() - headings
            );
        }
        text
    }

    /// A line about each source for people to read.
    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Photographs that listing the sources has left out.
    pub(crate) fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// Number of items of all sources.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Position, heading and tags of an item.
    pub(crate) fn photo(&self, item: usize) -> &Photo {
        &self.entries[item].item.photo
    }

    /// Whether the item is the same in every epoch.
    pub(crate) fn item_is_static(&self, item: usize) -> bool {
        self.sources[self.entries[item].source as usize].is_static()
    }

    /// Numbers of queries and of items of a single source that separates queries from a database.
    pub(crate) fn sides(&self) -> Option<(usize, usize)> {
        match &self.sources[..] {
            [source] if source.queries() > 0 => Some((source.queries(), self.entries.len())),
            _ => None,
        }
    }

    /// Whether every item is the same in every epoch.
    pub(crate) fn is_static(&self) -> bool {
        self.sources.iter().all(|source| source.is_static())
    }

    /// Items that show the same place as this one.
    pub(crate) fn positives(&self, item: usize) -> &[u32] {
        &self.positives[item]
    }

    /// The image of an item: see [`Source::image`].
    pub(crate) fn image(&self, item: usize, size: [usize; 2], vary: Option<&mut Rng>) -> Result<Rgb8> {
        let entry = &self.entries[item];
        self.sources[entry.source as usize].image(entry.key as usize, size, vary)
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
        if self.listed[x.source as usize] {
            return self.listed_relation(a, b);
        }
        let apart = match (x.at, y.at) {
            (Some(p), Some(q)) => Some((p[0] - q[0]).hypot(p[1] - q[1])),
            _ => None,
        };
        match (x.place, y.place) {
            (Some(p), Some(q)) if p == q => return Relation::Positive,
            // Two named places so close that each may show the other.
            (Some(_), Some(_)) if apart.is_none_or(|d| d > self.rules.negative_m) => {
                return Relation::Negative;
            }
            (Some(_), Some(_)) => return Relation::Unknown,
            _ => {}
        }
        let Some(apart) = apart else { return Relation::Unknown };
        if apart > self.rules.negative_m {
            Relation::Negative
        } else if apart <= self.rules.positive_m && !self.turned(x.heading, y.heading) {
            Relation::Positive
        } else {
            Relation::Unknown
        }
    }

    /// The relation of two items whose source lists pairs. Items that a chain of two or three pairs joins may overlap:
    /// two references of one query, or a query and a reference of another query with a reference in common.
    fn listed_relation(&self, a: usize, b: usize) -> Relation {
        let [of_a, of_b] = [a, b].map(|item| &self.positives[item][..]);
        if of_a.binary_search(&(b as u32)).is_ok() {
            return Relation::Positive;
        }
        let two = share_one(of_a, of_b);
        if two || of_a.iter().any(|via| share_one(&self.positives[*via as usize], of_b)) {
            return Relation::Unknown;
        }
        Relation::Negative
    }

    /// A random item that has a positive, of a source drawn by weight; neither item nor positive is `excluded`. Any item
    /// of a source without positives.
    ///
    /// # Errors
    /// [`TrainError::Unreadable`] if the source has hardly any such item left.
    pub(crate) fn draw(&self, rng: &mut Rng, excluded: &Excluded) -> Result<usize> {
        let source = self.draw_source(rng);
        self.draw_of(source, rng, excluded, |item| match self.paired[source] {
            true => self.usable(item, excluded),
            false => !excluded.contains(&item),
        })
    }

    /// A random item, with or without positives, of a source drawn by weight.
    ///
    /// # Errors
    /// As [`Pool::draw`].
    pub(crate) fn draw_alone(&self, rng: &mut Rng, excluded: &Excluded) -> Result<usize> {
        let source = self.draw_source(rng);
        self.draw_of(source, rng, excluded, |item| !excluded.contains(&item))
    }

    /// With which photograph stage `local` pairs an item: see [`Source::partner`].
    pub(crate) fn partner(&self, item: usize) -> Partner {
        self.sources[self.source_of(item)].partner()
    }

    /// Points that an item shares with its partner: see [`Source::matches`].
    pub(crate) fn matches(&self, item: usize) -> Vec<[f64; 4]> {
        let entry = &self.entries[item];
        self.sources[entry.source as usize].matches(entry.key as usize)
    }

    fn draw_source(&self, rng: &mut Rng) -> usize {
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
        source
    }

    /// A random item of a source that is `fit`.
    fn draw_of(
        &self,
        source: usize,
        rng: &mut Rng,
        excluded: &Excluded,
        fit: impl Fn(usize) -> bool,
    ) -> Result<usize> {
        let [start, end] = self.ranges[source];
        // Where nothing is excluded, some item is fit: a source without positives is not drawn from for one.
        let mut tries = 0;
        loop {
            let item = rng.random_range(start..end);
            if fit(item) {
                return Ok(item);
            }
            tries += 1;
            if !excluded.is_empty() && tries > TRIES * (end - start) {
                return Err(self.unreadable(source));
            }
        }
    }

    /// Whether an item and one of its positives can be used.
    pub(crate) fn usable(&self, item: usize, excluded: &Excluded) -> bool {
        let positives = &self.positives[item];
        match excluded.is_empty() {
            true => !positives.is_empty(),
            false => {
                !excluded.contains(&item) && positives.iter().any(|p| !excluded.contains(&(*p as usize)))
            }
        }
    }

    /// The error of a source too damaged to compose batches from.
    pub(crate) fn unreadable(&self, source: usize) -> TrainError {
        TrainError::Unreadable(format!(
            "data source {}: too few of its photographs can be read to compose a batch; the log names those that \
             cannot",
            source + 1
        ))
    }

    /// The number of an item's source.
    pub(crate) fn source_of(&self, item: usize) -> usize {
        self.entries[item].source as usize
    }

    /// A random item.
    pub(crate) fn draw_any(&self, rng: &mut Rng) -> usize {
        rng.random_range(0..self.entries.len())
    }
}

/// Items that are not to be drawn because their photographs cannot be read.
pub(crate) type Excluded = std::collections::BTreeSet<usize>;

/// Draws per item of a source after which it counts as having no usable item left.
const TRIES: usize = 64;

/// Whether two ascending lists have an item in common.
fn share_one(mut a: &[u32], mut b: &[u32]) -> bool {
    while let ([x, rest_a @ ..], [y, rest_b @ ..]) = (a, b) {
        match x.cmp(y) {
            std::cmp::Ordering::Less => a = rest_a,
            std::cmp::Ordering::Greater => b = rest_b,
            std::cmp::Ordering::Equal => return true,
        }
    }
    false
}
