//! What `query`, `match`, `model info`, `index info` and `index list` print, in every format, as it was agreed on:
//! `tests/snapshots`. Times, sizes, folders and versions are replaced, similarities and scores rounded, so that every
//! machine prints the same. After an intended change: `INSTA_UPDATE=always cargo test -p r2former-cli --test
//! golden_answers`, and read the difference.

mod common;

use common::PROGRAM;
use r2former_data::image::{PhotoTags, jpeg_with_tags};
use r2former_town::{Camera, Condition, Town, TownConfig, View};
use std::path::Path;
use std::process::Command;

/// Views of a rendered town: `database/0.jpg` to `5.jpg` with a table of round positions, `query.jpg` near the third.
fn town_in(home: &Path) {
    let town = Town::new(&TownConfig { seed: 5, blocks: (1, 1), ..TownConfig::default() }).expect("a town");
    std::fs::create_dir(home.join("database")).expect("temporary folders can be written");
    let photo = |name: &str, number: usize, condition, visit| {
        let places = town.street_positions(10.0);
        let place = places[number * places.len() / 6];
        let camera = Camera { x: place.x, y: place.y, heading: place.heading, ..Camera::default() };
        let picture = town.render(&View { camera, condition, visit }, 160, 120).expect("a picture");
        let bytes = jpeg_with_tags(&picture, 90, &PhotoTags::default()).expect("encodes");
        std::fs::write(home.join(name), bytes).expect("temporary folders can be written");
    };
    let mut table = "path,lat,lon,heading\n".to_owned();
    for i in 0..6 {
        photo(&format!("database/{i}.jpg"), i, Condition::Day, 1);
        // The second and third are 11 m apart, the others 111 m.
        let lat = if i == 2 { "52.0011".to_owned() } else { format!("52.00{i}0") };
        table += &format!("{i}.jpg,{lat},0.125,{}\n", 15 * i);
    }
    std::fs::write(home.join("database/positions.csv"), table).expect("temporary folders can be written");
    photo("query.jpg", 2, Condition::Rain, 2);
    std::fs::write(home.join("broken.jpg"), "no photograph").expect("temporary folders can be written");
}

/// The program's standard output, made the same on every machine.
fn printed(home: &Path, arguments: &str, code: i32) -> String {
    let mut command = Command::new(PROGRAM);
    command.args(arguments.split(' ')).current_dir(home).env_remove("R2FORMER_SIMD");
    let output = command.output().expect("the program was built with the tests");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments}: {said}");
    redacted(&String::from_utf8(output.stdout).expect("UTF-8"))
}

/// Lines whose numbers depend on the machine or the day, by what they begin with.
const VARYING: [&str; 11] = [
    "\"file\"",
    "\"decode_ms\"",
    "\"extract_ms\"",
    "\"search_ms\"",
    "\"fetch_ms\"",
    "\"rerank_ms\"",
    "\"bytes\"",
    "\"bytes_in_use\"",
    "\"bytes_per_image\"",
    "\"created\"",
    "ms:",
];

fn redacted(text: &str) -> String {
    let line = |line: &str| {
        let trimmed = line.trim_start();
        let indent = &line[..line.len() - trimmed.len()];
        match VARYING.iter().find(|start| trimmed.starts_with(*start)) {
            Some(start) => {
                let comma = if line.ends_with(',') { "," } else { "" };
                format!(
                    "{indent}{} [varies]{comma}",
                    if start.ends_with(':') { (*start).to_owned() } else { format!("{start}:") }
                )
            }
            None if trimmed.starts_with("on disk ") => "on disk     [varies]".to_owned(),
            None if trimmed.starts_with("created ") => "created     [varies]".to_owned(),
            None => rounded(line),
        }
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Numbers of 5 decimals and more, and those of 4 up to 1, keep two: vector instructions differ in the last bits.
fn rounded(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let length =
            rest[start..].find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len() - start);
        let number = &rest[start..start + length];
        out += &rest[..start];
        let decimals = number.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        match number.parse::<f64>() {
            Ok(value) if decimals > 4 || (decimals == 4 && value <= 1.0) => out += &format!("{value:.2}"),
            _ => out += number,
        }
        rest = &rest[start + length..];
    }
    out + rest
}

#[test]
fn every_format() {
    let home = tempfile::tempdir().expect("temporary folder");
    let home = home.path();
    town_in(home);
    for (name, arguments, code) in [
        ("index_create", "index create places --precision f32", 0),
        ("query_empty", "query places query.jpg", 1),
        ("index_add", "index add places database/positions.csv --json", 0),
        ("index_info", "index info places", 0),
        ("index_info_json", "index info places --json", 0),
        ("index_list", "index list places", 0),
        ("index_list_json", "index list places --json", 0),
        ("query_text", "query places query.jpg --timing", 0),
        (
            "query_text_global",
            "query places query.jpg --rerank none --top 2 --near 52.001,0.125 --radius 200",
            0,
        ),
        ("query_text_ransac", "query places query.jpg --rerank ransac --top 3 --candidates 2", 0),
        ("query_text_skipped", "query places query.jpg --rerank model --adaptive 0 --top 1", 0),
        ("query_text_no_match", "query places query.jpg --near 53,0 --radius 5", 0),
        ("query_json", "query places query.jpg broken.jpg --rerank model --top 2 --json", 3),
        ("query_json_no_match", "query places query.jpg --near 53,0 --radius 5 --json", 0),
        ("query_geojson", "query places query.jpg broken.jpg --rerank model --top 2 --geojson", 3),
        ("query_csv", "query places query.jpg broken.jpg --rerank model --top 2 --csv", 3),
        ("query_csv_no_match", "query places query.jpg --near 53,0 --radius 5 --csv", 0),
        ("query_hloc", "query places query.jpg --rerank model --top 2 --pairs hloc", 0),
        ("query_kapture", "query places query.jpg --rerank model --top 2 --pairs kapture", 0),
        ("match_text", "match query.jpg database/2.jpg --precision f32", 0),
        ("match_json", "match query.jpg database/2.jpg --precision f32 --json", 0),
        ("model_info", "model info", 0),
        ("model_info_json", "model info --json", 0),
    ] {
        let text = printed(home, arguments, code);
        if name != "index_add" {
            insta::with_settings!({ description => format!("r2former {arguments}"), omit_expression => true }, {
                insta::assert_snapshot!(name, text);
            });
        }
    }
}
