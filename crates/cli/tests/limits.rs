//! Options out of range, and machines with limits: an error in one line, never an abort or a trace.

mod common;

use common::{PROGRAM, fails, names, photo_folder, r2former};
use std::path::Path;
use std::process::{Command, Output};

#[test]
fn a_town_out_of_range_is_refused() {
    let home = tempfile::tempdir().expect("temporary folder");
    let dir = home.path().join("town");
    for (args, words) in [
        (&["--size", "8x8"][..], &["--size", "16 to 8192"][..]),
        (&["--size", "320x15"], &["--size", "16 to 8192"]),
        (&["--size", "99999x99999"], &["--size"]),
        (&["--queries", "4000000000"], &["--queries", "1000000"]),
        (&["--queries", "-1"], &["--queries"]),
        (&["--spacing", "nan"], &["--spacing", "0.5 to 10000"]),
        (&["--spacing", "-5"], &["--spacing", "0.5 to 10000"]),
        (&["--spacing", "inf"], &["--spacing", "0.5 to 10000"]),
        (&["--blocks", "65x1"], &["--blocks", "1 to 64"]),
        (&["--conditions", "fog"], &["--conditions", "fog"]),
    ] {
        let said = fails(r2former().arg("town").arg(&dir).args(args), 2);
        names(&said, words);
        assert!(!dir.exists(), "{args:?}");
    }
    let mut smallest = r2former();
    smallest.arg("town").arg(&dir).args([
        "--size",
        "16x16",
        "--queries",
        "1",
        "--blocks",
        "1x1",
        "--spacing",
        "60",
    ]);
    smallest.assert().success();
}

#[test]
fn panorama_options_out_of_range_are_refused() {
    for (args, words) in [
        (["--panorama-fov", "nan"], ["--panorama-fov", "20 to 120"]),
        (["--panorama-fov", "-5"], ["--panorama-fov", "20 to 120"]),
        (["--panorama-offset", "inf"], ["--panorama-offset", "-360 to 360"]),
        (["--panorama-views", "37"], ["--panorama-views", "1..=36"]),
    ] {
        names(&fails(r2former().args(["index", "add", "index", "photos"]).args(args), 2), &words);
    }
}

#[test]
fn an_output_that_cannot_be_written_is_named_once_and_first() {
    let home = tempfile::tempdir().expect("temporary folder");
    let file = home.path().join("file");
    std::fs::write(&file, "x").expect("temporary folders can be written");
    let said = fails(r2former().arg("town").arg(file.join("town")), 1);
    names(&said, &["file/town", "cannot be written"]);
    assert_eq!(said.matches("os error").count().max(1), 1, "{said}");
    let said = fails(r2former().arg("town").arg(&file), 1);
    names(&said, &["it is a file, not a folder"]);
    let index = home.path().join("index");
    r2former().args(["index", "create"]).arg(&index).assert().success();
    let out = home.path().join("no/folder/snapshot");
    let said = fails(r2former().args(["index", "export"]).arg(&index).arg(&out), 1);
    names(&said, &["no/folder/snapshot", "does not exist"]);
    assert!(!said.contains("imported"), "{said}");
}

/// Runs the program under a limit of the shell.
#[cfg(unix)]
fn limited(limit: &str, args: &[&std::ffi::OsStr]) -> Output {
    Command::new("sh")
        .args(["-c", &format!("ulimit {limit} && exec \"$@\""), "sh", PROGRAM])
        .args(args)
        .env("RUST_BACKTRACE", "0")
        .output()
        .expect("there is a shell")
}

/// One line on standard error, exit code 1.
#[cfg(unix)]
#[track_caller]
fn one_line(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let lines = said.lines().filter(|line| !line.starts_with("note:")).count();
    assert!(lines == 1 && !said.contains("panicked") && !said.contains("RUST_BACKTRACE"), "{said}");
    said
}

#[cfg(target_os = "linux")]
#[test]
fn too_little_memory_is_an_error() {
    let photos = photo_folder();
    let [a, b] = ["0.jpg", "1.jpg"].map(|name| photos.path().join(name));
    // From a limit under which not even threads start to one that is just too small.
    for kilobytes in [100_000, 140_000, 200_000, 300_000] {
        let args = [Path::new("match"), &a, &b].map(Path::as_os_str);
        let output = limited(&format!("-v {kilobytes}"), &args);
        if !output.status.success() {
            // A failed allocation is reported by the standard library, which adds a note of its own.
            let said = String::from_utf8_lossy(&output.stderr).to_lowercase();
            assert_eq!(output.status.code(), Some(1), "{kilobytes}: {said}");
            assert!(said.contains("memory") && said.lines().count() <= 2, "{kilobytes}: {said}");
            assert!(!said.contains("panicked"), "{kilobytes}: {said}");
        }
    }
}

#[cfg(unix)]
#[test]
fn a_limit_on_file_sizes_is_an_error() {
    let home = tempfile::tempdir().expect("temporary folder");
    let town = home.path().join("town");
    // Blocks of 512 bytes: no photograph fits.
    let args = [
        "town".as_ref(),
        town.as_os_str(),
        "--queries".as_ref(),
        "1".as_ref(),
        "--blocks".as_ref(),
        "1x1".as_ref(),
    ];
    let said = one_line(&limited("-f 4", &args)).to_lowercase();
    assert!(said.contains("file too large"), "{said}");
    let index = home.path().join("index");
    let args = ["index".as_ref(), "create".as_ref(), index.as_os_str()];
    let said = one_line(&limited("-f 4", &args)).to_lowercase();
    assert!(said.contains("too large") || said.contains("no room left"), "{said}");
}
