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
    // A renamed folder is recognised by the views.
    let at = |name: &str| home.path().join(name);
    std::fs::create_dir(at("tour")).expect("temporary folders can be written");
    std::fs::copy(&pano, at("tour/p.jpg")).expect("temporary folders can be written");
    assert_eq!(add(&index, &at("tour"), &[]).0["added"], 8);
    std::fs::rename(at("tour"), at("walk")).expect("one file system");
    let said = fails(r2former().args(["index", "add"]).arg(&index).arg(at("walk")), 1);
    names(&said, &["seems to have been renamed", "--label tour --moved"]);
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

/// The commands that the notes print are pasted into a shell: they work as they are.
#[cfg(unix)]
#[test]
fn printed_commands_bring_positions_into_photographs() {
    let (home, _, _photos) = small_index();
    let folder = home.path().join("two words");
    std::fs::create_dir(&folder).expect("temporary folders can be written");
    let bare =
        |seed| jpeg_with_tags(&picture(seed, 96, 80), 90, &PhotoTags::default()).expect("a sound picture");
    let xmp = "<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>\
               <rdf:Description xmlns:exif='http://ns.adobe.com/exif/1.0/' exif:GPSLatitude='33,30.0S' \
               exif:GPSLongitude='151,12.0E' exif:GPSImgDirection='90/1'/></rdf:RDF></x:xmpmeta>";
    let takeout = "{\"geoData\": {\"latitude\": -33.5, \"longitude\": 151.2}}";
    for (seed, photo, sidecar, text) in [
        (4, "a.jpg", "a.jpg.xmp", xmp),
        (5, "b.jpg", "b.xmp", xmp),
        (6, "c.jpg", "c.jpg.json", takeout),
        (7, "d.jpg", "d.jpg.supplemental-metadata.json", takeout),
    ] {
        std::fs::write(folder.join(photo), bare(seed)).expect("temporary folders can be written");
        std::fs::write(folder.join(sidecar), text).expect("temporary folders can be written");
    }
    let index = home.path().join("new index");
    let created = r2former().args(["index", "create"]).arg(&index).assert().success().get_output().clone();
    let said = String::from_utf8_lossy(&created.stdout).into_owned();
    names(&said, &["next: r2former index add '", "new index' PHOTOS"]);
    let said = fails(r2former().args(["index", "add"]).arg(&index).arg(&folder), 1);
    let commands: Vec<&str> = said
        .lines()
        .filter_map(|line| Some(line.split_once("with exiftool ")?.1.split_once(", then add")?.0))
        .collect();
    assert_eq!(commands.len(), 2, "{said}");
    assert!(commands.iter().all(|command| command.ends_with("/two words'")), "{commands:?}");
    let sh =
        |command: &str| std::process::Command::new("sh").args(["-c", command]).output().expect("a shell");
    if !sh("exiftool -ver").status.success() {
        return;
    }
    for command in commands {
        let ran = sh(&format!("exiftool {command}"));
        assert!(ran.status.success(), "{ran:?}");
    }
    let (json, said) = add(&index, &folder, &[]);
    assert_eq!(json["added"], 4, "{said}");
    names(&said, &["4 backups of photographs left out, the first a.jpg_original"]);
    for place in places(&index) {
        let at = |axis: &str| place["position"][axis].as_f64().expect("a number");
        assert!((at("lat") + 33.5).abs() < 1e-6 && (at("lon") - 151.2).abs() < 1e-6, "{place}");
    }
}

/// Nobody asks for the tags of photographs in an index without positions.
#[test]
fn damaged_tags_do_not_matter_without_positions() {
    let (home, with, _photos) = small_index();
    let mut bytes = tagged(96, 80, "");
    let at = bytes.windows(4).position(|w| w == b"MM\0*").expect("an EXIF block");
    bytes[at..at + 8].fill(0xee);
    let file = home.path().join("damaged.jpg");
    std::fs::write(&file, bytes).expect("temporary folders can be written");
    let said = fails(r2former().args(["index", "add"]).arg(&with).arg(&file), 1);
    names(&said, &["its EXIF block is damaged"]);
    let index = home.path().join("rooms");
    r2former().args(["index", "create", "--positions", "none"]).arg(&index).assert().success();
    let (json, said) = add(&index, &file, &[]);
    assert_eq!(json["added"], 1);
    names(&said, &["1 photograph added without its damaged tags: damaged.jpg"]);
}
