//! The two meta pages at the head of the file: which pages the last two commits consist of.
//!
//! Commit N is in page N modulo 2, so that a commit that is cut short leaves the one before it whole.

use super::{Corrupt, Read, u16_at, u32_at, u64_at};

/// Bytes of a page's header.
pub(super) const HEADER: usize = 16;

/// Bytes that a meta page holds, with its header.
pub(crate) const META_BYTES: usize = HEADER + 136;

/// Root of a tree without entries.
pub(super) const NO_ROOT: u64 = u64::MAX;

const MAGIC: u32 = 0xBEEF_C0DE;
const VERSION: u32 = 1;
const P_META: u16 = 0x08;
/// The flags of a tree, apart from those of the environment, which share the field in the tree of free pages.
const TREE_FLAGS: u16 = 0xff;
const INTEGER_KEY: u16 = 0x08;

/// A tree of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Root {
    pub(super) flags: u16,
    pub(super) depth: u16,
    pub(super) branch_pages: u64,
    pub(super) leaf_pages: u64,
    pub(super) overflow_pages: u64,
    pub(crate) entries: u64,
    pub(super) page: u64,
}

/// Bytes of a [`Root`].
pub(super) const ROOT_BYTES: usize = 48;

impl Root {
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            flags: u16_at(bytes, 4)?,
            depth: u16_at(bytes, 6)?,
            branch_pages: u64_at(bytes, 8)?,
            leaf_pages: u64_at(bytes, 16)?,
            overflow_pages: u64_at(bytes, 24)?,
            entries: u64_at(bytes, 32)?,
            page: u64_at(bytes, 40)?,
        })
    }

    /// Pages of the tree.
    pub(crate) fn pages(&self) -> u64 {
        self.branch_pages.saturating_add(self.leaf_pages).saturating_add(self.overflow_pages)
    }
}

/// One commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) page_size: usize,
    /// Tree of the pages that nothing uses.
    pub(super) free: Root,
    /// Tree of the names of trees.
    pub(super) main: Root,
    pub(crate) last_page: u64,
    pub(crate) transaction: u64,
}

impl Meta {
    fn parse(bytes: &[u8]) -> Option<Result<Self, &'static str>> {
        let body = bytes.get(HEADER..META_BYTES)?;
        if u16_at(bytes, 10)? != P_META || u32_at(body, 0)? != MAGIC || u32_at(body, 4)? != VERSION {
            return Some(Err("it is no meta page of LMDB"));
        }
        let (free, main) = (Root::parse(&body[24..])?, Root::parse(&body[24 + ROOT_BYTES..])?);
        // The tree of free pages has the page size in its first field, and integers for keys.
        let page_size = u32_at(body, 24)?;
        if !page_size.is_power_of_two() || !(512..=65_536).contains(&page_size) {
            return Some(Err("its page size is impossible"));
        }
        if free.flags & TREE_FLAGS != INTEGER_KEY || main.flags != 0 {
            return Some(Err("the flags of its trees are others"));
        }
        let (last_page, transaction) = (u64_at(body, 120)?, u64_at(body, 128)?);
        if last_page == 0 || last_page > u64::MAX / u64::from(page_size) - 1 {
            return Some(Err("its last page is impossible"));
        }
        Some(Ok(Self { page_size: page_size as usize, free, main, last_page, transaction }))
    }

    /// The commits in the two meta pages of a file; `bytes` begins like the file.
    pub(crate) fn both(bytes: &[u8]) -> Read<[Self; 2]> {
        let short = || Corrupt("the file ends within its first two pages".into());
        let wrong = |number| move |problem| Corrupt::page(number, problem);
        let first = Self::parse(bytes).ok_or_else(short)?.map_err(wrong(0))?;
        let second =
            bytes.get(first.page_size..).and_then(Self::parse).ok_or_else(short)?.map_err(wrong(1))?;
        if second.page_size != first.page_size {
            return Err(Corrupt::page(1, "its page size is not that of the first meta page"));
        }
        // Commits take turns: any other pair of numbers comes from changed bytes.
        let (even, odd) = (first.transaction, second.transaction);
        let new = (even, odd) == (0, 0);
        if !new && (!even.is_multiple_of(2) || odd.is_multiple_of(2) || even.abs_diff(odd) != 1) {
            return Err(Corrupt(format!("the meta pages hold the commits {even} and {odd}")));
        }
        Ok([first, second])
    }

    /// The tree of the names of trees.
    pub(crate) fn names(&self) -> Root {
        self.main
    }

    /// The last commit of [`both`](Self::both).
    pub(crate) fn last(both: [Self; 2]) -> Self {
        if both[1].transaction > both[0].transaction { both[1] } else { both[0] }
    }
}
