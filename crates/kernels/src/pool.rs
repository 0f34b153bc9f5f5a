//! Memory that work leaves behind for the next work, so that nothing is allocated in the steady state.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

/// Memory of one kind, as much of it as was ever in use at the same time.
#[derive(Debug, Default)]
pub(crate) struct Pool<T>(Mutex<Vec<T>>);

impl<T: Default> Pool<T> {
    /// Memory that nobody else has; it comes back when it is dropped.
    pub(crate) fn borrow(&self) -> Borrowed<'_, T> {
        // A panic elsewhere leaves what is not borrowed whole.
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Borrowed { memory: free.pop().unwrap_or_default(), pool: self }
    }
}

/// A copy begins without memory: it is used for nothing but speed.
impl<T> Clone for Pool<T> {
    fn clone(&self) -> Self {
        Self(Mutex::new(Vec::new()))
    }
}

/// Memory on loan from a [`Pool`].
#[derive(Debug)]
pub(crate) struct Borrowed<'a, T: Default> {
    memory: T,
    pool: &'a Pool<T>,
}

impl<T: Default> Deref for Borrowed<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.memory
    }
}

impl<T: Default> DerefMut for Borrowed<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.memory
    }
}

impl<T: Default> Drop for Borrowed<'_, T> {
    fn drop(&mut self) {
        let mut free = self.pool.0.lock().unwrap_or_else(PoisonError::into_inner);
        free.push(std::mem::take(&mut self.memory));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back() {
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
