//! Tables of delimited text, with line numbers for every complaint.

use super::foreign;
use super::number::number;
use crate::{DataError, Result};
use std::collections::HashSet;
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
    /// Rows that do not fit the header or are no text, with what is wrong.
    pub(super) bad: Vec<BadRow>,
    /// Lines that are comments.
    pub(super) comments: usize,
}

/// A row that is not read.
#[derive(Debug)]
pub(super) struct BadRow {
    pub(super) line: u64,
    /// As far as it is text.
    pub(super) cells: Vec<String>,
    pub(super) problem: String,
}

impl Table {
    /// Reads a file whose every row must be sound. The delimiter is whichever of comma, semicolon, tab and `|` the
    /// header has most of. Lines that start with `#` are comments.
    ///
    /// # Errors
    /// [`DataError::Io`]; [`DataError::Format`] for a file that is no table, and with a line number for text that is
    /// not UTF-8, a row with more or fewer cells than the header, a quote that is never closed, a repeated column
    /// name, an empty file.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let table = Self::read_lenient(path)?;
        match table.bad.first() {
            Some(row) => Err(table.complain(row.line, row.problem.clone())),
            None => Ok(table),
        }
    }

    /// As [`Table::read`]; rows that cannot be read are set apart.
    ///
    /// # Errors
    /// As [`Table::read`], of the table as a whole.
    pub(super) fn read_lenient(path: &Path) -> Result<Self> {
        let about = std::fs::metadata(path).map_err(|e| DataError::io(path, e))?;
        if let Some(what) = not_a_file(&about) {
            return Err(DataError::format(path, None, format!("is {what}, expected a table (CSV)")));
        }
        let bytes = std::fs::read(path).map_err(|e| DataError::io(path, e))?;
        Self::parse(&bytes, path)
    }

    /// As [`Table::read_lenient`], of bytes in memory.
    pub(super) fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
            return Err(DataError::format(path, 1, "is UTF-16 text: save it as UTF-8"));
        }
        if let Some(problem) = foreign::problem(bytes, path) {
            return Err(DataError::format(path, None, problem));
        }
        let (first, delimiter) = delimiter_of(bytes);
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter)
            .trim(csv::Trim::All)
            .from_reader(&bytes[first..]);
        // The lines before the first one that is read.
        let skipped = bytes[..first].iter().filter(|b| **b == b'\n').count() as u64;
        let mut table = Self {
            path: path.to_owned(),
            delimiter: delimiter.into(),
            header: Vec::new(),
            rows: Vec::new(),
            bad: Vec::new(),
            comments: 0,
        };
        let mut above: Vec<String> = Vec::new();
        let mut header_line = 1;
        let mut record = csv::ByteRecord::new();
        loop {
            let more = reader
                .read_byte_record(&mut record)
                .map_err(|e| DataError::format(path, None, e.to_string()))?;
            if !more {
                break;
            }
            let start = first + record.position().map_or(0, |p| p.byte() as usize);
            let line = skipped + line_of(bytes, start, record.position().map_or(1, csv::Position::line));
            let end = reader.position().byte() as usize + first;
            let open = record.iter().any(|cell| cell.contains(&b'\n') || cell.contains(&b'\r'))
                && !quotes_close(bytes.get(start..end).unwrap_or_default(), delimiter);
            let utf8 = record.iter().all(|cell| std::str::from_utf8(cell).is_ok());
            let cells: Vec<String> =
                record.iter().map(|cell| String::from_utf8_lossy(cell).trim().to_owned()).collect();
            if cells.iter().all(String::is_empty) {
                continue;
            }
            if open {
                // Which rows such a cell swallowed is not known.
                return Err(
                    table.complain(line, "a quoted cell runs over several lines: is a quote left open?")
                );
            }
            if table.is_comment(&cells) {
                table.comments += 1;
                if table.header.is_empty() {
                    above = cells;
                }
                continue;
            }
            if !utf8 {
                let problem = "is not UTF-8 text: save the file as UTF-8";
                if table.header.is_empty() {
                    return Err(table.complain(line, problem));
                }
                table.bad.push(BadRow { line, cells, problem: problem.into() });
                continue;
            }
            if table.header.is_empty() {
                header_line = line;
            }
            table.push(line, cells)?;
        }
        if table.header.is_empty() {
            return Err(DataError::format(path, None, "is empty: expected a header line and rows"));
        }
        table.take_header_from(above, header_line);
        Ok(table)
    }

    /// Whether a row is a comment: it starts with `#`, and is not the row of a file whose name does.
    fn is_comment(&self, cells: &[String]) -> bool {
        let Some(first) = cells.first().filter(|cell| cell.starts_with('#')) else { return false };
        let folder = self.path.parent().unwrap_or(Path::new(""));
        cells.len() != self.header.len() || !folder.join(first).is_file()
    }

    /// Tools for scientific tables put the header into a comment: `# name lat lon`. It is taken where the first row
    /// has as many cells and numbers among them.
    fn take_header_from(&mut self, mut above: Vec<String>, line: u64) {
        if let Some(first) = above.first_mut() {
            *first = first.trim_start_matches('#').trim().to_owned();
        }
        let numbers = |cells: &[String]| cells.iter().any(|cell| number("", cell).is_ok());
        if above.len() == self.header.len() && above.len() > 1 && numbers(&self.header) && !numbers(&above) {
            let row = std::mem::replace(&mut self.header, above);
            self.rows.insert(0, (line, row));
            self.comments -= 1;
        }
    }

    fn push(&mut self, line: u64, cells: Vec<String>) -> Result<()> {
        if self.header.is_empty() {
            // A name over two lines, as spreadsheets break them, is one name.
            let one_line = |name: String| name.split_whitespace().collect::<Vec<_>>().join(" ");
            let cells: Vec<String> = cells
                .into_iter()
                .map(|name| if name.contains(['\n', '\r']) { one_line(name) } else { name })
                .collect();
            let mut seen = HashSet::new();
            for name in cells.iter().filter(|name| !name.is_empty()) {
                if !seen.insert(name.to_lowercase()) {
                    return Err(self.complain(line, format!("column \"{name}\" appears twice")));
                }
            }
            self.header = cells;
        } else if cells.len() == self.header.len() {
            self.rows.push((line, cells));
        } else {
            let (has, wants) = (cells.len(), self.header.len());
            let problem = format!(
                "has {has} cells where the header has {wants}: a missing or unquoted \"{}\"?",
                self.delimiter
            );
            self.bad.push(BadRow { line, cells, problem });
        }
        Ok(())
    }

    /// Empties the cells of some columns that hold a word for nothing (`NULL`, `NA`, `nan`), chosen by their names.
    pub(super) fn empty_nothings(&mut self, chosen: impl Fn(&str) -> bool) {
        let columns: Vec<usize> = (0..self.header.len()).filter(|at| chosen(&self.header[*at])).collect();
        for (_, cells) in &mut self.rows {
            for at in &columns {
                if is_nothing(&cells[*at]) {
                    cells[*at].clear();
                }
            }
        }
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file's name, for messages about its lines.
    pub(super) fn name(&self) -> String {
        self.path.file_name().unwrap_or(self.path.as_os_str()).to_string_lossy().into_owned()
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
    /// [`DataError::Format`] that lists the columns.
    pub(super) fn require(&self, name: &str) -> Result<usize> {
        self.column(name).ok_or_else(|| {
            self.complain(1, format!("has no column \"{name}\", only: {}", self.header.join(", ")))
        })
    }
}

/// Whether a cell is a word that programs write where they have no value.
pub(super) fn is_nothing(cell: &str) -> bool {
    const WORDS: [&str; 12] =
        ["null", "na", "n/a", "n.a.", "nan", "none", "nil", "#n/a", "<na>", "\\n", "-", "--"];
    WORDS.iter().any(|word| cell.eq_ignore_ascii_case(word))
}

/// Where the table starts, and its delimiter: the one that `sep=;` on the first line states (Excel's way), else the
/// most frequent one of the first line that has text and is no comment, quoted parts left out; ties and none go to
/// the comma.
fn delimiter_of(bytes: &[u8]) -> (usize, u8) {
    let mut start = 0;
    let mut header = &b""[..];
    let mut comment = &b""[..];
    for line in bytes.split_inclusive(|b| matches!(b, b'\n' | b'\r')) {
        let text = line.trim_ascii();
        if let Some([delimiter @ (b',' | b';' | b'\t' | b'|')]) = text.strip_prefix(b"sep=") {
            return (start + line.len(), *delimiter);
        }
        if text.starts_with(b"#") {
            comment = text;
        } else if !text.is_empty() {
            header = text;
            break;
        }
        start += line.len();
    }
    if header.is_empty() {
        header = comment;
    }
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0), (b'|', 0)];
    let mut quoted = false;
    for byte in header {
        quoted ^= *byte == b'"';
        if let Some(count) = counts.iter_mut().find(|c| c.0 == *byte && !quoted) {
            count.1 += 1;
        }
    }
    let most = counts.iter().map(|c| c.1).max().unwrap_or(0);
    (0, counts.iter().find(|c| c.1 == most).map_or(b',', |c| c.0))
}

/// Whether every quoted cell of a record ends as RFC 4180 has it: with a quote before a delimiter or the record's end.
/// A quote that was left open ends at the next stray one, or never.
fn quotes_close(record: &[u8], delimiter: u8) -> bool {
    let mut rest = record.trim_ascii();
    loop {
        let blank = |c: &u8| matches!(c, b' ' | b'\t') && *c != delimiter;
        rest = &rest[rest.iter().take_while(|c| blank(c)).count()..];
        if let Some(mut inside) = rest.strip_prefix(b"\"") {
            loop {
                let Some(quote) = inside.iter().position(|c| *c == b'"') else { return false };
                inside = &inside[quote + 1..];
                match inside.strip_prefix(b"\"") {
                    Some(more) => inside = more,
                    None => break,
                }
            }
            rest = &inside[inside.iter().take_while(|c| blank(c)).count()..];
            if !rest.is_empty() && rest[0] != delimiter {
                return false;
            }
        }
        match rest.iter().position(|c| *c == delimiter) {
            Some(at) => rest = &rest[at + 1..],
            None => return true,
        }
    }
}

/// The line on which a record's text starts: the reader counts blank lines before it as part of it.
fn line_of(bytes: &[u8], start: usize, line: u64) -> u64 {
    let blank = bytes.get(start..).unwrap_or_default().iter().take_while(|b| matches!(b, b'\n' | b'\r'));
    line + blank.filter(|b| **b == b'\n').count() as u64
}

/// What a path leads to that is no regular file, in words.
pub(super) fn not_a_file(about: &std::fs::Metadata) -> Option<&'static str> {
    if about.is_dir() {
        return Some("a folder");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        let kind = about.file_type();
        if kind.is_fifo() {
            return Some("a pipe");
        } else if kind.is_socket() {
            return Some("a socket");
        } else if kind.is_block_device() || kind.is_char_device() {
            return Some("a device");
        }
    }
    (!about.is_file()).then_some("no file")
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
        for text in [
            "\u{feff}a,b\n1,\"x,y\"\n",
            "a;b\r\n1;x,y\r\n",
            "\n\na\tb\n1\tx,y",
            "a|b\n1|x,y\n",
            "sep=;\na;b\n1;x,y\n",
            "# by hand, x\na;b\n# 1,2,3\n1;x,y\n#\n",
        ] {
            let table = parse(text).unwrap();
            assert_eq!(table.header, ["a", "b"], "{text:?}");
            assert_eq!(table.rows[0].1, ["1", "x,y"], "{text:?}");
        }
    }

    #[test]
    fn a_header_may_be_a_comment() {
        let table = parse("# by hand\n# name lat\n#path,lat\na.jpg,1\n# x\nb.jpg,2\n").unwrap();
        assert_eq!(
            (table.header.as_slice(), table.comments),
            (&["path".to_owned(), "lat".to_owned()][..], 3)
        );
        assert_eq!(table.rows.iter().map(|r| r.0).collect::<Vec<_>>(), [4, 6]);
    }

    #[test]
    fn lines_are_counted_as_an_editor_does() {
        let table = parse("a,b\r\n\r\n1,2\r\n3,4\r\n\r\n\r\n5,6").unwrap();
        assert_eq!(table.rows.iter().map(|r| r.0).collect::<Vec<_>>(), [3, 4, 7]);
        let table = parse("a,b\n1,2\n,\n5,6\n").unwrap();
        assert_eq!(table.rows.iter().map(|r| r.0).collect::<Vec<_>>(), [2, 4]);
    }

    #[test]
    fn a_cell_may_run_over_lines() {
        let table = parse("path,lat,note\na.jpg,1,\"two\nlines, \"\"quoted\"\"\"\r\nb.jpg,2,x\n").unwrap();
        assert_eq!(table.rows[0], (2, vec!["a.jpg".into(), "1".into(), "two\nlines, \"quoted\"".into()]));
        assert_eq!((table.rows[1].0, table.rows[1].1[0].as_str()), (4, "b.jpg"));
        let table = parse("path,\"lat\n(deg)\"\na.jpg,1\n").unwrap();
        assert_eq!((table.header[1].as_str(), table.rows[0].0), ("lat (deg)", 3));
        for open in ["a,b\n1,\"2\n3,4\n", "a,b\n1,\"2\n3,\"4\n", "a,b,c\n1,\"2\n3,4\",\"5\n6,7,8\n"] {
            let message = parse(open).expect_err(open).to_string();
            assert!(message.contains("is a quote left open"), "{open:?}: {message}");
        }
    }

    #[test]
    fn complaints_name_the_line() {
        for (text, line, wanted) in [
            ("a,b\n1,2\n3\n4,5\n", 3, "has 1 cells where the header has 2"),
            ("a,b\n1,2,3\n4,5\n", 2, "has 3 cells"),
        ] {
            let table = parse(text).unwrap();
            assert_eq!(
                (table.bad[0].line, table.rows.last().unwrap().1.as_slice()),
                (line, &["4".to_owned(), "5".to_owned()][..])
            );
            assert!(table.bad[0].problem.starts_with(wanted), "{:?}", table.bad);
        }
        for (text, wanted) in [
            ("", "t.csv: is empty"),
            ("\u{feff}\n\n", "t.csv: is empty"),
            ("# only\n#comments\n", "t.csv: is empty"),
            ("a,b\n1,\"2\n3,4\n", "t.csv:2: a quoted cell runs over several lines"),
            ("a,A\n1,2\n", "t.csv:1: column \"A\" appears twice"),
        ] {
            let message = parse(text).expect_err(text).to_string();
            assert!(message.starts_with(wanted), "{message}");
        }
        let table = Table::parse(b"a,b\n1,2\n\xff,4\n", Path::new("t.csv")).unwrap();
        assert_eq!((table.bad[0].line, table.rows.len()), (3, 1));
        assert!(table.bad[0].problem.starts_with("is not UTF-8"), "{:?}", table.bad);
        let message = Table::parse(b"a,\xff\n1,2\n", Path::new("t.csv")).unwrap_err().to_string();
        assert!(message.starts_with("t.csv:1: is not UTF-8"), "{message}");
        let message = Table::parse(b"\xff\xfea\0", Path::new("t.csv")).unwrap_err().to_string();
        assert!(message.contains("UTF-16"), "{message}");
    }

    #[test]
    fn a_file_whose_name_starts_with_a_hash_is_no_comment() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("#1.jpg"), b"x").unwrap();
        let text = b"path,lat\n#1.jpg,52\n#2.jpg,52\n";
        let table = Table::parse(text, &dir.path().join("t.csv")).unwrap();
        assert_eq!((table.rows.len(), table.comments), (1, 1));
    }

    #[test]
    fn strict_reading_names_the_first_bad_row() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv");
        std::fs::write(&path, "a,b\n1\n").unwrap();
        let message = Table::read(&path).unwrap_err().to_string();
        assert!(message.contains("t.csv:2: has 1 cells"), "{message}");
        let message = Table::read(dir.path()).unwrap_err().to_string();
        assert!(message.ends_with("is a folder, expected a table (CSV)"), "{message}");
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
