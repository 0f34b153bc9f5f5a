//! Files of a folder that are neither photographs nor anything that has positions: how many of each kind.

use super::walk::is_photo_by_name;
use std::collections::BTreeMap;
use std::path::Path;

/// How many kinds are named.
const NAMED: usize = 8;
/// How programs end the names of the copies that they keep of a file.
const BACKUPS: [&str; 6] = ["_original", "_exiftool_tmp", "~", ".bak", ".orig", ".old"];
/// Extensions of photographs that only their content shows otherwise.
const RARER: [&str; 7] = ["heic", "heif", "avif", "dng", "mpo", "gif", "jpe"];

/// Files that were left out.
#[derive(Debug, Default)]
pub(super) struct Others {
    /// By extension.
    kinds: BTreeMap<String, usize>,
    backups: Vec<String>,
    /// Pipes, sockets and devices.
    special: Vec<String>,
}

/// Whether a file is a photograph as it was before a program changed it: `a.jpg_original`, `a.jpg~`, `a.jpg.bak`. It
/// has another position than the photograph itself, or is it twice.
pub(super) fn is_backup(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    BACKUPS.iter().any(|end| lower.strip_suffix(end).is_some_and(is_photo_name))
}

/// Whether a file of this name is a photograph in any format, by its extension.
pub(super) fn is_photo_name(name: &str) -> bool {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    is_photo_by_name(Path::new(name)) || extension.is_some_and(|ext| RARER.contains(&ext.as_str()))
}

impl Others {
    pub(super) fn add(&mut self, path: &Path) {
        let kind = match path.extension() {
            Some(extension) => format!(".{}", extension.to_string_lossy().to_lowercase()),
            None => "without an extension".into(),
        };
        *self.kinds.entry(kind).or_default() += 1;
    }

    pub(super) fn add_backup(&mut self, name: String) {
        self.backups.push(name);
    }

    pub(super) fn add_special(&mut self, name: String) {
        self.special.push(name);
    }

    /// A line on what is named as a file and can be none.
    pub(super) fn special_note(&self) -> Option<String> {
        let first = self.special.iter().min()?;
        Some(match self.special.len() {
            1 => format!("1 pipe, socket or device left out: {first}"),
            count => format!("{count} pipes, sockets or devices left out, the first {first}"),
        })
    }

    /// A line on each sort.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = self.special_note().into_iter().collect();
        if let Some(first) = self.backups.iter().min() {
            notes.push(match self.backups.len() {
                1 => format!("1 backup of a photograph left out: {first}"),
                count => format!("{count} backups of photographs left out, the first {first}"),
            });
        }
        let count: usize = self.kinds.values().sum();
        if count > 0 {
            let mut kinds: Vec<_> = self.kinds.iter().collect();
            kinds.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
            let named: Vec<_> =
                kinds.iter().take(NAMED).map(|(kind, count)| format!("{kind} {count}")).collect();
            let more = if kinds.len() > NAMED { " and others" } else { "" };
            let files =
                if count == 1 { "1 file that is no photograph" } else { "files that are no photographs" };
            let files = if count == 1 { files.to_owned() } else { format!("{count} {files}") };
            notes.push(format!("{files} this program reads: {}{more}", named.join(", ")));
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backups_are_told_from_photographs() {
        for name in [
            "0.jpg_original",
            "0.jpg~",
            "0.JPG.bak",
            "a.tif.orig",
            "a.png_exiftool_tmp",
            "a.jpeg.OLD",
            "a.heic_original",
        ] {
            assert!(is_backup(name), "{name}");
        }
        for name in ["0.jpg", "0_original.jpg", "notes~", "notes.txt.bak", "_original", "0.bak.jpg"] {
            assert!(!is_backup(name), "{name}");
        }
    }

    #[test]
    fn files_are_counted_by_kind() {
        let mut others = Others::default();
        assert!(others.notes().is_empty());
        others.add(Path::new("a.svg"));
        assert_eq!(others.notes(), ["1 file that is no photograph this program reads: .svg 1"]);
        for name in ["b.txt", "c.TXT", "README"] {
            others.add(Path::new(name));
        }
        others.add_special("b.sock".into());
        others.add_special("a.jpg".into());
        others.add_backup("b.jpg~".into());
        others.add_backup("a.jpg_original".into());
        assert_eq!(
            others.notes(),
            [
                "2 pipes, sockets or devices left out, the first a.jpg",
                "2 backups of photographs left out, the first a.jpg_original",
                "4 files that are no photographs this program reads: .txt 2, .svg 1, without an extension 1"
            ]
        );
    }
}
