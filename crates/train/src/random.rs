//! Random numbers that depend on the seed and on where they are used, never on what was drawn before: a resumed
//! run draws what an unbroken one does, and threads may work in any order.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The generator of this crate; its stream is the same on every machine and in every version.
pub(crate) type Rng = ChaCha8Rng;

/// What numbers are drawn for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Use {
    /// Which places a batch has.
    Batch = 1,
    /// How an image of a batch is varied.
    Image = 2,
    /// Pools and queries of mining.
    Mining = 3,
    /// Pairs for the reranker.
    Pairs = 4,
    /// How a view that is kept is varied.
    View = 5,
}

/// The generator for one use, at one place.
pub(crate) fn at(seed: u64, purpose: Use, place: [u64; 2]) -> Rng {
    let mut key = [0u8; 32];
    for (bytes, value) in key.chunks_exact_mut(8).zip([seed, purpose as u64, place[0], place[1]]) {
        bytes.copy_from_slice(&value.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}
