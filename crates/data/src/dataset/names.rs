//! Names of photographs: the same on every machine, however it spells letters with accents.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Component, MAIN_SEPARATOR, Path, PathBuf};
use unicode_normalization::{UnicodeNormalization, is_nfc};

/// A path relative to a folder, with `/` between its parts and letters composed (NFC); a path outside the folder
/// keeps all of its parts but the root. Parts are written as [`escaped_name`] does.
pub(super) fn relative_name(root: &Path, path: &Path) -> String {
    let inside = path.strip_prefix(root).unwrap_or(path);
    let mut parts: Vec<String> = Vec::new();
    for part in inside.components() {
        match part {
            Component::Normal(part) => parts.push(escaped_name(part)),
            Component::ParentDir => match parts.last() {
                Some(last) if last != ".." => drop(parts.pop()),
                _ => parts.push("..".into()),
            },
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    parts.join("/")
}

/// The name of a file, or a path, as text.
///
/// Bytes that are no UTF-8 become `\xE9` (two capital hexadecimal digits); a backslash in front of what would read as
/// such an escape becomes `\x5C`. Letters with accents are composed (NFC). So two files whose names differ in more
/// than the form of their letters never share one here.
///
/// ```
/// use r2former_data::dataset::escaped_name;
///
/// assert_eq!(escaped_name("cafe\u{301}.jpg"), "caf\u{e9}.jpg");
/// assert_eq!(escaped_name(r"n\xE9.jpg"), r"n\x5CxE9.jpg");
/// # #[cfg(unix)] {
/// use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
/// assert_eq!(escaped_name(OsStr::from_bytes(b"n\xe9.jpg")), r"n\xE9.jpg");
/// # }
/// ```
pub fn escaped_name(name: impl AsRef<OsStr>) -> String {
    escaped(name.as_ref(), composed, true)
}

/// As [`escaped_name`], with letters in the form that they have: the text of a path that other programs open. Backslashes
/// stay where they separate the parts of paths.
pub fn escaped_path(path: impl AsRef<OsStr>) -> String {
    escaped(path.as_ref(), |text| text, MAIN_SEPARATOR != '\\')
}

fn escaped(name: &OsStr, form: impl Fn(String) -> String, backslashes: bool) -> String {
    let mut text = String::new();
    for chunk in name.as_encoded_bytes().utf8_chunks() {
        // Composed by itself: an accent after an escape must not join the escape's last letter.
        let valid = form(chunk.valid().to_owned());
        let mut rest = valid.as_str();
        while let Some(at) = rest.find('\\') {
            let (before, escape) = rest.split_at(at);
            text.push_str(before);
            text.push_str(if backslashes && is_escape(escape) { "\\x5C" } else { "\\" });
            rest = &escape[1..];
        }
        text.push_str(rest);
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02X}"));
        }
    }
    text
}

/// Whether a text begins with an escape.
fn is_escape(text: &str) -> bool {
    let hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'A'..=b'F');
    matches!(text.as_bytes(), [b'\\', b'x', a, b, ..] if hex(a) && hex(b))
}

/// A photograph's name as listings write it: letters with accents are one character each (NFC), whichever form they
/// were typed or stored in.
pub fn composed_name(name: &str) -> String {
    composed(name.to_owned())
}

fn composed(text: String) -> String {
    if is_nfc(&text) { text } else { text.nfc().collect() }
}

/// Whether a text is an address in an object store or behind HTTP.
pub(super) fn is_address(text: &str) -> bool {
    ["s3://", "gs://", "http://", "https://"].iter().any(|scheme| text.starts_with(scheme))
}

/// The file that a table's cell means, and its name: relative to `root` unless absolute. Backslashes count as
/// separators, since tables travel between systems.
///
/// An address (`https://host/a.jpg?key`) is its own path; its name has neither scheme nor query, and is relative to `root`
/// where it lies there.
pub(super) fn resolve(root: &Path, cell: &str) -> (PathBuf, String) {
    if is_address(cell) {
        let plain = cell.split(['?', '#']).next().unwrap_or(cell);
        let name = match Path::new(plain).strip_prefix(root) {
            Ok(inside) => relative_name(Path::new(""), inside),
            Err(_) => relative_name(
                Path::new(""),
                Path::new(plain.split_once("://").map_or(plain, |(_, rest)| rest)),
            ),
        };
        return (cell.into(), name);
    }
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
                    self.entries(&found).get(&escaped_name(name))?.clone()
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
            entries.map(|entry| (escaped_name(entry.file_name()), entry.path())).collect()
        })
    }
}

/// The file that a path leads to, without links and detours, so that two paths of one file are seen to be that. Folders
/// are resolved once each: a table names many files of few folders.
#[derive(Debug, Default)]
pub(super) struct RealFiles {
    folders: HashMap<PathBuf, PathBuf>,
}

impl RealFiles {
    /// The real path; the path itself where nothing is there, and of an address.
    pub(super) fn of(&mut self, path: &Path) -> PathBuf {
        let whole = || path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return whole() };
        if path.to_str().is_some_and(is_address) {
            return path.to_owned();
        }
        if path.is_symlink() {
            return whole();
        }
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        if let Some(folder) = self.folders.get(parent) {
            return folder.join(name);
        }
        let folder = parent.canonicalize().unwrap_or_else(|_| parent.to_owned());
        let real = folder.join(name);
        self.folders.insert(parent.to_owned(), folder);
        real
    }
}

/// A place in an order: 1st, 2nd, 3rd, 4th, 11th.
pub(super) fn ordinal(number: usize) -> String {
    let ending = match (number % 10, number % 100) {
        (1, rest) if rest != 11 => "st",
        (2, rest) if rest != 12 => "nd",
        (3, rest) if rest != 13 => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(unix)]
    use proptest::prelude::Strategy;

    #[test]
    fn ordinals_end_as_they_are_said() {
        let said = [1, 2, 3, 4, 11, 12, 13, 21, 102, 113].map(ordinal);
        assert_eq!(said, ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "102nd", "113th"]);
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
        // Decomposed and composed e with acute accent.
        assert_eq!(resolve(root, "ne\u{301}.jpg").1, "n\u{e9}.jpg");
        assert_eq!(resolve(root, "n\u{e9}.jpg").1, "n\u{e9}.jpg");
    }

    #[test]
    fn separators_of_paths_stay() {
        let path = OsStr::new(r"C:\xA0\a.jpg");
        assert_eq!(escaped(path, |text| text, false), r"C:\xA0\a.jpg");
        assert_eq!(escaped(path, |text| text, true), r"C:\x5CxA0\a.jpg");
    }

    #[cfg(unix)]
    #[test]
    fn bytes_that_are_no_text_stay_apart() {
        use std::os::unix::ffi::OsStrExt;
        let name = |bytes: &[u8]| escaped_name(OsStr::from_bytes(bytes));
        assert_eq!(escaped_path(OsStr::from_bytes(b"a\xe9/e\xcc\x81\\xE9")), "a\\xE9/e\u{301}\\x5CxE9");
        assert_eq!(name(b"n\xe9.jpg"), "n\\xE9.jpg");
        assert_ne!(name(b"n\xe9.jpg"), name(b"n\xe8.jpg"));
    }

    /// What [`escaped_name`] wrote, as bytes.
    fn unescaped(name: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut rest = name;
        while let Some(first) = rest.chars().next() {
            if is_escape(rest) {
                bytes.push(u8::from_str_radix(&rest[2..4], 16).expect("two digits"));
                rest = &rest[4..];
            } else {
                bytes.extend(&rest.as_bytes()[..first.len_utf8()]);
                rest = &rest[first.len_utf8()..];
            }
        }
        bytes
    }

    #[cfg(unix)]
    proptest::proptest! {
        /// Every name leads back to its bytes, but for the form of letters: no two files share one.
        #[test]
        fn names_are_of_one_file_each(
            parts in proptest::collection::vec(
                proptest::prop_oneof![
                    proptest::prelude::any::<u8>().prop_map(|byte| vec![byte]),
                    "[\\\\x0-9A-Fa-fe\u{301}\u{327}\u{e9}.]{0,4}".prop_map(String::into_bytes),
                    "\\\\x[0-9A-F]{2}".prop_map(String::into_bytes),
                ],
                0..12,
            ),
        ) {
            use std::os::unix::ffi::OsStrExt;
            let bytes = parts.concat();
            let name = escaped_name(OsStr::from_bytes(&bytes));
            let mut wanted = Vec::new();
            for chunk in bytes.utf8_chunks() {
                wanted.extend(composed(chunk.valid().to_owned()).into_bytes());
                wanted.extend(chunk.invalid());
            }
            proptest::prop_assert_eq!(unescaped(&name), wanted);
        }
    }

    #[test]
    fn every_path_of_a_file_is_one() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let home = dir.path().canonicalize().expect("a folder");
        std::fs::create_dir(home.join("a")).expect("can be written");
        std::fs::write(home.join("a/x.jpg"), b"x").expect("can be written");
        let mut real = RealFiles::default();
        let mut of = |path: &str| real.of(&home.join(path));
        for path in ["a/x.jpg", "a/./x.jpg", "a/../a/x.jpg", "a/x.jpg"] {
            assert_eq!(of(path), home.join("a/x.jpg"), "{path}");
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(home.join("a"), home.join("b")).expect("a link");
            std::os::unix::fs::symlink("x.jpg", home.join("a/y.jpg")).expect("a link");
            assert_eq!(of("b/x.jpg"), home.join("a/x.jpg"));
            assert_eq!(of("b/y.jpg"), home.join("a/x.jpg"));
        }
        assert_eq!(of("no/z.jpg"), home.join("no/z.jpg"));
        let address = Path::new("https://host/a/../x.jpg");
        assert_eq!(RealFiles::default().of(address), address);
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
