//! What the tests of the program share: photographs made on the spot, and the program itself.

#![allow(dead_code, reason = "each test file uses its own part")]

pub(crate) mod service;

use r2former_data::LatLon;
use r2former_data::image::{PhotoTags, Rgb8, jpeg_with_tags};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Output;
use tempfile::TempDir;

/// The program's file.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_r2former");

/// The program, about to be run.
pub(crate) struct Command(std::process::Command);

/// How a run ended.
pub(crate) struct Ended(Output);

/// The program.
pub(crate) fn r2former() -> Command {
    let mut command = std::process::Command::new(PROGRAM);
    command.env("RUST_BACKTRACE", "0").env_remove("R2FORMER_SIMD");
    Command(command)
}

impl Command {
    pub(crate) fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Self {
        self.0.arg(arg);
        self
    }

    pub(crate) fn args(&mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Self {
        self.0.args(args);
        self
    }

    pub(crate) fn env(&mut self, name: &str, value: &str) -> &mut Self {
        self.0.env(name, value);
        self
    }

    /// Runs it to its end.
    pub(crate) fn assert(&mut self) -> Ended {
        Ended(self.0.output().expect("the program was built with the tests"))
    }
}

impl Ended {
    #[track_caller]
    pub(crate) fn success(self) -> Self {
        self.code(0)
    }

    #[track_caller]
    pub(crate) fn code(self, code: i32) -> Self {
        let said = String::from_utf8_lossy(&self.0.stderr);
        assert_eq!(self.0.status.code(), Some(code), "{said}");
        self
    }

    pub(crate) fn get_output(&self) -> &Output {
        &self.0
    }
}

/// A photograph-like picture that depends on `seed` alone.
pub(crate) fn picture(seed: u32, width: usize, height: usize) -> Rgb8 {
    let wave = |x: usize, k: u32| (x as f32 * (0.02 + 0.013 * ((seed * 7 + k * 3) % 11) as f32)).sin();
    let pixels = (0..height)
        .flat_map(|y| (0..width).map(move |x| (x, y)))
        .flat_map(|(x, y)| {
            [0u32, 1, 2].map(|c| (127.0 + 60.0 * wave(x + 13 * c as usize, c) + 60.0 * wave(y, c + 3)) as u8)
        })
        .collect();
    Rgb8 { width, height, pixels }
}

/// Writes a JPEG, with GPS where a position is given.
pub(crate) fn write_photo(path: &Path, seed: u32, position: Option<LatLon>) {
    let tags = PhotoTags { position, ..Default::default() };
    let bytes = jpeg_with_tags(&picture(seed, 96, 80), 90, &tags).expect("a sound picture encodes");
    std::fs::write(path, bytes).expect("temporary folders can be written");
}

/// Three photographs with positions about 20 m apart.
pub(crate) fn photo_folder() -> TempDir {
    let dir = tempfile::tempdir().expect("temporary folder");
    for i in 0..3u32 {
        let position = LatLon { lat: 52.2 + 0.0002 * f64::from(i), lon: 0.12 };
        write_photo(&dir.path().join(format!("{i}.jpg")), i, Some(position));
    }
    dir
}

/// An index of [`photo_folder`]'s photographs.
pub(crate) fn small_index() -> (TempDir, PathBuf, TempDir) {
    let home = tempfile::tempdir().expect("temporary folder");
    let index = home.path().join("index");
    let photos = photo_folder();
    r2former().args(["index", "create"]).arg(&index).assert().success();
    r2former().args(["index", "add"]).arg(&index).arg(photos.path()).assert().success();
    (home, index, photos)
}

/// Runs the program, expects this exit code, and returns what it said on standard error.
pub(crate) fn fails(command: &mut Command, code: i32) -> String {
    let output = command.assert().code(code).get_output().clone();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains("panicked"), "{said}");
    said
}

/// Asserts that a message names everything in `parts`.
#[track_caller]
pub(crate) fn names(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "does not name '{part}': {said}");
    }
}
