//! A batch is given to the device before the results of the one before are read, and one that the device cannot take is computed
//! in halves.

use crate::doctor::guarded;
use crate::{EngineError, Result};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Batches that a device has at the same time: one is computed while the next one is prepared.
const AT_ONCE: usize = 2;

/// The most items of a batch that a device took so far: a batch beyond its memory or its buffer limits fails as a
/// whole, is halved, and later ones are not tried in that size again.
#[derive(Debug)]
pub(crate) struct BatchLimit(AtomicUsize);

impl BatchLimit {
    pub(crate) fn new() -> Self {
        Self(AtomicUsize::new(usize::MAX))
    }

    /// Computes batches in order. `start` hands a batch to the device, `finish` waits for its results, which `each` gets with the
    /// batch: those of one batch are waited for when the next one has been handed over.
    ///
    /// Failures of a device often show in its results alone. The failed batch is then repeated in halves, and the one behind
    /// it, of which nothing is known, after it.
    ///
    /// # Errors
    /// [`EngineError::Compute`] where a single item fails that the device has alone; any other error, and those of `each`, at
    /// once.
    pub(crate) fn run<T, S, R>(
        &self,
        mut batches: impl Iterator<Item = Vec<T>>,
        mut start: impl FnMut(&[T]) -> Result<S>,
        mut finish: impl FnMut(S) -> Result<R>,
        mut each: impl FnMut(Vec<T>, R) -> Result<()>,
    ) -> Result<()> {
        let mut given: VecDeque<(Vec<T>, S)> = VecDeque::new();
        let mut again: VecDeque<Vec<T>> = VecDeque::new();
        let mut at_once = AT_ONCE;
        loop {
            let next = match given.len() < at_once {
                true => again.pop_front().or_else(|| batches.next()),
                false => None,
            };
            let (batch, error, alone) = if let Some(mut batch) = next {
                let most = self.0.load(Ordering::Relaxed).max(1);
                if batch.len() > most {
                    again.push_front(batch.split_off(most));
                }
                match guarded(|| start(&batch)) {
                    Ok(started) => {
                        given.push_back((batch, started));
                        continue;
                    }
                    Err(error) => (batch, error, given.is_empty()),
                }
            } else if let Some((batch, started)) = given.pop_front() {
                match guarded(|| finish(started)) {
                    Ok(results) => {
                        each(batch, results)?;
                        continue;
                    }
                    Err(error) => {
                        let alone = given.is_empty();
                        given.drain(..).rev().for_each(|(behind, _)| again.push_front(behind));
                        (batch, error, alone)
                    }
                }
            } else {
                return Ok(());
            };
            match batch.len() {
                _ if !matches!(error, EngineError::Compute(_)) => return Err(error),
                0 | 1 if alone => return Err(error),
                0 | 1 => at_once = 1,
                count => drop(self.0.fetch_min(count.div_ceil(2), Ordering::Relaxed)),
            }
            again.push_front(batch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn too_large() -> EngineError {
        EngineError::Compute("An IO error happened".into())
    }

    /// A device that takes at most `most` items, and the batches that it was asked for.
    fn doubled(limit: &BatchLimit, count: usize, most: usize) -> (Result<Vec<usize>>, Vec<usize>) {
        let (mut asked, mut found) = (Vec::new(), Vec::new());
        let start = |batch: &[usize]| {
            asked.push(batch.len());
            if batch.len() > most { Err(too_large()) } else { Ok(batch.len()) }
        };
        let each = |batch: Vec<usize>, len| {
            assert_eq!(batch.len(), len);
            found.extend(batch.iter().map(|v| 2 * v));
            Ok(())
        };
        let all = (count > 0).then(|| (0..count).collect());
        let done = limit.run(all.into_iter(), start, Ok, each);
        (done.map(|()| found), asked)
    }

    /// What is asked of a device that fails when results are read, where it had more than `most` items: `+n` for a batch from
    /// item n, `-n` for its results.
    fn log(items: usize, batch: usize, most: usize) -> (Result<Vec<usize>>, String) {
        let items: Vec<usize> = (0..items).collect();
        let log = std::cell::RefCell::new(String::new());
        let held = std::cell::RefCell::new(Vec::new());
        let mut found = Vec::new();
        let start = |batch: &[usize]| {
            log.borrow_mut().push_str(&format!("+{} ", batch[0]));
            held.borrow_mut().extend_from_slice(batch);
            Ok((batch.to_vec(), held.borrow().len() > most))
        };
        let finish = |(batch, fails): (Vec<usize>, bool)| {
            log.borrow_mut().push_str(&format!("-{} ", batch[0]));
            held.borrow_mut().retain(|item| !fails && !batch.contains(item));
            if fails { Err(too_large()) } else { Ok(()) }
        };
        let each = |batch, ()| {
            found.extend(batch);
            Ok(())
        };
        let done = BatchLimit::new().run(items.chunks(batch).map(<[usize]>::to_vec), start, finish, each);
        (done.map(|()| found), log.into_inner().trim_end().to_string())
    }

    #[test]
    fn the_next_batch_is_given_before_results_are_read() {
        let (found, log) = log(7, 2, 100);
        assert_eq!(found.unwrap(), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(log, "+0 +2 -0 +4 -2 +6 -4 -6");
    }

    #[test]
    fn a_batch_whose_results_fail_is_repeated_in_halves_with_the_one_behind_it() {
        let (found, log_of) = log(8, 4, 4);
        assert_eq!(found.unwrap(), (0..8).collect::<Vec<_>>());
        assert_eq!(log_of, "+0 +4 -0 -4 +4 +6 -4 -6");
        let (found, log_of) = log(6, 2, 1);
        assert_eq!(found.unwrap(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(log_of, "+0 +2 -0 +0 +1 -0 +2 -1 +1 -1 +2 -2 +3 -3 +4 -4 +5 -5");
        let (found, _) = log(3, 1, 0);
        assert!(matches!(found, Err(EngineError::Compute(_))));
    }

    #[test]
    fn what_takes_the_results_fails_once() {
        let (start, mut calls) = (|batch: &[u8]| Ok(batch.len()), 0);
        let each = |_, _| {
            calls += 1;
            Err(EngineError::Compute("no space on disk".into()))
        };
        let done = BatchLimit::new().run([vec![0; 4], vec![0; 4]].into_iter(), start, Ok, each);
        assert!(done.is_err() && calls == 1);
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
            0..3 => Ok(batch.len()),
            _ => panic!("wgpu error: buffer too large"),
        };
        let mut sizes = Vec::new();
        let each = |_, size| {
            sizes.push(size);
            Ok(())
        };
        limit.run([vec![0; 4]].into_iter(), count, Ok, each).unwrap();
        assert_eq!(sizes, [2, 2]);
        let mut calls = 0;
        let refuse = |_: &[u8]| -> Result<usize> {
            calls += 1;
            Err(EngineError::Request("rows of another width".into()))
        };
        let refused = BatchLimit::new().run([vec![0; 4]].into_iter(), refuse, Ok, |_, _| Ok(()));
        assert!(matches!(refused, Err(EngineError::Request(_))));
        assert_eq!(calls, 1);
    }
}
