//! Where the photographs of an index lie: uploads in its own folder, others below the folders that were added.

use crate::index::PlaceId;
use crate::problem::{Problem, Result};
use r2former_data::image::format::{Format, sniff};
use r2former_data::image::{Limits, read_file};
use r2former_index::{FileFingerprint, Place, Source};
use std::fs;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

/// What the names of uploads begin with, unless a folder that was added is called so.
pub(crate) const LABEL: &str = "uploads";

/// Folders below which photographs are looked for.
#[derive(Debug)]
pub(crate) struct PhotoRoots {
    /// None where they are not kept.
    uploads: Option<PathBuf>,
    given: Vec<PathBuf>,
}

/// A photograph as it lies on the disk.
#[derive(Debug)]
pub(crate) struct StoredPhoto {
    pub(crate) bytes: Vec<u8>,
    pub(crate) format: Format,
}

impl PhotoRoots {
    pub(crate) fn new(uploads: Option<PathBuf>, given: Vec<PathBuf>) -> Self {
        Self { uploads, given }
    }

    /// The photograph of a place, if it lies below one of the folders and is the one that was indexed.
    ///
    /// # Errors
    /// 404 with the reason.
    pub(crate) fn read(&self, id: PlaceId, place: &Place, sources: &[Source]) -> Result<StoredPhoto> {
        let mut changed = false;
        for path in self.candidates(id, place, sources) {
            let Ok(bytes) = read_file(&path, &Limits::default()) else { continue };
            let format = sniff(&bytes);
            if !format.is_readable() || place.file.is_some_and(|file| file != FileFingerprint::of(&bytes)) {
                changed = true;
                continue;
            }
            return Ok(StoredPhoto { bytes, format });
        }
        let sent = || sources.iter().any(|source| source.is_uploads() && source.holds(&place.name));
        Err(Problem::not_found(match changed {
            true => "the photograph has changed since it was indexed",
            false if self.uploads.is_none() && sent() => {
                "photographs that are sent to this index are not kept; --uploads says where to"
            }
            false => "the photograph does not lie where it was indexed; --photos says where it is",
        }))
    }

    /// Files that may be the photograph, each below its root.
    fn candidates(&self, id: PlaceId, place: &Place, sources: &[Source]) -> Vec<PathBuf> {
        let source = sources.iter().find(|source| source.holds(&place.name));
        if source.is_some_and(Source::is_uploads) {
            let upload =
                self.uploads.as_deref().zip(place.file).map(|(uploads, file)| upload(uploads, id, file));
            return upload.into_iter().collect();
        }
        let inside = place.name.split_once('/').map(|(_, inside)| inside);
        let recorded = source.map(|source| PathBuf::from(&source.root)).map(|root| match root.is_file() {
            // A table: paths in it are relative to its folder.
            true => root.parent().map(Path::to_path_buf).unwrap_or_default(),
            false => root,
        });
        let given = self
            .given
            .iter()
            .flat_map(|root| [Some((root, &*place.name)), inside.map(|inside| (root, inside))]);
        let recorded = recorded.as_ref().zip(inside);
        given.flatten().chain(recorded).flat_map(|(root, name)| below(root, name)).collect()
    }

    /// Writes a photograph under a name of ours, durably; returns its path, if photographs are kept.
    pub(crate) fn store(&self, id: PlaceId, bytes: &[u8]) -> io::Result<Option<PathBuf>> {
        let Some(uploads) = &self.uploads else { return Ok(None) };
        if !uploads.is_dir() {
            fs::create_dir_all(uploads)?;
            uploads.parent().map_or(Ok(()), sync_dir)?;
        }
        let path = upload(uploads, id, FileFingerprint::of(bytes));
        let mut file = tempfile::Builder::new().prefix(".part-").tempfile_in(uploads)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)?;
        sync_dir(uploads)?;
        Ok(Some(path))
    }

    /// Removes uploads of a place but for the one that the index means.
    pub(crate) fn keep_only(&self, id: PlaceId, file: Option<FileFingerprint>) {
        let Some(uploads) = &self.uploads else { return };
        let keep = file.map(|file| upload(uploads, id, file));
        let prefix = format!("{id}-");
        let Ok(entries) = fs::read_dir(uploads) else { return };
        for entry in entries.flatten() {
            let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(&prefix));
            if ours && keep.as_deref() != Some(&entry.path()) {
                // What cannot be removed costs room, and nothing else: no place means it.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// The file of an upload: identifier and fingerprint, so that a replaced one never stands for the new one.
fn upload(uploads: &Path, id: PlaceId, file: FileFingerprint) -> PathBuf {
    uploads.join(format!("{id}-{:016x}", file.xxh3))
}

/// The source of uploads in an index: its own, or the first free one.
pub(crate) fn uploads_source(known: &[Source]) -> Source {
    if let Some(source) = known.iter().find(|source| source.is_uploads()) {
        return source.clone();
    }
    let free = |label: &String| known.iter().all(|source| source.label != *label);
    let numbered = (2..).map(|number| format!("{LABEL}-{number}"));
    let label = std::iter::once(LABEL.to_owned()).chain(numbered).find(free).unwrap_or_default();
    Source { label, root: Source::UPLOADS.into() }
}

/// A file below a folder, by a relative name; for a view of a panorama (`NAME#HEADING`), the panorama. A name that leads
/// out of the folder, by its parts or by links, is none.
fn below(root: &Path, name: &str) -> Option<PathBuf> {
    let whole = name.rsplit_once('#').map(|(whole, _)| whole);
    let root = root.canonicalize().ok()?;
    [Some(name), whole].into_iter().flatten().find_map(|name| {
        let name = Path::new(name);
        if !name.components().all(|part| matches!(part, Component::Normal(_))) {
            return None;
        }
        let path = root.join(name).canonicalize().ok()?;
        (path.starts_with(&root) && path.is_file()).then_some(path)
    })
}

/// Makes what happened in a folder durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    #[cfg(unix)]
    fs::File::open(dir)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = dir;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_a_root_is_found() {
        let home = tempfile::tempdir().expect("temporary folder");
        let root = home.path().join("photos");
        fs::create_dir_all(root.join("day")).expect("folders");
        fs::write(root.join("day/a.jpg"), "x").expect("a file");
        fs::write(home.path().join("secret"), "x").expect("a file");
        #[cfg(unix)]
        std::os::unix::fs::symlink(home.path().join("secret"), root.join("link")).expect("a link");
        assert!(below(&root, "day/a.jpg").is_some() && below(&root, "day/a.jpg#90").is_some());
        let absolute = home.path().join("secret");
        for bad in [
            "../secret",
            "day/../../secret",
            "link",
            "day",
            "",
            "/etc/passwd",
            "no.jpg",
            absolute.to_str().expect("text"),
        ] {
            assert_eq!(below(&root, bad), None, "{bad}");
        }
    }

    #[test]
    fn uploads_never_share_a_label() {
        let source = |label: &str, root: &str| Source { label: label.into(), root: root.into() };
        assert_eq!(uploads_source(&[]).label, "uploads");
        let taken = [source("uploads", "/home/x/uploads"), source("uploads-2", "/y")];
        assert_eq!(uploads_source(&taken).label, "uploads-3");
        assert_eq!(uploads_source(&[source("uploads-2", Source::UPLOADS)]).label, "uploads-2");
    }
}
