//! Exact search over databases of growing size (made-up descriptors): reranking does not grow, search does.

use super::{Random, Times, Views};
use crate::{EvalError, Result, nearest};
use r2former_engine::Progress;
use serde::Serialize;
use std::time::Instant;

/// Queries that are asked together in one measurement.
pub const GROWTH_BATCH: usize = 64;

/// One size.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Growth {
    /// Images of the database.
    pub images: usize,
    /// Milliseconds of exact search of one query alone, on one thread.
    pub alone_ms: Times,
    /// Milliseconds a query of [`GROWTH_BATCH`] asked together, on all threads.
    pub together_ms: Times,
    /// Bytes of the descriptors in memory.
    pub descriptor_bytes: u64,
    /// Bytes that an index stores, local features included.
    pub stored_bytes: u64,
}

/// Searches the `top` best of databases of each size (each at least 1, any order) among descriptors of `dim` numbers;
/// an image has `stored` bytes in an index. The largest database is made once: 4 bytes a number.
///
/// # Errors
/// A size of 0, or no descriptor.
pub fn growth(
    dim: usize,
    stored: usize,
    sizes: &[usize],
    top: usize,
    runs: usize,
    progress: &dyn Progress,
) -> Result<Vec<Growth>> {
    let mut sizes = sizes.to_vec();
    sizes.sort_unstable();
    sizes.dedup();
    if dim == 0 || sizes.first() == Some(&0) {
        return Err(EvalError::Request("sizes: a database needs at least one image and a descriptor".into()));
    }
    let Some(largest) = sizes.last() else { return Ok(Vec::new()) };
    progress.start("sizes", sizes.len() as u64);
    let views = Views::new(dim);
    let database = views.database(*largest);
    let mut all = Vec::with_capacity(sizes.len());
    for images in &sizes {
        let rows = &database[..images * dim];
        let places = images.div_ceil(Views::OF_A_PLACE as usize) as u32;
        let mut random = Random::new(4);
        let mut time = |queries: usize| {
            let asked: Vec<f32> = (0..queries)
                .flat_map(|_| {
                    let place = random.bits() % places;
                    views.unit(place, &mut random)
                })
                .collect();
            let start = Instant::now();
            std::hint::black_box(nearest(rows, &asked, dim, top));
            Ok::<_, EvalError>(1000.0 * start.elapsed().as_secs_f64() / queries as f64)
        };
        all.push(Growth {
            images: *images,
            alone_ms: Times::measure(runs, || time(1))?,
            together_ms: Times::measure(runs, || time(GROWTH_BATCH))?,
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
    fn sizes_come_in_order_and_once() {
        let found = growth(8, 100, &[300, 50, 300], 10, 2, &NoProgress).unwrap();
        assert_eq!(found.iter().map(|g| g.images).collect::<Vec<_>>(), [50, 300]);
        assert_eq!((found[1].descriptor_bytes, found[1].stored_bytes), (300 * 32, 30_000));
        assert!(found.iter().all(|g| g.alone_ms.least > 0.0 && g.together_ms.least > 0.0));
        assert!(growth(8, 100, &[], 10, 2, &NoProgress).unwrap().is_empty());
        assert!(growth(8, 100, &[5, 0], 10, 2, &NoProgress).unwrap_err().to_string().contains("sizes"));
    }
}
