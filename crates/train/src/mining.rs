//! Negatives that are hard, positives that are near (METHOD: mining): found with the current descriptors by the
//! same extraction and the same exact search as an evaluation's.

use crate::bank::Bank;
use crate::config::{MiningConfig, MiningKind, TrainConfig};
use crate::pool::{Pool, Relation};
use crate::random::{self, Rng, Use};
use crate::{Result, TrainError};
use r2former_engine::{Extractor, Progress};
use r2former_eval::nearest;
use rand::seq::IndexedRandom as _;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Images that are described together.
const CHUNK: usize = 64;

/// Hardest negatives that a pool leaves each query.
const OF_POOL: usize = 10;

/// What mining found.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Mined {
    queries: Vec<u32>,
    positive: BTreeMap<u32, u32>,
    /// Hardest first.
    negatives: BTreeMap<u32, Vec<u32>>,
}

impl Mined {
    /// Queries until the next refresh; empty where any item may be one.
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

/// Whether negatives are mined at all, and how often: steps between two refreshes, or none for once.
pub(crate) fn refresh_steps(config: &TrainConfig) -> Option<u64> {
    match config.mining.kind {
        MiningKind::Random | MiningKind::Global => None,
        _ => Some((config.mining.refresh / config.batch.size.max(1)).max(1) as u64),
    }
}

/// Mines for the steps from `step` on.
pub(crate) fn mine(
    config: &TrainConfig,
    pool: &Pool,
    extractor: &Extractor,
    before: Option<&Mined>,
    step: u64,
    progress: &dyn Progress,
) -> Result<Option<Mined>> {
    let rng = &mut random::at(config.seed, Use::Mining, [step, 0]);
    Ok(match config.mining.kind {
        MiningKind::Random => None,
        MiningKind::Global => Some(match &config.mining.import {
            Some(path) => import(path, pool)?,
            None => {
                let items: Vec<u32> = (0..pool.len() as u32).filter(|i| pool.stays(*i as usize)).collect();
                let described = describe(extractor, pool, &items, progress)?;
                global(&config.mining, pool, &items, &described)
            }
        }),
        kind => {
            let queries = queries(config, pool, kind, rng);
            Some(of_pool(config, pool, extractor, queries, before, rng, progress)?)
        }
    })
}

fn queries(config: &TrainConfig, pool: &Pool, kind: MiningKind, rng: &mut Rng) -> Vec<u32> {
    let count = config.mining.refresh.min(pool.len());
    if kind != MiningKind::MslsWeighted {
        return (0..count).map(|_| pool.draw(rng) as u32).collect();
    }
    // As rare as a kind of query is, so much more often is each of that kind drawn.
    let candidates: Vec<usize> = (0..pool.len()).filter(|i| !pool.positives(*i).is_empty()).collect();
    let marks = |i: usize| {
        let tag = |name: &str| pool.photo(i).tags.get(name).map(String::as_str);
        let night = tag("night").is_some_and(|v| v.eq_ignore_ascii_case("true"));
        let sideways = tag("view_direction").is_some_and(|v| v.eq_ignore_ascii_case("sideways"));
        [night, sideways]
    };
    let total = candidates.len() as f64;
    let share = |which: usize| candidates.iter().filter(|i| marks(**i)[which]).count().max(1) as f64 / total;
    let shares = [share(0), share(1)];
    let weight = |i: &usize| 1.0 + (0..2).filter(|w| marks(*i)[*w]).map(|w| 1.0 / shares[w]).sum::<f64>();
    (0..count).filter_map(|_| candidates.choose_weighted(rng, weight).ok().map(|i| *i as u32)).collect()
}

/// Partial and full mining: the hardest of a random pool.
fn of_pool(
    config: &TrainConfig,
    pool: &Pool,
    extractor: &Extractor,
    queries: Vec<u32>,
    before: Option<&Mined>,
    rng: &mut Rng,
    progress: &dyn Progress,
) -> Result<Mined> {
    let mut references: Vec<u32> = (0..config.mining.pool).map(|_| pool.draw_any(rng) as u32).collect();
    references.sort_unstable();
    references.dedup();
    // Every query's remembered hardest, under full mining.
    let remembered: BTreeMap<u32, u32> = match (config.mining.kind, before) {
        (MiningKind::Full, Some(before)) => {
            queries.iter().filter_map(|q| Some((*q, *before.negatives(*q as usize).first()?))).collect()
        }
        _ => BTreeMap::new(),
    };
    let mut needed: Vec<u32> =
        queries.iter().chain(&references).chain(remembered.values()).copied().collect();
    needed.extend(queries.iter().flat_map(|q| pool.positives(*q as usize)));
    needed.sort_unstable();
    needed.dedup();
    let dim = extractor.config().global_dim();
    let described = describe(extractor, pool, &needed, progress)?;
    let of = |item: u32| -> &[f32] {
        needed.binary_search(&item).map_or(&[], |at| &described[at * dim..(at + 1) * dim])
    };
    let mut asked = queries.clone();
    asked.sort_unstable();
    asked.dedup();
    let mut mined = Mined { queries, ..Mined::default() };
    for query in asked {
        let similarity = |item: u32| -> f32 { of(query).iter().zip(of(item)).map(|(a, b)| a * b).sum() };
        let positive = pool.positives(query as usize).iter().copied();
        if let Some(nearest) = positive.max_by(|a, b| similarity(*a).total_cmp(&similarity(*b))) {
            mined.positive.insert(query, nearest);
        }
        let others = references.iter().copied().chain(remembered.get(&query).copied());
        let mut negatives: Vec<(f32, u32)> = others
            .filter(|item| pool.relation(query as usize, *item as usize) == Relation::Negative)
            .map(|item| (similarity(item), item))
            .collect();
        negatives.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        negatives.dedup_by_key(|n| n.1);
        negatives.truncate(OF_POOL.max(config.batch.negatives));
        mined.negatives.insert(query, negatives.into_iter().map(|(_, item)| item).collect());
    }
    Ok(mined)
}

/// Mines for an epoch whose views are described already: global mining, of sources that change too.
pub(crate) fn mine_kept(config: &TrainConfig, pool: &Pool, bank: &Bank) -> Option<Mined> {
    let items: Vec<u32> = (0..pool.len() as u32).collect();
    match config.mining.kind {
        MiningKind::Random => None,
        _ => Some(global(&config.mining, pool, &items, &bank.described())),
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
        mined.negatives.insert(query, negatives.take(config.kept.min(config.drawn)).collect());
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

/// Negatives that the published code mined (METHOD: checkpoints).
fn import(path: &Path, pool: &Pool) -> Result<Mined> {
    let bad = |what: String| TrainError::run(path, what);
    let Some((queries, items)) = pool.sides() else {
        return Err(bad("can be imported for a single source of kind vg or msls alone".into()));
    };
    let bytes = std::fs::read(path).map_err(TrainError::io(path))?;
    let file = npyz::NpyFile::new(&bytes[..]).map_err(|e| bad(format!("is no .npy file: {e}")))?;
    let shape = file.shape().to_vec();
    let &[rows, kept] = &shape[..] else {
        return Err(bad(format!("has shape {shape:?}, not [queries, kept]")));
    };
    if rows as usize != queries {
        return Err(bad(format!("has {rows} rows, but the source has {queries} queries")));
    }
    let numbers: Vec<i64> =
        file.into_vec().map_err(|e| bad(format!("64-bit whole numbers are needed: {e}")))?;
    let mut mined = Mined::default();
    for (query, row) in numbers.chunks_exact((kept as usize).max(1)).enumerate() {
        let mut negatives = Vec::with_capacity(row.len());
        for number in row {
            let item = usize::try_from(*number).ok().map(|n| n + queries).filter(|item| *item < items);
            let item = item.ok_or_else(|| {
                let last = items - queries;
                bad(format!("row {query} names photograph {number}, but the database has {last}"))
            })?;
            if pool.relation(query, item) == Relation::Negative {
                negatives.push(item as u32);
            }
        }
        mined.negatives.insert(query as u32, negatives);
        if !pool.positives(query).is_empty() {
            mined.queries.push(query as u32);
        }
    }
    Ok(mined)
}

/// Global descriptors of items as they are, one after the other.
fn describe(extractor: &Extractor, pool: &Pool, items: &[u32], progress: &dyn Progress) -> Result<Vec<f32>> {
    let settings = extractor.settings();
    let size = [settings.height, settings.width];
    let mut all = Vec::with_capacity(items.len() * extractor.config().global_dim());
    progress.start("images described", items.len() as u64);
    for chunk in items.chunks(CHUNK) {
        let inputs = chunk
            .par_iter()
            .map(|item| Ok(extractor.prepare(&pool.look(*item as usize, size, None)?)?))
            .collect::<Result<Vec<_>>>()?;
        all.extend(extractor.extract(&inputs)?.into_iter().flat_map(|features| features.global));
        progress.advance(chunk.len() as u64);
    }
    progress.finish();
    Ok(all)
}
