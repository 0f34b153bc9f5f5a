//! Batches that a device cannot take are computed in halves.

use crate::doctor::guarded;
use crate::{EngineError, Result};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The most items of a batch that a device took so far: a batch beyond its memory or its buffer limits fails as a
/// whole, is halved, and later ones are not tried in that size again.
#[derive(Debug)]
pub(crate) struct BatchLimit(AtomicUsize);

impl BatchLimit {
    pub(crate) fn new() -> Self {
        Self(AtomicUsize::new(usize::MAX))
    }

    /// Runs `work` over `items` in batches within the limit, and gives what it gives, in order.
    ///
    /// # Errors
    /// [`EngineError::Compute`] where a single item fails, and any other error of `work` at once.
    pub(crate) fn run<T, R>(
        &self,
        items: &[T],
        mut work: impl FnMut(&[T]) -> Result<Vec<R>>,
    ) -> Result<Vec<R>> {
        let mut found = Vec::with_capacity(items.len());
        let mut rest = items;
        while !rest.is_empty() {
            let (batch, next) = rest.split_at(rest.len().min(self.0.load(Ordering::Relaxed)));
            match guarded(|| work(batch)) {
                Ok(results) => {
                    found.extend(results);
                    rest = next;
                }
                Err(EngineError::Compute(_)) if batch.len() > 1 => {
                    self.0.fetch_min(batch.len().div_ceil(2), Ordering::Relaxed);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device that takes at most `most` items, and the batches that it was asked for.
    fn doubled(limit: &BatchLimit, count: usize, most: usize) -> (Result<Vec<usize>>, Vec<usize>) {
        let items: Vec<usize> = (0..count).collect();
        let mut asked = Vec::new();
        let found = limit.run(&items, |batch: &[usize]| {
            asked.push(batch.len());
            if batch.len() > most {
                return Err(EngineError::Compute("An IO error happened".into()));
            }
            Ok(batch.iter().map(|v| 2 * v).collect())
        });
        (found, asked)
    }

    #[test]
    fn a_batch_that_does_not_fit_is_halved_and_the_order_stays() {
        let limit = BatchLimit::new();
        let (found, asked) = doubled(&limit, 64, 20);
        assert_eq!(found.unwrap(), (0..64).map(|v| 2 * v).collect::<Vec<_>>());
        assert_eq!(asked, [64, 32, 16, 16, 16, 16]);
        // What did not fit once is not tried again.
        let (found, asked) = doubled(&limit, 40, 20);
        assert_eq!((found.unwrap().len(), asked), (40, vec![16, 16, 8]));
        assert_eq!(doubled(&limit, 0, 20).1, [0; 0]);
    }

    #[test]
    fn a_device_that_takes_nothing_fails_in_the_end() {
        let (found, asked) = doubled(&BatchLimit::new(), 7, 0);
        assert!(found.unwrap_err().to_string().contains("An IO error happened"));
        assert_eq!(asked, [7, 4, 2, 1]);
    }

    #[test]
    fn panics_of_a_device_are_halved_and_wrong_requests_are_not() {
        let limit = BatchLimit::new();
        let count = |batch: &[u8]| match batch.len() {
            0..3 => Ok(vec![batch.len()]),
            _ => panic!("wgpu error: buffer too large"),
        };
        assert_eq!(limit.run(&[0; 4], count).unwrap(), [2, 2]);
        let mut calls = 0;
        let refused = BatchLimit::new().run(&[0; 4], |_: &[u8]| -> Result<Vec<u8>> {
            calls += 1;
            Err(EngineError::Request("rows of another width".into()))
        });
        assert!(matches!(refused, Err(EngineError::Request(_))));
        assert_eq!(calls, 1);
    }
}
