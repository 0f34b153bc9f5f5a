//! Tables and positions that cannot be right.

mod common;

use common::{fails, names, r2former, small_index, write_photo};
use std::path::Path;

fn table(dir: &Path, text: &str) -> std::path::PathBuf {
    write_photo(&dir.join("a.jpg"), 1, None);
    let path = dir.join("positions.csv");
    std::fs::write(&path, text).expect("temporary folders can be written");
    path
}

#[test]
fn add_names_the_line() {
    let (home, index, _photos) = small_index();
    let cases = [
        ("path,lat,lon\na.jpg,91,0\n", &["positions.csv:2", "91"][..]),
        ("path,lat,lon\na.jpg,nan,0\n", &["positions.csv:2"]),
        ("path,lat,lon\na.jpg,52\n", &["positions.csv:2"]),
        ("a.jpg,52.0,0.1\n", &["header", "path,lat,lon"]),
        ("path,easting,northing\na.jpg,302000,5787000\n", &["zone"]),
        ("", &["positions.csv"]),
    ];
    for (text, parts) in cases {
        let path = table(home.path(), text);
        let said = fails(r2former().args(["index", "add"]).arg(&index).arg(&path), 1);
        names(&said, parts);
    }
}

#[test]
fn prior_must_be_a_position_with_a_radius() {
    let (_home, index, photos) = small_index();
    let query = |args: &[&str], code| {
        fails(r2former().arg("query").arg(&index).arg(photos.path().join("0.jpg")).args(args), code)
    };
    names(&query(&["--near", "91,0", "--radius", "10"], 2), &["latitude 91"]);
    names(&query(&["--near", "somewhere"], 2), &["LAT,LON"]);
    names(&query(&["--near", "52,0"], 1), &["--radius"]);
    names(&query(&["--near", "52,0", "--radius", "nan"], 1), &["--radius"]);
}

#[test]
fn eval_names_what_is_wrong_with_the_positives() {
    let (_home, _index, photos) = small_index();
    let list = photos.path().join("positives.csv");
    let run = |text: &str| {
        std::fs::write(&list, text).expect("temporary folders can be written");
        let mut command = r2former();
        command.args(["eval", "pairs", "--database"]).arg(photos.path()).arg("--queries").arg(photos.path());
        fails(command.arg("--positives").arg(&list), 1)
    };
    names(&run("query,reference\n0.jpg,nothing.jpg\n"), &["positives.csv:2", "nothing.jpg"]);
    names(&run("0.jpg,1.jpg\n"), &["query,reference"]);
    names(&run(""), &["positives.csv"]);
    std::fs::remove_file(&list).expect("was written above");
    let mut command = r2former();
    command.args(["eval", "pairs", "--database"]).arg(photos.path()).arg("--queries").arg(photos.path());
    names(&fails(command.arg("--positives").arg(&list), 1), &["positives.csv"]);
}

#[test]
fn eval_of_an_empty_folder_is_an_error() {
    let (home, _index, photos) = small_index();
    let empty = home.path().join("empty");
    std::fs::create_dir(&empty).expect("temporary folders can be written");
    let mut command = r2former();
    command.args(["eval", "photos", "--database"]).arg(&empty).arg("--queries").arg(photos.path());
    names(&fails(&mut command, 1), &["empty"]);
}
