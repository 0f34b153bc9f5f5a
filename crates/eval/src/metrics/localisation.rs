//! Localisation error: the distance from where a query was taken to its first match.

use serde::Serialize;

/// Distances from queries to their first matches, in metres.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Localisation {
    /// Median distance.
    pub median_m: f64,
    /// 90th percentile.
    pub p90_m: f64,
    /// Number of distances: queries with a position whose first match has one too.
    pub queries: usize,
}

/// Median and 90th percentile, interpolated linearly; `None` without distances.
pub fn localisation(distances_m: impl IntoIterator<Item = f64>) -> Option<Localisation> {
    let mut sorted: Vec<f64> = distances_m.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    Some(Localisation {
        median_m: quantile(&sorted, 0.5)?,
        p90_m: quantile(&sorted, 0.9)?,
        queries: sorted.len(),
    })
}

/// Quantile of ascending values; `None` without values.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let at = share * sorted.len().checked_sub(1)? as f64;
    let (low, high) = (at.floor() as usize, at.ceil() as usize);
    Some(sorted[low] + (at - at.floor()) * (sorted[high] - sorted[low]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_distances_by_hand() {
        // Sorted 1 2 3 10 110: the middle is 3; 0.9 * 4 = 3.6, so 10 + 0.6 * 100.
        let found = localisation([10.0, 1.0, 3.0, 110.0, 2.0]).unwrap();
        assert_eq!((found.median_m, found.queries), (3.0, 5));
        assert!((found.p90_m - 70.0).abs() < 1e-9);
        assert_eq!(localisation([]), None);
    }
}
