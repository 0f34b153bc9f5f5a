//! What a change puts into the trees and takes out of them, worked out from the last commit before LMDB writes
//! anything.

use std::collections::{BTreeMap, BTreeSet, btree_set};

use uuid::Uuid;

use crate::blocks::{CodeBlock, Facts, NewCodes, Tagged};
use crate::error::{IndexError, Result};
use crate::manifest::IndexConfig;
use crate::picture::Picture;
use crate::place::{NewPlace, Place, Source, place_id};
use crate::record::Record;
use crate::schema::{Counters, Db, FACT_ROWS, SUM, Shape, file_key, number_key, sum, tag_key};
use crate::store::Cache;

/// A change of a tree: a value for a key, or none to remove it.
pub(crate) struct Edit<'n> {
    pub(crate) db: Db,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Option<Value<'n>>,
}

/// A value that is written.
pub(crate) enum Value<'n> {
    /// Behind its checksum.
    Sealed([u8; SUM], std::borrow::Cow<'n, [u8]>),
    /// As it is: its rows have checksums.
    Rows(Vec<u8>),
}

/// One change in the making.
pub(crate) struct Change<'c, 'n> {
    picture: &'c Picture,
    cache: &'c Cache,
    config: &'c IndexConfig,
    shape: Shape,
    counters: Counters,
    /// Slots that are free and not yet taken by this change, the first ones first.
    free: std::iter::Copied<btree_set::Iter<'c, u32>>,
    taken: Vec<u32>,
    freed: Vec<u32>,
    edits: Vec<Edit<'n>>,
    facts: BTreeMap<u32, Facts>,
    codes: BTreeMap<u32, NewCodes>,
    descriptors: BTreeMap<u32, Vec<u8>>,
    tags: BTreeMap<[u8; 20], Tagged>,
}

/// What is written, and the state after it.
pub(crate) struct Changed<'n> {
    pub(crate) edits: Vec<Edit<'n>>,
    pub(crate) counters: Counters,
    /// Slots that were free and no longer are,
    pub(crate) taken: Vec<u32>,
    /// and those that are now.
    pub(crate) freed: Vec<u32>,
}

impl<'c, 'n> Change<'c, 'n> {
    pub(crate) fn new(
        picture: &'c Picture,
        cache: &'c Cache,
        config: &'c IndexConfig,
        free: &'c BTreeSet<u32>,
    ) -> Self {
        Self {
            picture,
            cache,
            config,
            shape: Shape::new(config.global_dim),
            counters: picture.counters(),
            free: free.iter().copied(),
            taken: Vec::new(),
            freed: Vec::new(),
            edits: Vec::new(),
            facts: BTreeMap::new(),
            codes: BTreeMap::new(),
            descriptors: BTreeMap::new(),
            tags: BTreeMap::new(),
        }
    }

    /// Adds an image, whose descriptor at unit length is `global`; one of the same name goes.
    pub(crate) fn add(&mut self, new: &'n NewPlace, global: &[f32]) -> Result<()> {
        let id = place_id(&new.place.name);
        let slot = match self.picture.slot_of(id)? {
            Some(slot) => {
                self.forget(id, slot)?;
                slot
            }
            None => {
                let free = self.free.next();
                self.taken.extend(free);
                let slot = free.unwrap_or(self.counters.slots);
                self.counters.slots = self.counters.slots.max(slot + 1);
                self.counters.images += 1;
                self.put(Db::Ids, id.as_bytes(), slot.to_le_bytes().to_vec());
                slot
            }
        };
        if self.config.has_local() {
            self.put(Db::Locals, &number_key(slot), &new.local[..]);
        }
        self.know(&new.place, slot)?;
        self.set_codes(slot, global)?;
        self.set_descriptor(slot, global)
    }

    /// Changes what is known about an image that is there; its vectors stay.
    pub(crate) fn describe(&mut self, place: &Place) -> Result<()> {
        let id = place_id(&place.name);
        let slot = self.picture.slot_of(id)?.ok_or_else(|| {
            IndexError::request(
                self.picture.dir(),
                format!("the image {:?}: it is not in the index", place.name),
            )
        })?;
        self.forget(id, slot)?;
        self.know(place, slot)
    }

    /// Remembers a source.
    pub(crate) fn source(&mut self, source: &Source) {
        self.put(Db::Sources, source.label.as_bytes(), source.root.clone().into_bytes());
    }

    /// Takes what is known about an image out of what finds it.
    fn forget(&mut self, id: Uuid, slot: u32) -> Result<()> {
        let old = self.picture.place_of(id, slot)?;
        self.tag(&old, slot, false)?;
        if let Some(file) = old.file {
            self.delete(Db::Files, &file_key(file, slot));
        }
        Ok(())
    }

    /// Puts what is known about an image into its slot and into what finds it.
    fn know(&mut self, place: &Place, slot: u32) -> Result<()> {
        let record = Record::encode(place).map_err(|problem| self.picture.damaged(problem))?;
        self.put(Db::Records, &number_key(slot), record);
        self.tag(place, slot, true)?;
        if let Some(file) = place.file {
            self.put(Db::Files, &file_key(file, slot), Vec::new());
        }
        self.facts_of(slot)?.set((slot % FACT_ROWS) as usize, place);
        Ok(())
    }

    /// Removes an image; says whether it was there.
    pub(crate) fn remove(&mut self, id: Uuid) -> Result<bool> {
        let Some(slot) = self.picture.slot_of(id)? else { return Ok(false) };
        self.forget(id, slot)?;
        self.facts_of(slot)?.clear((slot % FACT_ROWS) as usize);
        self.delete(Db::Ids, id.as_bytes());
        self.delete(Db::Records, &number_key(slot));
        if self.config.has_local() {
            self.delete(Db::Locals, &number_key(slot));
        }
        // What was removed stays readable nowhere but in pages that nothing uses any more.
        let nothing = vec![0.0; self.shape.dim];
        self.set_codes(slot, &nothing)?;
        self.set_descriptor(slot, &nothing)?;
        self.freed.push(slot);
        self.counters.images -= 1;
        Ok(true)
    }

    /// Everything that is to be written.
    pub(crate) fn finish(mut self) -> Changed<'n> {
        for (block, facts) in std::mem::take(&mut self.facts) {
            self.put(Db::Facts, &number_key(block), facts.encode());
        }
        for (block, codes) in std::mem::take(&mut self.codes) {
            self.put(Db::Codes, &number_key(block), codes.encode());
        }
        for (key, tagged) in std::mem::take(&mut self.tags) {
            if tagged.is_empty() {
                self.delete(Db::Tags, &key);
            } else {
                self.put(Db::Tags, &key, tagged.encode());
            }
        }
        for (block, rows) in std::mem::take(&mut self.descriptors) {
            let key = number_key(block).to_vec();
            self.edits.push(Edit { db: Db::Descriptors, key, value: Some(Value::Rows(rows)) });
        }
        self.counters.changes += 1;
        Changed { edits: self.edits, counters: self.counters, taken: self.taken, freed: self.freed }
    }

    fn put(&mut self, db: Db, key: &[u8], value: impl Into<std::borrow::Cow<'n, [u8]>>) {
        let value = value.into();
        let value = Some(Value::Sealed(sum(db, key, &value), value));
        self.edits.push(Edit { db, key: key.to_vec(), value });
    }

    fn delete(&mut self, db: Db, key: &[u8]) {
        self.edits.push(Edit { db, key: key.to_vec(), value: None });
    }

    fn facts_of(&mut self, slot: u32) -> Result<&mut Facts> {
        let block = slot / FACT_ROWS;
        if !self.facts.contains_key(&block) {
            let there = block < self.picture.fact_blocks();
            let facts =
                if there { Facts::of(self.picture.facts(self.cache, block)?) } else { Facts::default() };
            self.facts.insert(block, facts);
        }
        Ok(self.facts.entry(block).or_default())
    }

    fn set_codes(&mut self, slot: u32, global: &[f32]) -> Result<()> {
        let (block, row) = (slot / self.shape.code_rows, (slot % self.shape.code_rows) as usize);
        if !self.codes.contains_key(&block) {
            let mut codes = NewCodes::default();
            if block < self.picture.counters().slots.div_ceil(self.shape.code_rows) {
                let stored = self.picture.stored(Db::Codes, &number_key(block))?;
                let sound = self.cache.is_sound(self.picture, Db::Codes, block, stored);
                let old = CodeBlock::split(stored, self.shape).filter(|_| sound);
                let damaged =
                    || self.picture.damaged(format!("the checksum of block {block} of the codes is wrong"));
                codes = NewCodes::of(old.ok_or_else(damaged)?);
            }
            self.codes.insert(block, codes);
        }
        self.codes.entry(block).or_default().set(self.shape, row, global);
        Ok(())
    }

    fn set_descriptor(&mut self, slot: u32, global: &[f32]) -> Result<()> {
        let (block, row) = (slot / self.shape.descriptor_rows, (slot % self.shape.descriptor_rows) as usize);
        if !self.descriptors.contains_key(&block) {
            let there = block < self.picture.counters().slots.div_ceil(self.shape.descriptor_rows);
            let rows = if there {
                self.picture.stored(Db::Descriptors, &number_key(block))?.to_vec()
            } else {
                Vec::new()
            };
            self.descriptors.insert(block, rows);
        }
        let rows = self.descriptors.entry(block).or_default();
        let bytes = self.shape.descriptor_bytes();
        if rows.len() < (row + 1) * bytes {
            rows.resize((row + 1) * bytes, 0);
        }
        let (found, value) = rows[row * bytes..][..bytes].split_at_mut(SUM);
        for (out, number) in value.chunks_exact_mut(4).zip(global) {
            out.copy_from_slice(&number.to_le_bytes());
        }
        found.copy_from_slice(&sum(Db::Descriptors, &number_key(slot), value));
        Ok(())
    }

    fn tag(&mut self, place: &Place, slot: u32, to: bool) -> Result<()> {
        for (key, value) in &place.tags {
            let key = tag_key(key, value, slot / FACT_ROWS);
            if !self.tags.contains_key(&key) {
                let old = self.picture.find(Db::Tags, &key)?.map(Tagged::decode);
                let damaged = || self.picture.damaged("the slots of a tag are unreadable");
                self.tags.insert(key, old.map_or(Ok(Tagged::default()), |old| old.ok_or_else(damaged))?);
            }
            self.tags.entry(key).or_default().set((slot % FACT_ROWS) as usize, to);
        }
        Ok(())
    }
}
