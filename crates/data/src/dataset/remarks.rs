//! Small losses while a source is read, counted by kind so that a thousand of them are one line.

use std::collections::BTreeMap;

/// How many of a kind are named.
const NAMED: usize = 5;

/// Remarks about lines of one table.
#[derive(Debug)]
pub(super) struct Remarks {
    table: String,
    kinds: BTreeMap<&'static str, (usize, Vec<String>)>,
}

impl Remarks {
    pub(super) fn new(table: String) -> Self {
        Self { table, kinds: BTreeMap::new() }
    }

    /// A remark on a line; its kind completes the sentence "3 rows ...".
    pub(super) fn add(&mut self, kind: &'static str, line: u64, problem: String) {
        let (count, named) = self.kinds.entry(kind).or_default();
        *count += 1;
        if named.len() < NAMED {
            named.push(format!("{}:{line}: {problem}", self.table));
        }
    }

    /// One line for each kind, with the first ones of it.
    pub(super) fn notes(self) -> impl Iterator<Item = String> {
        self.kinds.into_iter().map(|(kind, (count, named))| {
            let more = count - named.len();
            let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
            let rows = if count == 1 { "row" } else { "rows" };
            format!("{count} {rows} {kind} ({}{rest})", named.join("; "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_are_one_line() {
        let mut remarks = Remarks::new("t.csv".into());
        for line in 2..9 {
            remarks.add("without a heading", line, "is 400".into());
        }
        let notes: Vec<_> = remarks.notes().collect();
        assert_eq!(notes.len(), 1);
        assert!(notes[0].starts_with("7 rows without a heading (t.csv:2: is 400; t.csv:3:"), "{}", notes[0]);
        assert!(notes[0].ends_with("t.csv:6: is 400 and 2 more)"), "{}", notes[0]);
    }
}
