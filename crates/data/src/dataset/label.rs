//! What the photographs of a source are called after: a label, and where the source lies.

use super::names::escaped_name;
use super::{Kind, detect};
use crate::{DataError, Photo, Result};
use std::path::{Path, PathBuf};

/// Where a source lies, and what its photographs are called after in an index that holds several sources.
///
/// A photograph's name within its source is the path relative to it: two cameras both have an `IMG_0001.jpg`. In an
/// index it is `LABEL/PATH`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceRoot {
    /// What the names begin with: one part of a path, at most 255 bytes.
    pub label: String,
    /// The folder, or the table's file, without links and detours.
    pub root: PathBuf,
}

impl SourceRoot {
    /// A source at `root`, with the label that somebody chose, or else its `own` name.
    ///
    /// # Errors
    /// [`DataError::Request`] for a label that cannot be one, and for a source without a name.
    pub fn at(root: PathBuf, own: Option<String>, label: Option<&str>) -> Result<Self> {
        let refuse = |problem: &str| {
            DataError::Request(format!("{}: {problem}: give it one with --label", root.display()))
        };
        let label = match label {
            Some(label) => check_label(label)?.to_owned(),
            None => own.ok_or_else(|| refuse("has no name of its own"))?,
        };
        // A folder's name of 255 bytes can be longer when escaped.
        if label.len() > LONGEST {
            return Err(refuse("its name is too long for a label"));
        }
        Ok(Self { label, root })
    }

    /// Puts the label before the names of photographs.
    pub fn label(&self, photos: &mut [Photo]) {
        for photo in photos {
            photo.name = format!("{}/{}", self.label, photo.name);
        }
    }

    /// The root as text: see [`escaped_name`].
    pub fn root_text(&self) -> String {
        escaped_name(&self.root)
    }
}

/// Where a source lies, and its label: `label`, or else the name of the folder, of a table without its extension, or of
/// the folder that holds a single photograph. Links and detours (`.`, `..`, a slash at the end) lead to the real folder,
/// whose name counts; a table that is a link stays where the link is, as its paths are relative to it.
///
/// ```
/// use r2former_data::dataset::source_root;
///
/// let home = tempfile::tempdir()?;
/// let camera = home.path().join("camera");
/// std::fs::create_dir_all(camera.join("day1"))?;
/// let root = source_root(&camera.join("day1/.."), None, None)?;
/// assert_eq!((root.label.as_str(), &root.root), ("camera", &camera.canonicalize()?));
/// assert_eq!(source_root(&camera, None, Some("north"))?.label, "north");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`DataError::Io`] for a source that does not exist; [`DataError::Request`] for a label that cannot be one, and for a
/// folder without a name, such as `/`.
pub fn source_root(path: &Path, kind: Option<Kind>, label: Option<&str>) -> Result<SourceRoot> {
    let real = |path: &Path| path.canonicalize().map_err(|error| DataError::io(path, error));
    let parent = || match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => real(parent),
        _ => real(Path::new(".")),
    };
    // What is there decides; the kind only where the source is a file that could be either.
    let kind = kind.map_or_else(|| detect(path), Ok)?;
    let is_folder = std::fs::metadata(path).map_err(|error| DataError::io(path, error))?.is_dir();
    let (root, own) = match (is_folder, kind) {
        (true, _) => {
            let root = real(path)?;
            let own = root.file_name().map(escaped_name);
            (root, own)
        }
        (false, Kind::Exif) => {
            let root = parent()?;
            let own = root.file_name().map(escaped_name);
            (root, own)
        }
        (false, _) => {
            let name = path.file_name().unwrap_or_default();
            (parent()?.join(name), Path::new(name).file_stem().map(escaped_name))
        }
    };
    SourceRoot::at(root, own, label)
}

/// Longest label in bytes.
const LONGEST: usize = 255;

/// A label that somebody chose, if it can begin names.
///
/// # Errors
/// [`DataError::Request`] for an empty or long one, and one with slashes or control characters.
pub fn check_label(label: &str) -> Result<&str> {
    let usable = (1..=LONGEST).contains(&label.len())
        && !matches!(label, "." | "..")
        && !label.contains(['/', '\\'])
        && !label.contains(char::is_control);
    match usable {
        true => Ok(label),
        false => Err(DataError::Request(format!(
            "the label {label:?} cannot begin names: 1 to {LONGEST} bytes without slashes and control characters are \
             expected"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_the_names_of_real_folders() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().canonicalize().unwrap();
        std::fs::create_dir_all(home.join("cam/sub")).unwrap();
        std::fs::write(home.join("cam/a.jpg"), b"\xff\xd8\xff\xe0").unwrap();
        std::fs::write(home.join("cam/t.2024.csv"), "path,lat,lon\n").unwrap();
        let at = |path: &str| source_root(&home.join(path), None, None).unwrap();
        let root = |label: &str, root: &str| SourceRoot { label: label.into(), root: home.join(root) };
        for path in ["cam", "cam/", "cam/.", "cam/sub/..", "cam/a.jpg", "./cam/sub/../a.jpg"] {
            assert_eq!(at(path), root("cam", "cam"), "{path}");
        }
        assert_eq!(at("cam/t.2024.csv"), root("t.2024", "cam/t.2024.csv"));
        assert_eq!(at("cam/sub/../t.2024.csv"), root("t.2024", "cam/t.2024.csv"));
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(home.join("cam"), home.join("link")).unwrap();
            assert_eq!(at("link"), root("cam", "cam"));
            assert_eq!(at("link/a.jpg"), root("cam", "cam"));
            std::os::unix::fs::symlink(home.join("cam/t.2024.csv"), home.join("table.csv")).unwrap();
            assert_eq!(at("table.csv"), root("table", "table.csv"));
        }
        let error = source_root(Path::new("/"), None, None).unwrap_err().to_string();
        assert!(error.contains("--label"), "{error}");
        assert_eq!(source_root(Path::new("/"), None, Some("disk")).unwrap().label, "disk");
        for label in ["", ".", "..", "a/b", "a\\b", "a\nb", &"x".repeat(256)] {
            assert!(source_root(&home, None, Some(label)).is_err(), "{label:?}");
        }
        assert!(source_root(&home.join("nowhere"), None, None).is_err());
    }
}
