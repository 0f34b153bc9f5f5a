//! Photographs that were not added: grouped by what kept them out, for people and as JSON.

use crate::output::{escaped, quoted};
use r2former_data::dataset::{SkipKind, Skipped, escaped_name};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// How many of a group are named; JSON names all.
const NAMED: usize = 5;

/// What a group is called in a summary, and under which key it stands in JSON.
const GROUPS: [(SkipKind, &str, &str); 3] = [
    (SkipKind::WithoutPosition, "without a position", "without_position"),
    (SkipKind::Unreadable, "that could not be read", "unreadable"),
    (SkipKind::Unsupported, "in a format that is not read", "unsupported"),
];

/// What was left out of an index.
pub(super) struct LeftOut<'a>(pub(super) &'a [Skipped]);

impl<'a> LeftOut<'a> {
    fn of(&self, kind: SkipKind) -> Vec<&'a Skipped> {
        self.0.iter().filter(|skipped| skipped.kind == kind).collect()
    }

    /// The lines that name what was left out; a reason that many share is one line.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (kind, words, _) in GROUPS {
            let all = self.of(kind);
            if all.is_empty() {
                continue;
            }
            let mut reasons: BTreeMap<&str, Vec<&Path>> = BTreeMap::new();
            for skipped in &all {
                reasons.entry(&skipped.reason).or_default().push(&skipped.path);
            }
            if let [(reason, paths)] = reasons.iter().collect::<Vec<_>>().as_slice()
                && paths.len() > 1
            {
                lines.push(format!("left out: {} {words}: {}: {}", all.len(), escaped(reason), names(paths)));
                continue;
            }
            lines.push(format!("left out: {} {words}:", all.len()));
            let mut named = 0;
            let mut untold = 0;
            for (reason, paths) in reasons {
                if named == NAMED {
                    untold += paths.len();
                    continue;
                }
                named += 1;
                lines.push(format!("  {}: {}", names(&paths), escaped(reason)));
            }
            if untold > 0 {
                lines.push(format!("  and {untold} more (--json lists all)"));
            }
        }
        lines
    }

    /// `149 without a position, 2 that could not be read`.
    pub(super) fn summary(&self) -> String {
        let parts: Vec<String> = GROUPS
            .into_iter()
            .map(|(kind, words, _)| (self.of(kind).len(), words))
            .filter(|(count, _)| *count > 0)
            .map(|(count, words)| format!("{count} {words}"))
            .collect();
        if parts.is_empty() { "nothing left out".into() } else { format!("left out: {}", parts.join(", ")) }
    }

    /// A list of `{"path", "reason"}` under the key of each group.
    pub(super) fn json(&self, into: &mut serde_json::Map<String, Value>) {
        for (kind, _, key) in GROUPS {
            let all = self.of(kind);
            let list = all.iter().map(|s| json!({ "path": escaped_name(&s.path), "reason": s.reason }));
            into.insert(key.into(), list.collect());
        }
    }
}

/// The first names of a list, and how many follow.
fn names(paths: &[&Path]) -> String {
    let name = |path: &&Path| quoted(&escaped_name(path)).into_owned();
    let first: Vec<String> = paths.iter().take(NAMED).map(name).collect();
    match paths.len() - first.len() {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skipped(path: &str, reason: &str, kind: SkipKind) -> Skipped {
        Skipped { path: path.into(), reason: reason.into(), kind }
    }

    #[test]
    fn what_many_share_is_one_line() {
        let mut all: Vec<Skipped> = (0..152)
            .map(|i| {
                skipped(&format!("p/{i}.jpg"), "has no GPS position in its EXIF", SkipKind::WithoutPosition)
            })
            .collect();
        all.extend(
            (0..7).map(|i| skipped(&format!("{i}\n.jpg"), &format!("reason {i}"), SkipKind::Unreadable)),
        );
        let left_out = LeftOut(&all);
        let lines = left_out.lines();
        assert_eq!(
            lines[0],
            "left out: 152 without a position: has no GPS position in its EXIF: p/0.jpg, p/1.jpg, p/2.jpg, p/3.jpg, \
             p/4.jpg and 147 more"
        );
        assert_eq!(lines[1], "left out: 7 that could not be read:");
        assert_eq!(lines[2], "  0\\n.jpg: reason 0");
        assert_eq!(lines[7], "  and 2 more (--json lists all)");
        assert_eq!(lines.len(), 8);
        assert_eq!(left_out.summary(), "left out: 152 without a position, 7 that could not be read");
        let mut json = serde_json::Map::new();
        left_out.json(&mut json);
        assert_eq!(json["without_position"].as_array().map(Vec::len), Some(152));
        assert_eq!(json["unreadable"][6]["reason"], "reason 6");
        assert_eq!(json["unsupported"], json!([]));
        assert_eq!(LeftOut(&[]).summary(), "nothing left out");
    }
}
