//! Recall@N: the share of queries with at least one positive among the first N references of their ranking.

use serde::Serialize;
use std::collections::BTreeMap;

/// The N that are reported.
pub const RECALL_AT: [usize; 5] = [1, 5, 10, 20, 100];

/// Recall@N for several N, as fractions of the counted queries. Serialised as a map from N to recall.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Recall(pub BTreeMap<usize, f64>);

impl Recall {
    /// Recall at `n`, 0 if it was not computed for this N.
    pub fn at(&self, n: usize) -> f64 {
        self.0.get(&n).copied().unwrap_or(0.0)
    }
}

/// Recall at each N of [`RECALL_AT`]. Each query is a pair: its ranking (reference indices, best first) and its
/// positives.
///
/// Every query counts. A query without positives can only fail; to leave such queries out of the denominator, do not
/// pass them.
///
/// # Examples
///
/// ```
/// use r2former_eval::recall;
///
/// // Query 0 has its positive (7) at rank 1, query 1 (positive 4) at rank 3, query 2 nowhere.
/// let rankings: [&[u32]; 3] = [&[7, 2, 3], &[9, 8, 4], &[1, 2, 3]];
/// let positives: [&[u32]; 3] = [&[7], &[4], &[5]];
/// let found = recall(rankings.into_iter().zip(positives));
/// assert_eq!(found.at(1), 1.0 / 3.0);
/// assert_eq!(found.at(5), 2.0 / 3.0);
/// ```
pub fn recall<'a>(queries: impl IntoIterator<Item = (&'a [u32], &'a [u32])>) -> Recall {
    recall_at(queries, &RECALL_AT)
}

/// Like [`recall`], for other N.
///
/// # Examples
///
/// ```
/// use r2former_eval::recall_at;
///
/// let query: (&[u32], &[u32]) = (&[9, 8, 4], &[4]);
/// let found = recall_at([query], &[2, 3]);
/// assert_eq!((found.at(2), found.at(3)), (0.0, 1.0));
/// ```
pub fn recall_at<'a>(queries: impl IntoIterator<Item = (&'a [u32], &'a [u32])>, at: &[usize]) -> Recall {
    let first_hit: Vec<Option<usize>> = queries
        .into_iter()
        .map(|(ranking, positives)| ranking.iter().position(|reference| positives.contains(reference)))
        .collect();
    let share = |n: usize| match first_hit.len() {
        0 => 0.0,
        queries => {
            first_hit.iter().filter(|hit| hit.is_some_and(|rank| rank < n)).count() as f64 / queries as f64
        }
    };
    Recall(at.iter().map(|n| (*n, share(*n))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_queries_with_a_positive_in_time() {
        // First positives at rank 1, rank 5, rank 6 and nowhere: recall@1 = 1/4, @5 = 2/4, @10 = 3/4.
        let rankings: [&[u32]; 4] = [&[7], &[0, 1, 2, 3, 9], &[0, 1, 2, 3, 4, 8], &[0, 1]];
        let positives: [&[u32]; 4] = [&[7, 3], &[9], &[8], &[]];
        let r = recall(rankings.iter().zip(&positives).map(|(r, p)| (*r, *p)));
        assert_eq!([r.at(1), r.at(5), r.at(10), r.at(100)], [0.25, 0.5, 0.75, 0.75]);
    }

    #[test]
    fn no_queries_is_zero_not_nan() {
        assert_eq!(recall([]).at(1), 0.0);
    }
}
