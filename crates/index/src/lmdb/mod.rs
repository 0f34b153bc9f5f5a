//! The file of LMDB: opened and written by `heed`, read by code of our own that trusts none of its bytes.
//!
//! LMDB follows the page numbers and offsets that it finds in its file; a flipped bit there ends the process.
//! So LMDB only writes, keeps the table of readers, and hands out transactions; whatever is read comes
//! through [`pages`], where every number is checked before it is followed. A writer has [`walk`] look through
//! the whole structure before LMDB touches it.

pub(crate) mod env;
pub(crate) mod file;
pub(crate) mod meta;
pub(crate) mod pages;
pub(crate) mod walk;

#[cfg(test)]
mod tests;

/// Something in the file that LMDB would not have written: what, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Corrupt(pub(crate) String);

impl Corrupt {
    pub(crate) fn page(number: u64, problem: impl std::fmt::Display) -> Self {
        Self(format!("page {number}: {problem}"))
    }
}

/// Result of reading the file's structure.
pub(crate) type Read<T> = std::result::Result<T, Corrupt>;

/// The number in the first bytes of `bytes` at `at`; none beyond the end.
#[inline]
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|&bytes| u16::from_ne_bytes(bytes))
}

/// Like [`u16_at`], 32 bits.
#[inline]
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|&bytes| u32::from_ne_bytes(bytes))
}

/// Like [`u16_at`], 64 bits.
#[inline]
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|&bytes| u64::from_ne_bytes(bytes))
}
