//! Repeated measurements.

use serde::Serialize;

/// Times of repeated runs: the median is what to expect, the minimum what the machine does undisturbed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Times {
    /// The median.
    pub median: f64,
    /// The fastest.
    pub min: f64,
    /// The slowest.
    pub max: f64,
}

impl Times {
    /// Of single measurements, in any unit; `None` without any.
    pub fn of(mut all: Vec<f64>) -> Option<Self> {
        all.sort_by(f64::total_cmp);
        let (min, max) = (*all.first()?, *all.last()?);
        Some(Self { median: all[all.len() / 2], min, max })
    }

    /// Measures `runs` runs (at least one) after a warm-up run; `run` returns the time that it took.
    ///
    /// # Errors
    /// The first error of `run`.
    pub fn measure<E>(runs: usize, mut run: impl FnMut() -> Result<f64, E>) -> Result<Self, E> {
        run()?;
        let first = run()?;
        let mut all = vec![first];
        for _ in 1..runs {
            all.push(run()?);
        }
        Ok(Self::of(all).unwrap_or(Self { median: first, min: first, max: first }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_warm_up_run_is_not_counted() {
        let mut values = [100.0, 3.0, 1.0, 2.0].into_iter();
        let times = Times::measure(3, || values.next().ok_or("one run too many"));
        assert_eq!(times, Ok(Times { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(values.next(), None);
        assert_eq!(Times::measure(0, || Ok::<_, ()>(5.0)).unwrap().median, 5.0);
        assert_eq!(Times::measure(3, || Err::<f64, _>("broken")), Err("broken"));
        assert_eq!(Times::of(Vec::new()), None);
    }
}
