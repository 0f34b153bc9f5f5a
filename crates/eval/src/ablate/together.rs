//! Several datasets told as one, as the ways in which one set can be parted into queries and references.

use super::orders::{AblationRow, DatasetRows};
use crate::metrics::{Interval, bootstrap, paired_test};
use serde::Serialize;

/// The N of the recall@N that an ablation tells.
pub(super) const RANKS: [usize; 3] = [1, 5, 10];

/// Which queries an order gets right, for each of [`RANKS`].
pub(super) type Hits = [Vec<bool>; 3];

/// Recall with its interval, for each of [`RANKS`].
pub(super) fn recall(hits: &Hits) -> [(usize, Interval); 3] {
    std::array::from_fn(|i| (RANKS[i], bootstrap(&hits[i])))
}

/// All orders on several datasets, whose queries count alike.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TogetherRows {
    /// The word that the datasets share.
    pub name: String,
    /// What tables call each of them.
    pub parts: Vec<String>,
    /// Queries of all of them.
    pub queries: usize,
    /// The baseline, then each change of it; milliseconds and shares are means over the queries.
    pub rows: Vec<AblationRow>,
}

/// The tables of all words: `parts` has each word, its dataset's number, and the hits of its rows.
pub(super) fn together(parts: &[(String, usize, Vec<Hits>)], datasets: &[DatasetRows]) -> Vec<TogetherRows> {
    let mut words: Vec<&str> = parts.iter().map(|(word, ..)| word.as_str()).collect();
    let mut seen = std::collections::HashSet::new();
    words.retain(|word| seen.insert(*word));
    words.into_iter().map(|word| of_word(word, parts, datasets)).collect()
}

fn of_word(word: &str, parts: &[(String, usize, Vec<Hits>)], datasets: &[DatasetRows]) -> TogetherRows {
    let parts: Vec<(&DatasetRows, &Vec<Hits>)> =
        parts.iter().filter(|(own, ..)| own == word).map(|(_, i, hits)| (&datasets[*i], hits)).collect();
    let hits = |row: usize| -> Hits {
        std::array::from_fn(|i| parts.iter().flat_map(|(_, hits)| hits[row][i].iter().copied()).collect())
    };
    // What is measured is the mean over all queries; nothing where a dataset has not measured it.
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
    TogetherRows {
        name: word.to_string(),
        rows: rows.collect(),
        queries: baseline[0].len(),
        parts: parts.iter().map(|(dataset, _)| dataset.name.clone()).collect(),
    }
}
