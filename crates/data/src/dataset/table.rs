//! Tables of delimited text, with line numbers for every complaint.

use crate::{DataError, Result};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A table: a header and rows of as many cells, all of them trimmed text.
#[derive(Debug)]
pub(super) struct Table {
    path: PathBuf,
    /// The delimiter that was found.
    pub(super) delimiter: char,
    /// Column names as they are written.
    pub(super) header: Vec<String>,
    /// Rows with the line on which each starts, from 1.
    pub(super) rows: Vec<(u64, Vec<String>)>,
}

impl Table {
    /// Reads a file. The delimiter is whichever of comma, semicolon and tab the header has most of.
    ///
    /// # Errors
    /// [`DataError::Io`]; [`DataError::Format`] with a line number for text that is not UTF-8, a row
    /// with more or fewer cells than the header, a quote that is never closed, a repeated column
    /// name, an empty file.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| DataError::io(path, e))?;
        Self::parse(&bytes, path)
    }

    /// As [`Table::read`], of bytes in memory.
    pub(super) fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
            return Err(DataError::format(path, 1, "is UTF-16 text: save it as UTF-8"));
        }
        let delimiter = delimiter_of(bytes);
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter)
            .trim(csv::Trim::All)
            .from_reader(bytes);
        let mut table =
            Self { path: path.to_owned(), delimiter: delimiter.into(), header: Vec::new(), rows: Vec::new() };
        let mut record = csv::ByteRecord::new();
        loop {
            let more = reader
                .read_byte_record(&mut record)
                .map_err(|e| DataError::format(path, None, e.to_string()))?;
            if !more {
                break;
            }
            let start = record.position().map_or(0, |p| p.byte() as usize);
            let line = line_of(bytes, start, record.position().map_or(1, csv::Position::line));
            let cells = record
                .iter()
                .map(|cell| std::str::from_utf8(cell).map(|text| text.trim().to_owned()))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|_| DataError::format(path, line, "is not UTF-8 text: save the file as UTF-8"))?;
            if cells.iter().all(String::is_empty) {
                continue;
            }
            table.push(line, cells)?;
        }
        if table.header.is_empty() {
            return Err(DataError::format(path, None, "is empty: expected a header line and rows"));
        }
        Ok(table)
    }

    fn push(&mut self, line: u64, cells: Vec<String>) -> Result<()> {
        if cells.iter().any(|c| c.contains(['\n', '\r'])) {
            return Err(self.complain(line, "a quoted cell runs over several lines: is a quote left open?"));
        }
        if self.header.is_empty() {
            let mut seen = HashMap::new();
            for name in cells.iter().filter(|name| !name.is_empty()) {
                if seen.insert(name.to_lowercase(), ()).is_some() {
                    return Err(self.complain(line, format!("column \"{name}\" appears twice")));
                }
            }
            self.header = cells;
        } else if cells.len() == self.header.len() {
            self.rows.push((line, cells));
        } else {
            let (has, wants) = (cells.len(), self.header.len());
            return Err(self.complain(
                line,
                format!(
                    "has {has} cells where the header has {wants}: a missing or unquoted \"{}\"?",
                    self.delimiter
                ),
            ));
        }
        Ok(())
    }

    /// An error about a line of this table.
    pub(super) fn complain(&self, line: impl Into<Option<u64>>, problem: impl Into<String>) -> DataError {
        DataError::format(&self.path, line, problem)
    }

    /// Where a column stands, by name, whatever its case.
    pub(super) fn column(&self, name: &str) -> Option<usize> {
        self.header.iter().position(|column| column.eq_ignore_ascii_case(name))
    }

    /// As [`Table::column`], of a column that must be there.
    ///
    /// # Errors
    /// [`DataError::Format`] that tells which columns there are.
    pub(super) fn require(&self, name: &str) -> Result<usize> {
        self.column(name).ok_or_else(|| {
            self.complain(1, format!("has no column \"{name}\", only: {}", self.header.join(", ")))
        })
    }
}

/// The most frequent delimiter of the first line that has text, quoted parts left out; ties and none
/// go to the comma.
fn delimiter_of(bytes: &[u8]) -> u8 {
    let line = bytes.split(|b| matches!(b, b'\n' | b'\r')).find(|line| !line.trim_ascii().is_empty());
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0)];
    let mut quoted = false;
    for byte in line.unwrap_or_default() {
        quoted ^= *byte == b'"';
        if let Some(count) = counts.iter_mut().find(|c| c.0 == *byte && !quoted) {
            count.1 += 1;
        }
    }
    let most = counts.iter().map(|c| c.1).max().unwrap_or(0);
    counts.iter().find(|c| c.1 == most).map_or(b',', |c| c.0)
}

/// The line on which a record's text starts: the reader counts blank lines before it as part of it.
fn line_of(bytes: &[u8], start: usize, line: u64) -> u64 {
    let blank = bytes.get(start..).unwrap_or_default().iter().take_while(|b| matches!(b, b'\n' | b'\r'));
    line + blank.filter(|b| **b == b'\n').count() as u64
}

/// A number: finite, with a decimal point.
///
/// # Errors
/// Says what is wrong with it, for use in a message.
pub(super) fn number(what: &str, cell: &str) -> Result<f64, String> {
    match cell.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) => Err(format!("{what} is {cell}, a finite number is needed")),
        Err(_) if cell.is_empty() => Err(format!("{what} is empty")),
        Err(_) if cell.contains(',') && cell.replace(',', ".").parse::<f64>().is_ok() => {
            Err(format!("{what} \"{cell}\" has a decimal comma: write {}", cell.replace(',', ".")))
        }
        Err(_) => Err(format!("{what} \"{cell}\" is not a number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Table> {
        Table::parse(text.as_bytes(), Path::new("t.csv"))
    }

    #[test]
    fn delimiters_quotes_and_marks() {
        for text in ["\u{feff}a,b\n1,\"x,y\"\n", "a;b\r\n1;x,y\r\n", "\n\na\tb\n1\tx,y"] {
            let table = parse(text).unwrap();
            assert_eq!(table.header, ["a", "b"], "{text:?}");
            assert_eq!(table.rows[0].1, ["1", "x,y"], "{text:?}");
        }
    }

    #[test]
    fn lines_are_counted_as_an_editor_does() {
        let table = parse("a,b\r\n\r\n1,2\r\n3,4\r\n\r\n\r\n5,6").unwrap();
        assert_eq!(table.rows.iter().map(|r| r.0).collect::<Vec<_>>(), [3, 4, 7]);
        let table = parse("a,b\n1,2\n,\n5,6\n").unwrap();
        assert_eq!(table.rows.iter().map(|r| r.0).collect::<Vec<_>>(), [2, 4]);
    }

    #[test]
    fn complaints_name_the_line() {
        for (text, wanted) in [
            ("", "t.csv: is empty"),
            ("\u{feff}\n\n", "t.csv: is empty"),
            ("a,b\n1,2\n3\n", "t.csv:3: has 1 cells where the header has 2"),
            ("a,b\n1,2,3\n", "t.csv:2: has 3 cells"),
            ("a,b\n1,\"2\n3,4\n", "t.csv:2: a quoted cell runs over several lines"),
            ("a,A\n1,2\n", "t.csv:1: column \"A\" appears twice"),
        ] {
            let message = parse(text).expect_err(text).to_string();
            assert!(message.starts_with(wanted), "{message}");
        }
        let message = Table::parse(b"a,b\n1,2\n\xff,4\n", Path::new("t.csv")).unwrap_err().to_string();
        assert!(message.starts_with("t.csv:3: is not UTF-8"), "{message}");
        let message = Table::parse(b"\xff\xfea\0", Path::new("t.csv")).unwrap_err().to_string();
        assert!(message.contains("UTF-16"), "{message}");
    }

    #[test]
    fn numbers_are_finite_and_pointed() {
        assert_eq!(number("lat", "52.5"), Ok(52.5));
        assert_eq!(number("lat", "52,5").unwrap_err(), "lat \"52,5\" has a decimal comma: write 52.5");
        for bad in ["", "nan", "inf", "x", "1 2"] {
            assert!(number("lat", bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_table_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(table) = Table::parse(&bytes, Path::new("t.csv")) {
                prop_assert!(table.rows.iter().all(|r| r.1.len() == table.header.len()));
            }
        }
    }
}
