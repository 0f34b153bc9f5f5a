//! Tables of MSLS: one row per image, found by the image's key.

use super::number::number;
use super::table::Table;
use crate::Result;
use std::collections::HashMap;
use std::path::PathBuf;

/// A table whose rows are found by the cell in its column `key`.
pub(super) struct KeyedTable {
    pub(super) table: Table,
    rows: HashMap<String, usize>,
}

impl KeyedTable {
    /// Reads it; `None` where the file is missing.
    pub(super) fn read(path: PathBuf) -> Result<Option<Self>> {
        if !path.is_file() {
            return Ok(None);
        }
        let table = Table::read(&path)?;
        let key = table.require("key")?;
        let rows = table.rows.iter().enumerate().map(|(i, (_, cells))| (cells[key].clone(), i)).collect();
        Ok(Some(Self { table, rows }))
    }

    /// A cell that is not empty.
    pub(super) fn cell(&self, key: &str, column: &str) -> Option<&str> {
        let (_, cells) = &self.table.rows[*self.rows.get(key)?];
        Some(cells[self.table.column(column)?].as_str()).filter(|cell| !cell.is_empty())
    }

    /// As [`KeyedTable::cell`], as a number.
    pub(super) fn number(&self, key: &str, column: &str) -> Result<Option<f64>> {
        let Some(cell) = self.cell(key, column) else { return Ok(None) };
        let line = self.rows.get(key).map(|row| self.table.rows[*row].0);
        number(column, cell).map(Some).map_err(|problem| self.table.complain(line, problem))
    }
}
