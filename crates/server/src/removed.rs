//! What was removed of watched folders, so that it does not come back while its file lies there: a line for each, in a list
//! beside the index.

use crate::photos::sync_dir;
use r2former_index::{FileFingerprint, Place};
use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The list in the folder of an index: its lines are names and fingerprints of files, as JSON.
const LIST: &str = "watched-removed.jsonl";

/// Places that were removed through the service.
#[derive(Debug, Default)]
pub(crate) struct Removed {
    /// None of a collection: what was removed is known until the service ends.
    list: Option<PathBuf>,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// What the names in watched folders begin with.
    labels: Vec<String>,
    files: HashMap<String, FileFingerprint>,
}

impl Removed {
    /// Those of an index in a folder.
    pub(crate) fn open(folder: Option<&Path>) -> io::Result<Self> {
        let Some(list) = folder.map(|folder| folder.join(LIST)) else { return Ok(Self::default()) };
        let text = match fs::read(&list) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let mut files = HashMap::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            match serde_json::from_str::<(String, FileFingerprint)>(line) {
                Ok((name, file)) => drop(files.insert(name, file)),
                // Half a line is a removal that was not acknowledged.
                Err(_) => tracing::warn!(line, "a line of {LIST} is not understood, and is passed over"),
            }
        }
        Ok(Self { list: Some(list), table: Mutex::new(Table { labels: Vec::new(), files }) })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on places of this label are remembered.
    pub(crate) fn watch(&self, label: &str) {
        self.lock().labels.push(label.to_owned());
    }

    /// Remembers a place that is about to be removed, durably, if its folder is watched.
    pub(crate) fn add(&self, place: &Place) -> io::Result<()> {
        let mut table = self.lock();
        let label = place.name.split_once('/').map(|(label, _)| label);
        let watched = label.is_some_and(|label| table.labels.iter().any(|known| known == label));
        let Some(file) = place.file.filter(|_| watched) else { return Ok(()) };
        if let Some(list) = &self.list {
            let is_new = !list.exists();
            let mut writer = OpenOptions::new().create(true).append(true).open(list)?;
            // In front of it may be half a line.
            writer.write_all(format!("\n{}\n", serde_json::json!([place.name, file])).as_bytes())?;
            writer.sync_all()?;
            list.parent().filter(|_| is_new).map_or(Ok(()), sync_dir)?;
        }
        table.files.insert(place.name.clone(), file);
        Ok(())
    }

    /// Whether the place of this name was removed, and the file is still the one that it was of.
    pub(crate) fn holds(&self, name: &str, file: &Path) -> bool {
        let known = self.lock().files.get(name).copied();
        known.is_some_and(|known| FileFingerprint::of_file(file).is_ok_and(|found| found == known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removal_is_remembered_until_the_file_changes() {
        let home = tempfile::tempdir().expect("temporary folder");
        let file = home.path().join("a.jpg");
        fs::write(&file, "one").expect("a file");
        let file_of = Some(FileFingerprint::of(b"one"));
        let place = |name: &str| Place { name: name.into(), file: file_of, ..Place::default() };
        let open = || Removed::open(Some(home.path())).expect("readable");
        let removed = open();
        removed.watch("camera");
        removed.add(&place("camera/a.jpg")).expect("written");
        removed.add(&place("other/a.jpg")).expect("not watched");
        assert!(removed.holds("camera/a.jpg", &file) && !removed.holds("other/a.jpg", &file));
        // A power cut in the middle of a line.
        let list = home.path().join(LIST);
        let half = fs::read_to_string(&list).expect("a list") + "[\"camera/b";
        fs::write(&list, half).expect("written");
        let removed = open();
        assert!(removed.holds("camera/a.jpg", &file) && !removed.holds("camera/b.jpg", &file));
        removed.watch("camera");
        removed.add(&place("camera/c.jpg")).expect("written");
        assert!(open().holds("camera/c.jpg", &file));
        fs::write(&file, "two").expect("a file");
        assert!(!open().holds("camera/a.jpg", &file));
    }
}
