//! Names of photographs: the same on every machine, however it spells letters with accents.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};
use unicode_normalization::{UnicodeNormalization, is_nfc};

/// A path relative to a folder, with `/` between its parts and letters composed (NFC); a path outside the folder
/// keeps all of its parts but the root. Bytes that are no text are written as `\xE9`.
pub(super) fn relative_name(root: &Path, path: &Path) -> String {
    let inside = path.strip_prefix(root).unwrap_or(path);
    let mut parts: Vec<String> = Vec::new();
    for part in inside.components() {
        match part {
            Component::Normal(part) => parts.push(text_of(part)),
            Component::ParentDir => match parts.last() {
                Some(last) if last != ".." => drop(parts.pop()),
                _ => parts.push("..".into()),
            },
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    parts.join("/")
}

/// A file's name as text: composed, with escapes for bytes that are none, so that two files never share a name.
pub(super) fn text_of(name: &OsStr) -> String {
    let mut text = String::new();
    for chunk in name.as_encoded_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02X}"));
        }
    }
    composed(text)
}

/// A photograph's name as listings write it: letters with accents are one character each (NFC), whichever form they
/// were typed or stored in.
pub fn composed_name(name: &str) -> String {
    composed(name.to_owned())
}

fn composed(text: String) -> String {
    if is_nfc(&text) { text } else { text.nfc().collect() }
}

/// The file that a table's cell means, and its name: relative to `root` unless absolute. Backslashes count as
/// separators, since tables travel between systems.
pub(super) fn resolve(root: &Path, cell: &str) -> (PathBuf, String) {
    let path = root.join(cell.replace('\\', "/"));
    let name = relative_name(root, &path);
    (path, name)
}

/// Finds files whatever form of Unicode their names have on disk: macOS and some servers decompose letters.
#[derive(Debug, Default)]
pub(super) struct Finder {
    /// What a folder holds, by composed name.
    folders: HashMap<PathBuf, HashMap<String, PathBuf>>,
}

impl Finder {
    /// The path itself where it exists, else one that differs from it in the form of its letters alone.
    pub(super) fn find(&mut self, path: &Path) -> Option<PathBuf> {
        if path.symlink_metadata().is_ok() {
            return Some(path.to_owned());
        }
        // Only letters beyond ASCII have two forms.
        if path.as_os_str().as_encoded_bytes().is_ascii() {
            return None;
        }
        let mut found = PathBuf::new();
        for part in path.components() {
            let next = found.join(part);
            found = match part {
                Component::Normal(name) if next.symlink_metadata().is_err() => {
                    self.entries(&found).get(&text_of(name))?.clone()
                }
                _ => next,
            };
        }
        Some(found)
    }

    fn entries(&mut self, folder: &Path) -> &HashMap<String, PathBuf> {
        self.folders.entry(folder.to_owned()).or_insert_with(|| {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            let entries = folder.read_dir().into_iter().flatten().flatten();
            entries.map(|entry| (text_of(&entry.file_name()), entry.path())).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_everywhere() {
        let root = Path::new("/data");
        assert_eq!(resolve(root, "a/b.jpg").1, "a/b.jpg");
        assert_eq!(resolve(root, ".\\a\\.\\b.jpg").1, "a/b.jpg");
        assert_eq!(resolve(root, "/data/a//b.jpg").1, "a/b.jpg");
        assert_eq!(resolve(root, "/else/b.jpg"), ("/else/b.jpg".into(), "else/b.jpg".into()));
        assert_eq!(resolve(root, "a/../b.jpg").1, "b.jpg");
        assert_eq!(resolve(root, "../b.jpg").1, "../b.jpg");
        // Decomposed and composed e with acute accent.
        assert_eq!(resolve(root, "ne\u{301}.jpg").1, "n\u{e9}.jpg");
        assert_eq!(resolve(root, "n\u{e9}.jpg").1, "n\u{e9}.jpg");
    }

    #[cfg(unix)]
    #[test]
    fn bytes_that_are_no_text_stay_apart() {
        use std::os::unix::ffi::OsStrExt;
        let name = |bytes: &[u8]| text_of(OsStr::from_bytes(bytes));
        assert_eq!(name(b"n\xe9.jpg"), "n\\xE9.jpg");
        assert_ne!(name(b"n\xe9.jpg"), name(b"n\xe8.jpg"));
    }

    #[test]
    fn files_are_found_under_either_form() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let folder = dir.path().join("cafe\u{301}");
        std::fs::create_dir(&folder).expect("can be written");
        std::fs::write(folder.join("n\u{e9}.jpg"), b"x").expect("can be written");
        let mut finder = Finder::default();
        for cell in ["cafe\u{301}/n\u{e9}.jpg", "caf\u{e9}/ne\u{301}.jpg", "cafe\u{301}/ne\u{301}.jpg"] {
            assert_eq!(finder.find(&dir.path().join(cell)), Some(folder.join("n\u{e9}.jpg")), "{cell}");
        }
        assert_eq!(finder.find(&dir.path().join("caf\u{e9}/no.jpg")), None);
        assert_eq!(finder.find(&dir.path().join("cafe/n\u{e9}.jpg")), None);
    }
}
