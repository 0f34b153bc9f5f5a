//! A pool of scratch buffers: after the first run nothing is allocated (`tests/steady.rs`).

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

/// Idle buffers of one kind. It grows to the largest number that were ever in use at once.
#[derive(Debug, Default)]
pub(crate) struct Pool<T>(Mutex<Vec<T>>);

impl<T: Default> Pool<T> {
    /// Lends a buffer, whose content is unspecified; dropping it returns it to the pool.
    pub(crate) fn borrow(&self) -> Borrowed<'_, T> {
        // A panic elsewhere cannot damage idle buffers, so a poisoned lock is fine.
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Borrowed { buffer: free.pop().unwrap_or_default(), pool: self }
    }
}

/// A clone starts empty: the content of a pool is scratch.
impl<T> Clone for Pool<T> {
    fn clone(&self) -> Self {
        Self(Mutex::new(Vec::new()))
    }
}

/// A buffer on loan from a [`Pool`].
#[derive(Debug)]
pub(crate) struct Borrowed<'a, T: Default> {
    buffer: T,
    pool: &'a Pool<T>,
}

impl<T: Default> Deref for Borrowed<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.buffer
    }
}

impl<T: Default> DerefMut for Borrowed<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.buffer
    }
}

impl<T: Default> Drop for Borrowed<'_, T> {
    fn drop(&mut self) {
        let mut free = self.pool.0.lock().unwrap_or_else(PoisonError::into_inner);
        free.push(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_return_to_the_pool() {
        let pool = Pool::<Vec<u8>>::default();
        let (mut one, mut two) = (pool.borrow(), pool.borrow());
        one.push(1);
        two.push(2);
        drop(two);
        assert_eq!(**pool.borrow(), [2]);
        drop(one);
        assert_eq!(pool.0.lock().unwrap().len(), 2);
    }
}
