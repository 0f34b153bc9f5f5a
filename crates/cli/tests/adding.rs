//! What `index add` takes, and what it says of what it leaves out.

mod common;

use common::{fails, names, photo_folder, r2former, small_index, write_photo};
use r2former_data::LatLon;
use serde_json::{Value, json};
use std::path::Path;

const HERE: Option<LatLon> = Some(LatLon { lat: 52.3, lon: 0.1 });

fn added(index: &Path, sources: &[&Path], code: i32) -> Value {
    let mut command = r2former();
    command.args(["index", "add", "--json"]).arg(index).args(sources);
    let output = command.assert().code(code).get_output().clone();
    serde_json::from_slice(&output.stdout).expect("JSON on standard output")
}

fn listed(index: &Path) -> String {
    let output = r2former().args(["index", "list"]).arg(index).assert().success().get_output().clone();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn one_photograph_is_a_source() {
    let (home, index, _photos) = small_index();
    let photo = home.path().join("one.jpg");
    write_photo(&photo, 7, HERE);
    assert_eq!(added(&index, &[&photo], 0)["added"], 1);
    let folder = home.path().file_name().expect("a name").to_string_lossy().into_owned();
    assert!(listed(&index).contains(&format!("52.300000,0.100000\t{folder}/one.jpg")));
    // The table of positions was meant; the photograph is read as what it is.
    let said = fails(r2former().args(["index", "add", "--kind", "csv"]).arg(&index).arg(&photo), 1);
    names(&said, &["one.jpg", "is a photograph, not a table"]);
    let bare = home.path().join("bare.jpg");
    write_photo(&bare, 8, None);
    let said = fails(r2former().args(["index", "add"]).arg(&index).arg(&bare), 1);
    names(&said, &["bare.jpg", "GPS", "nothing was added", "path,lat,lon"]);
}

#[test]
fn a_source_named_twice_counts_once() {
    let (_home, index, photos) = small_index();
    let more = photo_folder();
    for i in 0..3 {
        let from = more.path().join(format!("{i}.jpg"));
        std::fs::rename(from, more.path().join(format!("more-{i}.jpg"))).expect("was written above");
    }
    let detour = more.path().join("../").join(more.path().file_name().expect("has a name"));
    let photo = more.path().join("more-0.jpg");
    let json = added(&index, &[more.path(), &detour, &photo], 0);
    assert_eq!((&json["added"], &json["already_indexed"]), (&json!(3), &json!(0)));
    assert_eq!(added(&index, &[photos.path()], 0)["already_indexed"], 3);
}

#[test]
fn the_summary_groups_what_was_left_out() {
    let (home, index, _photos) = small_index();
    let folder = home.path().join("mixed");
    std::fs::create_dir(&folder).expect("temporary folders can be written");
    let at = |name: &str| folder.join(name);
    write_photo(&at("good.jpg"), 9, HERE);
    for i in 0..12 {
        write_photo(&at(&format!("bare-{i:02}.jpg")), 20, None);
    }
    std::fs::write(at("broken.jpg"), b"no photograph").expect("can be written");
    std::fs::write(at("phone.heic"), b"\0\0\0\x18ftypheic\0\0\0\0mif1heic").expect("can be written");
    std::fs::write(at("clip.mp4"), b"\0\0\0\x18ftypisom\0\0\0\0isomavc1").expect("can be written");
    let mut command = r2former();
    let output =
        command.args(["index", "add"]).arg(&index).arg(&folder).assert().code(3).get_output().clone();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    names(
        &said,
        &[
            "12 without a position",
            "bare-04.jpg and 7 more",
            "broken.jpg",
            "phone.heic",
            "magick",
            "clip.mp4",
            "ffmpeg",
            "ffmpeg",
        ],
    );
    assert_eq!(said.matches("GPS position in its EXIF").count(), 1, "{said}");
    assert!(!said.contains("bare-07"), "{said}");
    let summary = String::from_utf8_lossy(&output.stdout).into_owned();
    names(
        &summary,
        &[
            "added 1 images",
            "0 already indexed",
            "left out: 12 without a position, 1 that could not be read, 2 in a format that is not read",
        ],
    );
    let json = added(&index, &[&folder], 3);
    assert_eq!((&json["added"], &json["already_indexed"]), (&json!(0), &json!(1)));
    for (key, count) in [("without_position", 12), ("unreadable", 1), ("unsupported", 2)] {
        assert_eq!(json[key].as_array().map(Vec::len), Some(count), "{json}");
        assert!(json[key][0]["path"].is_string() && json[key][0]["reason"].is_string(), "{json}");
    }
    std::fs::remove_file(at("good.jpg")).expect("was written above");
    let said = fails(r2former().args(["index", "add"]).arg(&index).arg(&folder), 1);
    names(&said, &["nothing was added", "positions.csv", "path,lat,lon"]);
}

#[test]
fn photographs_are_found_by_content() {
    let (home, index, _photos) = small_index();
    let folder = home.path().join("names");
    std::fs::create_dir_all(folder.join("@eaDir/a.jfif")).expect("temporary folders can be written");
    for (i, name) in ["a.jfif", "b.mpo", "c", "d.heic", "e.png", "@eaDir/a.jfif/SYNOPHOTO.jpg", "._b.jpg"]
        .iter()
        .enumerate()
    {
        write_photo(&folder.join(name), i as u32, HERE);
    }
    std::fs::write(folder.join("notes.txt"), "hello").expect("can be written");
    assert_eq!(added(&index, &[&folder], 0)["added"], 5);
}

#[cfg(unix)]
#[test]
fn pipes_and_sockets_are_refused_at_once() {
    let (home, index, _photos) = small_index();
    let folder = home.path().join("special");
    std::fs::create_dir(&folder).expect("temporary folders can be written");
    let pipe = folder.join("pipe.jpg");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.is_ok_and(|status| status.success()));
    let _socket = std::os::unix::net::UnixListener::bind(folder.join("socket.jpg")).expect("can be bound");
    write_photo(&folder.join("good.jpg"), 3, HERE);
    assert_eq!(added(&index, &[&folder], 0)["added"], 1);
    for source in [pipe.as_path(), &folder.join("socket.jpg"), Path::new("/dev/zero")] {
        let said = fails(r2former().args(["index", "add"]).arg(&index).arg(source), 1);
        names(&said, &[&source.display().to_string(), "is a"]);
    }
    let table = folder.join("t.csv");
    std::fs::write(&table, "path,lat,lon\npipe.jpg,52,1\n").expect("can be written");
    names(&fails(r2former().args(["index", "add"]).arg(&index).arg(&table), 1), &["t.csv:2", "is a pipe"]);
}

#[test]
fn positions_beside_photographs_get_a_hint() {
    let (home, index, _photos) = small_index();
    let folder = home.path().join("trip");
    std::fs::create_dir(&folder).expect("temporary folders can be written");
    write_photo(&folder.join("a.jpg"), 4, None);
    for (name, text, words) in [
        ("positions.csv", "path,lat,lon\na.jpg,52,1\n", ["positions.csv", "index add"]),
        ("track.gpx", "<gpx/>", ["track.gpx", "exiftool"]),
        ("a.jpg.json", "{}", ["Takeout", "exiftool"]),
        ("a.xmp", "<x/>", ["XMP", "exiftool"]),
        ("images.txt", "# Image list", ["COLMAP", "path,lat,lon"]),
        ("reconstruction.json", "[]", ["OpenSfM", "path,lat,lon"]),
        ("mapillary_image_description.json", "[]", ["mapillary_tools", "path,lat,lon"]),
    ] {
        std::fs::write(folder.join(name), text).expect("can be written");
        let said = fails(r2former().args(["index", "add"]).arg(&index).arg(&folder), 1);
        names(&said, &words);
        std::fs::remove_file(folder.join(name)).expect("was written above");
    }
    // Beside photographs with positions a table gets a note all the same.
    write_photo(&folder.join("a.jpg"), 4, HERE);
    std::fs::write(folder.join("positions.csv"), "path,lat,lon\na.jpg,52,1\n").expect("can be written");
    let output =
        r2former().args(["index", "add"]).arg(&index).arg(&folder).assert().success().get_output().clone();
    names(&String::from_utf8_lossy(&output.stderr), &["positions.csv", "was not used"]);
}

#[test]
fn a_folder_is_no_table_and_errors_are_said_once() {
    let (home, index, photos) = small_index();
    let said = fails(r2former().args(["index", "add", "--kind", "csv"]).arg(&index).arg(photos.path()), 1);
    names(&said, &["is a folder, expected a table (CSV)"]);
    let nowhere = home.path().join("nowhere");
    let said = fails(r2former().args(["index", "add"]).arg(&index).arg(&nowhere), 1);
    assert_eq!(said.matches("os error 2").count(), 1, "{said}");
    for command in [
        vec!["match", "nowhere.jpg", "nowhere.jpg"],
        vec!["model", "info", "nowhere.safetensors"],
        vec!["eval", "pairs", "--database", "nowhere", "--queries", "nowhere", "--positives", "nowhere.csv"],
        vec!["train", "global", "--config", "nowhere.toml", "--out", "nowhere-run"],
    ] {
        let said = fails(r2former().args(command), 1);
        assert_eq!(said.matches("os error 2").count(), 1, "{said}");
        assert_eq!(said.matches("No such file").count(), 1, "{said}");
    }
}

#[cfg(unix)]
#[test]
fn names_cannot_steer_the_terminal() {
    use std::os::unix::ffi::OsStrExt;
    let (home, index, _photos) = small_index();
    let folder = home.path().join("odd");
    std::fs::create_dir(&folder).expect("temporary folders can be written");
    for (i, name) in ["esc\u{1b}[31m.jpg", "line\nbreak.jpg", "bidi\u{202e}gpj.exe.jpg"].iter().enumerate() {
        write_photo(&folder.join(name), i as u32, HERE);
        write_photo(&folder.join(format!("bare-{name}")), i as u32, None);
    }
    // Two names that are no text, and differ.
    for byte in [0xe8, 0xe9] {
        let name = [b"n".as_slice(), &[byte], b".jpg"].concat();
        write_photo(&folder.join(std::ffi::OsStr::from_bytes(&name)), u32::from(byte), HERE);
    }
    let output =
        r2former().args(["index", "add"]).arg(&index).arg(&folder).assert().code(3).get_output().clone();
    let list = listed(&index);
    for text in [list.as_str(), &String::from_utf8_lossy(&output.stderr)] {
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
        assert!(text.contains("line\\nbreak.jpg") && text.contains("\\u{202e}"), "{text}");
    }
    assert_eq!(list.lines().count(), 3 + 3 + 2, "{list}");
    names(&list, &["n\\xE8.jpg", "n\\xE9.jpg"]);
}

/// The notes of a run that adds something.
fn said(index: &Path, source: &Path, options: &[&str]) -> String {
    let mut command = r2former();
    let output = command.args(["index", "add"]).arg(index).arg(source).args(options).assert().success();
    String::from_utf8_lossy(&output.get_output().stderr).into_owned()
}

#[test]
fn a_table_names_each_file_once() {
    let (_home, index, photos) = small_index();
    let photos = photos.path();
    let table = photos.join("t.csv");
    let text = format!(
        "path,lat,lon\n0.jpg,52.2,0.12\n{},52.2,0.12\n",
        photos.join("..").join(photos.file_name().expect("a name")).join("0.jpg").display()
    );
    std::fs::write(&table, text).expect("can be written");
    let notes = said(&index, &table, &["--utm-zone", "31U"]);
    names(
        &notes,
        &["is the same file as line 2", "the UTM zone 31U is not used: positions are read in degrees"],
    );
    assert_eq!(listed(&index).matches("\tt/").count(), 1, "{}", listed(&index));
}

#[cfg(unix)]
#[test]
fn links_in_a_folder_add_nothing_twice() {
    let (_home, index, _photos) = small_index();
    let dir = tempfile::tempdir().expect("temporary folder");
    let folder = dir.path().join("photos");
    std::fs::create_dir_all(folder.join("may")).expect("can be written");
    write_photo(&folder.join("may/a.jpg"), 31, HERE);
    std::os::unix::fs::symlink("may", folder.join("latest")).expect("a link");
    let notes = said(&index, &folder, &[]);
    names(
        &notes,
        &["1 photograph that links show under a second name counts once", "latest/a.jpg, which is may/a.jpg"],
    );
    assert_eq!(listed(&index).matches("/a.jpg").count(), 1);
    // Above the folder: everything would be there again.
    std::os::unix::fs::symlink("..", folder.join("up")).expect("a link");
    write_photo(&folder.join("may/b.jpg"), 32, HERE);
    let json = added(&index, &[&folder], 3);
    assert_eq!((&json["added"], &json["already_indexed"]), (&json!(1), &json!(1)));
    names(&json["unreadable"][0]["reason"].to_string(), &["leads back"]);
}

#[test]
fn a_renamed_folder_is_recognised() {
    let (_home, index, photos) = small_index();
    let home = tempfile::tempdir().expect("temporary folder");
    let at = |name: &str| home.path().join(name);
    std::fs::rename(photos.path(), at("old")).expect("one file system");
    // The index has them under the temporary folder's name, which no longer exists.
    let refused = fails(r2former().args(["index", "add"]).arg(&index).arg(at("old")), 1);
    names(&refused, &["no longer exists", "nothing was added", "--moved", "--label old"]);
    let label = photos.path().file_name().expect("a name").to_string_lossy().into_owned();
    names(&refused, &[&format!("--label {label} --moved")]);
    let mut moved = r2former();
    let moved =
        moved.args(["index", "add", "--json", "--moved", "--label", &label]).arg(&index).arg(at("old"));
    let json: Value = serde_json::from_slice(&moved.assert().success().get_output().stdout).expect("JSON");
    assert_eq!((&json["added"], &json["already_indexed"]), (&json!(0), &json!(3)));
    // Other photographs of the same names are another folder, and a chosen label says that new names are meant.
    std::fs::rename(at("old"), at("older")).expect("one file system");
    std::fs::create_dir(at("other")).expect("can be written");
    (0..3).for_each(|i| write_photo(&at("other").join(format!("{i}.jpg")), 60 + i, HERE));
    assert_eq!(added(&index, &[&at("other")], 0)["added"], 3);
    let notes = said(&index, &at("older"), &["--label", "again"]);
    names(&notes, &["added under a second name"]);
    std::fs::create_dir(photos.path()).expect("the temporary folder is removed in the end");
}

/// Half of the photographs are no reason to refuse a folder; of more it is.
#[test]
fn a_folder_is_a_renamed_one_by_most_of_its_photographs() {
    let (home, index, _photos) = small_index();
    let at = |name: &str| home.path().join(name);
    std::fs::create_dir(at("first")).expect("can be written");
    (0..4).for_each(|i| write_photo(&at("first").join(format!("{i}.jpg")), 70 + i, HERE));
    assert_eq!(added(&index, &[&at("first")], 0)["added"], 4);
    std::fs::rename(at("first"), at("next")).expect("one file system");
    for (changed, code) in [(1, 1), (2, 0)] {
        write_photo(&at("next").join(format!("{changed}.jpg")), 80 + changed, HERE);
        let mut command = r2former();
        let output = command.args(["index", "add"]).arg(&index).arg(at("next")).assert().code(code);
        let said = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
        assert_eq!(said.contains("seems to have been renamed"), code == 1, "{said}");
    }
}

#[test]
fn a_renamed_folder_among_others_is_to_be_added_alone() {
    let (home, index, _photos) = small_index();
    let at = |name: &str| home.path().join(name);
    for (folder, seed) in [("-day", 90), ("more", 94)] {
        std::fs::create_dir(at(folder)).expect("can be written");
        (0..2).for_each(|i| write_photo(&at(folder).join(format!("{i}.jpg")), seed + i, HERE));
    }
    assert_eq!(added(&index, &[&at("-day")], 0)["added"], 2);
    std::fs::rename(at("-day"), at("night")).expect("one file system");
    let mut command = r2former();
    let said = fails(command.args(["index", "add"]).arg(&index).arg(at("more")).arg(at("night")), 1);
    names(
        &said,
        &["night holds", "add it alone with --label=-day --moved", "add it alone with --label night"],
    );
    // As printed.
    let mut moved = r2former();
    let moved = moved.args(["index", "add", "--label=-day", "--moved"]).arg(&index).arg(at("night"));
    let moved = String::from_utf8_lossy(&moved.assert().success().get_output().stdout).into_owned();
    names(&moved, &["added 0 images", "2 already indexed"]);
    // Of several folders a zone is noted once.
    let mut zone = r2former();
    let zone = zone.args(["index", "add", "--utm-zone", "31U", "--label=-day", "--label", "more"]);
    let zone = zone.arg(&index).arg(at("night")).arg(at("more")).arg("--moved").assert().success();
    let zone = String::from_utf8_lossy(&zone.get_output().stderr).into_owned();
    assert_eq!(zone.matches("the UTM zone 31U is not used").count(), 1, "{zone}");
}

#[test]
fn cities_of_msls_are_chosen() {
    let (home, index, _photos) = small_index();
    let root = home.path().join("msls");
    for (city, seed) in [("cph", 40), ("oslo", 41)] {
        for side in ["database", "query"] {
            let folder = root.join("train_val").join(city).join(side);
            std::fs::create_dir_all(folder.join("images")).expect("can be written");
            let write =
                |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("can be written");
            write("raw.csv", ",key,lon,lat,ca,captured_at,pano\n0,a,12.5,55.6,90,2018,False\n");
            write("subtask_index.csv", ",key,all\n0,a,True\n");
            write_photo(&folder.join("images/a.jpg"), seed, None);
        }
    }
    let refused = fails(r2former().args(["index", "add"]).arg(&index).arg(&root), 1);
    names(&refused, &["no city sf", "cph, oslo", "--cities"]);
    let notes = said(&index, &root, &["--cities", "oslo"]);
    names(&notes, &["the cities oslo; not read: cph (choose by --cities)"]);
    assert!(listed(&index).contains("msls/oslo/database/a"), "{}", listed(&index));
    let (photos, none) = (photo_folder(), "are not used: no source is an MSLS tree");
    names(&said(&index, photos.path(), &["--cities", "oslo"]), &[none]);
}
