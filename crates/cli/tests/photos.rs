//! Panoramas, damaged tags and cut files through `index add`.

mod common;

use common::{fails, names, picture, r2former, small_index};
use r2former_data::LatLon;
use r2former_data::image::{PhotoTags, jpeg_with_tags};
use serde_json::{Value, json};
use std::path::Path;

fn tagged(width: usize, height: usize, xmp: &str) -> Vec<u8> {
    let tags = PhotoTags {
        position: Some(LatLon { lat: 52.4, lon: 0.1 }),
        altitude: Some(7.0),
        ..PhotoTags::default()
    };
    let plain = jpeg_with_tags(&picture(3, width, height), 90, &tags).expect("a sound picture encodes");
    let body = [b"http://ns.adobe.com/xap/1.0/\0", xmp.as_bytes()].concat();
    let length = u16::try_from(body.len() + 2).expect("short").to_be_bytes();
    [&plain[..2], b"\xff\xe1", &length, &body, &plain[2..]].concat()
}

/// Adds a file with options; what was printed on standard output, and on standard error.
fn add(index: &Path, file: &Path, options: &[&str]) -> (Value, String) {
    let mut command = r2former();
    command.args(["index", "add", "--json"]).args(options).arg(index).arg(file);
    let output = command.assert().success().get_output().clone();
    let json = serde_json::from_slice(&output.stdout).expect("JSON on standard output");
    (json, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn places(index: &Path) -> Vec<Value> {
    let output =
        r2former().args(["index", "list", "--json"]).arg(index).assert().success().get_output().clone();
    let all: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON on standard output");
    all.into_iter().map(|image| image["place"].clone()).collect()
}

#[test]
fn a_panorama_is_cut_into_views() {
    let (home, index, _photos) = small_index();
    let gpano = "<r GPano:ProjectionType=\"equirectangular\" GPano:PoseHeadingDegrees=\"90\"/>";
    let write = |name: &str, width, height, xmp: &str| {
        let path = home.path().join(name);
        std::fs::write(&path, tagged(width, height, xmp)).expect("temporary folders can be written");
        path
    };
    let pano = write("pano.jpg", 256, 128, gpano);
    let (json, said) = add(&index, &pano, &["--panorama-views", "4"]);
    assert_eq!(json["added"], 4);
    names(&said, &["1 panorama cut into 4 views of 90 degrees"]);
    let found = places(&index);
    let label = home.path().file_name().expect("a name").to_string_lossy();
    let panorama = format!("{label}/pano.jpg");
    for heading in [0.0, 90.0, 180.0, 270.0] {
        let name = format!("{panorama}#{heading}");
        let view = found.iter().find(|place| place["name"] == name.as_str()).expect(&name);
        assert_eq!((&view["heading"], &view["tags"]["panorama"]), (&json!(heading), &json!(panorama)));
        assert!((view["position"]["lat"].as_f64().expect("a number") - 52.4).abs() < 1e-9);
    }
    assert_eq!(add(&index, &write("whole.jpg", 256, 128, gpano), &["--panorama", "whole"]).0["added"], 1);
    let (_, said) = add(&index, &write("odd.jpg", 256, 160, gpano), &[]);
    names(&said, &["odd.jpg", "whole", "not twice as wide"]);
    let said = fails(
        r2former()
            .args(["index", "add", "--panorama", "skip"])
            .arg(&index)
            .arg(write("s.jpg", 256, 128, gpano)),
        1,
    );
    names(&said, &["panorama left out on request", "s.jpg"]);
    for (option, value) in [("--panorama-views", "0"), ("--panorama-fov", "nan"), ("--panorama", "squeeze")] {
        let output = r2former().args(["index", "add", option, value]).arg(&index).arg(&pano).assert();
        let output = output.get_output().clone();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && !said.contains("panicked"), "{option} {value}: {said}");
    }
}

/// Notes reach the user; files that are cut short are added on request, and counted.
#[test]
fn notes_and_cut_files_are_reported() {
    let (home, index, _photos) = small_index();
    let whole = tagged(96, 80, "");
    let mut bad = whole.clone();
    // 7 m is 70000/10000.
    let at = bad.windows(8).position(|w| w == [0, 1, 0x11, 0x70, 0, 0, 0x27, 0x10]).expect("an altitude");
    bad[at..at + 8].fill(0);
    let altitude = home.path().join("altitude.jpg");
    std::fs::write(&altitude, bad).expect("temporary folders can be written");
    let (json, said) = add(&index, &altitude, &[]);
    assert_eq!(json["added"], 1);
    names(&said, &["1 photograph without altitude", "altitude.jpg", "GPSAltitude is 0/0"]);

    let cut = home.path().join("cut.jpg");
    std::fs::write(&cut, &whole[..whole.len() - 200]).expect("temporary folders can be written");
    let said = fails(r2former().args(["index", "add"]).arg(&index).arg(&cut), 1);
    names(&said, &["cut.jpg", "cut short", "--accept-truncated"]);
    let (json, _) = add(&index, &cut, &["--accept-truncated"]);
    assert_eq!(json["added"], 1);
    assert!(json["truncated"][0]["path"].as_str().is_some_and(|path| path.ends_with("cut.jpg")));
    assert!(json["truncated"][0]["reason"].as_str().is_some_and(|reason| reason.contains("blocks")));
}
