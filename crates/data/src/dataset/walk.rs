//! Finding image files under a folder, and naming them the same way on every machine.

use crate::{DataError, Result};
use std::cmp::Ordering;
use std::path::{Component, Path, PathBuf};
use walkdir::WalkDir;

/// Extensions of images that can be decoded, in lower case.
const IMAGES: [&str; 6] = ["jpg", "jpeg", "png", "webp", "bmp", "ppm"];
/// Extensions of photographs that cannot.
const FOREIGN: [&str; 9] = ["heic", "heif", "avif", "tif", "tiff", "gif", "jxl", "jp2", "dng"];

/// Image files under a folder.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Files and their names relative to the folder, sorted by name.
    pub(super) images: Vec<(PathBuf, String)>,
    /// Photographs in other formats, and entries that cannot be entered, each with the reason.
    pub(super) skipped: Vec<(PathBuf, String)>,
}

/// All images under `root`, at any depth, sorted by name. Hidden files and folders (those whose name
/// starts with a dot) are left out; links are followed, and one that leads back up is skipped.
///
/// # Errors
/// [`DataError::Io`] when `root` itself is missing or cannot be read; [`DataError::Request`] when it
/// is not a folder.
pub(super) fn images_under(root: &Path) -> Result<Found> {
    if !std::fs::metadata(root).map_err(|e| DataError::io(root, e))?.is_dir() {
        return Err(DataError::Request(format!("{}: is a file, a folder is needed", root.display())));
    }
    let mut found = Found::default();
    let entries = WalkDir::new(root)
        .follow_links(true)
        .into_iter()
        .filter_entry(|e| e.depth() == 0 || !e.file_name().to_string_lossy().starts_with('.'));
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(e) if e.depth() == 0 => {
                return Err(DataError::io(root, e.into()));
            }
            Err(e) => {
                let path = e.path().unwrap_or(root).to_owned();
                let reason = if e.loop_ancestor().is_some() {
                    "is a link that leads back to a folder above it".into()
                } else {
                    e.io_error().map_or_else(|| e.to_string(), ToString::to_string)
                };
                found.skipped.push((path, reason));
                continue;
            }
        };
        if !entry.file_type().is_file() {
            continue;
        }
        let path = entry.into_path();
        match extension(&path) {
            Some(e) if IMAGES.contains(&e.as_str()) => {
                let name = relative_name(root, &path);
                found.images.push((path, name));
            }
            Some(e) if FOREIGN.contains(&e.as_str()) => {
                found.skipped.push((path, format!(".{e} is not supported: convert it to JPEG or PNG first")));
            }
            _ => {}
        }
    }
    found.images.sort_by(|a, b| a.1.cmp(&b.1));
    found.skipped.sort();
    Ok(found)
}

fn extension(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_ascii_lowercase())
}

/// A path relative to a folder, with `/` between its parts; a path outside the folder keeps all of
/// its parts but the root.
pub(super) fn relative_name(root: &Path, path: &Path) -> String {
    let inside = path.strip_prefix(root).unwrap_or(path);
    let mut parts: Vec<String> = Vec::new();
    for part in inside.components() {
        match part {
            Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
            Component::ParentDir => match parts.last() {
                Some(last) if last != ".." => drop(parts.pop()),
                _ => parts.push("..".into()),
            },
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    parts.join("/")
}

/// The file that a table's cell means, and its name: relative to `root` unless absolute. Backslashes
/// count as separators, since tables travel between systems.
pub(super) fn resolve(root: &Path, cell: &str) -> (PathBuf, String) {
    let path = root.join(cell.replace('\\', "/"));
    let name = relative_name(root, &path);
    (path, name)
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
    fn names_are_the_same_everywhere() {
        let root = Path::new("/data");
        assert_eq!(resolve(root, "a/b.jpg").1, "a/b.jpg");
        assert_eq!(resolve(root, ".\\a\\.\\b.jpg").1, "a/b.jpg");
        assert_eq!(resolve(root, "/data/a//b.jpg").1, "a/b.jpg");
        assert_eq!(resolve(root, "/else/b.jpg"), ("/else/b.jpg".into(), "else/b.jpg".into()));
        assert_eq!(resolve(root, "a/../b.jpg").1, "b.jpg");
        assert_eq!(resolve(root, "../b.jpg").1, "../b.jpg");
    }

    #[test]
    fn finds_images_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        std::fs::create_dir_all(root.join("sub/.hidden")).unwrap();
        for name in
            ["b.JPG", "a.jpeg", "sub/c.png", "d.txt", ".e.jpg", "sub/.hidden/f.jpg", "g.HEIC", "noext"]
        {
            std::fs::write(root.join(name), b"x").unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink(root, root.join("sub/loop")).unwrap();
        let found = images_under(root).unwrap();
        let names: Vec<_> = found.images.iter().map(|i| i.1.as_str()).collect();
        assert_eq!(names, ["a.jpeg", "b.JPG", "sub/c.png"]);
        assert!(found.skipped[0].1.contains("convert it to JPEG"), "{:?}", found.skipped);
        #[cfg(unix)]
        assert!(found.skipped[1].1.contains("leads back"), "{:?}", found.skipped);
        assert!(matches!(images_under(&root.join("nowhere")), Err(DataError::Io { .. })));
        assert!(matches!(images_under(&root.join("b.JPG")), Err(DataError::Request(_))));
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
