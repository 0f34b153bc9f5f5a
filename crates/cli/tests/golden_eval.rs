//! Golden files of evaluations: text and JSON of scored predictions, of comparisons, and of an evaluation with synthetic
//! features. `INSTA_UPDATE=always cargo test -p r2former-cli --test golden_eval` writes them again.

#[path = "../../eval/tests/common/mod.rs"]
mod road;

use road::msls;
use serde_json::Value;
use std::path::Path;
use tempfile::TempDir;

const FIRST: &str = "\
# the first program
q0 d1 t0 d0 d2 d3
q1 d0 d2 t0 d1 t1
q2 t0 t1 t2 d0 d1
q3 d0 d1 d2 d3 d6
u0 t2 t1 d0 d1 d2
u1 d0 d1 d2 d3 d6
";
const SECOND: &str = "\
q0 t0 d1 d0 d2 d3
q1 d1 d3 d0 d2 t0
q2 d2 d6 d0 d1 t2
q3 d7 d0 d1 d2 d3
u0 t1 d0 d1 d2 d3
u1 t0 t1 t2 d0 d1
";

/// A city with the predictions of two programs.
fn city() -> TempDir {
    let dir = tempfile::tempdir().expect("temporary folder");
    msls(dir.path(), "cph", true);
    for (name, text) in [("first.txt", FIRST), ("second.txt", SECOND)] {
        std::fs::write(dir.path().join(name), text).expect("temporary folders can be written");
    }
    dir
}

/// Standard output of a successful run in a folder, so that names are relative.
fn run(dir: &Path, command: &str) -> String {
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_r2former"));
    program.current_dir(dir).env_remove("R2FORMER_SIMD").args(command.split(' '));
    let output = program.output().expect("the program was built with the tests");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// JSON without times, memory and machine.
fn json(text: &str) -> String {
    let mut value: Value = serde_json::from_str(text).expect("JSON on standard output");
    redact(&mut value);
    serde_json::to_string_pretty(&value).expect("JSON again")
}

fn redact(value: &mut Value) {
    match value {
        Value::Object(map) => map.iter_mut().for_each(|(key, value)| {
            let measured = ["_ms", "_ms_per_query", "_s", "images_per_second", "peak_bytes"];
            match measured.iter().any(|ending| key.ends_with(ending)) {
                true => *value = "[measured]".into(),
                false => redact(value),
            }
        }),
        Value::Array(all) => all.iter_mut().for_each(redact),
        _ => {}
    }
}

const SCORE: &str = "eval predictions first.txt second.txt msls . --cities cph --at 1,5";

#[test]
fn scored_predictions() {
    let dir = city();
    insta::assert_snapshot!("predictions_text", run(dir.path(), SCORE));
    insta::assert_snapshot!("predictions_json", json(&run(dir.path(), &format!("{SCORE} --json"))));
    run(dir.path(), "eval predictions first.txt msls . --cities cph --at 1,5 --report first");
    let results = std::fs::read_to_string(dir.path().join("first/results.json")).expect("was written");
    insta::assert_snapshot!("predictions_results", json(&results));
}

#[test]
fn compared_runs() {
    let dir = city();
    for name in ["first", "second"] {
        let command = format!("eval predictions {name}.txt msls . --cities cph --at 1,5 --report {name}");
        run(dir.path(), &command);
    }
    insta::assert_snapshot!("compare_text", run(dir.path(), "eval compare first second/results.json"));
    insta::assert_snapshot!("compare_json", json(&run(dir.path(), "eval compare first second --json")));
}

#[test]
fn an_evaluation_with_synthetic_features() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let command = "bench eval --images 64 --queries 8 --rerank none --image-size 32x32";
    let text: String = run(dir.path(), command)
        .lines()
        // Lines of measured values.
        .map(|line| {
            match ["cost ", "features ", "evaluation ", "memory "]
                .iter()
                .find(|head| line.starts_with(**head))
            {
                Some(head) => format!("{head}[measured]\n"),
                None => format!("{line}\n"),
            }
        })
        .collect();
    insta::assert_snapshot!("summary_text", text);
    insta::assert_snapshot!("summary_json", json(&run(dir.path(), &format!("{command} --json"))));
}
