//! Whether everything arrived: by counts, and by comparing some images, or all, with what was read.

use super::portion::sum;
use super::{CopyOptions, Ids, Verified, VerifySamples, is_same_descriptor, together};
use crate::indexing::differences;
use crate::{IndexAddress, IndexReader, PlaceIndex, Progress, Result};
use r2former_index::{FileFingerprint, Filter, LocalFeatures, Place, Problem, ReadPlaces};
use std::collections::HashSet;
use uuid::Uuid;

/// What is compared at the end, and what was found.
pub(super) struct Checks {
    verify: VerifySamples,
    /// One of this many images is compared; none without.
    stride: Option<usize>,
    passed: usize,
    /// How many images of each index were listed.
    listed: Vec<usize>,
    /// Images to compare, by index.
    samples: Vec<Ids>,
    /// Images that the target keeps as they were.
    left_out: HashSet<Uuid>,
    found: Verified,
}

impl Checks {
    pub(super) fn new(verify: VerifySamples, total: usize) -> Self {
        let stride = match verify {
            VerifySamples::Some(0) | VerifySamples::All => None,
            VerifySamples::Some(samples) => Some(total.div_ceil(samples).max(1)),
        };
        Self {
            verify,
            stride,
            passed: 0,
            listed: Vec::new(),
            samples: Vec::new(),
            left_out: HashSet::new(),
            found: Verified::default(),
        }
    }

    /// Images of an index were copied, or were there already.
    pub(super) fn seen(&mut self, index: usize, ids: &[Uuid]) {
        self.listed.resize(self.listed.len().max(index + 1), 0);
        self.samples.resize(self.samples.len().max(index + 1), Ids::new());
        self.listed[index] += ids.len();
        // Identifiers are hashes of names: evenly spaced ones are as good as random ones.
        let samples = (self.passed..)
            .zip(ids)
            .filter(|(number, _)| self.stride.is_some_and(|stride| number.is_multiple_of(stride)));
        self.samples[index].extend(samples.map(|(_, id)| id));
        self.passed += ids.len();
    }

    /// The target keeps what it had of an image.
    pub(super) fn leave_out(&mut self, id: Uuid) {
        self.left_out.insert(id);
    }

    /// Compares how many images the target has with how many it should have.
    pub(super) fn count(&mut self, expected: usize, found: usize, exact: bool) {
        self.found.images = found;
        // To a collection others may write at the same time.
        if found < expected || exact && found != expected {
            self.say(None, None, format!("the target has {found} images, and should have {expected}"));
        }
    }

    /// Compares how many images of an index were listed with how many it has.
    pub(super) fn listed(&mut self, address: &IndexAddress, index: usize, images: usize) {
        let listed = self.listed.get(index).copied().unwrap_or(0);
        if listed < images {
            self.say(None, None, format!("{address} has {images} images, and listed {listed}"));
        }
    }

    /// Reads images of both sides and compares them.
    pub(super) fn samples(
        &mut self,
        from: &[PlaceIndex],
        readers: &[IndexReader],
        to: &IndexReader,
        options: &CopyOptions,
        progress: &dyn Progress,
    ) -> Result<()> {
        let total = match self.verify {
            VerifySamples::All => self.listed.iter().sum(),
            VerifySamples::Some(_) => self.samples.iter().map(Vec::len).sum::<usize>(),
        };
        progress.start("images compared", total as u64);
        let samples = std::mem::take(&mut self.samples);
        for (i, reader) in readers.iter().enumerate() {
            // With an update, the last index that has an image decides.
            let later: &[IndexReader] = if options.update { &readers[i + 1..] } else { &[] };
            let pair = Pair { reader, to, later, address: from[i].address() };
            let some = together(reader.config().vector_bytes());
            if self.verify == VerifySamples::All {
                let mut start = None;
                loop {
                    let page = reader.list(start, some, &Filter::default())?;
                    let ids: Ids = page.places.iter().map(|(id, _)| *id).collect();
                    self.compare(pair, &ids, progress)?;
                    start = page.next;
                    if start.is_none() {
                        break;
                    }
                }
            } else if let Some(ids) = samples.get(i) {
                for ids in ids.chunks(some) {
                    self.compare(pair, ids, progress)?;
                }
            }
        }
        progress.finish();
        Ok(())
    }

    fn compare(&mut self, pair: Pair<'_>, ids: &[Uuid], progress: &dyn Progress) -> Result<()> {
        let mut wanted: Ids = ids.iter().copied().filter(|id| !self.left_out.contains(id)).collect();
        for later in pair.later {
            let replaced = later.contains(&wanted)?;
            wanted = wanted
                .into_iter()
                .zip(replaced)
                .filter(|(_, replaced)| !replaced)
                .map(|(id, _)| id)
                .collect();
        }
        let (here, there) = (Side::read(pair.reader, &wanted)?, Side::read(pair.to, &wanted)?);
        for (i, &id) in wanted.iter().enumerate() {
            // What was removed meanwhile is not missing.
            let Some(place) = &here.places[i] else { continue };
            self.found.samples += 1;
            for what in here.differs(&there, i) {
                self.say(Some(id), Some(place.name.clone()), format!("{what} ({})", pair.address));
            }
        }
        progress.advance(ids.len() as u64);
        Ok(())
    }

    fn say(&mut self, id: Option<Uuid>, name: Option<String>, what: String) {
        self.found.problems.push(Problem { id, name, what });
    }

    pub(super) fn finish(self) -> Verified {
        self.found
    }
}

/// An index, and the one that it was copied to.
#[derive(Clone, Copy)]
struct Pair<'a> {
    reader: &'a IndexReader,
    to: &'a IndexReader,
    /// Indexes whose images replace those of this one.
    later: &'a [IndexReader],
    address: &'a IndexAddress,
}

/// What an index has of some images.
struct Side {
    places: Vec<Option<Place>>,
    globals: Vec<Option<Vec<f32>>>,
    locals: Vec<Option<LocalFeatures>>,
}

impl Side {
    fn read(reader: &IndexReader, ids: &[Uuid]) -> Result<Self> {
        Ok(Self { places: reader.get(ids)?, globals: reader.globals(ids)?, locals: reader.locals(ids)? })
    }

    /// What is different on the other side of an image that is here.
    fn differs(&self, there: &Self, i: usize) -> Vec<String> {
        let Some((here, found)) = self.places[i].as_ref().zip(there.places[i].as_ref()) else {
            return vec!["it is missing in the target".into()];
        };
        let fields = differences(found, here).into_iter();
        let mut all: Vec<String> =
            fields.map(|change| format!("its {} is another in the target", change.what)).collect();
        if let (Some(one), Some(other)) = (&self.globals[i], &there.globals[i])
            && !is_same_descriptor(one, other)
        {
            let (one, other) = (sum(one), sum(other));
            all.push(format!("its descriptor is another in the target: checksum {other} and not {one}"));
        }
        if let (Some(one), Some(other)) = (&self.locals[i], &there.locals[i])
            && one.rows != other.rows
        {
            let (one, other) = (FileFingerprint::of(&one.rows), FileFingerprint::of(&other.rows));
            all.push(format!("its local features are others in the target: checksum {other} and not {one}"));
        }
        all
    }
}
