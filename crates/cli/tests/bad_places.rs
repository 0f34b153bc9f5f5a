//! Folders that are no index, are full, or must not be written.

mod common;

use common::{fails, names, photo_folder, r2former, small_index};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

#[test]
fn a_folder_without_an_index_says_how_to_make_one() {
    let photos = photo_folder();
    let nothing = photos.path().join("nothing");
    for folder in [photos.path(), &nothing] {
        for command in ["info", "list", "verify", "compact"] {
            let said = fails(r2former().args(["index", command]).arg(folder), 1);
            names(&said, &[&folder.display().to_string(), "index create"]);
        }
        let said = fails(r2former().arg("query").arg(folder).arg(photos.path().join("0.jpg")), 1);
        names(&said, &["index create"]);
    }
}

#[test]
fn an_existing_index_is_not_created_again() {
    let (_home, index, _photos) = small_index();
    names(&fails(r2former().args(["index", "create"]).arg(&index), 1), &["not empty"]);
    r2former().args(["index", "verify"]).arg(&index).assert().success();
}

#[test]
fn a_file_is_no_place_for_an_index() {
    let photos = photo_folder();
    let file = photos.path().join("0.jpg");
    names(
        &fails(r2former().args(["index", "create"]).arg(&file), 1),
        &["0.jpg: this is a file, and an index is a folder"],
    );
    names(&fails(r2former().args(["index", "create"]).arg(file.join("x")), 1), &["0.jpg is a file"]);
}

#[test]
fn a_full_disk_names_what_was_to_be_written() {
    let (home, index, _photos) = small_index();
    let small = home.path().join("small");
    std::fs::create_dir(&small).expect("temporary folders can be written");
    let Some(_mounted) = Mounted::tmpfs(&small, "1m") else {
        let _ = writeln!(std::io::stderr(), "SKIPPED: a small file system cannot be mounted here");
        return;
    };
    let snapshot = small.join("snapshot");
    let said = fails(r2former().args(["index", "export"]).arg(&index).arg(&snapshot), 1);
    names(&said, &[&format!("{}: no room left", snapshot.display())]);
    assert_eq!(small.read_dir().expect("a folder").count(), 0, "nothing is left behind");
}

#[test]
fn a_cut_snapshot_is_refused() {
    let (home, index, _photos) = small_index();
    let snapshot = home.path().join("snapshot");
    r2former().args(["index", "export"]).arg(&index).arg(&snapshot).assert().success();
    let bytes = std::fs::read(&snapshot).expect("was written above");
    std::fs::write(&snapshot, &bytes[..bytes.len() / 2]).expect("temporary folders can be written");
    let copy = home.path().join("copy");
    names(
        &fails(r2former().args(["index", "import"]).arg(&snapshot).arg(&copy), 1),
        &["snapshot", "cut short"],
    );
    fails(r2former().args(["index", "info"]).arg(&copy), 1);
}

/// A file system of its own, where the system lets us mount one; unmounted in the end.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn tmpfs(dir: &'a Path, size: &str) -> Option<Self> {
        let option = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &option, "tmpfs"]).arg(dir).status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(dir))
    }

    fn make_read_only(&self) -> bool {
        let status = Command::new("mount").args(["-o", "remount,ro"]).arg(self.0).status();
        status.is_ok_and(|status| status.success())
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

#[test]
fn a_full_disk_loses_nothing_that_was_acknowledged() {
    let home = tempfile::tempdir().expect("temporary folder");
    let Some(_mounted) = Mounted::tmpfs(home.path(), "96m") else {
        // Not by a macro, whose output a passing test does not show.
        let _ = writeln!(std::io::stderr(), "SKIPPED: a small file system cannot be mounted here");
        return;
    };
    let index = home.path().join("index");
    let photos = photo_folder();
    r2former().args(["index", "create"]).arg(&index).assert().success();
    r2former().args(["index", "add"]).arg(&index).arg(photos.path()).assert().success();
    // All that is left is taken; the next image does not fit any more.
    let filler = home.path().join("filler");
    let mut zeros = std::fs::File::create(&filler).expect("there is room for a name");
    while std::io::Write::write_all(&mut zeros, &[0u8; 4096]).is_ok() {}
    drop(zeros);
    let more = photo_folder();
    for i in 0..3 {
        let name = more.path().join(format!("{i}.jpg"));
        std::fs::rename(name, more.path().join(format!("more-{i}.jpg"))).expect("was written above");
    }
    let said = fails(r2former().args(["index", "add"]).arg(&index).arg(more.path()), 1);
    names(&said, &["index", "no room left"]);
    std::fs::remove_file(&filler).expect("was written above");
    let verified = r2former().args(["index", "verify"]).arg(&index).assert().success().get_output().clone();
    names(&String::from_utf8_lossy(&verified.stdout), &["0 problems"]);
    let listed = r2former().args(["index", "list"]).arg(&index).assert().success().get_output().clone();
    for name in ["0.jpg", "1.jpg", "2.jpg"] {
        names(&String::from_utf8_lossy(&listed.stdout), &[name]);
    }
    r2former().args(["index", "add"]).arg(&index).arg(more.path()).assert().success();
}

#[test]
fn a_read_only_folder_is_named() {
    let home = tempfile::tempdir().expect("temporary folder");
    let Some(mounted) = Mounted::tmpfs(home.path(), "96m") else {
        let _ = writeln!(std::io::stderr(), "SKIPPED: a file system cannot be mounted here");
        return;
    };
    let index = home.path().join("index");
    let photos = photo_folder();
    r2former().args(["index", "create"]).arg(&index).assert().success();
    assert!(mounted.make_read_only());
    let said = fails(r2former().args(["index", "add"]).arg(&index).arg(photos.path()), 1);
    names(&said, &[&home.path().display().to_string()]);
    assert!(said.to_lowercase().contains("read-only"), "{said}");
    let other = home.path().join("other");
    let said = fails(r2former().args(["index", "create"]).arg(&other), 1);
    names(&said, &["other"]);
    let out = home.path().join("out.safetensors");
    let mut command = r2former();
    names(
        &fails(command.arg("extract").arg(photos.path().join("0.jpg")).arg("--out").arg(&out), 1),
        &["out.safetensors"],
    );
}
