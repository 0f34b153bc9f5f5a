//! Looking through the whole structure of a commit: every page of every tree, and the list of free pages.

use super::meta::{Meta, NO_ROOT, Root};
use super::pages::{MAX_DEPTH, Pages, Value};
use super::{Corrupt, Read, u64_at};

/// What a walk found: pages in use, and pages that are free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) pages: u64,
    pub(crate) free: u64,
    pub(crate) page_size: u64,
}

impl Used {
    /// Pages of a commit that are neither used nor free: LMDB leaves none.
    pub(crate) fn leaves(&self, meta: &Meta) -> u64 {
        (meta.last_page + 1).abs_diff(self.pages.saturating_add(self.free))
    }
}

/// Checks that the trees of a commit are what LMDB makes: pages that are used once, keys in order, counts that
/// are true, and a list of free pages on which no used page is.
pub(crate) fn walk(pages: Pages<'_>, meta: &Meta) -> Read<Used> {
    // The last page is a number of the file: it sets no size of memory beyond the file's own. Free pages at the
    // end may never have been written, so the file may be a little shorter.
    let most = pages.in_file().saturating_mul(2) + (1 << 20);
    let mut walk = Walk { pages, seen: vec![0; pages.last.min(most) as usize / 64 + 1] };
    let free = walk.tree(&meta.free, Keys::Integers, &mut |_, value| match value {
        Value::Tree(_) => Err(Corrupt("a tree lies among the free pages".into())),
        _ => Ok(()),
    })?;
    let mut trees = Vec::new();
    let main = walk.tree(&meta.main, Keys::Bytes, &mut |_, value| match value {
        Value::Tree(root) => {
            trees.push(root);
            Ok(())
        }
        _ => Err(Corrupt("a value lies among the trees".into())),
    })?;
    let mut used = 2 + free + main;
    for root in trees {
        if root.flags != 0 {
            return Err(Corrupt("a tree has flags".into()));
        }
        used += walk.tree(&root, Keys::Bytes, &mut |_, value| match value {
            Value::Tree(_) => Err(Corrupt("a tree lies in the place of a value".into())),
            _ => Ok(()),
        })?;
    }
    let free = walk.free_pages(meta)?;
    Ok(Used { pages: used, free, page_size: pages.size() as u64 })
}

#[derive(Clone, Copy)]
enum Keys {
    Bytes,
    Integers,
}

impl Keys {
    fn ascend(self, a: &[u8], b: &[u8]) -> bool {
        match self {
            Self::Bytes => a < b,
            Self::Integers => a.len() == 8 && b.len() == 8 && u64_at(a, 0) < u64_at(b, 0),
        }
    }
}

struct Walk<'m> {
    pages: Pages<'m>,
    seen: Vec<u64>,
}

/// What a tree must have, counted.
#[derive(Default)]
struct Counts {
    branch: u64,
    leaf: u64,
    overflow: u64,
    entries: u64,
}

type Visit<'v, 'm> = &'v mut dyn FnMut(&'m [u8], Value<'m>) -> Read<()>;

impl<'m> Walk<'m> {
    /// Notes that `count` pages from `number` on are used.
    fn mark(&mut self, number: u64, count: u64) -> Read<()> {
        for page in number..number.saturating_add(count) {
            let word =
                self.seen.get_mut((page / 64) as usize).filter(|_| (2..=self.pages.last).contains(&page));
            let word = word.ok_or_else(|| Corrupt::page(page, "there is no such page"))?;
            if *word & (1 << (page % 64)) != 0 {
                return Err(Corrupt::page(page, "it is used twice"));
            }
            *word |= 1 << (page % 64);
        }
        Ok(())
    }

    fn tree(&mut self, root: &Root, keys: Keys, visit: Visit<'_, 'm>) -> Read<u64> {
        let mut counts = Counts::default();
        if root.page != NO_ROOT {
            if root.depth == 0 || root.depth > MAX_DEPTH {
                return Err(Corrupt::page(root.page, "the depth of its tree is impossible"));
            }
            let mut last = None;
            self.below(root.page, root.depth, keys, &mut counts, &mut last, visit)?;
        }
        let depth = if root.page == NO_ROOT { 0 } else { root.depth };
        let said = (root.depth, root.branch_pages, root.leaf_pages, root.overflow_pages, root.entries);
        if said != (depth, counts.branch, counts.leaf, counts.overflow, counts.entries) {
            return Err(Corrupt::page(root.page, "the counts of its tree are others"));
        }
        Ok(counts.branch + counts.leaf + counts.overflow)
    }

    fn below(
        &mut self,
        number: u64,
        depth: u16,
        keys: Keys,
        counts: &mut Counts,
        last: &mut Option<&'m [u8]>,
        visit: Visit<'_, 'm>,
    ) -> Read<()> {
        self.mark(number, 1)?;
        let page = self.pages.page(number)?;
        if page.is_leaf != (depth == 1) {
            return Err(Corrupt::page(number, "it is not as deep as the others"));
        }
        let disorder = || Corrupt::page(number, "its keys are not in order");
        for i in 0..page.count {
            let key = page.key(i)?;
            if page.is_leaf {
                if last.is_some_and(|last| !keys.ascend(last, key)) {
                    return Err(disorder());
                }
                *last = Some(key);
                counts.entries += 1;
                let value = page.value(i)?;
                if let Value::Overflow(first, bytes) = value {
                    let (_, pages) = self.pages.overflow(first, bytes)?;
                    self.mark(first, pages)?;
                    counts.overflow += pages;
                }
                visit(key, value)?;
                continue;
            }
            // A separator lies above all keys to its left, and not above the first to its right.
            if i > 0 && last.is_some_and(|last| !keys.ascend(last, key)) {
                return Err(disorder());
            }
            let child = page.child(i)?;
            self.below(child, depth - 1, keys, counts, last, visit)?;
            if i > 0 && self.first_key(child, depth - 1)?.is_some_and(|first| keys.ascend(first, key)) {
                return Err(disorder());
            }
        }
        if page.is_leaf {
            counts.leaf += 1
        } else {
            counts.branch += 1
        }
        Ok(())
    }

    fn first_key(&self, number: u64, depth: u16) -> Read<Option<&'m [u8]>> {
        let mut page = self.pages.page(number)?;
        for _ in 1..depth {
            page = self.pages.page(page.child(0)?)?;
        }
        page.key(0).map(Some)
    }

    /// Checks the list of free pages and returns how many there are.
    fn free_pages(&mut self, meta: &Meta) -> Read<u64> {
        let tree = super::pages::Tree { pages: self.pages, root: meta.free };
        let mut cursor = tree.from(&[])?;
        let mut count = 0;
        while let Some((key, value)) = cursor.next()? {
            let wrong = || Corrupt("the list of free pages is impossible".into());
            if u64_at(key, 0).is_none_or(|number| number > meta.transaction) {
                return Err(wrong());
            }
            let length = u64_at(value, 0).ok_or_else(wrong)?;
            if !value.len().is_multiple_of(8) || length >= value.len() as u64 / 8 {
                return Err(wrong());
            }
            for i in 1..=length as usize {
                self.mark(u64_at(value, 8 * i).ok_or_else(wrong)?, 1)?;
            }
            count += length;
        }
        Ok(count)
    }
}
