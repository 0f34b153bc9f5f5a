//! Nearest neighbours by dot product, exactly, at a quarter of the memory traffic: a scan over 8-bit codes that excludes
//! only what provably is not among the best, and f32 rescoring of the rest.
//!
//! A row's codes ([`encode`]) come with its [`RowScale`]: the length of what they leave out bounds the error of a dot
//! product with them, rounding included. [`scan`] computes those products as integers and keeps in [`Nearest`] what
//! can still be among the best; [`Nearest::finish`] reads the f32 rows of these. The answer equals that of
//! [`dot`] with every row, for vectors of any norm with at most [`MAX_DIM`] dimensions (beyond, or with NaN or infinite
//! values, it does too, but every such row or every row is rescored).
//!
//! # Examples
//!
//! ```
//! use r2former_kernels::Level;
//! use r2former_kernels::scan::{Block, Nearest, Query, RowScale, encode, scan, stride};
//! use std::convert::Infallible;
//!
//! let rows = [[0.6f32, 0.8], [1.0, 0.0], [0.0, -1.0]];
//! let mut codes = vec![0; 3 * stride(2)];
//! let scales: Vec<RowScale> =
//!     rows.iter().zip(codes.chunks_exact_mut(stride(2))).map(|(row, codes)| encode(row, codes)).collect();
//!
//! let level = Level::best();
//! let queries = [Query::new(&[0.0, 1.0])];
//! let mut found = [Nearest::new(2)];
//! scan(level, &queries, &Block { first: 100, codes: &codes, scales: &scales, allowed: None }, &mut found);
//!
//! let bytes: Vec<u8> = rows.iter().flatten().flat_map(|value| value.to_le_bytes()).collect();
//! let exact = |slot: u32| Ok::<_, Infallible>(&bytes[(slot as usize - 100) * 8..][..8]);
//! let [nearest] = found;
//! assert_eq!(nearest.finish(level, &queries[0], exact), Ok(vec![(100, 0.8), (101, 0.0)]));
//! ```

mod bound;
mod code;
mod exact;
mod kernel;
mod nearest;
mod query;
#[cfg(test)]
mod tests;

pub use code::{RowScale, encode, stride};
pub use exact::{dot, dot_bytes};
pub use nearest::Nearest;
pub use query::Query;

use crate::Level;
use bound::{PANEL, Rows};
use kernel::Kernel;

/// The most dimensions whose sums of products are certain to fit an i32.
pub const MAX_DIM: usize = 65_536;

/// A cache line of codes.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Line<T = u8>(pub(crate) [T; 64]);

/// Bytes of codes per line.
const LINE: usize = 64;

/// Bytes of codes that stay in the first-level cache while all queries are multiplied with them.
const CACHED: usize = 16 << 10;

/// Rows that lie one after the other.
#[derive(Debug, Clone, Copy)]
pub struct Block<'a> {
    /// The slot of row 0.
    pub first: u32,
    /// The rows' codes, [`stride`] bytes each, at any alignment.
    pub codes: &'a [u8],
    /// The rows' scales.
    pub scales: &'a [RowScale],
    /// Which rows can be found: bit i % 64 of word i / 64 for row i. Rows beyond the words cannot; without a bitmap,
    /// all can.
    pub allowed: Option<&'a [u64]>,
}

impl Block<'_> {
    fn allows(&self, row: usize) -> bool {
        self.allowed.is_none_or(|words| words.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1))
    }
}

/// Scans a block for several queries in one pass over its memory.
///
/// `found[i]` collects for `queries[i]`. A batch of queries costs far less than as many scans: rows are read from memory
/// once, and multiplied with four queries at a time.
///
/// # Panics
/// If there are not as many collectors as queries, if queries differ in dimensions, or if the block's codes are not
/// [`stride`] bytes per row.
pub fn scan(level: Level, queries: &[Query], block: &Block<'_>, found: &mut [Nearest]) {
    assert_eq!(queries.len(), found.len(), "a collector per query");
    let Some(dim) = queries.first().map(|query| query.vector().len()) else { return };
    assert!(queries.iter().all(|query| query.vector().len() == dim), "queries of {dim} dimensions");
    let rows = block.scales.len();
    assert_eq!(block.codes.len(), rows * stride(dim), "the codes of {rows} rows of {dim} dimensions");

    let lines = stride(dim) / LINE;
    let codes = block.codes.as_chunks::<LINE>().0;
    let kernel = Kernel::of(level);
    let planes: Vec<_> = queries.iter().map(|query| &query.coarse).collect();
    let step = (CACHED / stride(dim).max(1) / 4 * 4).clamp(4, PANEL);
    let (mut sums, mut hits) = (vec![0; queries.len() * step], Vec::new());
    let mut bounds = Rows::default();
    for first in (0..rows).step_by(step) {
        let count = step.min(rows - first);
        if !(first..first + count).any(|row| block.allows(row)) {
            continue;
        }
        let panel = &codes[first * lines..][..count * lines];
        let sums = &mut sums[..queries.len() * count];
        kernel.products(panel, lines, &planes, sums, &mut bounds.squares[..count]);
        bounds.set(level, &block.scales[first..][..count]);
        bounds.reaching(level, queries, found, sums, &mut hits);
        for &hit in &hits {
            let (query, nearest) = (&queries[hit], &mut found[hit]);
            for (row, sum) in sums[hit * count..][..count].iter().enumerate() {
                if bounds.coarse_upper(query, row, *sum) < nearest.limit() || !block.allows(first + row) {
                    continue;
                }
                let mut fine = [0];
                kernel.products(&panel[row * lines..][..lines], lines, &[&query.fine], &mut fine, &mut []);
                let (lower, upper) = bounds.fine(query, row, *sum, fine[0]);
                nearest.offer(block.first.wrapping_add((first + row) as u32), lower, upper);
            }
        }
    }
}
