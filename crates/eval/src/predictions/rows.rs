//! The rows of a predictions file in any format, as names.

use super::{PredictionFormat, PredictionsError};
use std::collections::HashMap;
use std::path::Path;

/// One query's predictions as names.
#[derive(Debug, PartialEq)]
pub(super) struct Row {
    /// The query's first line, from 1.
    pub(super) line: u64,
    pub(super) query: String,
    /// Best first, each with its line.
    pub(super) references: Vec<(u64, String)>,
}

/// Phrases of the comment that kapture's files start with.
const KAPTURE: [&str; 2] = ["kapture format", "query_image, map_image"];

/// The format: kapture's if the first comment says so, else by the file's extension.
pub(super) fn detect(path: &Path, text: &str) -> Result<PredictionFormat, PredictionsError> {
    let comments = text.lines().map(str::trim).take_while(|line| line.is_empty() || line.starts_with('#'));
    for line in comments {
        if KAPTURE.iter().any(|phrase| line.contains(phrase)) {
            return Ok(PredictionFormat::Kapture);
        }
    }
    PredictionFormat::of(path)
}

/// Splits a file into its rows; `is_query` distinguishes a query from a header row.
pub(super) fn rows(
    path: &Path,
    text: &str,
    format: PredictionFormat,
    is_query: impl Fn(&str) -> bool,
) -> Result<Vec<Row>, PredictionsError> {
    match format {
        PredictionFormat::Msls => Ok(lines(text).map(|(line, text)| msls(line, text)).collect()),
        PredictionFormat::Csv => table(path, text, is_query),
        PredictionFormat::Kapture => pairs(path, text),
    }
}

/// Lines with content, with their numbers.
fn lines(text: &str) -> impl Iterator<Item = (u64, &str)> {
    let all = (1u64..).zip(text.lines().map(str::trim));
    all.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

fn msls(line: u64, text: &str) -> Row {
    let mut names = text.split_whitespace().map(str::to_string);
    let query = names.next().unwrap_or_default();
    Row { line, query, references: names.map(|name| (line, name)).collect() }
}

fn table(path: &Path, text: &str, is_query: impl Fn(&str) -> bool) -> Result<Vec<Row>, PredictionsError> {
    let malformed =
        |line: u64, problem: String| PredictionsError::Malformed { path: path.into(), line, problem };
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let mut rows = Vec::new();
    for record in reader.records() {
        let record =
            record.map_err(|e| malformed(e.position().map_or(1, csv::Position::line), e.to_string()))?;
        let (start, line) = record.position().map_or((0, 1), |p| (p.byte() as usize, p.line()));
        // The csv reader counts blank lines before a record as part of it.
        let blank = text.bytes().skip(start).take_while(|b| matches!(b, b'\n' | b'\r'));
        let line = line + blank.filter(|b| *b == b'\n').count() as u64;
        let mut cells: Vec<String> = record.iter().map(str::to_string).collect();
        // Programs that write rectangular tables pad short rows.
        cells.truncate(cells.iter().rposition(|cell| !cell.is_empty()).map_or(0, |last| last + 1));
        if cells.is_empty() {
            continue;
        }
        if cells.iter().any(String::is_empty) {
            return Err(malformed(line, "has an empty cell between others: remove it".into()));
        }
        let references = cells.split_off(1).into_iter().map(|name| (line, name)).collect();
        let query = cells.remove(0);
        if rows.is_empty() && query.eq_ignore_ascii_case("query") && !is_query(&query) {
            continue;
        }
        rows.push(Row { line, query, references });
    }
    Ok(rows)
}

fn pairs(path: &Path, text: &str) -> Result<Vec<Row>, PredictionsError> {
    let malformed = |line: u64, problem: &str| {
        let problem = format!("{problem}: expected query_image, map_image, score");
        PredictionsError::Malformed { path: path.into(), line, problem }
    };
    let mut rows: Vec<(Row, Vec<f64>)> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (line, text) in lines(text) {
        let cells: Vec<&str> = text.split(',').map(str::trim).collect();
        let [query, reference, score] = cells[..] else {
            return Err(malformed(line, &format!("has {} cells, not 3", cells.len())));
        };
        let score = score.parse::<f64>().ok().filter(|score| score.is_finite());
        let score = score.ok_or_else(|| malformed(line, "its score is not a finite number"))?;
        let place = *places.entry(query).or_insert_with(|| {
            rows.push((Row { line, query: query.into(), references: Vec::new() }, Vec::new()));
            rows.len() - 1
        });
        rows[place].0.references.push((line, reference.into()));
        rows[place].1.push(score);
    }
    let sorted = |(mut row, scores): (Row, Vec<f64>)| {
        let mut scored: Vec<((u64, String), f64)> = row.references.into_iter().zip(scores).collect();
        // Stable: equal scores stay as in the file.
        scored.sort_by(|a, b| b.1.total_cmp(&a.1));
        row.references = scored.into_iter().map(|(reference, _)| reference).collect();
        row
    };
    Ok(rows.into_iter().map(sorted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(name: &str, text: &str) -> Result<Vec<(u64, String, Vec<String>)>, String> {
        let path = Path::new(name);
        let format = detect(path, text).map_err(|e| e.to_string())?;
        let rows = rows(path, text, format, |name| name == "Query.jpg").map_err(|e| e.to_string())?;
        let plain = |row: Row| (row.line, row.query, row.references.into_iter().map(|r| r.1).collect());
        Ok(rows.into_iter().map(plain).collect())
    }

    fn row(line: u64, query: &str, references: &[&str]) -> (u64, String, Vec<String>) {
        (line, query.into(), references.iter().map(|r| (*r).into()).collect())
    }

    #[test]
    fn three_formats_are_read_alike() {
        let expected = vec![row(2, "q1", &["b", "a"]), row(4, "q2", &["a"])];
        assert_eq!(read("p.txt", "# comment\nq1 b a\n\n q2\ta \n"), Ok(expected.clone()));
        assert_eq!(read("p.csv", "query,1,2\nq1,b,a\n\nq2,a,\n"), Ok(expected));
        let kapture =
            "# kapture format: 1.1\n# query_image, map_image, score\nq1, a, 0.1\nq2, a, 1\nq1, b, 0.2\n";
        assert_eq!(read("pairs.txt", kapture), Ok(vec![row(3, "q1", &["b", "a"]), row(4, "q2", &["a"])]));
    }

    #[test]
    fn sequences_and_names_with_commas() {
        assert_eq!(read("p.txt", "a,b,c x,y\n"), Ok(vec![row(1, "a,b,c", &["x,y"])]));
        assert_eq!(read("p.csv", "\"a,b,c\",\"x,y\"\n"), Ok(vec![row(1, "a,b,c", &["x,y"])]));
        assert_eq!(read("p.csv", "Query.jpg,a\n"), Ok(vec![row(1, "Query.jpg", &["a"])]));
    }

    #[test]
    fn errors_name_the_line() {
        let said = |name: &str, text: &str| read(name, text).expect_err(text);
        assert!(said("p.csv", "q1,a\n\nq2,,a\n").starts_with("p.csv:3: has an empty cell"));
        let head = "# query_image, map_image, score\n";
        assert!(said("p", &format!("{head}q1, a\n")).starts_with("p:2: has 2 cells"));
        assert!(
            said("p", &format!("{head}q1, a, 1\nq1, b, nan\n"))
                .starts_with("p:3: its score is not a finite number")
        );
        assert!(said("p.json", "q1 a").contains(".txt (MSLS) or .csv"));
    }

    proptest! {
        #[test]
        fn any_text_is_rows_or_an_error(text in "[q,#\" \n\ra-c0-9.]{0,200}") {
            for name in ["p.txt", "p.csv"] {
                let _ = read(name, &text);
            }
            let _ = read("p", &format!("# kapture format: 1.1\n{text}"));
        }
    }
}
