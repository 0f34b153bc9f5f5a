//! What is read is what LMDB wrote, of trees of any size, keys and values.

#![allow(clippy::unwrap_used, reason = "a failure of a test's own set-up is a failed test")]

use std::collections::{BTreeMap, BTreeSet};

use heed::types::Bytes;

use super::file::DataFile;
use super::meta::Meta;
use super::pages::{Pages, Tree};
use super::walk::walk;
use super::{Corrupt, env};

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 8) as usize % limit
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.below(256) as u8).collect()
    }

    fn number(&mut self) -> Vec<u8> {
        let number = [self.below(3000), 1_000_000 + self.below(50_000), self.below(1 << 32)][self.below(3)];
        (number as u32).to_be_bytes().to_vec()
    }

    fn key(&mut self) -> Vec<u8> {
        let length = 1 + self.below(40);
        if length < 14 { self.number() } else { self.bytes(length - 13) }
    }
}

/// A tree compared with a map: every key, every gap between keys, forwards and backwards from anywhere.
fn compare(tree: Tree<'_>, expected: &BTreeMap<Vec<u8>, Vec<u8>>, random: &mut Random) {
    for (key, value) in expected {
        assert_eq!(tree.get(key).unwrap(), Some(&value[..]));
    }
    for _ in 0..200 {
        let key = random.key();
        assert_eq!(tree.get(&key).unwrap(), expected.get(&key).map(Vec::as_slice));
        let cursor = tree.from(&key).unwrap();
        let (mut forth, mut back) = (cursor.clone(), cursor);
        let mut after = expected.range(key.clone()..);
        let mut before = expected.range(..key).rev();
        for _ in 0..1 + random.below(300) {
            let entry = |entry: (&'_ Vec<u8>, &'_ Vec<u8>)| (entry.0.clone(), entry.1.clone());
            let owned = |entry: (&[u8], &[u8])| (entry.0.to_vec(), entry.1.to_vec());
            assert_eq!(forth.next().unwrap().map(owned), after.next().map(entry));
            assert_eq!(back.back().unwrap().map(owned), before.next().map(entry));
        }
        // Turning round on the way.
        let last = back.next().unwrap().map(|(key, _)| key.to_vec());
        assert_eq!(back.back().unwrap().map(|(key, _)| key.to_vec()), last);
    }
    let mut cursor = tree.from(&[]).unwrap();
    let all = std::iter::from_fn(|| cursor.next().unwrap());
    assert!(all.map(|(key, _)| key).eq(expected.keys().map(Vec::as_slice)));
    assert_eq!(tree.root.entries, expected.len() as u64);
}

#[test]
fn trees_are_read_as_lmdb_wrote_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data.mdb");
    std::fs::File::create_new(&path).unwrap();
    let shared = env::open(&path, 0).unwrap();
    let mut txn = shared.env().write_txn().unwrap();
    let names = ["one", "two", "none"];
    let databases: Vec<heed::Database<Bytes, Bytes>> =
        names.iter().map(|name| shared.env().create_database(&mut txn, Some(name)).unwrap()).collect();
    txn.commit().unwrap();
    let mut random = Random(12345);
    let mut expected: [BTreeMap<Vec<u8>, Vec<u8>>; 3] = Default::default();
    let file = DataFile::open(&path).unwrap();
    for round in 0..25 {
        let mut txn = shared.env().write_txn().unwrap();
        let mut written = BTreeSet::new();
        for _ in 0..400 {
            let tree = random.below(2);
            // Later rounds take away more than they add.
            if random.below(25) < round {
                let at = random.below(expected[tree].len().max(1));
                if let Some(key) = expected[tree].keys().nth(at).cloned() {
                    assert!(databases[tree].delete(&mut txn, &key).unwrap());
                    expected[tree].remove(&key);
                }
                continue;
            }
            // The second tree has numbers as keys, close together and apart.
            let key = if tree == 1 { random.number() } else { random.key() };
            // A commit writes a key once: written again, a shorter value would keep the pages of the longer one.
            if !written.insert((tree, key.clone())) {
                continue;
            }
            let length = [random.below(50), random.below(3000), random.below(20_000)][random.below(3)];
            let value = random.bytes(length);
            databases[tree].put(&mut txn, &key, &value).unwrap();
            expected[tree].insert(key, value);
        }
        txn.commit().unwrap();
        if round % 4 != 0 {
            continue;
        }
        let slot = shared.reader_slot().unwrap();
        let meta = Meta::last(file.read_metas().unwrap().unwrap());
        assert_eq!(meta.transaction, slot.id() as u64);
        let mapped = file.map((meta.last_page + 1) * meta.page_size as u64).unwrap();
        let pages = Pages::new(mapped.bytes(), &meta);
        for (name, expected) in names.iter().zip(&expected) {
            compare(pages.tree(&meta, name).unwrap().unwrap(), expected, &mut random);
        }
        assert!(pages.tree(&meta, "other").unwrap().is_none());
        // Every page is used or free.
        let used = walk(pages, &meta).unwrap();
        assert_eq!(used.pages + used.free, meta.last_page + 1, "round {round}: {used:?}");
        // What is too short is an error.
        let short = Pages::new(&mapped.bytes()[..2 * meta.page_size], &meta);
        assert!(matches!(walk(short, &meta), Err(Corrupt(_))));
    }
}
