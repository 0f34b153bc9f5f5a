//! The trees of the data file, their keys, and the checksum in front of each value.
//!
//! | tree | key | value |
//! |---|---|---|
//! | `ids` | identifier, 16 bytes | slot |
//! | `records` | slot | the place, as JSON |
//! | `facts` | block of 4096 slots | which slots are taken; latitudes, longitudes (or x, y, z) and times as columns |
//! | `tags` | hash of `key=value`, block of 4096 slots | the slots that carry the tag |
//! | `codes` | block of [`Shape::code_rows`] slots | 8-bit codes and scales: what a search scans |
//! | `descriptors` | block of [`Shape::descriptor_rows`] slots | descriptors in f32, a checksum per row |
//! | `locals` | slot | local features as they were added |
//! | `files` | fingerprint of a file, slot | nothing: the images that were read from a file |
//! | `sources` | label | the folder or table whose images have names that begin with it |
//! | `about` | `counters` | images, slots, changes, and the transaction that wrote this |
//!
//! Numbers in keys are big-endian, so that they sort; in values little-endian. A slot is the place of an image in
//! all of these, from 0 on without gaps; a removed image's slot is taken by the next image that is added.
//!
//! Blocks end with their last slot in use and are replaced whole, copy on write. They are small (a quarter of a
//! megabyte of codes, 96 KiB of facts), so that adding an image writes little more than the image, and long enough
//! that a scan reads memory as if it were one piece.

use crate::fingerprint::FileFingerprint;
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128};

/// A tree of the data file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Db {
    Ids,
    Records,
    Facts,
    Tags,
    Codes,
    Descriptors,
    Locals,
    Files,
    Sources,
    About,
}

impl Db {
    pub(crate) const ALL: [Self; 10] = [
        Self::Ids,
        Self::Records,
        Self::Facts,
        Self::Tags,
        Self::Codes,
        Self::Descriptors,
        Self::Locals,
        Self::Files,
        Self::Sources,
        Self::About,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ids => "ids",
            Self::Records => "records",
            Self::Facts => "facts",
            Self::Tags => "tags",
            Self::Codes => "codes",
            Self::Descriptors => "descriptors",
            Self::Locals => "locals",
            Self::Files => "files",
            Self::Sources => "sources",
            Self::About => "about",
        }
    }
}

/// Key of the counters in [`Db::About`].
pub(crate) const COUNTERS: &[u8] = b"counters";

/// Slots in a block of facts or of a tag.
pub(crate) const FACT_ROWS: u32 = 4096;

/// Bytes of a checksum.
pub(crate) const SUM: usize = 8;

/// The checksum of a value, which also depends on where the value belongs.
pub(crate) fn sum(db: Db, key: &[u8], value: &[u8]) -> [u8; SUM] {
    xxh3_64_with_seed(value, xxh3_64_with_seed(key, db as u64)).to_le_bytes()
}

/// The value behind its checksum, if it is what was stored.
pub(crate) fn unseal<'v>(db: Db, key: &[u8], stored: &'v [u8]) -> Option<&'v [u8]> {
    let (found, value) = stored.split_first_chunk::<SUM>()?;
    (sum(db, key, value) == *found).then_some(value)
}

/// Key of a slot or of a block.
pub(crate) fn number_key(number: u32) -> [u8; 4] {
    number.to_be_bytes()
}

/// Key of a tag's slots in a block of [`FACT_ROWS`].
pub(crate) fn tag_key(key: &str, value: &str, block: u32) -> [u8; 20] {
    let mut bytes = [0; 20];
    bytes[..16].copy_from_slice(&xxh3_128(format!("{key}={value}").as_bytes()).to_be_bytes());
    bytes[16..].copy_from_slice(&number_key(block));
    bytes
}

/// Key of an image by the file that it was read from.
pub(crate) fn file_key(file: FileFingerprint, slot: u32) -> [u8; 20] {
    let mut bytes = [0; 20];
    bytes[..16].copy_from_slice(&file.key());
    bytes[16..].copy_from_slice(&number_key(slot));
    bytes
}

/// How descriptors of a dimension lie in blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) dim: usize,
    /// Bytes of a row of codes.
    pub(crate) stride: usize,
    /// Slots in a block of codes: a power of two, 64 to 4096.
    pub(crate) code_rows: u32,
    /// Slots in a block of descriptors.
    pub(crate) descriptor_rows: u32,
}

impl Shape {
    pub(crate) fn new(dim: usize) -> Self {
        let stride = r2former_kernels::scan::stride(dim);
        // About 256 KiB: a commit writes the block of the newest images again.
        let most = (256 << 10) / (stride + 8);
        let code_rows = (most.max(1).ilog2().clamp(6, 12)) as u8;
        // Four pages of 4096 bytes, less the header of the first.
        let descriptor_rows = ((4 * 4096 - 16) / Self::descriptor_bytes_of(dim)).max(1);
        Self { dim, stride, code_rows: 1 << code_rows, descriptor_rows: descriptor_rows as u32 }
    }

    fn descriptor_bytes_of(dim: usize) -> usize {
        SUM + 4 * dim
    }

    /// Bytes of a row of a block of descriptors.
    pub(crate) fn descriptor_bytes(self) -> usize {
        Self::descriptor_bytes_of(self.dim)
    }
}

/// The counters of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counters {
    /// Images.
    pub(crate) images: u64,
    /// Slots, with those that removed images left.
    pub(crate) slots: u32,
    /// Commits since the index was created.
    pub(crate) changes: u64,
    /// The transaction that wrote this: the head of the file and its trees belong to one commit.
    pub(crate) transaction: u64,
}

impl Counters {
    pub(crate) fn encode(self) -> [u8; 28] {
        let mut bytes = [0; 28];
        bytes[..8].copy_from_slice(&self.images.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.changes.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.transaction.to_le_bytes());
        bytes[24..].copy_from_slice(&self.slots.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; 28] = bytes.try_into().ok()?;
        let number = |at: usize| bytes[at..].first_chunk().map(|&bytes| u64::from_le_bytes(bytes));
        let slots = u32::from_le_bytes(*bytes[24..].first_chunk()?);
        Some(Self { images: number(0)?, slots, changes: number(8)?, transaction: number(16)? })
    }
}
