//! Exact nearest neighbours of global descriptors in memory.

use rayon::prelude::*;

/// Queries that share one pass over the database: their descriptors fit into the L1 cache.
const BLOCK: usize = 16;

/// The `top` most similar database descriptors of each query, best first, as (index, cosine); equal similarities are
/// sorted by index.
///
/// Descriptors are rows of `dim` values of unit length, so that the dot product is the cosine.
pub fn nearest(database: &[f32], queries: &[f32], dim: usize, top: usize) -> Vec<Vec<(u32, f32)>> {
    queries
        .par_chunks(BLOCK * dim)
        .flat_map_iter(|block| {
            let count = block.len() / dim;
            let mut similarities = vec![Vec::with_capacity(database.len() / dim); count];
            for reference in database.chunks_exact(dim) {
                for (query, list) in block.chunks_exact(dim).zip(&mut similarities) {
                    list.push(dot(query, reference));
                }
            }
            similarities.into_iter().map(move |list| best(list, top))
        })
        .collect()
}

/// Reference implementation of [`nearest`]: one query after the other, all references sorted.
pub fn nearest_reference(database: &[f32], queries: &[f32], dim: usize, top: usize) -> Vec<Vec<(u32, f32)>> {
    let one = |query: &[f32]| {
        let mut list: Vec<(u32, f32)> =
            database.chunks_exact(dim).enumerate().map(|(i, r)| (i as u32, dot(query, r))).collect();
        list.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        list.truncate(top);
        list
    };
    queries.chunks_exact(dim).map(one).collect()
}

fn best(similarities: Vec<f32>, top: usize) -> Vec<(u32, f32)> {
    let mut list: Vec<(u32, f32)> =
        similarities.into_iter().enumerate().map(|(i, s)| (i as u32, s)).collect();
    let best_first = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    if top < list.len() && top > 0 {
        list.select_nth_unstable_by(top - 1, best_first);
    }
    list.truncate(top);
    list.sort_unstable_by(best_first);
    list
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    // Eight partial sums, so that the compiler can vectorise.
    let mut sums = [0.0f32; 8];
    let (chunks_a, rest_a) = a.as_chunks::<8>();
    let (chunks_b, rest_b) = b.as_chunks::<8>();
    for (x, y) in chunks_a.iter().zip(chunks_b) {
        for i in 0..8 {
            sums[i] += x[i] * y[i];
        }
    }
    sums.iter().sum::<f32>() + rest_a.iter().zip(rest_b).map(|(x, y)| x * y).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equals_sorting_everything(
            dim in 1usize..20, database in 0usize..40, queries in 0usize..40, top in 0usize..50, seed in any::<u32>(),
        ) {
            // Few distinct values, so that ties happen.
            let mut state = seed;
            let mut values = |n: usize| -> Vec<f32> {
                (0..n).map(|_| { state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223); ((state >> 24) % 5) as f32 - 2.0 }).collect()
            };
            let (d, q) = (values(database * dim), values(queries * dim));
            prop_assert_eq!(nearest(&d, &q, dim, top), nearest_reference(&d, &q, dim, top));
        }
    }
}
