//! Files that the index's user keeps in its folder: the model that belongs to it, and how it is used.
//! They are written before the folder becomes an index, never change, and travel with an export.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::{At, IndexError, Result};
use crate::files::{copy_atomically, hex, sum};

/// Their folder.
pub(crate) const ATTACHMENTS: &str = "attachments";

/// Where the attachment called `name` of the index at `dir` lies.
pub fn attachment_path(dir: impl AsRef<Path>, name: &str) -> PathBuf {
    dir.as_ref().join(ATTACHMENTS).join(name)
}

/// A file to keep in an index: its name, and where its content is read from.
pub type Attachment<'a> = (&'a str, &'a mut dyn Read);

/// Writes them, and returns the SHA-256 of each.
pub(crate) fn write(index: &Path, attachments: &mut [Attachment<'_>]) -> Result<BTreeMap<String, String>> {
    let mut sums = BTreeMap::new();
    if attachments.is_empty() {
        return Ok(sums);
    }
    let dir = index.join(ATTACHMENTS);
    fs::create_dir_all(&dir).at(&dir)?;
    for (name, content) in attachments {
        if Path::new(name).file_name().is_none_or(|plain| plain != *name) {
            return Err(IndexError::request(index, format!("{name:?} is no plain file name")));
        }
        let mut sha = Sha256::new();
        copy_atomically(&dir.join(*name), *content, |bytes| sha.update(bytes))?;
        sums.insert((*name).to_owned(), hex(sha));
    }
    Ok(sums)
}

/// The SHA-256 of an attached file of the index at `index`; `None` where it is missing.
pub(crate) fn found(index: &Path, name: &str) -> Result<Option<String>> {
    match sum(&attachment_path(index, name)) {
        Ok((_, sha)) => Ok(Some(sha)),
        Err(IndexError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What is wrong with the attached files of an index, whose manifest says what they are; `found` is the SHA-256 of each that
/// is there.
pub(crate) fn problems(
    sums: &BTreeMap<String, String>,
    found: impl Fn(&str) -> Result<Option<String>>,
) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for (name, expected) in sums {
        match found(name)? {
            Some(sha) if sha == *expected => {}
            Some(_) => problems.push(format!("{ATTACHMENTS}/{name} has changed since the index was created")),
            None => problems.push(format!("{ATTACHMENTS}/{name} is missing")),
        }
    }
    Ok(problems)
}
