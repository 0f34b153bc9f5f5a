//! Commits: complete pictures of the store that never change once they are visible.
//!
//! The store locks its directory, maps its files writable and changes them in place, so two processes
//! cannot have one directory open. Therefore the writer works in a directory of its own and commits
//! numbered generations; `CURRENT` names the one that counts and is replaced atomically. A reader opens a
//! view of its own made of hard links to a generation.
//!
//! A generation shares the files of vectors and graphs with the writer's directory by hard link: the store
//! only appends to vector files as long as no stored image is overwritten (the writer removes an image
//! before it adds it again), and a generation has its own copy of the small files that say how many
//! vectors count. All other files are copied. A commit thus costs about as many written bytes as the
//! places' payload, and no second copy of the descriptors.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{At, IndexError, Result};
use crate::files::{copy, disk_bytes, link, remove_dir, sync_dir, sync_tree, write_atomically};

const CURRENT: &str = "CURRENT";
const GENERATIONS: &str = "generations";
const STATE: &str = "state.json";

/// Entries of the store's directory that are derived again at each opening.
const NOT_KEPT: [&str; 2] = ["wal", "temp_segments"];

/// The state of the store in a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// Number of the store's next operation: it ignores an operation that is older than an image.
    pub(crate) next_operation: u64,
}

/// Which files two directories may share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    /// Those that are only appended to or never changed: for a directory that will be written.
    Appended,
    /// All: for a directory that is only read.
    All,
}

/// Directory of a generation.
pub(crate) fn dir_of(index: &Path, number: u64) -> PathBuf {
    index.join(GENERATIONS).join(format!("{number:010}"))
}

/// File of the changes that came after a generation.
pub(crate) fn journal_of(index: &Path, number: u64) -> PathBuf {
    index.join(format!("journal-{number:010}"))
}

/// Number of the generation that counts.
pub(crate) fn current(index: &Path) -> Result<u64> {
    let path = index.join(CURRENT);
    let text = match fs::read_to_string(&path) {
        Err(source) if source.kind() == io::ErrorKind::NotFound => {
            return Err(IndexError::damaged(index, "the file CURRENT is missing"));
        }
        text => text.at(&path)?,
    };
    text.trim().parse::<u64>().map_err(|error| {
        IndexError::damaged(index, format!("the file CURRENT holds no generation ({error})"))
    })
}

/// The state in a generation, or in a directory made from one.
pub(crate) fn state(dir: &Path) -> Result<State> {
    let path = dir.join(STATE);
    let bytes = fs::read(&path).at(&path)?;
    serde_json::from_slice(&bytes).map_err(|error| IndexError::damaged(dir, format!("{STATE}: {error}")))
}

/// Makes generation `number` of the store in `work` durable. It counts once [`set_current`] names it.
pub(crate) fn write(index: &Path, number: u64, work: &Path, state: State) -> Result<()> {
    let dir = dir_of(index, number);
    remove_dir(&dir)?;
    fs::create_dir_all(&dir).at(&dir)?;
    share(work, &dir, Share::Appended)?;
    let json = serde_json::to_vec(&state).map_err(io::Error::other).at(&dir)?;
    write_atomically(&dir.join(STATE), &json)?;
    sync_tree(&dir)?;
    sync_dir(&index.join(GENERATIONS))
}

/// Makes `number` the generation that counts, at once and durably.
pub(crate) fn set_current(index: &Path, number: u64) -> Result<()> {
    write_atomically(&index.join(CURRENT), format!("{number}\n").as_bytes())
}

/// Bytes that the index takes on the disk: the generation that counts, and the changes after it.
pub(crate) fn bytes(index: &Path) -> Result<u64> {
    let number = current(index)?;
    Ok(disk_bytes(&dir_of(index, number))? + crate::journal::pending_bytes(&journal_of(index, number)))
}

/// Removes what an ended writer or an older commit left behind.
pub(crate) fn remove_others(index: &Path, keep: u64) -> Result<()> {
    let generations = index.join(GENERATIONS);
    for entry in fs::read_dir(&generations).at(&generations)? {
        let path = entry.at(&generations)?.path();
        if path != dir_of(index, keep) {
            remove_dir(&path)?;
        }
    }
    for entry in fs::read_dir(index).at(index)? {
        let entry = entry.at(index)?;
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with("journal-") && path != journal_of(index, keep) {
            fs::remove_file(&path).at(&path)?;
        }
    }
    Ok(())
}

/// Rebuilds the tree `from` below the existing directory `to`, without logs and scratch space.
pub(crate) fn share(from: &Path, to: &Path, which: Share) -> Result<()> {
    for entry in fs::read_dir(from).at(from)? {
        let entry = entry.at(from)?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if NOT_KEPT.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        if path.is_dir() {
            fs::create_dir(&target).at(&target)?;
            share(&path, &target, which)?;
        } else if which == Share::All || is_appended(&path) {
            link(&path, &target)?;
        } else {
            copy(&path, &target)?;
        }
    }
    Ok(())
}

/// Whether the store only appends to this file, or writes it once: chunks and matrices of vectors, graphs.
fn is_appended(path: &Path) -> bool {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let file = name(path);
    let parent = path.parent().map(name).unwrap_or_default();
    (parent == "vectors" && file.starts_with("chunk_"))
        || file == "matrix.dat"
        || parent.starts_with("vector_index")
}

/// Makes an index of a directory that holds nothing but a manifest and generation 1.
pub(crate) fn adopt(index: &Path) -> Result<()> {
    state(&dir_of(index, 1))?;
    crate::journal::Journal::create(&journal_of(index, 1))?;
    set_current(index, 1)
}
