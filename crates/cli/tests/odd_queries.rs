//! Queries that are no plain file, or that an output format cannot carry.

mod common;

use common::{PROGRAM, fails, names, picture, r2former, small_index, write_photo};
use r2former_data::LatLon;
use r2former_data::image::{PhotoTags, jpeg_with_tags};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", stdout(output)))
}

/// Runs the program, and fails rather than waits forever.
fn within_seconds(seconds: u64, command: &mut Command) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("the program was built with the tests");
    let end = Instant::now() + Duration::from_secs(seconds);
    while child.try_wait().expect("the child is ours").is_none() {
        if Instant::now() > end {
            child.kill().expect("the child is ours");
            panic!("still running after {seconds} s");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.wait_with_output().expect("the child has ended")
}

#[test]
fn standard_input_and_pipes_are_read_as_a_photograph() {
    let (_home, index, photos) = small_index();
    let photo = photos.path().join("1.jpg");
    let file = || Stdio::from(std::fs::File::open(&photo).expect("was written above"));
    for name in ["-", "/dev/stdin"] {
        let mut command = Command::new(PROGRAM);
        command.arg("query").arg(&index).arg(name).args(["--rerank", "none", "--json"]).stdin(file());
        let output = within_seconds(60, &mut command);
        let answer = &json(&output)["answers"][0];
        assert_eq!(answer["query"], name);
        assert!(
            answer["matches"][0]["path"].as_str().is_some_and(|path| path.ends_with("/1.jpg")),
            "{answer}"
        );
    }
    // The same by a pipe, to every command that takes photographs.
    let out = photos.path().join("out.safetensors");
    let (program, index, photo) = (PROGRAM, index.display(), photo.display());
    for (script, word) in [
        (format!("cat {photo} | {program} query {index} - --rerank none --csv"), "1.jpg"),
        (format!("{program} query {index} <(cat {photo}) --rerank none --csv"), "1.jpg"),
        (format!("cat {photo} | {program} match - {photo}"), "similarity  1.0000"),
        (format!("{program} match <(cat {photo}) <(cat {photo})"), "similarity  1.0000"),
        (format!("cat {photo} | {program} extract - {photo} --out {}", out.display()), "global  [2, "),
    ] {
        let mut bash = Command::new("bash");
        let output = within_seconds(60, bash.arg("-c").arg(&script));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && stdout(&output).contains(word),
            "{script}: {said}{}",
            stdout(&output)
        );
    }
    let said = fails(r2former().arg("match").args(["-", "-"]), 2);
    names(&said, &["only once"]);
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_that_no_photograph_comes_from_are_refused_at_once() {
    let (home, index, photos) = small_index();
    let fifo = home.path().join("fifo");
    let made = Command::new("mkfifo").arg(&fifo).status().expect("mkfifo is there");
    assert!(made.success());
    for (path, words) in [(fifo.as_path(), "named pipe"), (Path::new("/dev/null"), "device")] {
        let good = photos.path().join("0.jpg");
        let out = home.path().join("out.safetensors");
        for arguments in [
            vec!["query".as_ref(), index.as_os_str(), path.as_os_str()],
            vec!["match".as_ref(), good.as_os_str(), path.as_os_str()],
            vec!["extract".as_ref(), path.as_os_str(), "--out".as_ref(), out.as_os_str()],
        ] {
            let output = within_seconds(60, Command::new(PROGRAM).args(&arguments));
            assert_eq!(output.status.code(), Some(1), "{arguments:?}");
            names(&String::from_utf8_lossy(&output.stderr), &[&path.display().to_string(), words]);
        }
        assert!(!out.exists());
    }
}

#[test]
fn a_folder_is_many_queries() {
    let (home, index, photos) = small_index();
    let folder = home.path().join("queries");
    std::fs::create_dir_all(folder.join("day 2")).expect("temporary folders can be written");
    std::fs::copy(photos.path().join("0.jpg"), folder.join("b.jpg")).expect("can be written");
    std::fs::copy(photos.path().join("2.jpg"), folder.join("day 2/a.jpg")).expect("can be written");
    std::fs::write(folder.join("c.jpg"), b"no photograph").expect("can be written");
    let mut command = r2former();
    command
        .arg("query")
        .arg(&index)
        .arg(&folder)
        .args(["--rerank", "none", "--json", "--query-root"])
        .arg(&folder);
    let output = command.assert().code(3).get_output().clone();
    let answers = json(&output)["answers"].clone();
    let of = |i: usize| (answers[i]["query"].clone(), answers[i]["status"].clone());
    assert_eq!(of(0), ("b.jpg".into(), "answered".into()));
    assert_eq!(of(1), ("c.jpg".into(), "unreadable".into()));
    assert_eq!(of(2), ("day 2/a.jpg".into(), "answered".into()));
    assert!(answers[2]["matches"][0]["path"].as_str().is_some_and(|path| path.ends_with("/2.jpg")));

    let nothing = home.path().join("nothing");
    std::fs::create_dir(&nothing).expect("temporary folders can be written");
    names(&fails(r2former().arg("query").arg(&index).arg(&nothing), 1), &["nothing", "no image"]);
    let pattern = folder.join("*.png");
    names(&fails(r2former().arg("query").arg(&index).arg(&pattern), 1), &["*.png", "matches no file"]);
    let outside = photos.path().join("0.jpg");
    let said = fails(r2former().arg("query").arg(&index).arg(&outside).arg("--query-root").arg(&folder), 1);
    names(&said, &["0.jpg", "--query-root"]);
}

#[test]
fn every_query_has_a_row_and_a_feature() {
    let (home, index, photos) = small_index();
    let broken = home.path().join("broken.jpg");
    std::fs::write(&broken, b"no photograph").expect("can be written");
    let ask = |format: &str, near: &str, code: i32| {
        let mut command = r2former();
        command.arg("query").arg(&index).arg(photos.path().join("0.jpg")).arg(&broken);
        command.args(["--rerank", "none", "--near", near, "--radius", "30", "--top", "1", format]);
        // Without a note on the confidence, in which there is a comma.
        command.args(["--min-confidence", "0"]);
        command.assert().code(code).get_output().clone()
    };
    // Near the first photo, and where there is none.
    for (near, status, matches) in [("52.2,0.12", "answered", 1), ("53,0", "no_match", 0)] {
        let csv = stdout(&ask("--csv", near, 3));
        let rows: Vec<&str> = csv.lines().collect();
        assert_eq!(rows.len(), 3, "{csv}");
        assert!(rows[1].contains(status) && rows[2].contains("unreadable"), "{csv}");
        let width = rows[0].split(',').count();
        assert_eq!(rows[1].split(',').count(), width, "{csv}");
        let map = json(&ask("--geojson", near, 3));
        let features = map["features"].as_array().expect("a list");
        assert_eq!(features.len(), 2 + matches, "{map}");
        assert_eq!(features[0]["properties"]["status"], status);
        assert_eq!(features[0]["geometry"].is_null(), matches == 0, "{map}");
        assert_eq!(features[1]["properties"]["status"], "unreadable");
        assert!(features[1]["geometry"].is_null(), "{map}");
        if matches == 1 {
            for field in ["similarity", "agreeing", "considered", "spread_m", "best_lat", "reranking_skipped"]
            {
                assert!(!features[0]["properties"][field].is_null(), "{field}: {map}");
            }
            // Both photos within 30 m are considered, though one match is shown.
            assert_eq!(features[0]["properties"]["considered"], 2, "{map}");
        }
    }
}

#[test]
fn what_is_shown_does_not_change_what_agrees() {
    let (_home, index, photos) = small_index();
    let ask = |top: &str, method: &str| {
        let mut command = r2former();
        command.arg("query").arg(&index).arg(photos.path().join("1.jpg"));
        command.args(["--json", "--top", top, "--rerank", method]);
        let output = command.assert().success().get_output().clone();
        let answer = json(&output)["answers"][0].clone();
        assert_eq!(answer["matches"].as_array().map(Vec::len), top.parse().ok());
        (answer["estimate"].clone(), answer["matches"][0].clone())
    };
    for (method, kind) in
        [("none", Value::Null), ("model", "reranker_probability".into()), ("ransac", "ransac_inliers".into())]
    {
        let (estimate, first) = ask("1", method);
        assert_eq!(estimate, ask("3", method).0);
        assert_eq!((&estimate["considered"], &first["rank"]), (&3.into(), &1.into()));
        assert_eq!(first["score_kind"], kind);
    }
}

#[test]
fn pairs_refuse_names_that_their_readers_split() {
    let (home, index, _photos) = small_index();
    let spaced = home.path().join("a b,c.jpg");
    write_photo(&spaced, 1, None);
    for (tool, word) in [("hloc", "white space"), ("kapture", "commas")] {
        let said = fails(r2former().arg("query").arg(&index).arg(&spaced).args(["--pairs", tool]), 1);
        names(&said, &["'", "a b,c.jpg", tool, word]);
    }
    // Names of the index count as well.
    let more = home.path().join("more");
    std::fs::create_dir(&more).expect("temporary folders can be written");
    let position = r2former_data::LatLon { lat: 52.3, lon: 0.1 };
    write_photo(&more.join("d e.jpg"), 5, Some(position));
    r2former().args(["index", "add"]).arg(&index).arg(&more).assert().success();
    let query = more.join("d e.jpg");
    let mut command = r2former();
    command
        .arg("query")
        .arg(&index)
        .arg(&query)
        .args(["--pairs", "kapture", "--query-root"])
        .arg(home.path());
    let said = stdout(command.assert().success().get_output());
    assert!(said.contains("more/d e.jpg, more/d e.jpg, "), "{said}");
    let plain = home.path().join("plain.jpg");
    write_photo(&plain, 5, None);
    let output = r2former().arg("query").arg(&index).arg(&plain).args(["--pairs", "hloc"]).assert().code(1);
    names(&String::from_utf8_lossy(&output.get_output().stderr), &["'more/d e.jpg'", "hloc"]);
    assert!(output.get_output().stdout.is_empty());
}

#[test]
fn options_out_of_range_are_usage_errors() {
    let index = Path::new("no-index");
    for (arguments, word) in [
        (vec!["--near", "52,0"], "--radius"),
        (vec!["--radius", "5"], "--near"),
        (vec!["--near", "nan,0", "--radius", "5"], "--near"),
        (vec!["--near", "52,0", "--radius", "nan"], "--radius"),
        (vec!["--near", "52,0", "--radius", "inf"], "--radius"),
        (vec!["--near", "52,0", "--radius", "0"], "--radius"),
        (vec!["--near", "52,0", "--radius", "-5"], "--radius"),
        (vec!["--near", "52,0", "--radius", "1e9"], "--radius"),
        (vec!["--adaptive", "nan"], "--adaptive"),
        (vec!["--adaptive", "-0.1"], "--adaptive"),
        (vec!["--adaptive", "3"], "--adaptive"),
        (vec!["--top", "0"], "--top"),
        (vec!["--candidates", "-1"], "--candidates"),
        (vec!["--rerank", "best"], "--rerank"),
    ] {
        let said = fails(r2former().arg("query").arg(index).arg("a.jpg").args(&arguments), 2);
        names(&said, &[word]);
    }
}

#[test]
fn an_empty_index_says_how_to_fill_it() {
    let home = tempfile::tempdir().expect("temporary folder");
    let (index, photo) = (home.path().join("index"), home.path().join("a.jpg"));
    write_photo(&photo, 1, None);
    r2former().args(["index", "create"]).arg(&index).assert().success();
    let said = fails(r2former().arg("query").arg(&index).arg(&photo), 1);
    names(&said, &["the index is empty", "r2former index add"]);
}

#[test]
fn a_photograph_of_a_pixel_is_answered_with_a_note() {
    let (home, index, photos) = small_index();
    let good = photos.path().join("0.jpg");
    for (name, width, height) in [("dot.jpg", 1, 1), ("line.jpg", 1, 900), ("strip.jpg", 900, 40)] {
        let tiny = home.path().join(name);
        let bytes = jpeg_with_tags(&picture(1, width, height), 90, &PhotoTags::default()).expect("encodes");
        std::fs::write(&tiny, bytes).expect("can be written");
        let note = format!("is {width} x {height} pixels");
        let mut command = r2former();
        let output = command.arg("query").arg(&index).arg(&tiny).arg("--json").assert().success();
        let answer = &json(output.get_output())["answers"][0];
        assert!(answer["notes"][0].as_str().is_some_and(|words| words.starts_with(&note)), "{answer}");
        names(&String::from_utf8_lossy(&output.get_output().stderr), &[name, &note]);
        let output = r2former().arg("match").arg(&good).arg(&tiny).assert().success();
        names(&String::from_utf8_lossy(&output.get_output().stderr), &[name, &note]);
    }
}

#[test]
fn names_cannot_steer_a_terminal() {
    let (home, index, photos) = small_index();
    let evil = home.path().join("a\u{1b}[31m\n\u{202e}b.jpg");
    std::fs::copy(photos.path().join("0.jpg"), &evil).expect("can be written");
    for format in [&[][..], &["--json"], &["--geojson"], &["--csv"]] {
        let mut command = r2former();
        let output = command.arg("query").arg(&index).arg(&evil).args(format).assert().success();
        let printed = [&output.get_output().stdout[..], &output.get_output().stderr].concat();
        let printed = String::from_utf8_lossy(&printed).into_owned();
        assert!(!printed.contains(['\u{1b}', '\u{202e}']), "{printed:?}");
        assert!(printed.contains("202e"), "{printed:?}");
    }
    std::fs::write(&evil, b"no photograph").expect("can be written");
    let said = fails(r2former().arg("query").arg(&index).arg(&evil), 1);
    assert!(!said.contains(['\u{1b}', '\u{202e}']), "{said:?}");
}

#[test]
fn an_output_that_cannot_be_written_is_named_once_before_the_work() {
    let (home, _index, photos) = small_index();
    for out in [home.path().join("missing/out.safetensors"), home.path().to_owned()] {
        // The photograph is missing too: had the work begun, that would be the error.
        let mut command = r2former();
        let said = fails(command.arg("extract").arg(photos.path().join("9.jpg")).arg("--out").arg(&out), 1);
        assert_eq!(said.matches(&out.display().to_string()).count(), 1, "{said}");
        assert!(!said.contains("9.jpg") && !said.contains(".writing"), "{said}");
    }
}

#[test]
fn times_out_of_order_are_noted() {
    let (home, index, photos) = small_index();
    let list = home.path().join("frames.csv");
    let frame = |i: u32| photos.path().join(format!("{i}.jpg")).display().to_string();
    let of = |times: [u32; 3]| {
        let rows: String = (0..3).map(|i| format!("{},{}\n", frame(i), times[i as usize])).collect();
        std::fs::write(&list, format!("path,time\n{rows}")).expect("can be written");
        let mut command = r2former();
        let output = command.args(["query"]).arg(&index).arg("--sequence").arg(&list).assert().success();
        String::from_utf8_lossy(&output.get_output().stderr).into_owned()
    };
    assert!(!of([1, 2, 3]).contains("before"), "{}", of([1, 2, 3]));
    let said = of([3, 2, 1]);
    names(
        &said,
        &[
            "its time, 2 s, is before that of the last frame before it that has one, 3 s",
            "2 of 3 frames were taken before",
        ],
    );
    assert_eq!(said.matches("its time").count(), 1, "{said}");
}

#[cfg(unix)]
#[test]
fn names_are_printed_so_that_they_can_be_told_apart() {
    use std::os::unix::ffi::OsStrExt;
    let (home, index, _photos) = small_index();
    let folder = home.path().join("odd");
    std::fs::create_dir(&folder).expect("can be written");
    for (i, name) in ["a\nb.jpg", "a\\nb.jpg"].iter().enumerate() {
        write_photo(&folder.join(name), 70 + i as u32, Some(LatLon { lat: 52.3, lon: 0.1 }));
    }
    r2former().args(["index", "add"]).arg(&index).arg(&folder).assert().success();
    let listed = || {
        let output = r2former().args(["index", "list"]).arg(&index).assert().success().get_output().clone();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    names(&listed(), &["odd/a\\nb.jpg\n", "odd/a\\u{5c}nb.jpg\n"]);
    // What is listed is what is removed.
    r2former().args(["index", "remove"]).arg(&index).arg("odd/a\\nb.jpg").assert().success();
    assert!(
        !listed().contains("odd/a\\nb.jpg\n") && listed().contains("odd/a\\u{5c}nb.jpg\n"),
        "{}",
        listed()
    );
    r2former().args(["index", "remove"]).arg(&index).arg("odd/a\\u{5c}nb.jpg").assert().success();
    assert!(!listed().contains("odd/"), "{}", listed());
    // Bytes that are no text, in an answer.
    let odd = folder.join(std::ffi::OsStr::from_bytes(b"n\xe9.jpg"));
    write_photo(&odd, 3, None);
    for format in ["--json", "--csv"] {
        let output =
            r2former().arg("query").arg(&index).arg(&odd).arg(format).assert().success().get_output().clone();
        let said = String::from_utf8_lossy(&output.stdout).replace("\\\\", "\\");
        names(&said, &["n\\xE9.jpg"]);
        assert!(!said.contains('\u{fffd}'), "{said}");
    }
}
