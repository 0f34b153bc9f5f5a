//! An index as one file: an uncompressed tar, whose first entry lists every file with its length and
//! SHA-256. The sums find accidents; they do not prove who wrote the file.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::attachment::{self, ATTACHMENTS};
use crate::copy;
use crate::error::{At, IndexError, Result};
use crate::files::{copy_sparse, hex, remove_dir, sum, sync_dir, sync_tree};
use crate::manifest::{MANIFEST, Manifest};
use crate::schema::Shape;
use crate::store::{Access, Store, data_path, remove_data};
use crate::writer::prepare_empty;

const SUMS: &str = "checksums.json";

/// Longest list of files that an import reads into memory.
const SUMS_LIMIT: u64 = 64 << 20;

/// Format of exported files.
const FORMAT: u32 = 4;

/// Name of the data file in an exported file.
const DATA: &str = "store/places.mdb";

#[derive(Serialize, Deserialize)]
struct Sums {
    format: u32,
    files: BTreeMap<String, Sum>,
}

#[derive(Serialize, Deserialize)]
struct Sum {
    bytes: u64,
    sha256: String,
}

/// Writes all acknowledged images of the index at `dir` to the new file `to`, whole or not at all: a compacted copy of
/// the last commit. A writer may work meanwhile. For a while it takes room for two copies beside `to`.
///
/// # Errors
/// [`Request`](IndexError::Request) if `to` exists, [`Damaged`](IndexError::Damaged) for an index of which a value is
/// not what was stored, or as for [`Reader::open`](crate::Reader::open).
pub fn export(dir: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
    let (dir, to) = (dir.as_ref(), to.as_ref());
    if to.exists() {
        return Err(IndexError::request(to, "it exists already; choose another name"));
    }
    let manifest = Manifest::read(dir)?;
    let data = beside(&to.with_extension("mdb"));
    let exported = copy_last(dir, &manifest, &data).and_then(|()| write_archive(dir, &manifest, &data, to));
    remove_data(&data);
    exported.map_err(|error| error.about(&[&data, &beside(to)], to))
}

/// Copies the last commit.
fn copy_last(dir: &Path, manifest: &Manifest, data: &Path) -> Result<()> {
    let store = Store::open(dir, Access::Read)?;
    store.ask(|picture| copy::copy(picture, Shape::new(manifest.config.global_dim), data))
}

fn write_archive(dir: &Path, manifest: &Manifest, data: &Path, to: &Path) -> Result<()> {
    let mut sources = vec![(MANIFEST.to_owned(), dir.join(MANIFEST))];
    let attachments = dir.join(ATTACHMENTS);
    if attachments.is_dir() {
        list(&attachments, ATTACHMENTS, &mut sources)?;
    }
    sources.push((DATA.to_owned(), data.to_owned()));

    let mut files = BTreeMap::new();
    for (name, path) in &sources {
        let (bytes, sha256) = sum(path)?;
        files.insert(name.clone(), Sum { bytes, sha256 });
    }
    let found = |name: &str| Ok(files.get(&format!("{ATTACHMENTS}/{name}")).map(|sum| sum.sha256.clone()));
    if let Some(problem) = attachment::problems(&manifest.attachments, found)?.into_iter().next() {
        return Err(IndexError::damaged(dir, problem));
    }
    let json = serde_json::to_vec_pretty(&Sums { format: FORMAT, files }).map_err(io::Error::other).at(to)?;

    let part = beside(to);
    let written = write_tar(&part, &json, &sources).and_then(|()| fs::rename(&part, to).at(to));
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written?;
    sync_dir(&folder_of(to))
}

/// Makes an index in `dir`, which must not exist or be empty, from an exported file. The index appears
/// whole or not at all.
///
/// # Errors
/// [`Exists`](IndexError::Exists), [`Io`](IndexError::Io) for a file that cannot be opened, or [`Archive`](IndexError::Archive) for
/// one that is cut short, changed, or holds anything but the files of an index.
pub fn import(from: impl AsRef<Path>, dir: impl AsRef<Path>) -> Result<()> {
    let (from, dir) = (from.as_ref(), dir.as_ref());
    let existed = dir.exists();
    prepare_empty(dir)?;
    let part = beside(dir);
    remove_dir(&part)?;
    fs::create_dir(&part).at(&part)?;
    let done = unpack(from, &part).and_then(|()| {
        // Opened for writing, all of its structure is looked at.
        drop(Store::open(&part, Access::Write(0))?);
        let _ = fs::remove_file(crate::lmdb::env::lock_path(&data_path(&part, 1)));
        sync_tree(&part)?;
        fs::remove_dir(dir).at(dir)?;
        fs::rename(&part, dir).at(dir)
    });
    if let Err(error) = done {
        let _ = remove_dir(&part);
        if !existed {
            let _ = fs::remove_dir(dir);
        }
        return Err(match error.about(&[&part], dir) {
            error @ (IndexError::Archive { .. } | IndexError::Full { .. } | IndexError::ReadOnly { .. }) => {
                error
            }
            IndexError::Io { path, source } if path == from => IndexError::Io { path, source },
            other => {
                IndexError::Archive { file: from.into(), problem: format!("{other}; nothing was imported") }
            }
        });
    }
    sync_dir(&folder_of(dir))
}

fn write_tar(part: &Path, sums: &[u8], sources: &[(String, PathBuf)]) -> Result<()> {
    let write = || -> io::Result<()> {
        let mut tar = tar::Builder::new(BufWriter::with_capacity(1 << 20, File::create(part)?));
        tar.mode(tar::HeaderMode::Deterministic);
        let mut header = tar::Header::new_gnu();
        header.set_size(sums.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, SUMS, sums)?;
        for (name, path) in sources {
            tar.append_file(name, &mut File::open(path)?)?;
        }
        let mut writer = tar.into_inner()?;
        writer.flush()?;
        writer.get_ref().sync_all()
    };
    write().at(part)
}

fn unpack(from: &Path, to: &Path) -> Result<()> {
    let wrong = |problem: String| IndexError::Archive {
        file: from.into(),
        problem: format!("{problem}; nothing was imported"),
    };
    let unreadable = |error: io::Error| wrong(format!("it is cut short or no exported index ({error})"));
    let mut tar = tar::Archive::new(BufReader::with_capacity(1 << 20, File::open(from).at(from)?));
    let mut entries = tar.entries().map_err(unreadable)?;

    let first = entries.next().ok_or_else(|| wrong("it is empty".into()))?.map_err(unreadable)?;
    if first.path_bytes().as_ref() != SUMS.as_bytes() {
        return Err(wrong(format!("it does not begin with {SUMS}: it is no exported index")));
    }
    let mut json = Vec::new();
    first.take(SUMS_LIMIT).read_to_end(&mut json).map_err(unreadable)?;
    let sums: Sums = serde_json::from_slice(&json).map_err(|error| wrong(format!("{SUMS}: {error}")))?;
    if sums.format != FORMAT {
        return Err(wrong(format!("it has format {}, and this program knows format {FORMAT}", sums.format)));
    }
    let mut missing = sums.files;
    for entry in entries {
        let mut entry = entry.map_err(unreadable)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let kind = entry.header().entry_type();
        if !(kind.is_file() || kind.is_gnu_sparse()) {
            return Err(wrong(format!("{name:?} is not a plain file")));
        }
        // Only what the list names, only below the target, and each once.
        let sum =
            missing.remove(&name).ok_or_else(|| wrong(format!("{name:?} is not on its list, or twice")))?;
        let path = place_for(&name, to).ok_or_else(|| wrong(format!("{name:?} has no place in an index")))?;
        if entry.size() != sum.bytes {
            return Err(wrong(format!("{name:?} has {} bytes instead of {}", entry.size(), sum.bytes)));
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).at(folder)?;
        }
        let mut sha = Sha256::new();
        let mut file = File::create_new(&path).at(&path)?;
        let copied = copy_sparse(&mut entry, &mut file, |bytes| sha.update(bytes)).map_err(|error| {
            match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                    IndexError::io(to, error)
                }
                _ => unreadable(error),
            }
        })?;
        if copied < sum.bytes {
            return Err(wrong(format!("it is cut short in the middle of {name:?}")));
        }
        if hex(sha) != sum.sha256 {
            return Err(wrong(format!("{name:?} has been changed: its checksum is another")));
        }
    }
    if let Some(name) = missing.keys().next() {
        return Err(wrong(format!(
            "it is cut short: {name:?} and {} more files are missing",
            missing.len() - 1
        )));
    }
    Manifest::read(to).map(drop)
}

/// The place of an archive's file below `to`; none for a name that leads elsewhere.
fn place_for(name: &str, to: &Path) -> Option<PathBuf> {
    if name == MANIFEST {
        return Some(to.join(MANIFEST));
    }
    if name == DATA {
        return Some(data_path(to, 1));
    }
    let (folder, inside) = name.split_once('/')?;
    if folder != ATTACHMENTS {
        return None;
    }
    let folder = to.join(ATTACHMENTS);
    let plain = Path::new(inside).components().all(|part| matches!(part, Component::Normal(_)));
    (plain && !name.contains('\\') && !name.contains(':')).then(|| folder.join(inside))
}

fn list(dir: &Path, prefix: &str, files: &mut Vec<(String, PathBuf)>) -> Result<()> {
    let mut entries = fs::read_dir(dir).and_then(Iterator::collect::<io::Result<Vec<_>>>).at(dir)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let name = format!("{prefix}/{}", entry.file_name().to_string_lossy());
        if path.is_dir() {
            list(&path, &name, files)?;
        } else {
            files.push((name, path));
        }
    }
    Ok(())
}

/// A name beside `path` for what is not finished.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    folder_of(path).join(format!(".{name}.part-{}", std::process::id()))
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.into(),
        _ => PathBuf::from("."),
    }
}
