//! What `index add` found changed or twice: for people and as JSON.

use crate::output::{escaped, quoted};
use r2former_engine::{AddReport, Changed, Duplicate, FieldChange};
use serde_json::{Map, Value, json};

/// How many of a list are named; JSON names all.
const NAMED: usize = 5;

/// The lines that name what differs from the index, and what has two names.
pub(super) fn lines(report: &AddReport) -> Vec<String> {
    let mut lines = Vec::new();
    let mut changed = |all: &[Changed], words: &str| {
        if all.is_empty() {
            return;
        }
        lines.push(format!("{words}: {}", images(all.len())));
        for Changed { name, changes } in all.iter().take(NAMED) {
            let changes: Vec<String> = changes.iter().map(change).collect();
            lines.push(format!("  {}: {}", quoted(name), escaped(&changes.join("; "))));
        }
        lines.extend(more(all.len()));
    };
    changed(&report.changed, "changed since they were added, and not taken (--update takes them)");
    changed(&report.updated, "updated");
    let mut twice = |all: &[Duplicate], words: &str| {
        if all.is_empty() {
            return;
        }
        lines.push(format!("{words}: {}", all.len()));
        let named = all.iter().take(NAMED);
        lines.extend(named.map(|Duplicate { name, of }| format!("  {} is {}", quoted(name), quoted(of))));
        lines.extend(more(all.len()));
    };
    twice(&report.duplicates, "added under a second name (--skip-duplicates leaves such files out)");
    twice(&report.skipped_duplicates, "left out, as the same file has another name");
    lines
}

fn images(count: usize) -> String {
    format!("{count} image{}", if count == 1 { "" } else { "s" })
}

fn more(count: usize) -> Option<String> {
    (count > NAMED).then(|| format!("  and {} more (--json lists all)", count - NAMED))
}

pub(super) fn change(FieldChange { what, from, to }: &FieldChange) -> String {
    let words = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".into());
    format!("{what} from {} to {}", words(from), words(to))
}

/// `; 2 updated; 1 changed, not taken`: what the summary says of them.
pub(super) fn summary(report: &AddReport) -> String {
    [
        (report.updated.len(), "updated"),
        (report.changed.len(), "changed, not taken"),
        (report.duplicates.len(), "of them under a second name"),
        (report.skipped_duplicates.len(), "left out as duplicates"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, words)| format!("; {count} {words}"))
    .collect()
}

/// The lists, each under its key.
pub(super) fn json(report: &AddReport, into: &mut Map<String, Value>) {
    into.insert("updated".into(), json!(report.updated));
    into.insert("changed".into(), json!(report.changed));
    into.insert("duplicates".into(), json!(report.duplicates));
    into.insert("skipped_duplicates".into(), json!(report.skipped_duplicates));
}
