//! Random numbers that depend on the seed and on where they are used, never on earlier draws: a resumed run draws the
//! same as an uninterrupted one, and threads may work in any order.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The random number generator of this crate; its stream is the same on every machine and in every version.
pub(crate) type Rng = ChaCha8Rng;

/// Purposes of random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Use {
    /// Which places are in a batch.
    Batch = 1,
    /// Views and augmentation of a batch's images.
    Image = 2,
    /// Pools and queries of mining.
    Mining = 3,
    /// Pairs for the reranker.
    Pairs = 4,
    /// The same for cached views.
    View = 5,
    /// Replacements of photographs that cannot be read.
    Replacement = 6,
    /// Photographs and features that a descriptor is fitted to.
    Fitting = 7,
}

/// The generator for one purpose at one place.
pub(crate) fn at(seed: u64, purpose: Use, place: [u64; 2]) -> Rng {
    let mut key = [0u8; 32];
    for (bytes, value) in key.chunks_exact_mut(8).zip([seed, purpose as u64, place[0], place[1]]) {
        bytes.copy_from_slice(&value.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}
