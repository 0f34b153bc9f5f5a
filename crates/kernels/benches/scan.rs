//! Exact scans over 8-bit codes: `cargo bench -p r2former-kernels --bench scan [-- LEVEL]` (the best of this machine).
//!
//! Descriptors of 256 and of 8448 dimensions, each a mixture of 32 directions and noise; the queries are changed rows.
//! Prints the median time of a scan for the best 100 of one query and of a batch of 64, on 1 and 2 threads, and that of
//! rescoring, whose f32 rows are in memory here. The largest case takes 0.9 GB.

#![allow(missing_docs, clippy::print_stdout, reason = "a benchmark")]

use r2former_kernels::Level;
use r2former_kernels::scan::{Block, Nearest, Query, RowScale, encode, scan, stride};
use std::collections::HashMap;
use std::convert::Infallible;
use std::time::{Duration, Instant};

const TOP: usize = 100;
const BATCH: usize = 64;
const BLOCK: usize = 4096;
const DIRECTIONS: usize = 32;

/// Rows that are generated when they are needed, as f32 rows of the largest case would not fit in memory.
struct Source {
    dim: usize,
    directions: Vec<f32>,
    noise: Vec<f32>,
}

impl Source {
    fn new(dim: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(1);
        let mut values = |count: usize| (0..count).map(|_| random.f32() - 0.5).collect();
        Self { dim, directions: values(DIRECTIONS * dim), noise: values(1 << 20) }
    }

    /// Row `slot`, of norm 1.
    fn row(&self, slot: usize, change: f32) -> Vec<f32> {
        let mut random = fastrand::Rng::with_seed(slot as u64);
        // As uneven as the spectrum of descriptors.
        let mut row = vec![0.0; self.dim];
        for (i, direction) in self.directions.chunks_exact(self.dim).enumerate() {
            let weight = 2.0 * (random.f32() - 0.5) / (1.0 + i as f32).sqrt();
            row.iter_mut().zip(direction).for_each(|(x, direction)| *x += weight * direction);
        }
        for (amount, seed) in [(0.5, random.usize(..)), (change, random.usize(..))] {
            let first = seed % (self.noise.len() - self.dim);
            row.iter_mut().zip(&self.noise[first..]).for_each(|(x, noise)| *x += amount * noise);
        }
        let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        row.iter_mut().for_each(|x| *x /= norm);
        row
    }
}

/// Encoded rows.
struct Codes {
    stride: usize,
    codes: Vec<u8>,
    scales: Vec<RowScale>,
}

impl Codes {
    fn new(source: &Source, count: usize) -> Self {
        let stride = stride(source.dim);
        let (mut codes, mut scales) = (vec![0; count * stride], vec![RowScale::default(); count]);
        let half = count.div_ceil(2);
        std::thread::scope(|threads| {
            let parts = codes.chunks_mut(half * stride).zip(scales.chunks_mut(half));
            for (part, (codes, scales)) in parts.enumerate() {
                threads.spawn(move || {
                    for (i, (codes, scale)) in codes.chunks_exact_mut(stride).zip(scales).enumerate() {
                        *scale = encode(&source.row(part * half + i, 0.0), codes);
                    }
                });
            }
        });
        Self { stride, codes, scales }
    }

    fn scan(&self, level: Level, queries: &[Query], threads: usize) -> Vec<Nearest> {
        let blocks = self.scales.len().div_ceil(BLOCK);
        let part = |thread: usize| {
            let mut found = vec![Nearest::new(TOP); queries.len()];
            for block in blocks * thread / threads..blocks * (thread + 1) / threads {
                let rows = block * BLOCK..self.scales.len().min((block + 1) * BLOCK);
                let codes = &self.codes[rows.start * self.stride..rows.end * self.stride];
                let scales = &self.scales[rows.clone()];
                let block = Block { first: rows.start as u32, codes, scales, allowed: None };
                scan(level, queries, &block, &mut found);
            }
            found
        };
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|thread| scope.spawn(move || part(thread))).collect();
            let mut found = part(0);
            for other in others.into_iter().filter_map(|other| other.join().ok()) {
                found.iter_mut().zip(other).for_each(|(found, other)| found.merge(other));
            }
            found
        })
    }
}

fn median(runs: usize, mut run: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..runs)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[runs / 2]
}

fn main() {
    let level = std::env::args().find_map(|name| name.parse().ok()).unwrap_or(Level::best());
    println!("level {level}, best {TOP}, medians");
    for (count, dim) in [(1_000_000, 256), (100_000, 8448)] {
        let source = Source::new(dim);
        let codes = Codes::new(&source, count);
        let queries: Vec<Query> =
            (0..BATCH).map(|i| Query::new(&source.row(i * 7919 % count, 0.4))).collect();
        for threads in [1, 2] {
            for (batch, runs) in [(1, 9), (BATCH, 3)] {
                let time = median(runs, || drop(codes.scan(level, &queries[..batch], threads)));
                let rate = codes.codes.len() as f64 * batch as f64 / time.as_secs_f64() / 1e9;
                println!(
                    "{count} x {dim}, {threads} threads, batch {batch}: {:.1} ms, {rate:.1} G codes/s",
                    time.as_secs_f64() * 1e3
                );
            }
        }
        let found = codes.scan(level, &queries, 2);
        let (mut candidates, mut read, mut time) = (0, 0, Duration::ZERO);
        for (nearest, query) in found.into_iter().zip(&queries).take(8) {
            candidates += nearest.candidates();
            let mut rows = HashMap::new();
            // Once to generate the rows that are read, once for the time.
            let exact = |slot: u32| -> Result<&[u8], Infallible> {
                let row = source.row(slot as usize, 0.0);
                let bytes: Vec<u8> = row.into_iter().flat_map(f32::to_le_bytes).collect();
                Ok(rows.entry(slot).or_insert(&*bytes.leak()))
            };
            let Ok(first) = nearest.clone().finish(level, query, exact);
            read += rows.len();
            let start = Instant::now();
            let Ok(second) = nearest.finish(level, query, |slot| Ok::<_, Infallible>(rows[&slot]));
            time += start.elapsed();
            assert_eq!(first, second);
        }
        println!(
            "{count} x {dim}, per query: {} candidates, {} rescored in {:.2} ms",
            candidates / 8,
            read / 8,
            time.as_secs_f64() * 1e3 / 8.0
        );
    }
}
