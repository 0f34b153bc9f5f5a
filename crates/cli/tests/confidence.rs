//! Confidence through the program: what is not in an index is refused, and a model is calibrated on datasets.

mod common;

use common::{fails, names, r2former};
use r2former_data::image::{PhotoTags, Rgb8, jpeg_with_tags};
use r2former_model::checkpoint::load;
use r2former_town::{Camera, Condition, Town, TownConfig, View};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn write(path: &Path, picture: &Rgb8) {
    let bytes = jpeg_with_tags(picture, 90, &PhotoTags::default()).expect("encodes");
    std::fs::write(path, bytes).expect("temporary folders can be written");
}

/// A folder of a rendered town's database, with `count` queries by day at the same spots.
fn town(home: &Path, name: &str, seed: u64, count: usize) -> PathBuf {
    let dir = home.join(name);
    r2former()
        .arg("town")
        .arg(&dir)
        .args(["--seed", &seed.to_string(), "--blocks", "2x2", "--spacing", "30", "--conditions", "day"])
        .args(["--queries", &count.to_string(), "--size", "120x160"])
        .assert()
        .success();
    dir
}

fn json(output: &[u8]) -> Value {
    serde_json::from_slice(output).expect("JSON")
}

/// Pictures of nothing, made by other rules than those that the calibration was fitted on.
fn nothings(dir: &Path) {
    std::fs::create_dir(dir).expect("a new folder");
    let picture = |of: &mut dyn FnMut(usize, usize) -> [u8; 3]| {
        let (width, height) = (200, 150);
        let pixels = (0..width * height).flat_map(|i| of(i % width, i / width)).collect();
        Rgb8 { width, height, pixels }
    };
    write(&dir.join("black.jpg"), &picture(&mut |_, _| [0; 3]));
    write(&dir.join("white.jpg"), &picture(&mut |_, _| [250; 3]));
    write(&dir.join("wall.jpg"), &picture(&mut |x, y| [200 - (x / 4) as u8, 190 - (y / 5) as u8, 170]));
    for seed in 0..3u64 {
        let mut state = seed + 1;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        let noise = picture(&mut |_, _| [next(), next(), next()]);
        write(&dir.join(format!("noise{seed}.jpg")), &noise);
    }
}

#[test]
fn nothing_and_other_towns_are_not_in_the_index() {
    let home = tempfile::tempdir().expect("temporary folder");
    let home = home.path();
    let own = town(home, "own", 71, 6);
    let other = town(home, "other", 72, 6);
    nothings(&home.join("nothing"));
    let places = home.join("places");
    let index = |arguments: &[&str], more: &Path| {
        r2former().args(["index"]).args(arguments).arg(&places).arg(more).assert().success();
    };
    r2former().args(["index", "create"]).arg(&places).assert().success();
    index(&["add"], &own.join("database.csv"));
    let statuses = |photos: &Path, options: &[&str]| -> Vec<(String, f64)> {
        let mut command = r2former();
        command.arg("query").arg(&places).arg(photos).args(options).arg("--json");
        let found = json(&command.assert().success().get_output().stdout);
        let of = |answer: &Value| {
            let status = answer["status"].as_str().unwrap_or_default().to_owned();
            (status, answer["confidence"].as_f64().expect("the built-in model is calibrated"))
        };
        found["answers"].as_array().expect("a list").iter().map(of).collect()
    };
    for method in ["model", "ransac", "none"] {
        let options = ["--min-confidence", "auto", "--rerank", method];
        for (status, confidence) in statuses(&home.join("nothing"), &options) {
            assert_eq!(status, "not_in_index", "{method}: a picture of nothing, {confidence}");
        }
        for (status, confidence) in statuses(&other.join("queries"), &options) {
            assert_eq!(status, "not_in_index", "{method}: another town, {confidence}");
        }
    }
    // What is in the index is answered: the queries look at the spots of the database.
    let known = statuses(&own.join("queries"), &["--min-confidence", "auto"]);
    let sure = known.iter().filter(|(status, _)| status == "answered").count();
    assert!(2 * sure >= known.len(), "{known:?}");
    // Without a limit everything is answered.
    assert!(statuses(&home.join("nothing"), &[]).iter().all(|(status, _)| status == "answered"));

    let mut text = r2former();
    text.arg("query").arg(&places).arg(home.join("nothing/black.jpg")).args(["--min-confidence", "0.9"]);
    let ended = text.assert().success();
    names(&String::from_utf8_lossy(&ended.get_output().stdout), &["not in this index: confidence"]);
    for wrong in ["1.5", "nan", "high"] {
        let mut command = r2former();
        command.arg("query").arg(&places).arg("x.jpg").args(["--min-confidence", wrong]);
        names(&fails(&mut command, 2), &["--min-confidence", wrong, "auto"]);
    }
}

#[test]
fn a_model_is_calibrated_and_measured() {
    let home = tempfile::tempdir().expect("temporary folder");
    let home = home.path();
    for (name, seed) in [("east", 73), ("west", 74)] {
        town(home, name, seed, 8);
    }
    let entry = |name: &str| {
        format!(
            "[[dataset]]\nkind = \"photos\"\nname = \"{name}\"\ndatabase = \"{name}/database.csv\"\nqueries = \"{name}/queries.csv\"\n"
        )
    };
    let sets = home.join("sets.toml");
    std::fs::write(&sets, entry("east") + &entry("west")).expect("written");
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/r2former-tiny.safetensors");
    let out = home.join("calibrated.safetensors");
    let calibrate = || {
        let mut command = r2former();
        command.args(["model", "calibrate"]).arg(&model).arg(&out).arg("--data").arg(&sets);
        command
    };
    let ended = calibrate().arg("--json").assert().success();
    let report = json(&ended.get_output().stdout);
    let fitted = &report["calibration"]["fitted_on"];
    assert_eq!((&fitted[0]["dataset"], &fitted[1]["queries"]), (&"east".into(), &8.into()));
    assert!(report["left_out"].as_array().is_some_and(|sets| !sets.is_empty()));
    let [before, after] = [&model, &out].map(|path| load(path).expect("a model"));
    assert_eq!(before.tensors, after.tensors);
    let own = after.config.calibration.expect("it was just made");
    assert!(own.fits.iter().all(|fit| fit.weights.values().all(|weight| *weight > 0.0)), "{own:?}");
    assert!(own.position_scale.is_some_and(|scale| scale > 0.0));
    // Twice the same name cannot be told apart.
    std::fs::write(&sets, entry("east") + &entry("east")).expect("written");
    names(&fails(&mut calibrate(), 1), &["east", "another name"]);

    let eval = |options: &[&str]| {
        let mut command = r2former();
        command.args(["eval", "photos", "--model"]).arg(&out);
        command.arg("--database").arg(home.join("east/database.csv"));
        command.arg("--queries").arg(home.join("east/queries.csv")).args(options);
        command
    };
    let options = ["--unknown", "0.5", "--window", "3", "--rerank", "ransac,model", "--json"];
    let ended = eval(&options).arg("--report").arg(home.join("report")).assert().success();
    let found = json(&ended.get_output().stdout);
    assert_eq!(
        (&found["confidence"]["unknown_queries"], &found["windows"]["frames"]),
        (&4.into(), &3.into())
    );
    let rankings = found["confidence"]["rankings"].as_array().expect("a list");
    assert_eq!(rankings.len(), 3, "global, RANSAC, reranked");
    for ranking in rankings {
        let error = ranking["expected_calibration_error"].as_f64().expect("a number");
        assert!((0.0..=1.0).contains(&error), "{ranking}");
        assert_eq!(ranking["answers"], 8);
    }
    // The same seed makes the same queries unknown; recall is of all queries with their positives.
    let again = json(&eval(&options).assert().success().get_output().stdout);
    assert_eq!((&again["confidence"], &again["recall"]), (&found["confidence"], &found["recall"]));
    let plain = json(&eval(&["--rerank", "ransac,model", "--json"]).assert().success().get_output().stdout);
    assert_eq!(plain["recall"], found["recall"]);
    assert!(plain.get("confidence").is_none() && plain.get("windows").is_none());
    // Of no query there is no measure.
    let alone = ["--unknown", "1", "--radius", "5000", "--rerank", "none"];
    let text = eval(&alone).assert().success();
    let text = String::from_utf8_lossy(&text.get_output().stdout).into_owned();
    names(&text, &["Confidence was not measured: no query could be asked"]);
    assert!(!text.contains("ECE") && !text.contains("-0.0"), "{text}");
    let none = eval(&alone).args(["--json", "--report"]).arg(home.join("none")).assert().success();
    let none = json(&none.get_output().stdout)["confidence"].clone();
    assert_eq!((&none["unasked_queries"], &none["rankings"]), (&8.into(), &serde_json::json!([])));
    let page = std::fs::read_to_string(home.join("none/report.html")).expect("a report");
    assert!(page.contains("Confidence was not measured") && !page.contains("Risk over coverage"));
    let mut idle = eval(&["--rerank", "none", "--adaptive", "0.1"]);
    names(&fails(&mut idle, 1), &["adaptive: "]);
    let page = std::fs::read_to_string(home.join("report/report.html")).expect("a report");
    names(&page, &["Risk over coverage", "Windows of 3 frames"]);
    let results = json(&std::fs::read(home.join("report/results.json")).expect("results"));
    let answers = results["answers"]["reranked"].as_array().expect("a list");
    let unknown = answers.iter().filter(|answer| answer["unknown"] == true).count();
    assert_eq!((answers.len(), unknown), (8, 4));
    assert!(answers.iter().all(|answer| answer["unknown"] == false || answer["correct"] == false));
}

#[test]
fn a_sequence_gives_a_track() {
    let home = tempfile::tempdir().expect("temporary folder");
    let home = home.path();
    let town = Town::new(&TownConfig { seed: 75, blocks: (1, 1), ..TownConfig::default() }).expect("a town");
    let places = town.street_positions(8.0);
    let shot = |path: &Path, i: usize, condition| {
        let camera =
            Camera { x: places[i].x, y: places[i].y, heading: places[i].heading, ..Camera::default() };
        write(path, &town.render(&View { camera, condition, visit: 1 }, 160, 120).expect("a picture"));
    };
    std::fs::create_dir_all(home.join("frames")).expect("a new folder");
    let mut table = "path,lat,lon,heading\n".to_owned();
    for i in 0..6 {
        shot(&home.join(format!("{i}.jpg")), i, Condition::Day);
        table += &format!("{i}.jpg,52.000{i},0.125,0\n");
        if i < 4 {
            shot(&home.join(format!("frames/{i}.jpg")), i, Condition::Dusk);
        }
    }
    std::fs::write(home.join("positions.csv"), table).expect("written");
    let index = home.join("places");
    r2former().args(["index", "create"]).arg(&index).assert().success();
    r2former().args(["index", "add"]).arg(&index).arg(home.join("positions.csv")).assert().success();
    let (csv, geojson) = (home.join("track.csv"), home.join("track.geojson"));
    let query = |source: &Path| {
        let mut command = r2former();
        command.arg("query").arg(&index).arg("--sequence").arg(source).args(["--json", "--top", "2"]);
        command.arg("--track").arg(&csv).arg("--track").arg(&geojson);
        command
    };
    let answers = json(&query(&home.join("frames")).assert().success().get_output().stdout);
    assert_eq!(answers["answers"].as_array().map(Vec::len), Some(4));
    assert_eq!(answers["answers"][0]["matches"].as_array().map(Vec::len), Some(2));
    // The document has the track, too.
    let last = &answers["track"][3];
    assert_eq!((&last["frame"], &last["query"]), (&4.into(), &answers["answers"][3]["query"]));
    assert!(last["best"]["probability"].is_number() && last["live"]["place"]["path"].is_string(), "{last}");
    let rows = std::fs::read_to_string(&csv).expect("a track");
    let rows: Vec<&str> = rows.lines().collect();
    assert_eq!(
        rows[0],
        "frame,query,time,path,lat,lon,probability,live_path,live_lat,live_lon,live_probability"
    );
    assert_eq!(rows.len(), 5);
    let track = json(&std::fs::read(&geojson).expect("a track"));
    let features = track["features"].as_array().expect("features");
    assert_eq!((features.len(), &features[0]["geometry"]["type"]), (5, &"LineString".into()));
    assert_eq!(features[1]["properties"]["kind"], "frame");
    assert_eq!(features[4]["properties"]["path"], last["best"]["place"]["path"]);
    // A list with times; frames may be missing.
    let list = home.join("list.csv");
    std::fs::write(&list, "path,time\nframes/0.jpg,0\nframes/lost.jpg,1\nframes/2.jpg,2\n").expect("written");
    query(&list).assert().code(3);
    let rows = std::fs::read_to_string(&csv).expect("a track");
    assert!(rows.lines().nth(1).is_some_and(|row| row.contains(",0.0,")), "{rows}");
    assert_eq!(rows.lines().count(), 4);

    // A speed is one of metres.
    let bare = home.join("bare");
    r2former().args(["index", "create", "--positions", "none"]).arg(&bare).assert().success();
    let mut fast = r2former();
    fast.arg("query").arg(&bare).arg("--sequence").arg(home.join("frames")).args(["--max-speed", "3"]);
    names(&fails(&mut fast, 1), &["--max-speed", "--max-step"]);

    let mut command = query(&home.join("frames"));
    names(&fails(command.arg("--track").arg("track.gpx"), 2), &["track.gpx", ".geojson or .csv"]);
    let mut both = query(&home.join("frames"));
    names(&fails(both.arg("more.jpg"), 2), &["--sequence"]);
}
