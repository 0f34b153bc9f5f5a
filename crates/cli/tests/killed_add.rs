//! `index add` killed at many moments: what was written stays, and the next run resumes.

mod common;

use common::{PROGRAM, r2former, write_photo};
use r2former_data::LatLon;
use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Enough that several of the twelve runs are cut off in the middle, also on a faster machine.
const PHOTOS: u32 = 3000;

fn listed(index: &std::path::Path) -> BTreeSet<String> {
    let output = r2former().args(["index", "list"]).arg(index).assert().success().get_output().clone();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter_map(|line| line.split_once('\t')).map(|(_, name)| name.to_owned()).collect()
}

#[test]
fn a_killed_run_loses_nothing_and_goes_on() {
    let home = tempfile::tempdir().expect("temporary folder");
    let (index, photos) = (home.path().join("index"), home.path().join("photos"));
    std::fs::create_dir(&photos).expect("temporary folders can be written");
    for i in 0..PHOTOS {
        let position = LatLon { lat: 52.2 + 0.0001 * f64::from(i), lon: 0.12 };
        write_photo(&photos.join(format!("{i:04}.jpg")), i, Some(position));
    }
    r2former().args(["index", "create", "--image-size", "32x32"]).arg(&index).assert().success();

    let mut before = BTreeSet::new();
    let mut cut = 0;
    for round in 0..12u64 {
        let mut child = Command::new(PROGRAM)
            .args(["index", "add"])
            .args([&index, &photos])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        std::thread::sleep(Duration::from_millis(150 + 137 * round % 700));
        let _ = child.kill();
        let ended = child.wait().expect("it was started");
        let now = listed(&index);
        assert!(before.is_subset(&now), "round {round}: {} images became {}", before.len(), now.len());
        cut += usize::from(!ended.success() && now.len() < PHOTOS as usize);
        before = now;
    }
    assert!(cut > 2, "only {cut} runs were cut off in the middle");

    let output = r2former().args(["index", "add", "--json"]).args([&index, &photos]).assert().success();
    let report: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).expect("JSON");
    assert_eq!(report["already_indexed"], before.len());
    assert_eq!(report["added"], PHOTOS as usize - before.len());
    assert_eq!(listed(&index).len(), PHOTOS as usize);
    r2former().args(["index", "verify"]).arg(&index).assert().success();
}
