//! Requests to a picture, shared by the reader and the writer.

use std::sync::Arc;

use r2former_kernels::Level;
use r2former_kernels::scan::{Block, Nearest, Query, dot_bytes, scan};
use rayon::prelude::*;
use uuid::Uuid;

use crate::blocks::CodeBlock;
use crate::error::{IndexError, Result};
use crate::filter;
use crate::fingerprint::FileFingerprint;
use crate::manifest::IndexConfig;
use crate::picture::Picture;
use crate::place::{Extent, FeatureBytes, Filter, Hit, LocalFeatures, Page, Place};
use crate::schema::{Db, Shape, number_key};
use crate::slots::SlotSet;
use crate::store::{Cache, Store};

/// Bytes of codes or features that a thread works on at least.
const SHARE: usize = 1 << 20;

/// Rows that one thread reads sooner than two.
const FEW: usize = 24;

/// A request to one commit.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) config: &'a IndexConfig,
    pub(crate) store: &'a Store,
    pub(crate) picture: &'a Arc<Picture>,
}

/// What a scan looks for.
#[derive(Clone, Copy)]
struct Search<'a> {
    level: Level,
    shape: Shape,
    queries: &'a [Query],
    top: usize,
    /// Slots that pass the filter; all if none.
    allowed: Option<&'a SlotSet>,
}

impl Request<'_> {
    fn cache(&self) -> &Cache {
        &self.store.cache
    }

    pub(crate) fn search(self, queries: &[&[f32]], top: usize, filter: &Filter) -> Result<Vec<Vec<Hit>>> {
        let picture = self.picture;
        let mut prepared = Vec::with_capacity(queries.len());
        for query in queries {
            let unit = unit_length(query, self.config.global_dim)
                .map_err(|problem| IndexError::request(picture.dir(), format!("the query: {problem}")))?;
            prepared.push(Query::new(&unit));
        }
        let allowed = filter::slots(picture, self.cache(), self.config.positions, filter)?;
        if top == 0 || queries.is_empty() {
            return Ok(vec![Vec::new(); queries.len()]);
        }
        let search = Search {
            level: Level::current().unwrap_or_else(|_| Level::best()),
            shape: Shape::new(self.config.global_dim),
            queries: &prepared,
            top,
            allowed: allowed.as_ref(),
        };
        let bytes = search.shape.stride * picture.counters().slots as usize;
        if bytes <= SHARE || rayon::current_num_threads() == 1 {
            return self.search_scan(search);
        }
        // Within the pool from here on: to enter it costs more than some of the steps.
        let mut answer = Ok(Vec::new());
        rayon::scope(|_| answer = self.search_scan(search));
        answer
    }

    /// Scans, rescores, and reads the places of the best.
    fn search_scan(self, search: Search<'_>) -> Result<Vec<Vec<Hit>>> {
        let picture = self.picture;
        let Search { level, shape, queries, .. } = search;
        let found = self.scan(search)?;
        let hits = |(query, nearest): (&Query, Nearest)| {
            let score = |&slot: &u32| Ok(dot_bytes(level, query.vector(), picture.descriptor(shape, slot)?));
            let best = nearest.finish_by(|slots| each(slots, score))?;
            each(&best, |&(slot, similarity)| {
                let place = picture.place(slot)?;
                Ok(Hit { id: crate::place::place_id(&place.name), similarity, place })
            })
        };
        if queries.len() == 1 {
            return queries.iter().zip(found).map(hits).collect();
        }
        queries.par_iter().zip(found).map(hits).collect()
    }

    /// What can be among the best, of all blocks of codes, each checked before its first use.
    fn scan(self, search: Search<'_>) -> Result<Vec<Nearest>> {
        let Search { level, shape, queries, top, allowed } = search;
        let blocks = self.picture.code_blocks(shape)?;
        let words = shape.code_rows as usize / 64;
        let some = |first: usize, blocks: &[(&[u8], CodeBlock<'_>)]| {
            let mut found = vec![Nearest::new(top); queries.len()];
            let mut scales = Vec::new();
            for (i, (stored, block)) in blocks.iter().enumerate() {
                let number = first + i;
                let allowed = allowed.map(|set| {
                    let all = set.words();
                    &all[(number * words).min(all.len())..((number + 1) * words).min(all.len())]
                });
                if allowed.is_some_and(|allowed| allowed.iter().all(|&word| word == 0)) {
                    continue;
                }
                if !self.cache().is_sound(self.picture, Db::Codes, number as u32, stored) {
                    return Err(self
                        .picture
                        .damaged(format!("the checksum of block {number} of the codes is wrong")));
                }
                block.scales_into(&mut scales);
                let first = number as u32 * shape.code_rows;
                let block = Block { first, codes: block.codes, scales: &scales, allowed };
                scan(level, queries, &block, &mut found);
            }
            Ok(found)
        };
        let bytes = shape.stride * shape.code_rows as usize;
        let threads = rayon::current_num_threads();
        let share = blocks.len().div_ceil(threads).max(SHARE.div_ceil(bytes)).max(1);
        if blocks.len() <= share {
            return some(0, &blocks);
        }
        let parts: Vec<Vec<Nearest>> = blocks
            .par_chunks(share)
            .enumerate()
            .map(|(i, blocks)| some(i * share, blocks))
            .collect::<Result<_>>()?;
        let mut parts = parts.into_iter();
        let mut found = parts.next().unwrap_or_default();
        for part in parts {
            for (all, more) in found.iter_mut().zip(part) {
                all.merge(more);
            }
        }
        Ok(found)
    }

    pub(crate) fn locals(self, ids: &[Uuid]) -> Result<Vec<Option<LocalFeatures>>> {
        let row_width = self.config.row_width;
        let one = |&id: &Uuid| {
            let Some(slot) = self.picture.slot_of(id)? else { return Ok(None) };
            let rows = if self.config.has_local() { self.local(slot)? } else { Vec::new().into() };
            Ok(Some(LocalFeatures { rows, row_width }))
        };
        let bytes = ids.len().saturating_mul(row_width * self.config.max_rows);
        if bytes <= SHARE { ids.iter().map(one).collect() } else { ids.par_iter().map(one).collect() }
    }

    fn local(self, slot: u32) -> Result<FeatureBytes> {
        let value = self.picture.need(Db::Locals, &number_key(slot))?;
        let (width, most) = (self.config.row_width, self.config.max_rows);
        if !value.len().is_multiple_of(width) || value.len() > width * most {
            return Err(self
                .picture
                .damaged(format!("slot {slot} has {} bytes of local features", value.len())));
        }
        // Where the pages can change, what was checked is copied.
        if self.store.is_locked() {
            Ok(FeatureBytes::mapped(self.picture, value))
        } else {
            Ok(value.to_vec().into())
        }
    }

    pub(crate) fn globals(self, ids: &[Uuid]) -> Result<Vec<Option<Vec<f32>>>> {
        let shape = Shape::new(self.config.global_dim);
        let one = |&id: &Uuid| {
            let Some(slot) = self.picture.slot_of(id)? else { return Ok(None) };
            Ok(Some(floats(self.picture.descriptor(shape, slot)?)))
        };
        ids.iter().map(one).collect()
    }

    pub(crate) fn list(self, from: Option<Uuid>, limit: usize, filter: &Filter) -> Result<Page> {
        let picture = self.picture;
        if limit == 0 {
            return Err(IndexError::request(picture.dir(), "a page of 0 places; ask for at least 1"));
        }
        let allowed = filter::slots(picture, self.cache(), self.config.positions, filter)?;
        let from = from.unwrap_or(Uuid::nil());
        let corrupt = |corrupt| picture.corrupt(corrupt);
        let mut cursor = picture.tree(Db::Ids).from(from.as_bytes()).map_err(corrupt)?;
        let mut page = Page::default();
        let mut last = None;
        while let Some((key, stored)) = cursor.next().map_err(corrupt)? {
            let slot = picture.slot_in(picture.unseal(Db::Ids, key, stored)?)?;
            let id = Uuid::from_slice(key).ok().filter(|&id| last.is_none_or(|last| last < id) && id >= from);
            let id = id.ok_or_else(|| picture.damaged("the identifiers are not in order"))?;
            last = Some(id);
            if allowed.as_ref().is_some_and(|allowed| !allowed.contains(slot)) {
                continue;
            }
            if page.places.len() == limit {
                page.next = Some(id);
                break;
            }
            page.places.push((id, picture.place_of(id, slot)?));
        }
        Ok(page)
    }

    pub(crate) fn get(self, ids: &[Uuid]) -> Result<Vec<Option<Place>>> {
        let one = |&id: &Uuid| match self.picture.slot_of(id)? {
            Some(slot) => self.picture.place_of(id, slot).map(Some),
            None => Ok(None),
        };
        ids.iter().map(one).collect()
    }

    pub(crate) fn with_file(self, files: &[FileFingerprint]) -> Result<Vec<Vec<Place>>> {
        let place = |file, slot| {
            let place = self.picture.place(slot)?;
            if place.file == Some(file) {
                return Ok(place);
            }
            Err(self.picture.damaged(format!("a file leads to the place {:?}", place.name)))
        };
        let of = |&file: &FileFingerprint| {
            self.picture.slots_of_file(file)?.into_iter().map(|slot| place(file, slot)).collect()
        };
        files.iter().map(of).collect()
    }

    pub(crate) fn contains(self, ids: &[Uuid]) -> Result<Vec<bool>> {
        ids.iter().map(|&id| Ok(self.picture.slot_of(id)?.is_some())).collect()
    }

    pub(crate) fn count(self, filter: &Filter) -> Result<usize> {
        let allowed = filter::slots(self.picture, self.cache(), self.config.positions, filter)?;
        Ok(allowed.map_or(self.picture.counters().images as usize, |allowed| allowed.count()))
    }

    pub(crate) fn extent(self) -> Result<Option<Extent>> {
        let mut extent: Option<Extent> = None;
        for block in 0..self.picture.fact_blocks() {
            let facts = self.picture.facts(self.cache(), block)?;
            let rows = (0..facts.rows()).filter(|&row| facts.is_taken(row));
            for position in rows.filter_map(|row| facts.position(row)) {
                extent.get_or_insert_with(|| Extent::around(position)).include(position);
            }
        }
        Ok(extent)
    }
}

/// Reads of each of some rows: by all threads, where there are more than a few.
fn each<T: Sync, R: Send>(rows: &[T], read: impl Fn(&T) -> Result<R> + Send + Sync) -> Result<Vec<R>> {
    if rows.len() <= FEW || rayon::current_num_threads() == 1 {
        return rows.iter().map(read).collect();
    }
    rows.par_iter().with_min_len(FEW).map(read).collect()
}

/// The floats of a stored descriptor.
pub(crate) fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

/// A descriptor at unit length, or what makes it unusable. One that has unit length but for rounding stays as it is.
///
/// # Errors
/// What is wrong with it: another number of dimensions than `dim`, not finite, or all zero.
pub fn unit_length(global: &[f32], dim: usize) -> Result<Vec<f32>, String> {
    if global.len() != dim {
        return Err(format!("a descriptor of {} dimensions; this index has {dim}", global.len()));
    }
    let length = global.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    if !length.is_finite() || length == 0.0 {
        return Err("the descriptor is not finite, or all zero".into());
    }
    if (length - 1.0).abs() < f64::from(f32::EPSILON) {
        return Ok(global.to_vec());
    }
    Ok(global.iter().map(|&x| (f64::from(x) / length) as f32).collect())
}
