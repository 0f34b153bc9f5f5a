//! Files that the index's user keeps in its folder: the model that belongs to it, and how it is used.
//! They are written before the folder becomes an index, never change, and travel with an export.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::{At, IndexError, Result};
use crate::files::copy_atomically;

/// Their folder.
pub(crate) const ATTACHMENTS: &str = "attachments";

/// Where the attachment called `name` of the index at `dir` lies.
pub fn attachment_path(dir: impl AsRef<Path>, name: &str) -> PathBuf {
    dir.as_ref().join(ATTACHMENTS).join(name)
}

/// A file to keep in an index: its name, and where its content is read from.
pub type Attachment<'a> = (&'a str, &'a mut dyn Read);

pub(crate) fn write(index: &Path, attachments: &mut [Attachment<'_>]) -> Result<()> {
    if attachments.is_empty() {
        return Ok(());
    }
    let dir = index.join(ATTACHMENTS);
    fs::create_dir_all(&dir).at(&dir)?;
    for (name, content) in attachments {
        if Path::new(name).file_name().is_none_or(|plain| plain != *name) {
            return Err(IndexError::request(index, format!("{name:?} is no plain file name")));
        }
        copy_atomically(&dir.join(*name), *content)?;
    }
    Ok(())
}
