//! The journal: every acknowledged change since the last commit, in a file of its own.
//!
//! The vector store's own log is never read back when the store opens, so an image that is only there is
//! lost with the process. Here a change is written, synced, and only then acknowledged; the next writer
//! replays what the last commit lacks.
//!
//! Layout, little-endian: 8 bytes of magic, then records of `length: u64`, the first 8 bytes of the
//! body's SHA-256, and the body. A record that the end of the file cuts short was never acknowledged and
//! is dropped; a broken record before the end is damage.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::error::{At, IndexError, Result};
use crate::files::sync_dir;
use crate::manifest::IndexConfig;
use crate::place::{NewPlace, Place};

const MAGIC: &[u8; 8] = b"r2fjrnl1";
const HEADER: u64 = 16;

/// One acknowledged change: all of it happens or none.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    /// Images added; an image of the same name goes.
    Add(Vec<NewPlace>),
    /// Images removed.
    Remove(Vec<Uuid>),
}

/// The head of a body: everything but the numbers.
#[derive(Serialize, Deserialize)]
enum Head {
    Add(Vec<(Place, usize)>),
    Remove(Vec<Uuid>),
}

/// An open journal, positioned at its end.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    path: PathBuf,
    length: u64,
}

impl Journal {
    /// An empty, durable journal at `path`; an older file there goes.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let mut file = File::create(path).at(path)?;
        file.write_all(MAGIC).and_then(|()| file.sync_all()).at(path)?;
        path.parent().map_or(Ok(()), sync_dir)?;
        Ok(Self { file, path: path.into(), length: MAGIC.len() as u64 })
    }

    /// Opens a journal, hands each change to `replay` in order, and cuts off an unfinished tail.
    pub(crate) fn recover(
        path: &Path,
        config: &IndexConfig,
        replay: impl FnMut(Change) -> Result<()>,
    ) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path).at(path)?;
        let length = scan(&file, path, config, replay)?;
        let mut journal = Self { file, path: path.into(), length };
        journal.cut_to(length)?;
        Ok(journal)
    }

    /// Writes a change and returns when it is durable. On an error the journal is as it was before.
    pub(crate) fn append(&mut self, change: &Change) -> Result<()> {
        let body = encode(change).map_err(io::Error::other).at(&self.path)?;
        let mut record = Vec::with_capacity(HEADER as usize + body.len());
        record.extend_from_slice(&(body.len() as u64).to_le_bytes());
        record.extend_from_slice(&sum(&body));
        record.extend_from_slice(&body);
        let written = self.file.write_all(&record).and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            self.cut_to(self.length)?;
            return Err(IndexError::io(&self.path, source));
        }
        self.length += record.len() as u64;
        Ok(())
    }

    /// Takes back everything behind `length`.
    pub(crate) fn cut_to(&mut self, length: u64) -> Result<()> {
        let cut = self.file.set_len(length).and_then(|()| self.file.seek(SeekFrom::Start(length)).map(drop));
        cut.and_then(|()| self.file.sync_all()).at(&self.path)?;
        self.length = length;
        Ok(())
    }

    /// Bytes in the file.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Whether no change is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.length == MAGIC.len() as u64
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Looks through a journal without changing it.
pub(crate) fn check(path: &Path, config: &IndexConfig) -> Result<()> {
    scan(&File::open(path).at(path)?, path, config, |_| Ok(())).map(drop)
}

/// Hands each whole record of a journal to `replay` and returns where the last one ends.
fn scan(
    file: &File,
    path: &Path,
    config: &IndexConfig,
    mut replay: impl FnMut(Change) -> Result<()>,
) -> Result<u64> {
    let total = file.metadata().at(path)?.len();
    let mut reader = BufReader::new(file);
    let mut magic = [0; MAGIC.len()];
    if reader.read_exact(&mut magic).is_err() || &magic != MAGIC {
        return Err(IndexError::damaged(path, "it does not begin like a journal"));
    }
    let mut length = MAGIC.len() as u64;
    while let Some(body) = next_body(&mut reader, total - length).at(path)? {
        let Some(body) = body else {
            // Cut short at the end, or zeros that a power cut left: neither was acknowledged.
            if ends_in_zeros(&mut reader).at(path)? || is_last(file, length, total).at(path)? {
                break;
            }
            return Err(IndexError::damaged(path, format!("the record at byte {length} is broken")));
        };
        let size = body.len() as u64;
        let change = decode(&body, config)
            .ok_or_else(|| IndexError::damaged(path, format!("the record at byte {length} is no change")))?;
        replay(change)?;
        length += HEADER + size;
    }
    Ok(length)
}

/// Bytes of changes in a journal file that nobody has open for writing here.
pub(crate) fn pending_bytes(path: &Path) -> u64 {
    path.metadata().map_or(0, |about| about.len().saturating_sub(MAGIC.len() as u64))
}

/// The next body; `Some(None)` if what follows is no whole record; `None` at the end.
#[allow(clippy::option_option)]
fn next_body(reader: &mut impl Read, left: u64) -> io::Result<Option<Option<Vec<u8>>>> {
    if left == 0 {
        return Ok(None);
    }
    if left < HEADER {
        return Ok(Some(None));
    }
    let (mut size, mut expected) = ([0; 8], [0; 8]);
    reader.read_exact(&mut size)?;
    reader.read_exact(&mut expected)?;
    let size = u64::from_le_bytes(size);
    if size > left - HEADER {
        return Ok(Some(None));
    }
    let mut body = vec![0; size as usize];
    reader.read_exact(&mut body)?;
    Ok(Some((sum(&body) == expected).then_some(body)))
}

fn ends_in_zeros(reader: &mut impl Read) -> io::Result<bool> {
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest)?;
    Ok(!rest.is_empty() && rest.iter().all(|&byte| byte == 0))
}

/// Whether the record at `at` reaches the end of the file, by its own length.
fn is_last(mut file: &File, at: u64, total: u64) -> io::Result<bool> {
    if total - at < HEADER {
        return Ok(true);
    }
    let mut size = [0; 8];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut size)?;
    Ok(u64::from_le_bytes(size) >= total - at - HEADER)
}

fn sum(body: &[u8]) -> [u8; 8] {
    let mut first = [0; 8];
    first.copy_from_slice(&Sha256::digest(body)[..8]);
    first
}

fn encode(change: &Change) -> serde_json::Result<Vec<u8>> {
    let head = match change {
        Change::Add(places) => {
            Head::Add(places.iter().map(|new| (new.place.clone(), new.local.len())).collect())
        }
        Change::Remove(ids) => Head::Remove(ids.clone()),
    };
    let head = serde_json::to_vec(&head)?;
    let mut body = (head.len() as u64).to_le_bytes().to_vec();
    body.extend_from_slice(&head);
    if let Change::Add(places) = change {
        for new in places {
            body.extend(new.global.iter().flat_map(|number| number.to_le_bytes()));
            body.extend_from_slice(&new.local);
        }
    }
    Ok(body)
}

fn decode(body: &[u8], config: &IndexConfig) -> Option<Change> {
    let (size, rest) = body.split_first_chunk::<8>()?;
    let (head, mut rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*size)).ok()?)?;
    match serde_json::from_slice(head).ok()? {
        Head::Remove(ids) => Some(Change::Remove(ids)),
        Head::Add(heads) => {
            let mut places = Vec::with_capacity(heads.len());
            for (place, local) in heads {
                let (numbers, after) = rest.split_at_checked(4 * config.global_dim)?;
                let (local, after) = after.split_at_checked(local)?;
                let numbers = numbers.as_chunks::<4>().0.iter();
                places.push(NewPlace {
                    place,
                    global: numbers.map(|&bytes| f32::from_le_bytes(bytes)).collect(),
                    local: local.to_vec(),
                });
                rest = after;
            }
            rest.is_empty().then_some(Change::Add(places))
        }
    }
}
