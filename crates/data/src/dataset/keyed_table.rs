//! Tables of MSLS: one row per image, found by the image's key.

use super::number::number;
use super::table::{Table, is_nothing};
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
        let mut rows = HashMap::with_capacity(table.rows.len());
        for (i, (line, cells)) in table.rows.iter().enumerate() {
            let key = &cells[key];
            if let Some(before) = rows.insert(key.clone(), i) {
                let before = table.rows[before].0;
                return Err(
                    table.complain(*line, format!("the key {key} is on line {before} already: keep one"))
                );
            }
        }
        Ok(Some(Self { table, rows }))
    }

    /// A cell that says something.
    pub(super) fn cell(&self, key: &str, column: &str) -> Option<&str> {
        let (_, cells) = &self.table.rows[*self.rows.get(key)?];
        Some(cells[self.table.column(column)?].as_str()).filter(|cell| !cell.is_empty() && !is_nothing(cell))
    }

    /// As [`KeyedTable::cell`], as true or false: in words, or 1 or 0. What is not stated is false.
    pub(super) fn is_true(&self, key: &str, column: &str) -> Result<bool> {
        let Some(cell) = self.cell(key, column) else { return Ok(false) };
        match cell.to_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "1" | "1.0" => Ok(true),
            "false" | "f" | "no" | "n" | "0" | "0.0" => Ok(false),
            _ => {
                let problem = format!("{column} is \"{cell}\" for {key}: True or False is needed");
                Err(self.table.complain(self.line(key), problem))
            }
        }
    }

    fn line(&self, key: &str) -> Option<u64> {
        self.rows.get(key).map(|row| self.table.rows[*row].0)
    }

    /// As [`KeyedTable::cell`], as a number.
    pub(super) fn number(&self, key: &str, column: &str) -> Result<Option<f64>> {
        let Some(cell) = self.cell(key, column) else { return Ok(None) };
        number(column, cell).map(Some).map_err(|problem| self.table.complain(self.line(key), problem))
    }
}
