//! Files that are either whole or absent: atomic writes, syncs, sparse copies, checksums.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::{At, IndexError, Result};

/// Block of a sparse copy: blocks of zeros are skipped and stay holes.
const BLOCK: usize = 64 * 1024;

/// Replaces `path` by `bytes`: after a power cut the file holds the old bytes or the new, never a part.
pub(crate) fn write_atomically(path: &Path, mut bytes: &[u8]) -> Result<()> {
    copy_atomically(path, &mut bytes, |_| ())
}

/// The same by what `source` holds.
pub(crate) fn copy_atomically(path: &Path, mut source: &mut dyn Read, seen: impl FnMut(&[u8])) -> Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new).at(&new)?;
    copy_sparse(&mut source, &mut file, seen).and_then(|_| file.sync_all()).at(&new)?;
    fs::rename(&new, path).at(path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Makes the names in a directory durable. Systems that cannot sync a directory need not.
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    if cfg!(unix) { File::open(dir).and_then(|file| file.sync_all()).at(dir) } else { Ok(()) }
}

/// Makes every file and directory below `dir` durable, `dir` too.
pub(crate) fn sync_tree(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).at(dir)? {
        let path = entry.at(dir)?.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            OpenOptions::new().write(true).open(&path).and_then(|file| file.sync_all()).at(&path)?;
        }
    }
    sync_dir(dir)
}

/// Writes all of `source` to `target`, blocks of zeros as holes; `seen` gets every byte in order.
pub(crate) fn copy_sparse(
    source: &mut impl Read,
    target: &mut File,
    mut seen: impl FnMut(&[u8]),
) -> io::Result<u64> {
    let mut block = vec![0; BLOCK];
    let mut length = 0;
    loop {
        let mut filled = 0;
        while filled < BLOCK {
            match source.read(&mut block[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        let bytes = &block[..filled];
        seen(bytes);
        if bytes.iter().any(|&byte| byte != 0) {
            target.seek(SeekFrom::Start(length))?;
            target.write_all(bytes)?;
        }
        length += filled as u64;
        if filled < BLOCK {
            target.set_len(length)?;
            return Ok(length);
        }
    }
}

/// Length and SHA-256 of a file.
pub(crate) fn sum(path: &Path) -> Result<(u64, String)> {
    let mut sha = Sha256::new();
    let bytes = io::copy(&mut BufReader::new(File::open(path).at(path)?), &mut sha).at(path)?;
    Ok((bytes, hex(sha)))
}

pub(crate) fn hex(sha: Sha256) -> String {
    sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Removes a directory and what is in it; a missing one is fine.
pub(crate) fn remove_dir(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(IndexError::io(dir, source)),
        _ => Ok(()),
    }
}

/// Fails while the disk is not yet full, and says how much is missing.
pub(crate) fn need_room(dir: &Path, bytes: u64) -> Result<()> {
    let free = fs4::available_space(dir).at(dir)?;
    if free >= bytes {
        return Ok(());
    }
    let problem = format!("{} MiB are needed and {} MiB are free", bytes.div_ceil(1 << 20), free >> 20);
    Err(IndexError::Full { dir: dir.into(), problem })
}
