//! Predictions written by a run score as the run reports; bad files are refused with what is wrong.

mod common;
#[path = "../../eval/tests/common/mod.rs"]
mod road;

use common::{fails, names, r2former, write_photo};
use road::{DATABASE, QUERIES, msls};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The road with photographs: those at the same place are similar.
fn city(name: &str, positions: bool) -> TempDir {
    let dir = tempfile::tempdir().expect("temporary folder");
    msls(dir.path(), name, positions);
    let part = if positions { "train_val" } else { "test" };
    for (side, images) in [("database", &DATABASE[..]), ("query", &QUERIES[..])] {
        for (key, _, _, metres, ..) in images {
            let path = dir.path().join(part).join(name).join(side).join("images").join(format!("{key}.jpg"));
            write_photo(&path, metres / 30, None);
        }
    }
    dir
}

const SMALL: [&str; 2] = ["--image-size", "64x64"];

fn json(command: &mut common::Command) -> Value {
    let output = command.assert().success().get_output().clone();
    serde_json::from_slice(&output.stdout).expect("JSON on standard output")
}

/// Evaluates the road and scores the predictions that were written.
fn both_ways(dir: &TempDir, file: &str, task: &[&str]) -> (Value, Value, PathBuf) {
    let predictions = dir.path().join(file);
    let report = dir.path().join(format!("report-{file}"));
    let mut run = r2former();
    run.args(["eval", "msls"]).arg(dir.path()).args(["--cities", "cph", "--rerank", "model"]).args(task);
    run.args(SMALL).arg("--predictions").arg(&predictions).arg("--report").arg(&report);
    let run = json(run.arg("--json"));
    let mut scored = r2former();
    scored.args(["eval", "predictions"]).arg(&predictions).args(["msls"]).arg(dir.path());
    let scored = json(scored.args(["--cities", "cph", "--at", "1,5,10", "--json"]).args(task));
    (run, scored, report.join("results.json"))
}

#[test]
fn predictions_score_as_the_run_reports() {
    let dir = city("cph", true);
    for (file, task) in [
        ("images.txt", &[][..]),
        ("images.csv", &[]),
        ("sequences.txt", &["--task", "seq2seq", "--sequence", "3"]),
        ("mixed.csv", &["--task", "im2seq"]),
    ] {
        let (run, scored, results) = both_ways(&dir, file, task);
        let scored = &scored["runs"][0];
        for n in ["1", "5", "10"] {
            assert_eq!(run["recall"]["reranked"][n], scored["recall"][n], "{file}: recall@{n}");
            assert_eq!(
                run["mean_average_precision"]["reranked"][n], scored["mean_average_precision"][n],
                "{file}: mAP@{n}"
            );
        }
        let protocol = &run["protocol"];
        assert_eq!(protocol["empty_queries"], "drop");
        assert_eq!(protocol["sequences"].is_string(), !task.is_empty());
        assert!(results.is_file());
    }
    let text = std::fs::read_to_string(dir.path().join("sequences.txt")).expect("was written");
    let rows: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(rows.iter().map(|row| row.split(' ').count()).collect::<Vec<_>>(), [5, 5], "{text}");
    assert!(rows[0].starts_with("q0,q1,q2 ") && rows[1].starts_with("q1,q2,q3 "), "{text}");
}

#[test]
fn runs_are_compared_by_their_results() {
    let dir = city("cph", true);
    let (run, _, results) = both_ways(&dir, "images.txt", &[]);
    let ranking = |name: &str| format!("{}:{name}", results.display());
    let found = json(
        r2former().args(["eval", "compare"]).arg(ranking("global")).arg(ranking("reranked")).arg("--json"),
    );
    assert_eq!(found["queries"], 5);
    assert_eq!(found["recall"][0]["first"], run["recall"]["global"]["1"]);
    assert_eq!(found["recall"][0]["second"], run["recall"]["reranked"]["1"]);
    assert_eq!(found["recall"], run["comparisons"][0]["recall"]);
    // The folder of a report is enough; its final ranking is the default.
    let folder = results.parent().expect("lies in a folder");
    let output = r2former().args(["eval", "compare"]).arg(folder).arg(&results).assert().success();
    let said = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    names(&said, &["results.json:reranked", "R@1", "McNemar", "5 queries"]);
    // A predictions file has no model, and still follows the same protocol.
    let mut scored = r2former();
    scored.args(["eval", "predictions"]).arg(dir.path().join("images.txt")).arg("msls").arg(dir.path());
    scored
        .args(["--cities", "cph", "--at", "1", "--report"])
        .arg(dir.path().join("scored"))
        .assert()
        .success();
    let found =
        json(r2former().args(["eval", "compare"]).arg(&results).arg(dir.path().join("scored")).arg("--json"));
    assert_eq!(found["recall"][0]["test"]["difference"]["value"], 0.0);
    names(&fails(r2former().args(["eval", "compare"]).arg(&results).arg("gone.json"), 1), &["gone.json"]);
    let said = fails(r2former().args(["eval", "compare"]).arg(&results).arg(ranking("ransac")), 1);
    names(&said, &["no ranking ransac", "global, reranked"]);
}

#[test]
fn a_challenge_is_ranked_without_positions() {
    let dir = city("miami", false);
    let predictions = dir.path().join("challenge.txt");
    let run = |more: &[&Path]| {
        let mut command = r2former();
        command
            .args(["eval", "msls"])
            .arg(dir.path())
            .args(["--cities", "miami", "--rerank", "none"])
            .args(SMALL);
        command.args(more);
        command
    };
    names(&fails(&mut run(&[]), 1), &["no positions", "--predictions"]);
    let output = run(&[Path::new("--predictions"), &predictions]).assert().success();
    names(&String::from_utf8_lossy(&output.get_output().stdout), &["6 queries", "nothing was scored"]);
    let text = std::fs::read_to_string(&predictions).expect("was written");
    let rows: Vec<Vec<&str>> =
        text.lines().filter(|line| !line.starts_with('#')).map(|row| row.split(' ').collect()).collect();
    assert_eq!(rows.iter().map(|row| row[0]).collect::<Vec<_>>(), QUERIES.map(|query| query.0));
    assert!(rows.iter().all(|row| row.len() == 11), "every one of 10 references: {text}");
}

#[test]
fn bad_files_and_options_say_what_to_do() {
    let dir = city("cph", true);
    let file = dir.path().join("p.txt");
    let scored = |text: &str, more: &[&str], code: i32| {
        std::fs::write(&file, text).expect("temporary folders can be written");
        let mut command = r2former();
        command.args(["eval", "predictions"]).arg(&file).arg("msls").arg(dir.path());
        fails(command.args(["--cities", "cph"]).args(more), code)
    };
    let score = |text: &str, more: &[&str]| scored(text, more, 1);
    names(&score("", &[]), &["p.txt", "no predictions"]);
    names(&score("q0 d0 d0\n", &[]), &["p.txt:1", "d0", "unique"]);
    names(&score("q0 nothing\n", &[]), &["p.txt:1", "nothing", "q0"]);
    names(&score("q0 d0\n", &["--at", "1"]), &["p.txt", "query q1", "4 of 5", "every query must be present"]);
    // What the command line alone shows to be wrong.
    names(&scored("q0 d0\n", &["--at", "0"], 2), &["--at", "0"]);
    names(&scored("q0 d0\n", &["--sequence", "3"], 2), &["im2im", "--task"]);
    names(&scored("q0 d0\n", &["--task", "seq2im", "--sequence", "4"], 2), &["4 frames", "odd"]);
    // Before the model is run.
    let mut command = r2former();
    command.args(["eval", "msls"]).arg(dir.path()).args(["--cities", "cph", "--predictions", "p.json"]);
    names(&fails(&mut command, 2), &["p.json", ".txt", ".csv"]);
}

#[test]
fn numbers_that_make_no_sense_are_refused_by_their_option() {
    let dir = tempfile::tempdir().expect("temporary folder");
    for (command, option, value) in [
        ("eval vg", "--radius", "nan"),
        ("eval vg", "--radius", "-1"),
        ("eval vg", "--heading", "nan"),
        ("eval vg", "--heading", "-1"),
        ("eval vg", "--adaptive", "nan"),
        ("eval st-lucia", "--spacing", "nan"),
        ("eval panoramas", "--east-of", "nan"),
    ] {
        let mut program = r2former();
        program.args(command.split(' ')).arg(dir.path()).args([option, value]);
        names(&fails(&mut program, 2), &[option, value]);
    }
    let mut program = r2former();
    program.args(["show", "map"]).arg(dir.path()).args(["q.csv", "--radius", "nan"]);
    names(&fails(&mut program, 2), &["--radius", "nan"]);
}

#[test]
fn former_options_are_refused_with_their_new_names() {
    let former = concat!("--queries", "-as");
    let mut program = r2former();
    program.args(["eval", "vg", ".", former, "single_query"]);
    names(&fails(&mut program, 2), &[former, "--query-preprocessing"]);
}

#[test]
fn outputs_are_checked_before_the_work_and_named_once() {
    let dir = city("cph", true);
    let eval = |option: &str, path: &Path| {
        let mut program = r2former();
        program.args(["eval", "msls"]).arg(dir.path()).args(["--cities", "cph"]).arg(option).arg(path);
        fails(&mut program, 1)
    };
    let file = dir.path().join("file");
    std::fs::write(&file, b"").expect("temporary folders can be written");
    for (said, path) in [
        (eval("--predictions", &dir.path().join("nowhere/p.txt")), "nowhere/p.txt"),
        (eval("--report", &file), "file"),
    ] {
        let shown = dir.path().join(path).display().to_string();
        assert_eq!(said.matches(&shown).count(), 1, "{said}");
        assert!(!said.contains(".writing") && !said.contains("left out"), "{said}");
    }
}

#[test]
fn missing_files_are_reported_once() {
    let dir = city("cph", true);
    let mut score = r2former();
    score.args(["eval", "predictions", "gone.txt", "msls"]).arg(dir.path()).args(["--cities", "cph"]);
    for mut program in [score, {
        let mut compare = r2former();
        compare.args(["eval", "compare", "gone.json", "gone.json"]);
        compare
    }] {
        let said = fails(&mut program, 1);
        assert_eq!(said.matches("No such file").count(), 1, "{said}");
        assert_eq!(said.matches("gone.").count(), 1, "{said}");
    }
}
