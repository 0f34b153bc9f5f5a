//! A picture: everything that one commit holds, read from the map and checked as it is read.

use std::path::Path;
use std::sync::{Arc, Mutex};

use uuid::Uuid;

use crate::blocks::{CodeBlock, StoredFacts};
use crate::error::{IndexError, Result};
use crate::fingerprint::FileFingerprint;
use crate::lmdb::Corrupt;
use crate::lmdb::env::ReaderSlot;
use crate::lmdb::file::Mapped;
use crate::lmdb::meta::{Meta, Root};
use crate::lmdb::pages::{Pages, Tree};
use crate::place::{Place, Source, place_id};
use crate::record::Record;
use crate::schema::{COUNTERS, Counters, Db, FACT_ROWS, SUM, Shape, number_key, sum, unseal};
use crate::slots::SlotSet;
use crate::store::Cache;

/// One commit.
pub(crate) struct Picture {
    dir: Arc<Path>,
    mapped: Mapped,
    meta: Meta,
    trees: [Root; Db::ALL.len()],
    counters: Counters,
    /// Its pages stay while this lives; none where the table of readers cannot be written.
    _slot: Option<Mutex<ReaderSlot>>,
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Picture")
            .field("dir", &self.dir)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl Picture {
    pub(crate) fn new(dir: Arc<Path>, mapped: Mapped, meta: Meta, slot: Option<ReaderSlot>) -> Result<Self> {
        let damaged = |Corrupt(problem)| IndexError::damaged(&dir, problem);
        let pages = Pages::new(mapped.bytes(), &meta);
        let mut trees = [meta.names(); Db::ALL.len()];
        for (root, db) in trees.iter_mut().zip(Db::ALL) {
            let tree = pages.tree(&meta, db.name()).map_err(damaged)?;
            let missing = || IndexError::damaged(&dir, format!("the tree {:?} is missing", db.name()));
            *root = tree.ok_or_else(missing)?.root;
        }
        let counters = Counters::default();
        let mut picture = Self { dir, mapped, meta, trees, counters, _slot: slot.map(Mutex::new) };
        let counters = picture.need(Db::About, COUNTERS).map(Counters::decode)?;
        let counters = counters.ok_or_else(|| picture.damaged("its counters are unreadable"))?;
        let entries = |db: Db| picture.trees[db as usize].entries;
        if counters.transaction != meta.transaction
            || counters.images > u64::from(counters.slots)
            || [Db::Ids, Db::Records].map(entries) != [counters.images; 2]
        {
            return Err(picture.damaged("its head, its trees and its counters are not of one commit"));
        }
        picture.counters = counters;
        Ok(picture)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.mapped.bytes()
    }

    pub(crate) fn meta(&self) -> &Meta {
        &self.meta
    }

    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn damaged(&self, problem: impl Into<String>) -> IndexError {
        IndexError::damaged(&self.dir, problem)
    }

    pub(crate) fn corrupt(&self, Corrupt(problem): Corrupt) -> IndexError {
        self.damaged(problem)
    }

    pub(crate) fn root(&self, db: Db) -> Root {
        self.trees[db as usize]
    }

    /// Bytes of pages in use.
    pub(crate) fn used_bytes(&self) -> u64 {
        // Two pages at the head, and one with the names of the trees.
        let pages = Db::ALL.iter().fold(3_u64, |sum, &db| sum.saturating_add(self.root(db).pages()));
        pages.saturating_mul(self.meta.page_size as u64)
    }

    /// Bytes of pages that nothing uses.
    pub(crate) fn free_bytes(&self) -> u64 {
        (self.meta.last_page + 1).saturating_mul(self.meta.page_size as u64).saturating_sub(self.used_bytes())
    }

    pub(crate) fn tree(&self, db: Db) -> Tree<'_> {
        Pages::new(self.bytes(), &self.meta).at(self.root(db))
    }

    /// What is stored under a key, its checksum included and not checked.
    pub(crate) fn stored(&self, db: Db, key: &[u8]) -> Result<&[u8]> {
        let stored = self.tree(db).get(key).map_err(|corrupt| self.corrupt(corrupt))?;
        stored.ok_or_else(|| self.damaged(format!("{} cannot be found", self.entry(db, key))))
    }

    /// The value of a key that must be there.
    pub(crate) fn need(&self, db: Db, key: &[u8]) -> Result<&[u8]> {
        self.unseal(db, key, self.stored(db, key)?)
    }

    pub(crate) fn unseal<'v>(&self, db: Db, key: &[u8], stored: &'v [u8]) -> Result<&'v [u8]> {
        unseal(db, key, stored)
            .ok_or_else(|| self.damaged(format!("the checksum of {} is wrong", self.entry(db, key))))
    }

    /// The value of a key that need not be there. That it is not is shown by its neighbours: keys below and above it,
    /// which are what was stored. A search that a changed key led astray ends beside that key.
    pub(crate) fn find(&self, db: Db, key: &[u8]) -> Result<Option<&[u8]>> {
        let tree = self.tree(db);
        match tree.get(key).map_err(|corrupt| self.corrupt(corrupt))? {
            Some(stored) => self.unseal(db, key, stored).map(Some),
            None => {
                let mut cursor = tree.from(key).map_err(|corrupt| self.corrupt(corrupt))?;
                let before = cursor.clone().back().map_err(|corrupt| self.corrupt(corrupt))?;
                let after = cursor.next().map_err(|corrupt| self.corrupt(corrupt))?;
                let ordered =
                    before.is_none_or(|(other, _)| other < key) && after.is_none_or(|(other, _)| other > key);
                if !ordered {
                    return Err(self.damaged(format!("the keys of {} are not in order", db.name())));
                }
                for (key, stored) in before.into_iter().chain(after) {
                    self.unseal(db, key, stored)?;
                }
                Ok(None)
            }
        }
    }

    /// What is stored under a key, in words.
    pub(crate) fn entry(&self, db: Db, key: &[u8]) -> String {
        let number = key.try_into().map(u32::from_be_bytes).unwrap_or_default();
        match db {
            Db::Ids => match Uuid::from_slice(key) {
                Ok(id) => format!("the identifier {id}"),
                Err(_) => "an identifier".into(),
            },
            Db::Records => format!("the place in slot {number}"),
            Db::Locals => format!("the local features of {}", self.image(number)),
            Db::Facts | Db::Codes | Db::Descriptors => format!("block {number} of the {}", db.name()),
            Db::Tags => "a list of the slots of a tag".into(),
            Db::Files => "the way from a file to its image".into(),
            Db::Sources => format!("the root of the label {:?}", String::from_utf8_lossy(key)),
            Db::About => format!("the entry {:?}", String::from_utf8_lossy(key)),
        }
    }

    /// The image in a slot: by its name, where that can be read.
    pub(crate) fn image(&self, slot: u32) -> String {
        self.place(slot)
            .map_or_else(|_| format!("the image in slot {slot}"), |place| format!("{:?}", place.name))
    }

    /// The slot of an image.
    pub(crate) fn slot_of(&self, id: Uuid) -> Result<Option<u32>> {
        self.find(Db::Ids, id.as_bytes())?.map(|value| self.slot_in(value)).transpose()
    }

    /// The slot in a value of [`Db::Ids`].
    pub(crate) fn slot_in(&self, value: &[u8]) -> Result<u32> {
        let slot = value.try_into().map(u32::from_le_bytes).ok();
        let slot = slot.filter(|&slot| slot < self.counters.slots);
        slot.ok_or_else(|| self.damaged("an identifier leads to no slot"))
    }

    /// The place in a slot that is taken.
    pub(crate) fn place(&self, slot: u32) -> Result<Place> {
        let value = self.need(Db::Records, &number_key(slot))?;
        let record = Record::decode(value);
        Ok(record.map_err(|problem| self.damaged(format!("the place in slot {slot}: {problem}")))?.place)
    }

    /// The place of an image, by its slot.
    pub(crate) fn place_of(&self, id: Uuid, slot: u32) -> Result<Place> {
        let place = self.place(slot)?;
        if place_id(&place.name) == id {
            return Ok(place);
        }
        Err(self.damaged(format!("image {id} leads to the place {:?}", place.name)))
    }

    /// The slots of the images that were read from a file. That there are no more is shown by the neighbours of their
    /// keys.
    pub(crate) fn slots_of_file(&self, file: FileFingerprint) -> Result<Vec<u32>> {
        let first = file.key();
        let corrupt = |corrupt| self.corrupt(corrupt);
        let mut cursor = self.tree(Db::Files).from(&first).map_err(corrupt)?;
        let mut last = Vec::new();
        if let Some((key, stored)) = cursor.clone().back().map_err(corrupt)? {
            self.unseal(Db::Files, key, stored)?;
            last = key.to_vec();
        }
        let mut slots = Vec::new();
        while let Some((key, stored)) = cursor.next().map_err(corrupt)? {
            self.unseal(Db::Files, key, stored)?;
            if key <= &last[..] || key < &first[..] {
                return Err(self.damaged("the keys of files are not in order"));
            }
            let Some(slot) = key.strip_prefix(&first) else { break };
            let slot = slot.try_into().map(u32::from_be_bytes).ok();
            let slot = slot.filter(|&slot| slot < self.counters.slots);
            slots.push(slot.ok_or_else(|| self.damaged("a file leads to no slot"))?);
            last = key.to_vec();
        }
        Ok(slots)
    }

    /// The folders and tables whose images are here, by label.
    pub(crate) fn sources(&self) -> Result<Vec<Source>> {
        let corrupt = |corrupt| self.corrupt(corrupt);
        let mut cursor = self.tree(Db::Sources).from(&[]).map_err(corrupt)?;
        let mut sources: Vec<Source> = Vec::new();
        while let Some((key, stored)) = cursor.next().map_err(corrupt)? {
            let root = std::str::from_utf8(self.unseal(Db::Sources, key, stored)?);
            let (Ok(label), Ok(root)) = (std::str::from_utf8(key), root) else {
                return Err(self.damaged("the root of a label is not text"));
            };
            if sources.last().is_some_and(|last| last.label.as_str() >= label) {
                return Err(self.damaged("the labels are not in order"));
            }
            sources.push(Source { label: label.into(), root: root.into() });
        }
        if sources.len() as u64 != self.root(Db::Sources).entries {
            return Err(self.damaged("another number of labels is there than is counted"));
        }
        Ok(sources)
    }

    /// The descriptor in a slot, as little-endian floats.
    pub(crate) fn descriptor(&self, shape: Shape, slot: u32) -> Result<&[u8]> {
        let (block, row) = (slot / shape.descriptor_rows, (slot % shape.descriptor_rows) as usize);
        let rows = self.stored(Db::Descriptors, &number_key(block))?;
        let bytes = shape.descriptor_bytes();
        let stored = rows.get(row * bytes..).and_then(|rows| rows.get(..bytes));
        let (found, value) = stored
            .and_then(|row| row.split_first_chunk::<SUM>())
            .ok_or_else(|| self.damaged(format!("the descriptor of {} cannot be found", self.image(slot))))?;
        if sum(Db::Descriptors, &number_key(slot), value) == *found {
            return Ok(value);
        }
        Err(self.bad_descriptor(slot))
    }

    /// The descriptor in a slot is not what was stored.
    pub(crate) fn bad_descriptor(&self, slot: u32) -> IndexError {
        self.damaged(format!("the checksum of the descriptor of {} is wrong", self.image(slot)))
    }

    /// The stored blocks of codes, in order, with their checksums, which are not checked.
    pub(crate) fn code_blocks(&self, shape: Shape) -> Result<Vec<(&[u8], CodeBlock<'_>)>> {
        let count = self.counters.slots.div_ceil(shape.code_rows);
        let mut blocks = Vec::with_capacity((count as usize).min(1 << 20));
        let mut cursor = self.tree(Db::Codes).from(&[]).map_err(|corrupt| self.corrupt(corrupt))?;
        while let Some((key, stored)) = cursor.next().map_err(|corrupt| self.corrupt(corrupt))? {
            let number = blocks.len() as u32;
            let left = self.counters.slots.saturating_sub(number.saturating_mul(shape.code_rows));
            let block = CodeBlock::split(stored, shape).filter(|block| {
                key == number_key(number) && block.rows() == left.min(shape.code_rows) as usize
            });
            blocks.push((
                stored,
                block.ok_or_else(|| self.damaged(format!("block {number} of the codes is another")))?,
            ));
        }
        if blocks.len() != count as usize {
            return Err(self.damaged(format!("{} of {count} blocks of codes are there", blocks.len())));
        }
        Ok(blocks)
    }

    /// Blocks of facts.
    pub(crate) fn fact_blocks(&self) -> u32 {
        self.counters.slots.div_ceil(FACT_ROWS)
    }

    /// The value of a block of facts, checked once.
    pub(crate) fn facts_value(&self, cache: &Cache, block: u32) -> Result<&[u8]> {
        let stored = self.stored(Db::Facts, &number_key(block))?;
        if !cache.is_sound(self, Db::Facts, block, stored) {
            return Err(self.damaged(format!("the checksum of block {block} of the facts is wrong")));
        }
        Ok(&stored[SUM..])
    }

    pub(crate) fn facts(&self, cache: &Cache, block: u32) -> Result<StoredFacts<'_>> {
        let rows = (self.counters.slots - block * FACT_ROWS).min(FACT_ROWS) as usize;
        let facts = StoredFacts::split(self.facts_value(cache, block)?).filter(|facts| facts.rows() == rows);
        facts.ok_or_else(|| self.damaged(format!("block {block} of the facts is another")))
    }

    /// The slots that are taken.
    pub(crate) fn taken(&self, cache: &Cache) -> Result<SlotSet> {
        let mut words = Vec::with_capacity(self.counters.slots.div_ceil(64) as usize);
        for block in 0..self.fact_blocks() {
            words.extend(self.facts(cache, block)?.taken());
        }
        let taken = SlotSet::from_words(words);
        if taken.count() as u64 != self.counters.images {
            return Err(self.damaged("another number of slots is taken than there are images"));
        }
        Ok(taken)
    }
}
