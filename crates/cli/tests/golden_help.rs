//! Every help text, held beside a copy: a change of wording is seen in review.

mod common;

use common::r2former;

/// The help of one command and, below it, of each of its subcommands.
fn collect(path: &[String], found: &mut Vec<(String, String)>) {
    let ended = r2former().env("COLUMNS", "100").args(path).arg("--help").assert().success();
    let text = String::from_utf8_lossy(&ended.get_output().stdout).into_owned();
    let subcommands: Vec<String> = text
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.strip_prefix("  ").filter(|name| !name.starts_with(' ')))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_string)
        .collect();
    found.push((["r2former".to_string()].iter().chain(path).cloned().collect::<Vec<_>>().join("_"), text));
    for name in subcommands {
        collect(&[path, &[name]].concat(), found);
    }
}

#[test]
fn every_help_text() {
    let mut found = Vec::new();
    collect(&[], &mut found);
    assert!(found.len() > 40, "only {} commands were found", found.len());
    for (name, text) in found {
        insta::assert_snapshot!(name, text);
    }
}
