//! A table as Markdown and CSV.

/// Column heads, and rows of as many cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Column heads.
    pub heads: Vec<String>,
    /// Rows of cells.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub fn new<const N: usize>(heads: [&str; N]) -> Self {
        Self { heads: heads.map(str::to_string).to_vec(), rows: Vec::new() }
    }

    /// As Markdown, with columns padded to their widest cell, so that it also reads as plain text.
    pub fn markdown(&self) -> String {
        let lines = || std::iter::once(&self.heads).chain(&self.rows);
        let clean = |cell: &str| cell.replace('|', "\\|").replace('\n', " ");
        let width = |column: usize| {
            let widths = lines().filter_map(|line| line.get(column)).map(|cell| clean(cell).chars().count());
            widths.max().unwrap_or(0).max(3)
        };
        let widths: Vec<usize> = (0..self.heads.len()).map(width).collect();
        let line = |cells: &[String]| -> String {
            let padded = cells.iter().zip(&widths).map(|(cell, width)| format!(" {:<width$} |", clean(cell)));
            format!("|{}\n", padded.collect::<String>())
        };
        let rule: String = widths.iter().map(|width| format!("{}|", "-".repeat(width + 2))).collect();
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("{}|{rule}\n{rows}", line(&self.heads))
    }

    /// As CSV (RFC 4180), with a header row.
    pub fn csv(&self) -> String {
        let cell = |cell: &String| match cell.contains(['"', ',', '\n', '\r']) {
            true => format!("\"{}\"", cell.replace('"', "\"\"")),
            false => cell.clone(),
        };
        let line = |cells: &Vec<String>| cells.iter().map(cell).collect::<Vec<_>>().join(",") + "\n";
        std::iter::once(&self.heads).chain(&self.rows).map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_padded_and_escaped() {
        let mut table = Table::new(["ranking", "R@1"]);
        table.rows.push(vec!["a|b, \"c\"".into(), "4".into()]);
        assert_eq!(table.markdown(), "| ranking   | R@1 |\n|-----------|-----|\n| a\\|b, \"c\" | 4   |\n");
        assert_eq!(table.csv(), "ranking,R@1\n\"a|b, \"\"c\"\"\",4\n");
    }
}
