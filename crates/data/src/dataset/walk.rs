//! Finding image files under a folder, and naming them the same way on every machine.

use super::content::{self, Content};
use super::hints::Companions;
use super::names::{RealFiles, relative_name};
use super::others::{Others, is_backup};
use super::{SkipKind, Skipped};
use crate::{DataError, Result};
use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// Extensions whose files count as photographs without a look at their content, in lower case: what is wrong with one
/// shows when it is read.
const IMAGES: [&str; 9] = ["jpg", "jpeg", "jfif", "png", "webp", "tif", "tiff", "bmp", "ppm"];
/// Folders that servers and archivers fill with thumbnails, copies and deleted files.
const FOREIGN_FOLDERS: [&str; 7] =
    ["@eaDir", "#recycle", "@Recycle", "$RECYCLE.BIN", "__MACOSX", "System Volume Information", "lost+found"];

/// Why a link is not followed that would lead through the folder itself again.
const LEADS_BACK: &str = "is a link that leads back to a folder above it";

/// Image files under a folder.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Files and their names relative to the folder, sorted by name.
    pub(super) images: Vec<(PathBuf, String)>,
    /// Photographs in other formats, and entries that cannot be entered, each with the reason.
    pub(super) skipped: Vec<Skipped>,
    /// Other files that may hold positions.
    pub(super) companions: Companions,
    /// Backups, and whatever else there is.
    pub(super) others: Others,
    /// Links to files and folders that were followed.
    links: HashSet<PathBuf>,
}

impl Found {
    /// The extensions of the photographs, in lower case.
    pub(super) fn extensions(&self) -> BTreeSet<String> {
        self.images.iter().filter_map(|(path, _)| extension(path)).collect()
    }

    /// Leaves out files that links give a second name: the one without links counts, else the first. Says so in one line.
    pub(super) fn each_file_once(&mut self) -> Option<String> {
        if self.links.is_empty() {
            return None;
        }
        let linked = |path: &Path| path.ancestors().any(|part| self.links.contains(part));
        let mut files = RealFiles::default();
        let mut names: HashMap<PathBuf, String> = HashMap::with_capacity(self.images.len());
        for (path, name) in self.images.iter().filter(|(path, _)| !linked(path)) {
            names.insert(files.of(path), name.clone());
        }
        let (mut count, mut example) = (0, None);
        self.images.retain(|(path, name)| {
            let first = names.entry(files.of(path)).or_insert_with(|| name.clone());
            if first != name {
                count += 1;
                example.get_or_insert_with(|| (name.clone(), first.clone()));
            }
            first == name
        });
        let (name, first) = example?;
        let (photographs, counts) =
            if count == 1 { ("photograph", "counts") } else { ("photographs", "count") };
        Some(format!(
            "{count} {photographs} that links show under a second name {counts} once: the first is {name}, which is {first}"
        ))
    }
}

/// All images under `root`, at any depth, sorted by name: files with an extension of a photograph, and whatever else
/// holds one by its first bytes. Hidden files, backups and folders (those whose name starts with a dot) and thumbnails of
/// servers (`@eaDir`) are left out; links are followed, and one that leads back up is skipped. Pipes, sockets and
/// devices are never opened.
///
/// # Errors
/// [`DataError::Io`] when `root` itself is missing or cannot be read; [`DataError::Request`] when it is not a folder.
pub(super) fn images_under(root: &Path) -> Result<Found> {
    if !std::fs::metadata(root).map_err(|e| DataError::io(root, e))?.is_dir() {
        return Err(DataError::Request(format!("{}: is a file, a folder is needed", root.display())));
    }
    let mut found = Found::default();
    let mut entries = WalkDir::new(root).follow_links(true).into_iter().filter_entry(|e| {
        let name = e.file_name().to_string_lossy();
        e.depth() == 0 || !is_hidden(&name)
    });
    let real_root = root.canonicalize().map_err(|e| DataError::io(root, e))?;
    // What came last, with its depth: an error may lack its path.
    let mut last = (root.to_owned(), 0);
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(e) if e.depth() == 0 => {
                return Err(DataError::io(root, e.into()));
            }
            Err(e) => {
                let path = match e.path() {
                    Some(path) => path.to_owned(),
                    None => closed_link(&last, e.depth(), &found.skipped).unwrap_or_else(|| root.to_owned()),
                };
                let reason = if e.loop_ancestor().is_some() {
                    LEADS_BACK.into()
                } else {
                    e.io_error().map_or_else(|| e.to_string(), ToString::to_string)
                };
                found.skipped.push(Skipped { path, reason, kind: SkipKind::Unreadable });
                continue;
            }
        };
        last = (entry.path().to_owned(), entry.depth());
        if entry.depth() > 0 && entry.path_is_symlink() {
            // The walk itself sees only what leads back to where it has been.
            let is_above = entry.file_type().is_dir()
                && entry.path().canonicalize().is_ok_and(|real| real_root.starts_with(real));
            if is_above {
                let path = entry.into_path();
                found.skipped.push(Skipped { path, reason: LEADS_BACK.into(), kind: SkipKind::Unreadable });
                entries.skip_current_dir();
                continue;
            }
            found.links.insert(entry.path().to_owned());
        }
        if !entry.file_type().is_file() {
            if !entry.file_type().is_dir() {
                found.others.add_special(relative_name(root, entry.path()));
            }
            continue;
        }
        let path = entry.into_path();
        if is_backup(&path.file_name().unwrap_or_default().to_string_lossy()) {
            found.others.add_backup(relative_name(root, &path));
            continue;
        }
        match if is_photo_by_name(&path) { Content::Photo } else { content::of_file(&path) } {
            Content::Photo => {
                let name = relative_name(root, &path);
                found.images.push((path, name));
            }
            Content::Unsupported(reason) => {
                found.skipped.push(Skipped { path, reason, kind: SkipKind::Unsupported });
            }
            Content::Other if found.companions.look_at(root, &path) => {}
            Content::Other => found.others.add(&path),
        }
    }
    found.images.sort_by(|a, b| a.1.cmp(&b.1));
    found.skipped.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// The link at this depth that leads to a folder which cannot be opened: the walk says so without its path.
fn closed_link((path, depth): &(PathBuf, usize), wanted: usize, told: &[Skipped]) -> Option<PathBuf> {
    let folder = path.ancestors().nth((depth + 1).checked_sub(wanted)?)?;
    let mut closed: Vec<PathBuf> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_symlink() && path.is_dir() && std::fs::read_dir(path).is_err())
        .filter(|path| told.iter().all(|skipped| skipped.path != *path))
        .collect();
    closed.sort();
    closed.into_iter().next()
}

/// Whether a file or folder of this name is left out, with all that is in it.
pub(super) fn is_hidden(name: &str) -> bool {
    name.starts_with('.') || FOREIGN_FOLDERS.contains(&name)
}

/// Whether a file's extension is that of a photograph.
pub(super) fn is_photo_by_name(path: &Path) -> bool {
    extension(path).is_some_and(|e| IMAGES.contains(&e.as_str()))
}

fn extension(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_ascii_lowercase())
}

/// Order in which `frame2` comes before `frame10`: runs of digits compare as numbers. Names that
/// differ only in leading zeros compare as text.
pub(super) fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut x, mut y) = (a.as_bytes(), b.as_bytes());
    while let (Some(p), Some(q)) = (x.first(), y.first()) {
        let step = if p.is_ascii_digit() && q.is_ascii_digit() {
            let (m, n) = (digits(&mut x), digits(&mut y));
            m.len().cmp(&n.len()).then_with(|| m.cmp(n))
        } else {
            (x, y) = (&x[1..], &y[1..]);
            p.cmp(q)
        };
        if step != Ordering::Equal {
            return step;
        }
    }
    x.len().cmp(&y.len()).then_with(|| a.cmp(b))
}

/// Takes the run of digits at the start, and gives it without leading zeros.
fn digits<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let end = text.iter().position(|c| !c.is_ascii_digit()).unwrap_or(text.len());
    let (run, rest) = text.split_at(end);
    *text = rest;
    &run[run.iter().position(|c| *c != b'0').unwrap_or(run.len())..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_count_as_numbers() {
        let mut names = ["f10", "f2", "f1", "f02", "f", "a9b2", "a9b10", "f99999999999999999999999999"];
        names.sort_by(|a, b| natural_order(a, b));
        assert_eq!(names, ["a9b2", "a9b10", "f", "f1", "f02", "f2", "f10", "f99999999999999999999999999"]);
    }

    #[test]
    fn finds_images_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let jpeg = b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0";
        for folder in ["sub/.hidden", "@eaDir/b.JPG", "__MACOSX"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        for name in
            ["b.JPG", "a.jpeg", "sub/c.png", "d.txt", ".e.jpg", "._b.JPG", "sub/.hidden/f.jpg", "noext"]
        {
            std::fs::write(root.join(name), b"x").unwrap();
        }
        for name in ["jpeg.heic", "h.jfif", "i.mpo", "j", "k.txt", "@eaDir/b.JPG/SYNO.jpg", "__MACOSX/l.jpg"]
        {
            std::fs::write(root.join(name), jpeg).unwrap();
        }
        std::fs::write(root.join("g.HEIC"), b"\0\0\0\x18ftypheic\0\0\0\0mif1heic").unwrap();
        std::fs::write(root.join("v.dat"), b"\0\0\0\x18ftypisom\0\0\0\0isomavc1").unwrap();
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(root, root.join("sub/loop")).unwrap();
            std::os::unix::fs::symlink(root.join("gone"), root.join("sub/dangling.jpg")).unwrap();
            // A walk that opened a socket or a pipe would wait or fail.
            let _socket = std::os::unix::net::UnixListener::bind(root.join("s.jpg")).unwrap();
            let made = std::process::Command::new("mkfifo").arg(root.join("pipe.jpg")).status();
            assert!(made.is_ok_and(|status| status.success()));
        }
        let found = images_under(root).unwrap();
        let names: Vec<_> = found.images.iter().map(|i| i.1.as_str()).collect();
        assert_eq!(names, ["a.jpeg", "b.JPG", "h.jfif", "i.mpo", "j", "jpeg.heic", "k.txt", "sub/c.png"]);
        let skipped = |name: &str| {
            let found = found.skipped.iter().find(|s| s.path.ends_with(name)).expect(name);
            (found.kind, found.reason.as_str())
        };
        assert_eq!(skipped("g.HEIC").0, SkipKind::Unsupported);
        assert!(skipped("g.HEIC").1.contains("HEIC"), "{:?}", found.skipped);
        assert!(skipped("v.dat").1.contains("video"), "{:?}", found.skipped);
        #[cfg(unix)]
        {
            assert!(skipped("sub/loop").1.contains("leads back"), "{:?}", found.skipped);
            assert!(skipped("sub/dangling.jpg").1.contains("No such file"), "{:?}", found.skipped);
            assert_eq!(found.skipped.len(), 4);
            assert_eq!(found.others.notes()[0], "2 pipes, sockets or devices left out, the first pipe.jpg");
        }
        assert!(matches!(images_under(&root.join("nowhere")), Err(DataError::Io { .. })));
        assert!(matches!(images_under(&root.join("b.JPG")), Err(DataError::Request(_))));
    }

    #[cfg(unix)]
    #[test]
    fn links_add_no_file_twice() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let (root, away) = (dir.path().join("root"), dir.path().join("away"));
        for folder in [root.join("may"), away.clone()] {
            std::fs::create_dir_all(folder).unwrap();
        }
        for file in
            [root.join("may/a.jpg"), root.join("may/b.jpg"), away.join("c.jpg"), dir.path().join("d.jpg")]
        {
            std::fs::write(file, "x").unwrap();
        }
        // Siblings, before and after what they lead to; a file; above the folder; another folder, which counts once.
        for (to, link) in [
            ("may", "latest"),
            ("may", "z"),
            ("may/a.jpg", "best.jpg"),
            ("..", "up"),
            ("../away", "e"),
            ("e", "f"),
        ] {
            symlink(to, root.join(link)).unwrap();
        }
        let mut found = images_under(&root).unwrap();
        let note = found.each_file_once().unwrap();
        let names: Vec<_> = found.images.iter().map(|i| i.1.as_str()).collect();
        assert_eq!(names, ["e/c.jpg", "may/a.jpg", "may/b.jpg"]);
        assert!(note.starts_with("6 photographs") && note.contains("best.jpg, which is may/a.jpg"), "{note}");
        let skipped: Vec<_> = found.skipped.iter().map(|s| (s.path.clone(), s.reason.as_str())).collect();
        assert_eq!(skipped, [(root.join("up"), LEADS_BACK)]);
        assert_eq!(images_under(&root.join("may")).unwrap().each_file_once(), None);
    }

    /// The walk does not say which link it could not follow.
    #[cfg(unix)]
    #[test]
    fn a_link_that_cannot_be_opened_is_named_itself() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        let (root, closed) = (dir.path().join("root"), dir.path().join("closed"));
        std::fs::create_dir_all(root.join("deep/er")).unwrap();
        std::fs::create_dir(&closed).unwrap();
        for link in ["deep/er/b", "a", "c"] {
            symlink(&closed, root.join(link)).unwrap();
        }
        std::fs::write(root.join("x.jpg"), "x").unwrap();
        let mode = |mode| std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0);
        // The superuser may open anything.
        let may = std::fs::read_dir(&closed).is_ok();
        let found = images_under(&root);
        mode(0o700);
        let skipped: Vec<_> = found.unwrap().skipped.into_iter().map(|s| s.path).collect();
        if !may {
            assert_eq!(skipped, [root.join("a"), root.join("c"), root.join("deep/er/b")]);
        }
    }

    #[test]
    fn names_are_composed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ne\u{301}.jpg"), b"x").unwrap();
        assert_eq!(images_under(dir.path()).unwrap().images[0].1, "n\u{e9}.jpg");
    }

    proptest! {
        #[test]
        fn natural_order_is_an_order(a in "[a0-2.]{0,6}", b in "[a0-2.]{0,6}", c in "[a0-2.]{0,6}") {
            prop_assert_eq!(natural_order(&a, &b), natural_order(&b, &a).reverse());
            prop_assert_eq!(natural_order(&a, &b) == Ordering::Equal, a == b);
            if natural_order(&a, &b).is_le() && natural_order(&b, &c).is_le() {
                prop_assert!(natural_order(&a, &c).is_le());
            }
        }
    }
}
