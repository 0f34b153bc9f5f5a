//! Mining of hard negatives and nearest positives, with the model's current descriptors, by the same
//! extraction and the same exact search as in an evaluation.

use crate::config::{MiningConfig, MiningKind, TrainConfig};
use crate::pool::{Excluded, LeftOut, Pool, Relation};
use crate::random::{self, Rng, Use};
use crate::view_cache::ViewCache;
use crate::{Result, TrainError};
use r2former_engine::{Extractor, Progress};
use r2former_eval::nearest;
use rand::seq::IndexedRandom as _;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Images extracted together.
const CHUNK: usize = 64;

/// Hardest negatives of a pool kept per query.
const OF_POOL: usize = 10;

/// Mined queries, positives and negatives.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Mined {
    queries: Vec<u32>,
    positive: BTreeMap<u32, u32>,
    /// Hardest first.
    negatives: BTreeMap<u32, Vec<u32>>,
}

impl Mined {
    /// Queries until the next mining pass; empty where any item may be a query.
    pub(crate) fn queries(&self) -> &[u32] {
        &self.queries
    }

    /// The most similar photograph of the same place.
    pub(crate) fn positive(&self, query: usize) -> Option<u32> {
        self.positive.get(&(query as u32)).copied()
    }

    /// The most similar photographs of other places, hardest first.
    pub(crate) fn negatives(&self, query: usize) -> &[u32] {
        self.negatives.get(&(query as u32)).map_or(&[], Vec::as_slice)
    }
}

/// Steps between two mining passes; `None` if negatives are mined once or never.
pub(crate) fn refresh_steps(config: &TrainConfig) -> Option<u64> {
    match config.mining.kind {
        MiningKind::Random | MiningKind::Global => None,
        _ => Some((config.mining.refresh / config.batch.size.max(1)).max(1) as u64),
    }
}

/// Mines for the steps from `step` on. Photographs that cannot be read are left out.
pub(crate) fn mine(
    config: &TrainConfig,
    pool: &Pool,
    extractor: &Extractor,
    before: Option<&Mined>,
    step: u64,
    progress: &dyn Progress,
) -> Result<(Option<Mined>, Vec<LeftOut>)> {
    let rng = &mut random::at(config.seed, Use::Mining, [step, 0]);
    let mut left_out = Vec::new();
    let mined = match config.mining.kind {
        MiningKind::Random => None,
        MiningKind::Global => Some(match &config.mining.import {
            Some(path) => import(path, pool, config.mining.hard_negatives)?,
            None => {
                let mut items: Vec<u32> =
                    (0..pool.len() as u32).filter(|i| pool.item_is_static(*i as usize)).collect();
                let described = describe(extractor, pool, &mut items, &mut left_out, progress)?;
                global(&config.mining, pool, &items, &described)
            }
        }),
        kind => {
            let queries = queries(config, pool, kind, rng)?;
            Some(of_pool(config, pool, extractor, queries, before, rng, &mut left_out, progress)?)
        }
    };
    Ok((mined, left_out))
}

/// How many images the first mining pass extracts.
pub(crate) fn images_per_pass(config: &TrainConfig, pool: &Pool) -> Result<usize> {
    let rng = &mut random::at(config.seed, Use::Mining, [0, 0]);
    Ok(match config.mining.kind {
        MiningKind::Random => 0,
        MiningKind::Global if config.mining.import.is_some() => 0,
        MiningKind::Global => (0..pool.len()).filter(|i| pool.item_is_static(*i)).count(),
        // Weights of queries change little, and their draws would take time.
        _ => {
            let queries = queries(config, pool, MiningKind::Partial, rng)?;
            let references = references(config, pool, rng);
            needed(pool, &queries, &references).len()
        }
    })
}

/// The random pool of partial and full mining, ascending.
fn references(config: &TrainConfig, pool: &Pool, rng: &mut Rng) -> Vec<u32> {
    let mut references: Vec<u32> = (0..config.mining.pool).map(|_| pool.draw_any(rng) as u32).collect();
    references.sort_unstable();
    references.dedup();
    references
}

/// Queries, their positives and references, ascending.
fn needed(pool: &Pool, queries: &[u32], references: &[u32]) -> Vec<u32> {
    let mut needed: Vec<u32> = queries.iter().chain(references).copied().collect();
    needed.extend(queries.iter().flat_map(|q| pool.positives(*q as usize)));
    needed.sort_unstable();
    needed.dedup();
    needed
}

fn queries(config: &TrainConfig, pool: &Pool, kind: MiningKind, rng: &mut Rng) -> Result<Vec<u32>> {
    let count = config.mining.refresh.min(pool.len());
    if kind != MiningKind::MslsWeighted {
        return (0..count).map(|_| Ok(pool.draw(rng, &Excluded::new())? as u32)).collect();
    }
    // Queries of each kind are drawn with a weight inverse to their share.
    let candidates: Vec<usize> = (0..pool.len()).filter(|i| !pool.positives(*i).is_empty()).collect();
    let tags = |i: usize| {
        let tag = |name: &str| pool.photo(i).tags.get(name).map(String::as_str);
        let night = tag("night").is_some_and(|v| v.eq_ignore_ascii_case("true"));
        let sideways = tag("view_direction").is_some_and(|v| v.eq_ignore_ascii_case("sideways"));
        [night, sideways]
    };
    let total = candidates.len() as f64;
    let share = |which: usize| candidates.iter().filter(|i| tags(**i)[which]).count().max(1) as f64 / total;
    let shares = [share(0), share(1)];
    let weight = |i: &usize| 1.0 + (0..2).filter(|w| tags(*i)[*w]).map(|w| 1.0 / shares[w]).sum::<f64>();
    Ok((0..count).filter_map(|_| candidates.choose_weighted(rng, weight).ok().map(|i| *i as u32)).collect())
}

/// Partial and full mining: the hardest of a random pool.
#[allow(clippy::too_many_arguments, reason = "one caller, and no group of them belongs together")]
fn of_pool(
    config: &TrainConfig,
    pool: &Pool,
    extractor: &Extractor,
    mut queries: Vec<u32>,
    before: Option<&Mined>,
    rng: &mut Rng,
    left_out: &mut Vec<LeftOut>,
    progress: &dyn Progress,
) -> Result<Mined> {
    let references = references(config, pool, rng);
    // Full mining: each query's hardest negative so far.
    let remembered: BTreeMap<u32, u32> = match (config.mining.kind, before) {
        (MiningKind::Full, Some(before)) => {
            queries.iter().filter_map(|q| Some((*q, *before.negatives(*q as usize).first()?))).collect()
        }
        _ => BTreeMap::new(),
    };
    let mut needed = needed(pool, &queries, &references);
    needed.extend(remembered.values());
    needed.sort_unstable();
    needed.dedup();
    let dim = extractor.config().global_dim();
    let described = describe(extractor, pool, &mut needed, left_out, progress)?;
    let readable = |item: &u32| needed.binary_search(item).is_ok();
    queries.retain(readable);
    let of = |item: u32| -> &[f32] {
        needed.binary_search(&item).map_or(&[], |at| &described[at * dim..(at + 1) * dim])
    };
    let mut asked = queries.clone();
    asked.sort_unstable();
    asked.dedup();
    let mut mined = Mined { queries, ..Mined::default() };
    for query in asked {
        let similarity = |item: u32| -> f32 { of(query).iter().zip(of(item)).map(|(a, b)| a * b).sum() };
        let positives = pool.positives(query as usize).iter().copied().filter(readable);
        if let Some(nearest) = positives.max_by(|a, b| similarity(*a).total_cmp(&similarity(*b))) {
            mined.positive.insert(query, nearest);
        }
        let others = references.iter().copied().chain(remembered.get(&query).copied());
        let mut negatives: Vec<(f32, u32)> = others
            .filter(|item| {
                pool.relation(query as usize, *item as usize) == Relation::Negative && readable(item)
            })
            .map(|item| (similarity(item), item))
            .collect();
        negatives.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        negatives.dedup_by_key(|n| n.1);
        negatives.truncate(OF_POOL.max(config.batch.negatives));
        mined.negatives.insert(query, negatives.into_iter().map(|(_, item)| item).collect());
    }
    Ok(mined)
}

/// Mines among cached views: global mining that includes sources which change each epoch.
pub(crate) fn mine_cached(config: &TrainConfig, pool: &Pool, cache: &ViewCache) -> Option<Mined> {
    match config.mining.kind {
        MiningKind::Random => None,
        _ => {
            let (items, described) = cache.described();
            Some(global(&config.mining, pool, &items, &described))
        }
    }
}

/// Global mining: the hardest among `items`, whose descriptors are known.
fn global(config: &MiningConfig, pool: &Pool, items: &[u32], described: &[f32]) -> Mined {
    let dim = described.len() / items.len().max(1);
    let mut mined = Mined::default();
    let found = nearest(described, described, dim, config.depth);
    for ((query, list), own) in items.iter().zip(found).zip(described.chunks_exact(dim)) {
        let query = *query;
        let far = |item: &u32| pool.relation(query as usize, *item as usize) == Relation::Negative;
        let negatives = list.into_iter().map(|(at, _)| items[at as usize]).filter(far);
        mined.negatives.insert(query, negatives.take(config.hard_negatives).collect());
        let similarity = |item: u32| -> f32 {
            let Ok(at) = items.binary_search(&item) else { return f32::NEG_INFINITY };
            own.iter().zip(&described[at * dim..]).map(|(a, b)| a * b).sum()
        };
        let positives = pool.positives(query as usize).iter().copied();
        if let Some(positive) = positives.max_by(|a, b| similarity(*a).total_cmp(&similarity(*b))) {
            mined.positive.insert(query, positive);
            mined.queries.push(query);
        }
    }
    mined
}

/// Negatives mined by the published code, the first `most` per query.
fn import(path: &Path, pool: &Pool, most: usize) -> Result<Mined> {
    let bad = |what: String| TrainError::run(path, what);
    let Some((queries, items)) = pool.sides() else {
        return Err(bad("can be imported only for a single source of kind vg, msls or pairs".into()));
    };
    let bytes = std::fs::read(path).map_err(TrainError::io(path))?;
    let file = npyz::NpyFile::new(&bytes[..]).map_err(|e| bad(format!("is not a .npy file: {e}")))?;
    let shape = file.shape().to_vec();
    let &[rows, columns] = &shape[..] else {
        return Err(bad(format!("has shape {shape:?}, not [queries, negatives]")));
    };
    if rows as usize != queries {
        return Err(bad(format!("has {rows} rows, but the source has {queries} queries")));
    }
    let numbers: Vec<i64> = file.into_vec().map_err(|e| bad(format!("needs 64-bit integers: {e}")))?;
    let mut mined = Mined::default();
    for (query, row) in numbers.chunks_exact((columns as usize).max(1)).enumerate() {
        let mut negatives = Vec::with_capacity(row.len());
        for number in row {
            let item = usize::try_from(*number).ok().map(|n| n + queries).filter(|item| *item < items);
            let item = item.ok_or_else(|| {
                let last = items - queries;
                bad(format!("row {query} has index {number}, but the database has {last} photographs"))
            })?;
            if pool.relation(query, item) == Relation::Negative {
                negatives.push(item as u32);
            }
        }
        negatives.truncate(most);
        mined.negatives.insert(query as u32, negatives);
        if !pool.positives(query).is_empty() {
            mined.queries.push(query as u32);
        }
    }
    Ok(mined)
}

/// Global descriptors of items without augmentation, one after the other. Items of photographs that cannot be read are
/// removed from `items`.
pub(crate) fn describe(
    extractor: &Extractor,
    pool: &Pool,
    items: &mut Vec<u32>,
    left_out: &mut Vec<LeftOut>,
    progress: &dyn Progress,
) -> Result<Vec<f32>> {
    let settings = extractor.settings();
    let size = [settings.height, settings.width];
    let mut all = Vec::with_capacity(items.len() * extractor.config().global_dim());
    let mut broken = Excluded::new();
    progress.start("images extracted for mining", items.len() as u64);
    for chunk in items.chunks(CHUNK) {
        let images: Vec<_> = chunk.par_iter().map(|item| pool.image(*item as usize, size, None)).collect();
        let mut sound = Vec::with_capacity(chunk.len());
        for (item, image) in chunk.iter().zip(images) {
            match image {
                Ok(image) => sound.push(image),
                Err(error) => {
                    let found = LeftOut::of(error)?;
                    broken.insert(*item as usize);
                    if !left_out.contains(&found) {
                        left_out.push(found);
                    }
                }
            }
        }
        let inputs =
            sound.par_iter().map(|image| Ok(extractor.prepare(image)?)).collect::<Result<Vec<_>>>()?;
        all.extend(extractor.extract_views(&inputs)?.into_iter().flat_map(|features| features.global));
        progress.advance(chunk.len() as u64);
    }
    progress.finish();
    items.retain(|item| !broken.contains(&(*item as usize)));
    Ok(all)
}
