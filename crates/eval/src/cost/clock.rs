//! Repeated measurements.

use serde::Serialize;

/// What repeated runs took: a median says what to expect, the least what the machine can do undisturbed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Times {
    /// Half of the runs took at most so much.
    pub median: f64,
    /// The fastest.
    pub least: f64,
    /// The slowest.
    pub most: f64,
}

impl Times {
    /// Of single measurements, in any unit; none without any.
    pub fn of(mut all: Vec<f64>) -> Option<Self> {
        all.sort_by(f64::total_cmp);
        let (least, most) = (*all.first()?, *all.last()?);
        Some(Self { median: all[all.len() / 2], least, most })
    }

    /// Measures `runs` runs (at least one), after one that is not counted; `run` returns what its run took.
    ///
    /// # Errors
    /// The first one of a run.
    pub fn measure<E>(runs: usize, mut run: impl FnMut() -> Result<f64, E>) -> Result<Self, E> {
        run()?;
        let first = run()?;
        let mut all = vec![first];
        for _ in 1..runs {
            all.push(run()?);
        }
        Ok(Self::of(all).unwrap_or(Self { median: first, least: first, most: first }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_run_is_not_counted() {
        let mut values = [100.0, 3.0, 1.0, 2.0].into_iter();
        let times = Times::measure(3, || values.next().ok_or("a run too many"));
        assert_eq!(times, Ok(Times { median: 2.0, least: 1.0, most: 3.0 }));
        assert_eq!(values.next(), None);
        assert_eq!(Times::measure(0, || Ok::<_, ()>(5.0)).unwrap().median, 5.0);
        assert_eq!(Times::measure(3, || Err::<f64, _>("broken")), Err("broken"));
        assert_eq!(Times::of(Vec::new()), None);
    }
}
