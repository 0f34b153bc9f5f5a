//! mAP@k: how early and how completely a ranking lists the positives of a query.

use serde::Serialize;
use std::collections::BTreeMap;

/// The k that are reported, those of the MSLS tools.
pub const MAP_AT: [usize; 4] = [1, 5, 10, 20];

/// mAP@k for several k, as fractions. Serialised as a map from k to mAP.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct MeanAveragePrecision(pub BTreeMap<usize, f64>);

impl MeanAveragePrecision {
    /// Mean average precision at `k`, 0 if it was not computed for this k.
    pub fn at(&self, k: usize) -> f64 {
        self.0.get(&k).copied().unwrap_or(0.0)
    }
}

/// Mean over all queries of the average precision at k: the sum of the precision at each correct rank up to k, divided
/// by the smaller of k and the number of positives (the definition of the MSLS tools). Queries are given as for
/// [`crate::recall`]; one without positives counts as 0, so leave it out to drop it.
///
/// # Examples
///
/// ```
/// use r2former_eval::mean_average_precision;
///
/// // Positives 1 and 2 at ranks 1 and 3: (1/1 + 2/3) / 2.
/// let query: (&[u32], &[u32]) = (&[1, 9, 2], &[1, 2]);
/// let found = mean_average_precision([query], &[5]);
/// assert!((found.at(5) - 5.0 / 6.0).abs() < 1e-12);
/// ```
pub fn mean_average_precision<'a>(
    queries: impl IntoIterator<Item = (&'a [u32], &'a [u32])>,
    at: &[usize],
) -> MeanAveragePrecision {
    let queries: Vec<(&[u32], &[u32])> = queries.into_iter().collect();
    let mean = |k: usize| match queries.len() {
        0 => 0.0,
        count => {
            queries.iter().map(|(ranking, positives)| average(ranking, positives, k)).sum::<f64>()
                / count as f64
        }
    };
    MeanAveragePrecision(at.iter().map(|k| (*k, mean(*k))).collect())
}

fn average(ranking: &[u32], positives: &[u32], k: usize) -> f64 {
    let most = positives.len().min(k);
    if most == 0 {
        return 0.0;
    }
    let (mut hits, mut sum) = (0usize, 0.0);
    for (rank, _) in ranking.iter().take(k).enumerate().filter(|(_, reference)| positives.contains(reference))
    {
        hits += 1;
        sum += hits as f64 / (rank + 1) as f64;
    }
    sum / most as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_queries_by_hand() {
        // Query 0 has positives 4 and 5 at ranks 5 and 2 (from 1), query 1 has 0 and 1 at ranks 1 and 4.
        // k = 1: 0 and 1/1 over min(2, 1).
        // k = 5: (1/2 + 2/5) / 2 = 0.45 and (1/1 + 2/4) / 2 = 0.75.
        // k = 2: 1/2 over 2 and 1/1 over 2.
        let queries: [(&[u32], &[u32]); 2] = [(&[0, 5, 1, 2, 4], &[4, 5]), (&[0, 5, 4, 1, 3], &[0, 1])];
        let found = mean_average_precision(queries, &[1, 2, 5, 20]);
        assert_eq!([found.at(1), found.at(2), found.at(3)], [0.5, 0.375, 0.0]);
        assert!((found.at(5) - 0.6).abs() < 1e-12);
        assert_eq!(found.at(20), found.at(5), "a longer list than there are predictions");
    }

    #[test]
    fn no_positive_is_zero_not_nan() {
        let queries: [(&[u32], &[u32]); 1] = [(&[0, 1], &[])];
        assert_eq!(mean_average_precision(queries, &[1]).at(1), 0.0);
        assert_eq!(mean_average_precision([], &[1]).at(1), 0.0);
    }
}
