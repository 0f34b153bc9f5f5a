//! Sets of slots, a bit per slot.

/// A set of slots.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SlotSet {
    words: Vec<u64>,
}

impl SlotSet {
    /// No slot, with room for `slots`.
    pub(crate) fn empty(slots: u32) -> Self {
        Self { words: vec![0; slots.div_ceil(64) as usize] }
    }

    /// The set of these words; a set of all slots of a block begins at a multiple of 64.
    pub(crate) fn from_words(words: Vec<u64>) -> Self {
        Self { words }
    }

    pub(crate) fn words(&self) -> &[u64] {
        &self.words
    }

    pub(crate) fn words_mut(&mut self) -> &mut [u64] {
        &mut self.words
    }

    pub(crate) fn contains(&self, slot: u32) -> bool {
        self.words.get(slot as usize / 64).is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }

    /// Adds a slot within the set's room.
    pub(crate) fn insert(&mut self, slot: u32) {
        if let Some(word) = self.words.get_mut(slot as usize / 64) {
            *word |= 1 << (slot % 64);
        }
    }

    pub(crate) fn remove(&mut self, slot: u32) {
        if let Some(word) = self.words.get_mut(slot as usize / 64) {
            *word &= !(1 << (slot % 64));
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Leaves what is in both.
    pub(crate) fn intersect(&mut self, other: &Self) {
        for (i, word) in self.words.iter_mut().enumerate() {
            *word &= other.words.get(i).copied().unwrap_or(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_into_it() {
        let mut set = SlotSet::empty(130);
        for slot in [0, 63, 64, 129] {
            set.insert(slot);
        }
        set.insert(1000);
        set.remove(64);
        assert_eq!(set.words(), [1 | 1 << 63, 0, 2]);
        assert_eq!(
            (set.count(), set.contains(129), set.contains(64), set.contains(5000)),
            (3, true, false, false)
        );
        let mut other = SlotSet::empty(64);
        other.insert(63);
        set.intersect(&other);
        assert_eq!(set.words(), [1 << 63, 0, 0]);
    }
}
