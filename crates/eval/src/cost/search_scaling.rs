//! Exact search over databases of increasing size, with synthetic descriptors.

use super::{Random, SyntheticDescriptors, Times};
use crate::{EvalError, Result, nearest};
use r2former_engine::Progress;
use serde::Serialize;
use std::time::Instant;

/// Queries of a batch.
pub const SCALING_BATCH: usize = 64;

/// Cost of exact search at one size of the database.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SearchScaling {
    /// Images of the database.
    pub images: usize,
    /// Milliseconds of a single query, on one thread.
    pub single_ms: Times,
    /// Milliseconds per query in a batch of [`SCALING_BATCH`], on all threads.
    pub batched_ms: Times,
    /// Bytes of the descriptors in memory.
    pub descriptor_bytes: u64,
    /// Bytes that an index stores, local features included.
    pub stored_bytes: u64,
}

/// Measures exact search for the `top` best references in databases of each size, with descriptors of `dim` dimensions;
/// an index stores `stored` bytes per image. The largest database is held in memory, 4 * `dim` bytes per image.
///
/// # Errors
/// [`EvalError::Request`]: a size or dimension of 0.
pub fn search_scaling(
    dim: usize,
    stored: usize,
    sizes: &[usize],
    top: usize,
    runs: usize,
    progress: &dyn Progress,
) -> Result<Vec<SearchScaling>> {
    let mut sizes = sizes.to_vec();
    sizes.sort_unstable();
    sizes.dedup();
    if dim == 0 || sizes.first() == Some(&0) {
        return Err(EvalError::Request(
            "sizes: a database needs at least one image and one dimension".into(),
        ));
    }
    let Some(largest) = sizes.last() else { return Ok(Vec::new()) };
    progress.start("sizes", sizes.len() as u64);
    let descriptors = SyntheticDescriptors::new(dim);
    let database = descriptors.database(*largest);
    let mut all = Vec::with_capacity(sizes.len());
    for images in &sizes {
        let rows = &database[..images * dim];
        let places = images.div_ceil(SyntheticDescriptors::PER_PLACE as usize) as u32;
        let mut random = Random::new(4);
        let mut time = |queries: usize| {
            let queried: Vec<f32> = (0..queries)
                .flat_map(|_| {
                    let place = random.bits() % places;
                    descriptors.unit(place, &mut random)
                })
                .collect();
            let start = Instant::now();
            std::hint::black_box(nearest(rows, &queried, dim, top));
            Ok::<_, EvalError>(1000.0 * start.elapsed().as_secs_f64() / queries as f64)
        };
        all.push(SearchScaling {
            images: *images,
            single_ms: Times::measure(runs, || time(1))?,
            batched_ms: Times::measure(runs, || time(SCALING_BATCH))?,
            descriptor_bytes: (images * dim * size_of::<f32>()) as u64,
            stored_bytes: (images * stored) as u64,
        });
        progress.advance(1);
    }
    progress.finish();
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use r2former_engine::NoProgress;

    #[test]
    fn sizes_are_sorted_and_unique() {
        let found = search_scaling(8, 100, &[300, 50, 300], 10, 2, &NoProgress).unwrap();
        assert_eq!(found.iter().map(|row| row.images).collect::<Vec<_>>(), [50, 300]);
        assert_eq!((found[1].descriptor_bytes, found[1].stored_bytes), (300 * 32, 30_000));
        assert!(found.iter().all(|row| row.single_ms.min > 0.0 && row.batched_ms.min > 0.0));
        assert!(search_scaling(8, 100, &[], 10, 2, &NoProgress).unwrap().is_empty());
        assert!(
            search_scaling(8, 100, &[5, 0], 10, 2, &NoProgress).unwrap_err().to_string().contains("sizes")
        );
    }
}
