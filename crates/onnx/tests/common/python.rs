//! A Python for what exported models are compared with.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

/// An interpreter with these modules, by commas; `R2FORMER_PYTHON` names another than the usual ones. Without one a notice says what is
/// not compared, and which packages of `pip` help.
pub(crate) fn python(modules: &str, what: &str, pip: &str) -> Option<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let named = std::env::var_os("R2FORMER_PYTHON").map(PathBuf::from);
    let others =
        ["python3".into(), "python".into(), home.join("venv/bin/python"), home.join(".venv/bin/python")];
    let works = |python: &PathBuf| {
        let test = Command::new(python).args(["-c", &format!("import {modules}")]).output();
        test.is_ok_and(|output| output.status.success())
    };
    let found = named.into_iter().chain(others).find(works);
    if found.is_none() {
        let (first, last) = modules.rsplit_once(", ").expect("several modules");
        // Not by a macro, whose output a passing test does not show.
        let _ = writeln!(
            std::io::stderr(),
            "!! exported models are NOT compared {what}: no Python with {first} and {last} (pip install {pip}; \
             R2FORMER_PYTHON names another interpreter)"
        );
    }
    found
}
