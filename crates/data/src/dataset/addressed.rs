//! Tables on this machine whose photographs are somewhere else.

use super::columns::Columns;
use super::names::is_address;
use super::table::Table;
use super::{Kind, detect, list_of_names};
use crate::{DataError, Result};
use std::path::Path;

/// Whether a file is a table, or a text with a photograph on each line, that names addresses: `s3://`, `gs://`, `http://` or
/// `https://`. What such a table says otherwise does not matter here; what is not there, or is no table, names none.
///
/// ```
/// use r2former_data::dataset::names_addresses;
///
/// let folder = tempfile::tempdir()?;
/// let table = folder.path().join("positions.csv");
/// std::fs::write(&table, "path,lat,lon,source\na.jpg,52.2,0.1,https://example.org/a\n")?;
/// assert!(!names_addresses(&table, None)?, "only what a tag says");
/// std::fs::write(&table, "path,lat,lon\nhttps://example.org/a.jpg,52.2,0.1\n")?;
/// assert!(names_addresses(&table, None)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`DataError::Io`] for a table that cannot be read.
pub fn names_addresses(path: &Path, kind: Option<Kind>) -> Result<bool> {
    if !path.is_file() || !matches!(kind, None | Some(Kind::Csv)) {
        return Ok(false);
    }
    if kind.is_none() && detect(path)? != Kind::Csv {
        return Ok(false);
    }
    let bytes = std::fs::read(path).map_err(|error| DataError::io(path, error))?;
    // Few tables have any, and what has none needs no parsing.
    if !bytes.windows(3).any(|three| three == b"://") {
        return Ok(false);
    }
    if let Some(names) = list_of_names(&bytes, path) {
        return Ok(names.iter().any(|(path, _)| path.to_str().is_some_and(is_address)));
    }
    // What is wrong with a table is said by whoever lists it.
    let Ok(table) = Table::parse(&bytes, path) else { return Ok(false) };
    let Ok(columns) = Columns::detect(&table, None) else { return Ok(false) };
    Ok(table.rows.iter().any(|(_, cells)| is_address(&cells[columns.path])))
}
