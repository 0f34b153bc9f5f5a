//! The examples run without arguments, on rendered photographs.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where cargo puts the examples of this build; `None` where only some targets were built.
fn example(name: &str) -> Option<PathBuf> {
    let test = std::env::current_exe().expect("this test is a program");
    let folder = test.ancestors().nth(2).map(|build| build.join("examples"));
    let path = folder.unwrap_or_default().join(name).with_extension(std::env::consts::EXE_EXTENSION);
    path.exists().then_some(path)
}

#[test]
fn every_example_runs_without_arguments() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut names: Vec<String> = std::fs::read_dir(&sources)
        .expect("the examples are there")
        .map(|entry| entry.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert!(names.len() >= 4, "{names:?}");
    for name in names {
        let Some(program) = example(&name) else {
            // Not by a macro, whose output a passing test does not show.
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED: example {name} was not built: `cargo test` without --test builds it"
            );
            continue;
        };
        let output = Command::new(program).env_remove("R2FORMER_SIMD").output().expect("it was built");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !output.stdout.is_empty(), "{name}: {said}");
    }
}
