//! C and C++ programs against the library, where there is a compiler: the header compiles, the example adds and asks, and the
//! ROS node's logic is what it says. The header is the one that cbindgen makes, where that is installed. What a missing program
//! leaves unchecked is said.

#[cfg(all(feature = "cluster", target_os = "linux"))]
#[path = "../../cluster/tests/common/nodes.rs"]
mod nodes;

use r2former_c as _;
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The folder of this crate.
const CRATE: &str = env!("CARGO_MANIFEST_DIR");

fn root() -> PathBuf {
    Path::new(CRATE).join("../..")
}

/// The first of these programs that is there; without any, a notice says what is not checked.
fn program(names: &[&str], what: &str) -> Option<String> {
    let works =
        |name: &&&str| Command::new(name).arg("--version").output().is_ok_and(|out| out.status.success());
    let found = names.iter().find(works).map(|name| (*name).to_owned());
    if found.is_none() {
        // Not by a macro, whose output a passing test does not show.
        let _ = writeln!(std::io::stderr(), "!! {what} NOT checked: there is no {}", names.join(", no "));
    }
    found
}

fn compiler_of_c_plus_plus(what: &str) -> Option<String> {
    program(&["c++", "g++", "clang++"], what)
}

/// The library that was built beside this test: `target/release/deps/programs-...` has it one folder up or beside it.
fn library() -> PathBuf {
    let test = std::env::current_exe().expect("a test program");
    let deps = test.parent().expect("a folder");
    let name = format!("{}r2former_c{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let found = [deps.join(&name), deps.with_file_name(&name)].into_iter().find(|path| path.is_file());
    found.expect("cargo builds the library with its tests")
}

fn succeeds(command: &mut Command) -> Output {
    let output = command.output().expect("can be run");
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

#[test]
fn the_header_is_c_and_c_plus_plus() {
    for (names, language, standard) in
        [(["cc", "gcc", "clang"], "c", "-std=c99"), (["c++", "g++", "clang++"], "c++", "-std=c++11")]
    {
        let Some(compiler) = program(&names, "the header of the C library is") else { continue };
        let header = Path::new(CRATE).join("include/r2former.h");
        let flags = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only", standard, "-x", language];
        succeeds(Command::new(compiler).args(flags).arg(header));
    }
}

#[test]
fn the_nodes_logic() {
    let Some(compiler) = compiler_of_c_plus_plus("the logic of the ROS node is") else { return };
    let home = tempfile::tempdir().expect("temporary folder");
    let (program, ros) = (home.path().join("logic"), root().join("examples/ros2"));
    let mut compile = Command::new(compiler);
    compile.args(["-std=c++17", "-Wall", "-Wextra", "-Werror", "-I"]).arg(ros.join("include"));
    compile.arg("-I").arg(Path::new(CRATE).join("include")).arg(ros.join("test/test_logic.cpp"));
    succeeds(compile.arg("-o").arg(&program));
    assert_eq!(succeeds(&mut Command::new(&program)).stdout, b"ok\n");
}

/// The C++ example, compiled into a folder against the library.
fn example(compiler: String, home: &Path) -> PathBuf {
    let (program, library) = (home.join("locate"), library());
    let mut compile = Command::new(compiler);
    compile.args(["-std=c++14", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-I"]);
    compile.arg(Path::new(CRATE).join("include")).arg(root().join("examples/cpp/locate.cpp")).arg(&library);
    let folder = library.parent().expect("a folder");
    compile.arg(format!("-Wl,-rpath,{}", folder.display()));
    succeeds(compile.arg("-o").arg(&program));
    program
}

/// Adds two pictures of noise, 60 m from each other, to an index, and asks it in all ways that the example has.
fn adds_and_asks(program: &Path, home: &Path, index: &OsStr) {
    let mut photos = Vec::new();
    for (i, seed) in [1u32, 2].into_iter().enumerate() {
        let photo = home.join(format!("{i}.ppm"));
        let mut state = seed;
        let mut bytes = b"P6 96 64 255\n".to_vec();
        bytes.extend((0..96 * 64 * 3).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        }));
        std::fs::write(&photo, bytes).expect("can be written");
        photos.push(photo);
    }
    for (i, (photo, lat)) in photos.iter().zip(["52.1", "52.2"]).enumerate() {
        let mut add = Command::new(program);
        add.arg(index).arg("--add").arg(format!("robot/{i}")).args([lat, "0.5"]).arg(photo);
        let said = String::from_utf8(succeeds(&mut add).stdout).expect("text");
        assert!(said.contains("\"added\":1"), "{said}");
    }
    let broken = home.join("broken.jpg");
    std::fs::write(&broken, b"no photograph").expect("can be written");
    let mut ask = Command::new(program);
    let said = succeeds(ask.arg(index).args(&photos).arg(&broken).arg("missing.jpg")).stdout;
    let said = String::from_utf8(said).expect("text");
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].contains(": at 52.1") && lines[1].contains(": at 52.2"), "{said}");
    assert!(lines[2].ends_with("not a photograph") && lines[3].ends_with("cannot be read"), "{said}");

    let mut follow = Command::new(program);
    let said = succeeds(follow.arg(index).arg("--sequence").args(&photos).arg(&broken)).stdout;
    let said = String::from_utf8(said).expect("text");
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].contains(": at 52.1") && lines[2].contains(": at 52."), "{said}");
    let track: serde_json::Value = serde_json::from_str(lines[3]).expect("a document");
    assert_eq!(track["track"][0]["live"]["place"]["path"], "robot/0");
    assert_eq!(
        (&track["answers"][2]["status"], &track["track"][2]["frame"]),
        (&"unreadable".into(), &3.into())
    );
    let mut empty = Command::new(program);
    assert!(succeeds(empty.arg(index).arg("--sequence")).stdout.starts_with(b"{\"answers\":[]"));
}

#[test]
fn the_example_adds_and_asks() {
    let Some(compiler) = compiler_of_c_plus_plus("the C++ example is") else { return };
    let home = tempfile::tempdir().expect("temporary folder");
    let program = example(compiler, home.path());
    adds_and_asks(&program, home.path(), home.path().join("places").as_os_str());

    let mut missing = Command::new(&program);
    let output = missing.arg(home.path().join("none")).arg("a.jpg").output().expect("can be run");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("this is no place index"), "{said}");
}

/// An index in one node of the Qdrant server that `R2FORMER_QDRANT` names. Without the variable a line says that nothing is tested.
#[cfg(all(feature = "cluster", target_os = "linux"))]
#[test]
fn the_example_adds_to_a_collection_and_asks_it() {
    let Some(compiler) = compiler_of_c_plus_plus("the C++ example with a collection is") else { return };
    let Some(nodes) = nodes::Nodes::start(1) else { return };
    let home = tempfile::tempdir().expect("temporary folder");
    let program = example(compiler, home.path());
    let streets = nodes.address("streets").to_string();
    adds_and_asks(&program, home.path(), OsStr::new(&streets));

    let elsewhere = nodes.address("elsewhere").to_string();
    let output = Command::new(&program).args([&elsewhere, "a.jpg"]).output().expect("can be run");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("no such collection"), "{said}");
}

/// `cbindgen --config crates/capi/cbindgen.toml crates/capi -o crates/capi/include/r2former.h` writes it.
#[test]
fn the_header_is_up_to_date() {
    let Some(cbindgen) = program(&["cbindgen"], "the header of the C library, as cbindgen makes it, is")
    else {
        return;
    };
    let made = succeeds(
        Command::new(cbindgen)
            .args(["--quiet", "--config"])
            .args([Path::new(CRATE).join("cbindgen.toml"), Path::new(CRATE).to_path_buf()]),
    );
    let header = std::fs::read(Path::new(CRATE).join("include/r2former.h")).expect("a header");
    assert_eq!(String::from_utf8_lossy(&made.stdout), String::from_utf8_lossy(&header));
}
