//! Trees of pages: a key's value, and the entries in order. Every offset is checked before it is followed.

use std::cmp::Ordering;

use super::meta::{HEADER, Meta, NO_ROOT, ROOT_BYTES, Root};
use super::{Corrupt, Read, u16_at, u32_at, u64_at};

const P_BRANCH: u16 = 0x01;
const P_LEAF: u16 = 0x02;
const P_OVERFLOW: u16 = 0x04;
const F_BIGDATA: u16 = 0x01;
const F_SUBDATA: u16 = 0x02;

/// Bytes of a node before its key.
const NODE: usize = 8;

/// Deepest tree that LMDB makes.
pub(super) const MAX_DEPTH: u16 = 32;

/// The pages of one commit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pages<'m> {
    bytes: &'m [u8],
    size: usize,
    pub(super) last: u64,
}

/// One page of a tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page<'m> {
    bytes: &'m [u8],
    pub(super) number: u64,
    pub(super) is_leaf: bool,
    /// Entries.
    pub(super) count: usize,
    upper: usize,
}

/// What a node of a leaf holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'m> {
    Bytes(&'m [u8]),
    /// A value on pages of its own: the first page, and bytes.
    Overflow(u64, usize),
    Tree(Root),
}

impl<'m> Pages<'m> {
    /// The pages of the commit `meta` in a file that begins with `bytes`.
    pub(crate) fn new(bytes: &'m [u8], meta: &Meta) -> Self {
        Self { bytes, size: meta.page_size, last: meta.last_page }
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Pages that the file is long enough for.
    pub(super) fn in_file(&self) -> u64 {
        (self.bytes.len() / self.size) as u64
    }

    /// The bytes of `count` pages from `number` on.
    fn span(&self, number: u64, count: u64) -> Read<&'m [u8]> {
        let end = number.checked_add(count).filter(|&end| number >= 2 && end - 1 <= self.last);
        let end = end.ok_or_else(|| Corrupt::page(number, "there is no such page"))?;
        let bytes = |page: u64| usize::try_from(page).ok()?.checked_mul(self.size);
        let span = bytes(number).zip(bytes(end)).and_then(|(from, to)| self.bytes.get(from..to));
        let span = span.ok_or_else(|| Corrupt::page(number, "the file ends before it: it was cut short"))?;
        if u64_at(span, 0) == Some(number) {
            return Ok(span);
        }
        Err(Corrupt::page(number, "it has the number of another page"))
    }

    pub(super) fn page(&self, number: u64) -> Read<Page<'m>> {
        let bytes = self.span(number, 1)?;
        let field = |at| u16_at(bytes, at).map_or(0, usize::from);
        let is_leaf = match u16_at(bytes, 10) {
            Some(P_BRANCH) => false,
            Some(P_LEAF) => true,
            _ => return Err(Corrupt::page(number, "it is no page of a tree")),
        };
        let (lower, upper) = (field(12), field(14));
        if lower < HEADER || !lower.is_multiple_of(2) || lower > upper || upper > self.size {
            return Err(Corrupt::page(number, "its bounds are impossible"));
        }
        let count = (lower - HEADER) / 2;
        if count == 0 || (!is_leaf && count < 2) {
            return Err(Corrupt::page(number, "it has too few entries"));
        }
        Ok(Page { bytes, number, is_leaf, count, upper })
    }

    /// A value on pages of its own.
    pub(super) fn overflow(&self, number: u64, bytes: usize) -> Read<(&'m [u8], u64)> {
        let count = (HEADER + bytes).div_ceil(self.size) as u64;
        let span = self.span(number, count)?;
        if u16_at(span, 10) != Some(P_OVERFLOW) || u32_at(span, 12).map(u64::from) != Some(count) {
            return Err(Corrupt::page(number, "it does not begin a long value"));
        }
        Ok((&span[HEADER..HEADER + bytes], count))
    }

    fn bytes_of(&self, value: Value<'m>) -> Read<&'m [u8]> {
        match value {
            Value::Bytes(bytes) => Ok(bytes),
            Value::Overflow(page, bytes) => Ok(self.overflow(page, bytes)?.0),
            Value::Tree(_) => Err(Corrupt("a tree lies in the place of a value".into())),
        }
    }

    /// The tree with this root.
    pub(crate) fn at(self, root: Root) -> Tree<'m> {
        Tree { pages: self, root }
    }

    /// The tree called `name`; none if the file has no such tree.
    pub(crate) fn tree(self, meta: &Meta, name: &str) -> Read<Option<Tree<'m>>> {
        let main = Tree { pages: self, root: meta.main };
        let Some((page, at)) = main.position(name.as_bytes())? else { return Ok(None) };
        match page.value(at)? {
            Value::Tree(root) => Ok(Some(Tree { pages: self, root })),
            _ => Err(Corrupt::page(page.number, format!("{name:?} is no tree"))),
        }
    }
}

impl<'m> Page<'m> {
    /// The node of an entry: its head (two numbers and flags), its key, and where its data begins.
    #[inline]
    fn node(&self, index: usize) -> Read<(u32, u16, &'m [u8], usize)> {
        let node = || {
            let at = usize::from(u16_at(self.bytes, HEADER + 2 * index)?);
            if at < self.upper || !at.is_multiple_of(2) {
                return None;
            }
            let (low, flags) = (u16_at(self.bytes, at)?, u16_at(self.bytes, at + 4)?);
            let high = u16_at(self.bytes, at + 2)?;
            let data = at + NODE + usize::from(u16_at(self.bytes, at + 6)?);
            let key = self.bytes.get(at + NODE..data)?;
            let number = if cfg!(target_endian = "big") {
                u32::from(low) << 16 | u32::from(high)
            } else {
                u32::from(high) << 16 | u32::from(low)
            };
            Some((number, flags, key, data))
        };
        node().ok_or_else(|| Corrupt::page(self.number, format!("entry {index} lies outside of it")))
    }

    pub(super) fn key(&self, index: usize) -> Read<&'m [u8]> {
        Ok(self.node(index)?.2)
    }

    /// The page below entry `index` of a branch.
    pub(super) fn child(&self, index: usize) -> Read<u64> {
        let (number, high, ..) = self.node(index)?;
        Ok(u64::from(high) << 32 | u64::from(number))
    }

    pub(super) fn value(&self, index: usize) -> Read<Value<'m>> {
        let (length, flags, _, data) = self.node(index)?;
        let wrong = || Corrupt::page(self.number, format!("the value of entry {index} is impossible"));
        let length = length as usize;
        let inside = |length| self.bytes.get(data..).and_then(|rest| rest.get(..length)).ok_or_else(wrong);
        match flags {
            0 => Ok(Value::Bytes(inside(length)?)),
            F_BIGDATA => Ok(Value::Overflow(u64_at(inside(8)?, 0).ok_or_else(wrong)?, length)),
            F_SUBDATA if length == ROOT_BYTES => {
                Ok(Value::Tree(Root::parse(inside(length)?).ok_or_else(wrong)?))
            }
            _ => Err(wrong()),
        }
    }

    /// The first entry whose key is not below `key`. A branch's first key counts as lower than all.
    ///
    /// The search begins at `guess`, and continues from there in steps that double until halving is the shorter way: where
    /// the guess is right it reads two keys, and it never reads more than twice those of a search by halves.
    fn search(&self, key: &[u8], guess: Option<usize>) -> Read<usize> {
        let (mut low, mut high) = (usize::from(!self.is_leaf), self.count);
        let mut step = if guess.is_some() { 1 } else { self.count };
        let mut at = guess.unwrap_or(low.midpoint(high)).clamp(low, high - 1);
        loop {
            let below = match self.key(at)?.cmp(key) {
                Ordering::Less => true,
                Ordering::Equal => return Ok(at),
                Ordering::Greater => false,
            };
            if below {
                low = at + 1
            } else {
                high = at
            }
            if low >= high {
                return Ok(low);
            }
            let middle = low.midpoint(high);
            at = if below { middle.min(low + step - 1) } else { middle.max(high.saturating_sub(step)) };
            step = (2 * step).min(self.count);
        }
    }

    /// The entry of a branch whose page holds `key`.
    fn descend(&self, key: &[u8], guess: Option<usize>) -> Read<usize> {
        let at = self.search(key, guess)?;
        Ok(if at < self.count && self.key(at)? == key { at } else { at - 1 })
    }
}

/// Where a number lies among those of a page, as far as the pages above say. Slots and blocks are numbered almost without
/// gaps: a guess by proportion is seldom off by much, and a search by halves would wait for memory at every step.
#[derive(Debug, Clone, Copy)]
struct Around {
    key: Option<u32>,
    /// The least key that the page can have, and the first one beyond it.
    low: u32,
    end: Option<u32>,
}

impl Around {
    fn new(key: &[u8]) -> Self {
        Self { key: number(key), low: 0, end: None }
    }

    /// An entry near which the key is, if it is a number.
    fn guess(self, page: &Page<'_>) -> Option<usize> {
        let offset = u64::from(self.key?.saturating_sub(self.low));
        match self.end {
            Some(end) => {
                let span = u64::from(end.saturating_sub(self.low)).max(1);
                Some((offset * page.count as u64 / span) as usize)
            }
            None => page.is_leaf.then_some(offset as usize),
        }
    }

    /// Goes down into entry `at` of a branch.
    fn descend(&mut self, page: &Page<'_>, at: usize) -> Read<()> {
        if self.key.is_some() {
            // A branch's first key is not stored.
            self.low = number(page.key(at)?).unwrap_or(self.low);
            if at + 1 < page.count {
                self.end = number(page.key(at + 1)?).or(self.end);
            }
        }
        Ok(())
    }
}

/// The number that a key of 4 bytes is.
fn number(key: &[u8]) -> Option<u32> {
    key.try_into().map(u32::from_be_bytes).ok()
}

/// One tree of a commit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tree<'m> {
    pub(super) pages: Pages<'m>,
    pub(crate) root: Root,
}

/// An entry: key and value.
pub(crate) type Entry<'m> = (&'m [u8], &'m [u8]);

impl<'m> Tree<'m> {
    /// The value of `key`.
    pub(crate) fn get(&self, key: &[u8]) -> Read<Option<&'m [u8]>> {
        match self.position(key)? {
            Some((page, at)) => self.pages.bytes_of(page.value(at)?).map(Some),
            None => Ok(None),
        }
    }

    fn position(&self, key: &[u8]) -> Read<Option<(Page<'m>, usize)>> {
        if self.root.page == NO_ROOT {
            return Ok(None);
        }
        let (mut page, mut around) = (self.pages.page(self.root.page)?, Around::new(key));
        for _ in 0..MAX_DEPTH {
            let guess = around.guess(&page);
            if page.is_leaf {
                let at = page.search(key, guess)?;
                return Ok((at < page.count && page.key(at)? == key).then_some((page, at)));
            }
            let at = page.descend(key, guess)?;
            around.descend(&page, at)?;
            page = self.pages.page(page.child(at)?)?;
        }
        Err(Corrupt::page(self.root.page, "the tree has no end"))
    }

    /// A cursor before the first entry whose key is not below `key`.
    pub(crate) fn from(&self, key: &[u8]) -> Read<Cursor<'m>> {
        let mut cursor = Cursor { pages: self.pages, path: Vec::with_capacity(4) };
        if self.root.page == NO_ROOT {
            return Ok(cursor);
        }
        let mut page = self.pages.page(self.root.page)?;
        while !page.is_leaf {
            let at = page.descend(key, None)?;
            cursor.path.push((page, at));
            if cursor.path.len() > usize::from(MAX_DEPTH) {
                return Err(Corrupt::page(self.root.page, "the tree has no end"));
            }
            page = self.pages.page(page.child(at)?)?;
        }
        cursor.path.push((page, page.search(key, None)?));
        Ok(cursor)
    }
}

/// A place between two entries of a tree.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'m> {
    pages: Pages<'m>,
    /// From the root to the leaf: page, and the entry that comes next there.
    path: Vec<(Page<'m>, usize)>,
}

impl<'m> Cursor<'m> {
    /// Steps over the entry that comes next.
    pub(crate) fn next(&mut self) -> Read<Option<Entry<'m>>> {
        let Some(&(leaf, at)) = self.path.last() else { return Ok(None) };
        if at < leaf.count {
            if let Some((_, at)) = self.path.last_mut() {
                *at += 1;
            }
            return self.entry(leaf, at);
        }
        // Up to a branch with another page, and down to that page's first entry.
        let depth = self.path.len();
        let up = self.path.iter().rposition(|(page, at)| !page.is_leaf && at + 1 < page.count);
        let Some(up) = up else { return Ok(None) };
        self.path[up].1 += 1;
        self.path.truncate(up + 1);
        while self.path.len() < depth {
            let (page, at) = self.path[self.path.len() - 1];
            self.path.push((self.pages.page(page.child(at)?)?, 0));
        }
        self.rest_on_leaf()?;
        self.next()
    }

    /// Steps back over the entry that came last.
    pub(crate) fn back(&mut self) -> Read<Option<Entry<'m>>> {
        let Some(&(leaf, at)) = self.path.last() else { return Ok(None) };
        if at > 0 {
            if let Some((_, at)) = self.path.last_mut() {
                *at -= 1;
            }
            return self.entry(leaf, at - 1);
        }
        let depth = self.path.len();
        let up = self.path.iter().rposition(|(page, at)| !page.is_leaf && *at > 0);
        let Some(up) = up else { return Ok(None) };
        self.path[up].1 -= 1;
        self.path.truncate(up + 1);
        while self.path.len() < depth {
            let (page, at) = self.path[self.path.len() - 1];
            let below = self.pages.page(page.child(at)?)?;
            let last = below.count - usize::from(!below.is_leaf);
            self.path.push((below, last));
        }
        self.rest_on_leaf()?;
        self.back()
    }

    fn entry(&self, leaf: Page<'m>, at: usize) -> Read<Option<Entry<'m>>> {
        Ok(Some((leaf.key(at)?, self.pages.bytes_of(leaf.value(at)?)?)))
    }

    /// All leaves are equally deep.
    fn rest_on_leaf(&self) -> Read<()> {
        let wrong =
            self.path.iter().enumerate().find(|(i, (page, _))| page.is_leaf != (i + 1 == self.path.len()));
        match wrong {
            Some((_, (page, _))) => Err(Corrupt::page(page.number, "it is not as deep as the others")),
            None => Ok(()),
        }
    }
}
