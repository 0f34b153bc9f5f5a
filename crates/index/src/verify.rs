//! Looking through a whole index for damage.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use r2former_kernels::scan::encode;
use serde::Serialize;
use uuid::Uuid;

use crate::attachment;
use crate::blocks::{StoredFacts, Tagged};
use crate::copy::check;
use crate::error::{IndexError, Result};
use crate::manifest::{IndexConfig, Manifest};
use crate::picture::Picture;
use crate::place::{Place, place_id};
use crate::query::floats;
use crate::schema::{Db, FACT_ROWS, SUM, Shape, file_key, number_key, tag_key};
use crate::slots::SlotSet;
use crate::store::{Access, Cache, Store};

/// How far the length of a stored global descriptor may be from 1.
const TOLERANCE: f32 = 1e-3;

/// Something wrong with one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The image's identifier; none if it is not about one image.
    pub id: Option<Uuid>,
    /// The image's name, where it can be read.
    pub name: Option<String>,
    /// What is wrong.
    pub what: String,
}

/// What [`verify`] found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// Images looked at.
    pub images: usize,
    /// What is wrong; empty for a sound index.
    pub problems: Vec<Problem>,
}

/// Checks the manifest, the attached files, the file's structure (every page, the list of free pages), every checksum, and that
/// everything agrees: identifiers, places, their facts and tags, descriptors (width, finite, length 1 within 0.001),
/// files and labels, codes (encoded again), local features (whole rows, not too many), and the counters. Changes nothing; a writer may work meanwhile.
///
/// # Errors
/// If the index cannot be opened at all; what is wrong within it is in the report.
pub fn verify(dir: impl AsRef<Path>) -> Result<Report> {
    let dir = dir.as_ref();
    let manifest = Manifest::read(dir)?;
    let store = Store::open(dir, Access::Read)?;
    let mut report = store.ask(|picture| Ok(look(&store, &manifest.config, picture)))?;
    let attached = attachment::problems(&manifest.attachments, |name| attachment::found(dir, name))?;
    report.problems.extend(attached.into_iter().map(|what| Problem { id: None, name: None, what }));
    Ok(report)
}

fn look(store: &Store, config: &IndexConfig, picture: &Picture) -> Report {
    let mut look = Look { picture, config, shape: Shape::new(config.global_dim), report: Report::default() };
    match store.walk(picture) {
        Ok(used) if used.leaves(picture.meta()) > 0 => {
            look.say(None, None, "some pages are neither used nor free");
        }
        Ok(_) => {}
        Err(error) => look.note(None, None, &error),
    }
    let slots = look.identifiers();
    look.places(&slots);
    look.descriptors(&slots);
    look.sums();
    look.entries(slots.len() as u64);
    look.report
}

struct Look<'p> {
    picture: &'p Picture,
    config: &'p IndexConfig,
    shape: Shape,
    report: Report,
}

impl<'p> Look<'p> {
    fn note(&mut self, id: Option<Uuid>, name: Option<&str>, error: &IndexError) {
        let what = match error {
            IndexError::Damaged { problem, .. } => problem.clone(),
            error => error.to_string(),
        };
        self.say(id, name, what);
    }

    fn say(&mut self, id: Option<Uuid>, name: Option<&str>, what: impl Into<String>) {
        let problem = Problem { id, name: name.map(Into::into), what: what.into() };
        // Damage of an image is also that of a block.
        let known = |other: &Problem| other.what == problem.what && (id.is_none() || other.id == id);
        if !self.report.problems.iter().any(known) {
            self.report.problems.push(problem);
        }
    }

    /// Every entry of a tree, checked, as far as they can be reached.
    fn each(&mut self, db: Db, mut visit: impl FnMut(&mut Self, &'p [u8], &'p [u8])) {
        let mut cursor = match self.picture.tree(db).from(&[]) {
            Ok(cursor) => cursor,
            Err(corrupt) => return self.note(None, None, &self.picture.corrupt(corrupt)),
        };
        // A damaged tree may have no end.
        for _ in 0..=self.picture.root(db).entries {
            match cursor.next() {
                Ok(Some((key, stored))) => match check(self.picture, self.shape, db, key, stored) {
                    Ok(()) => visit(self, key, stored.get(SUM..).unwrap_or_default()),
                    Err(error) => self.note(None, None, &error),
                },
                Ok(None) => return,
                Err(corrupt) => return self.note(None, None, &self.picture.corrupt(corrupt)),
            }
        }
    }

    /// Identifiers and their slots, each slot once.
    fn identifiers(&mut self) -> BTreeMap<u32, Uuid> {
        let mut slots = BTreeMap::new();
        self.each(Db::Ids, |look, key, value| match (Uuid::from_slice(key), look.picture.slot_in(value)) {
            (Ok(id), Ok(slot)) => {
                if slots.insert(slot, id).is_some() {
                    look.say(Some(id), None, format!("its slot {slot} is that of another image"));
                }
            }
            (_, Err(error)) => look.note(None, None, &error),
            (Err(_), _) => look.say(None, None, "an identifier has another length"),
        });
        self.report.images = slots.len();
        slots
    }

    /// Places, facts and tags against each other.
    fn places(&mut self, slots: &BTreeMap<u32, Uuid>) {
        let cache = Cache::default();
        let mut taken = SlotSet::empty(self.picture.counters().slots);
        let mut tags: BTreeMap<[u8; 20], Tagged> = BTreeMap::new();
        let mut files: BTreeSet<[u8; 20]> = BTreeSet::new();
        let mut facts: Option<(u32, Option<StoredFacts<'_>>)> = None;
        for (&slot, &id) in slots {
            taken.insert(slot);
            let place = match self.picture.place(slot) {
                Ok(place) => place,
                Err(error) => {
                    self.note(Some(id), None, &error);
                    continue;
                }
            };
            for (key, value) in &place.tags {
                let tagged = tags.entry(tag_key(key, value, slot / FACT_ROWS)).or_default();
                let _ = tagged.set((slot % FACT_ROWS) as usize, true);
            }
            files.extend(place.file.map(|file| file_key(file, slot)));
            if facts.as_ref().is_none_or(|(block, _)| *block != slot / FACT_ROWS) {
                let found = self.picture.facts(&cache, slot / FACT_ROWS);
                if let Err(error) = &found {
                    self.note(None, None, error);
                }
                facts = Some((slot / FACT_ROWS, found.ok()));
            }
            if let Some((_, Some(facts))) = facts {
                self.place(id, slot, &place, facts);
            }
            if self.config.has_local() {
                self.local(id, slot, &place);
            }
        }
        match self.picture.taken(&cache) {
            Ok(found) if found != taken => {
                self.say(None, None, "the slots that are taken are not those of images")
            }
            Ok(_) => {}
            Err(error) => self.note(None, None, &error),
        }
        self.each(Db::Tags, |look, key, value| {
            let expected = <[u8; 20]>::try_from(key).ok().and_then(|key| tags.remove(&key));
            if expected.is_none() || Tagged::decode(value) != expected {
                look.say(None, None, "the slots of a tag are not those of its images");
            }
        });
        if !tags.is_empty() {
            self.say(None, None, format!("{} lists of the slots of a tag are missing", tags.len()));
        }
        self.each(Db::Files, |look, key, value| {
            let expected = <[u8; 20]>::try_from(key).is_ok_and(|key| files.remove(&key));
            if !expected || !value.is_empty() {
                look.say(None, None, "a file leads to an image of another file");
            }
        });
        if !files.is_empty() {
            self.say(None, None, format!("{} files do not lead to their images", files.len()));
        }
        if let Err(error) = self.picture.sources() {
            self.note(None, None, &error);
        }
    }

    fn place(&mut self, id: Uuid, slot: u32, place: &Place, facts: StoredFacts<'_>) {
        let row = (slot % FACT_ROWS) as usize;
        let name = Some(place.name.as_str());
        if place_id(&place.name) != id {
            self.say(Some(id), name, "its identifier is not that of its name");
        }
        let time = place.time.filter(|&time| time != i64::MIN);
        if row >= facts.rows() || facts.position(row) != place.position || facts.time(row) != time {
            self.say(Some(id), name, "its position or time is not what filters read");
        }
        if let Some(refusal) = place.position.and_then(|position| self.config.positions.refusal(position)) {
            self.say(Some(id), name, format!("its position: {refusal}"));
        }
    }

    fn local(&mut self, id: Uuid, slot: u32, place: &Place) {
        let (width, most) = (self.config.row_width, self.config.max_rows);
        match self.picture.need(Db::Locals, &number_key(slot)) {
            Ok(rows) if rows.len().is_multiple_of(width) && rows.len() <= width * most => {}
            Ok(rows) => {
                self.say(
                    Some(id),
                    Some(&place.name),
                    format!("it has {} bytes of local features", rows.len()),
                );
            }
            Err(error) => self.note(Some(id), Some(&place.name), &error),
        }
    }

    fn descriptors(&mut self, slots: &BTreeMap<u32, Uuid>) {
        let blocks = match self.picture.code_blocks(self.shape) {
            Ok(blocks) => blocks,
            Err(error) => return self.note(None, None, &error),
        };
        let mut codes = vec![0; self.shape.stride];
        for (&slot, &id) in slots {
            let global = match self.picture.descriptor(self.shape, slot) {
                Ok(global) => floats(global),
                Err(error) => {
                    self.note(Some(id), None, &error);
                    continue;
                }
            };
            let length = global.iter().map(|number| number * number).sum::<f32>().sqrt();
            if length.is_nan() || (length - 1.0).abs() > TOLERANCE {
                self.say(Some(id), None, format!("its global descriptor has length {length}, not 1"));
            }
            let scale = encode(&global, &mut codes);
            let (block, row) = (slot / self.shape.code_rows, (slot % self.shape.code_rows) as usize);
            let stored = blocks.get(block as usize).and_then(|(_, block)| {
                Some((
                    block.scale(row)?,
                    block.codes.get(row * self.shape.stride..)?.get(..self.shape.stride)?,
                ))
            });
            if stored != Some((scale, &codes[..])) {
                self.say(Some(id), None, "its codes are not those of its descriptor");
            }
        }
    }

    /// Checksums of what no image leads to: blocks have rows of removed images too. Records and local features have been
    /// read by their images, and [`entries`](Self::entries) finds any that belong to none.
    fn sums(&mut self) {
        for db in [Db::Codes, Db::Descriptors, Db::Facts, Db::Sources, Db::About] {
            self.each(db, |_, _, _| {});
        }
    }

    /// Nothing is stored that belongs to nothing.
    fn entries(&mut self, images: u64) {
        let counters = self.picture.counters();
        let locals = if self.config.has_local() { counters.images } else { 0 };
        let expected = [
            (Db::Ids, counters.images),
            (Db::Records, counters.images),
            (Db::Locals, locals),
            (Db::Facts, u64::from(self.picture.fact_blocks())),
            (Db::Codes, u64::from(counters.slots.div_ceil(self.shape.code_rows))),
            (Db::Descriptors, u64::from(counters.slots.div_ceil(self.shape.descriptor_rows))),
            (Db::About, 1),
        ];
        for (db, expected) in expected {
            let found = self.picture.root(db).entries;
            if found != expected {
                self.say(None, None, format!("{} has {found} entries and not {expected}", db.name()));
            }
        }
        if images != counters.images {
            self.say(None, None, format!("{images} images are there, and {} are counted", counters.images));
        }
    }
}
