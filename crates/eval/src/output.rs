//! Output files: checked before the work begins, written whole or not at all.

use crate::{EvalError, Result};
use serde::Serialize;
use std::io::Write;
use std::path::Path;

/// Checks that a file can be written: its folder exists and takes new files, and the path is not something other than
/// a file. Creates nothing that stays. For long runs, so that their end is not lost.
///
/// # Errors
/// [`EvalError::File`], which names the path as it was given.
pub(crate) fn check_output_file(path: &Path) -> Result<()> {
    if path.exists() && !path.is_file() {
        let what = if path.is_dir() { "is a folder" } else { "is not an ordinary file" };
        return Err(EvalError::file(path, format!("{what}: choose another name")));
    }
    let folder = folder_of(path);
    if !folder.is_dir() {
        return Err(EvalError::file(path, format!("its folder {} does not exist", folder.display())));
    }
    temporary(folder).map(drop).map_err(|error| cannot_write(path, &error))
}

/// Writes a value as JSON into a folder, which is created if it does not exist.
pub(crate) fn write_json(dir: &Path, name: &str, value: &impl Serialize) -> Result<()> {
    std::fs::create_dir_all(dir)
        .map_err(|error| EvalError::file(dir, format!("cannot be created: {error}")))?;
    let path = dir.join(name);
    let bytes = serde_json::to_vec_pretty(value).map_err(|error| EvalError::file(&path, error))?;
    write_output(&path, &bytes)
}

/// Writes a file; other programs see its old content or the new one, never a part. A link keeps pointing where it does,
/// and a pipe or a device is written to rather than replaced.
///
/// # Errors
/// [`EvalError::File`], which names the path as it was given.
pub fn write_output(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || -> std::io::Result<()> {
        if std::fs::metadata(path).is_ok_and(|about| !about.is_file()) {
            return std::fs::OpenOptions::new().write(true).open(path)?.write_all(bytes);
        }
        let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mut file = temporary(folder_of(&target))?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(&target).map(drop).map_err(|error| error.error)
    };
    write().map_err(|error| cannot_write(path, &error))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A temporary file with the permissions of an ordinary one.
fn temporary(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".writing-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Temporary files are private by default.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

/// The reason without the name of the temporary file.
fn cannot_write(path: &Path, error: &std::io::Error) -> EvalError {
    let plain = std::io::Error::from(error.kind());
    let reason = if error.raw_os_error().is_some() { error } else { &plain };
    EvalError::file(path, format!("cannot be written: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_folder_is_named_once_and_without_a_temporary_name() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("nowhere/p.txt");
        for error in [check_output_file(&path).unwrap_err(), write_output(&path, b"x").unwrap_err()] {
            let said = error.to_string();
            assert_eq!(said.matches("p.txt").count(), 1, "{said}");
            assert!(!said.contains(".writing"), "{said}");
        }
        let said = check_output_file(home.path()).unwrap_err().to_string();
        assert!(said.contains("is a folder"), "{said}");
    }

    #[test]
    fn checks_leave_nothing_behind() {
        let home = tempfile::tempdir().unwrap();
        check_output_file(&home.path().join("p.txt")).unwrap();
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
        std::fs::write(home.path().join("file"), b"").unwrap();
        let said = write_json(&home.path().join("file/report"), "r.json", &1).unwrap_err().to_string();
        assert!(said.contains("cannot be created") && said.matches("file/report").count() == 1, "{said}");
    }

    #[test]
    fn files_are_replaced_whole() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("p.txt");
        write_output(&path, b"one").unwrap();
        write_output(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1);
    }
}
