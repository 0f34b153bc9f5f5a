//! Pooled results: the queries of several datasets, such as the folds of a set, scored as one.

use super::results::{AblationRow, DatasetResults, Hits, PooledResults, RANKS};
use crate::metrics::{Interval, bootstrap, paired_test};

/// Recall with its interval, for each of [`RANKS`].
pub(crate) fn recall(hits: &Hits) -> [(usize, Interval); 3] {
    std::array::from_fn(|i| (RANKS[i], bootstrap(&hits[i])))
}

/// The tables of all pools. `parts` has for each dataset of a pool the pool's name, the dataset's index, and the hits of
/// its rows.
pub(super) fn pooled(
    parts: &[(String, usize, Vec<Hits>)],
    datasets: &[DatasetResults],
) -> Vec<PooledResults> {
    let mut names: Vec<&str> = parts.iter().map(|(name, ..)| name.as_str()).collect();
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(*name));
    names.into_iter().map(|name| pool(name, parts, datasets)).collect()
}

fn pool(name: &str, parts: &[(String, usize, Vec<Hits>)], datasets: &[DatasetResults]) -> PooledResults {
    let parts: Vec<(&DatasetResults, &Vec<Hits>)> =
        parts.iter().filter(|(own, ..)| own == name).map(|(_, i, hits)| (&datasets[*i], hits)).collect();
    let hits = |row: usize| -> Hits {
        std::array::from_fn(|i| parts.iter().flat_map(|(_, hits)| hits[row][i].iter().copied()).collect())
    };
    // Means over all queries; `None` if a dataset has no value.
    let mean = |row: usize, of: &dyn Fn(&AblationRow) -> Option<f64>| -> Option<f64> {
        let counted = parts.iter().map(|(dataset, hits)| (of(&dataset.rows[row]), hits[row][0].len() as f64));
        let (sum, count) = counted.fold((Some(0.0), 0.0), |(sum, count), (value, queries)| {
            (sum.zip(value).map(|(sum, value)| sum + value * queries), count + queries)
        });
        sum.map(|sum| sum / f64::max(count, 1.0))
    };
    let first = parts[0].0;
    let baseline = hits(0);
    let rows = (0..first.rows.len()).map(|i| {
        let own = hits(i);
        AblationRow {
            recall: recall(&own),
            difference: (i > 0).then(|| paired_test(&baseline[0], &own[0])),
            skipped: mean(i, &|row| row.skipped),
            extraction_ms: mean(i, &|row| row.extraction_ms),
            search_ms: mean(i, &|row| Some(row.search_ms)).unwrap_or_default(),
            rerank_ms: mean(i, &|row| row.rerank_ms),
            ..first.rows[i].clone()
        }
    });
    PooledResults {
        name: name.to_string(),
        rows: rows.collect(),
        queries: baseline[0].len(),
        parts: parts.iter().map(|(dataset, _)| dataset.name.clone()).collect(),
    }
}
