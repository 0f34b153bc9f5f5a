//! Adaptive reranking, cost, ablations, suites and the index alone through the program.

mod common;

use common::{fails, names, photo_folder, r2former, small_index};
use serde_json::Value;

fn json(command: &mut common::Command) -> Value {
    let output = command.assert().success().get_output().stdout.clone();
    serde_json::from_slice(&output).expect("JSON")
}

#[test]
fn a_query_with_a_large_margin_is_not_reranked() {
    let (_home, index, photos) = small_index();
    let ask = |margin: &str| {
        let mut command = r2former();
        command.arg("query").arg(&index).arg(photos.path().join("0.jpg"));
        json(command.args(["--rerank", "ransac", "--json", "--adaptive", margin]))["answers"][0].clone()
    };
    // Photographs 0 and 1 lie 22 m apart, 2 at another place.
    let (confident, close) = (ask("0"), ask("2"));
    assert_eq!((&confident["reranking_skipped"], &confident["rerank"]), (&true.into(), &"none".into()));
    assert!(confident["matches"][0]["score"].is_null());
    assert_eq!((&close["reranking_skipped"], &close["rerank"]), (&false.into(), &"ransac".into()));
    assert!(close["matches"][0]["score"].is_number());
    let mut wrong = r2former();
    wrong.arg("query").arg(&index).arg("0.jpg").args(["--adaptive", "-1"]);
    names(&fails(&mut wrong, 2), &["--adaptive"]);
    // Of no reranking there is nothing to leave out.
    let mut nothing = r2former();
    nothing.arg("query").arg(&index).arg("0.jpg").args(["--rerank", "none", "--adaptive", "0.1"]);
    names(&fails(&mut nothing, 2), &["--adaptive", "--rerank none"]);
}

#[test]
fn mutual_matches_are_those_that_ransac_chooses_from() {
    let (_home, index, photos) = small_index();
    let ask = |method: &str| {
        let mut command = r2former();
        command.arg("query").arg(&index).arg(photos.path().join("0.jpg"));
        json(command.args(["--rerank", method, "--json"]))["answers"][0]["matches"].clone()
    };
    let (mutual, ransac) = (ask("mutual"), ask("ransac"));
    assert_eq!(
        (&mutual[0]["score_kind"], &mutual[0]["path"]),
        (&"mutual_matches".into(), &ransac[0]["path"])
    );
    for found in mutual.as_array().expect("matches") {
        let same = ransac.as_array().expect("matches").iter().find(|other| other["path"] == found["path"]);
        let inliers = same.and_then(|same| same["score"].as_f64()).expect("reranked as well");
        assert!(found["score"].as_f64() >= Some(inliers), "{found}");
    }
}

#[test]
fn a_cascade_leaves_the_reranker_what_geometry_ranks_first() {
    let (_home, index, photos) = small_index();
    let ask = |options: &[&str]| {
        let mut command = r2former();
        command.arg("query").arg(&index).arg(photos.path().join("0.jpg")).args(options);
        json(command.arg("--json"))["answers"][0]["matches"].as_array().expect("matches").clone()
    };
    let (all, geometry) = (ask(&["--rerank", "model"]), ask(&["--rerank", "ransac"]));
    let first = ask(&["--rerank", "model", "--cascade", "1"]);
    assert_eq!(first.len(), 3);
    // The one that has a score is the one that RANSAC ranks first; its score is what the reranker says without a cascade.
    let scored: Vec<&Value> = first.iter().filter(|found| !found["score"].is_null()).collect();
    assert_eq!((scored.len(), &scored[0]["rank"]), (1, &1.into()));
    assert_eq!(scored[0]["score_kind"], "reranker_probability");
    assert_eq!(scored[0]["path"], geometry[0]["path"]);
    let same = all.iter().find(|found| found["path"] == scored[0]["path"]).expect("among all");
    assert_eq!(same["score"], scored[0]["score"]);
    // With room for all nothing changes; other methods have no use for it, and say so.
    let without_ids = |matches: &[Value]| -> Vec<(Value, Value)> {
        matches.iter().map(|found| (found["path"].clone(), found["score"].clone())).collect()
    };
    assert_eq!(without_ids(&ask(&["--rerank", "model", "--cascade", "3"])), without_ids(&all));
    let mut useless = r2former();
    useless.arg("query").arg(&index).arg(photos.path().join("0.jpg"));
    names(&fails(useless.args(["--rerank", "ransac", "--cascade", "1"]), 2), &["cascade", "--rerank"]);
    let mut wrong = r2former();
    wrong.arg("query").arg(&index).arg("0.jpg").args(["--cascade", "0"]);
    names(&fails(&mut wrong, 2), &["--cascade"]);
}

#[test]
fn costs_are_measured_for_every_ranking() {
    let photos = photo_folder();
    let report = tempfile::tempdir().expect("temporary folder");
    let mut command = r2former();
    command.args(["eval", "cost", "--image-size", "64x64", "--k", "4,16,500", "--sizes", "100,2000"]);
    command.args(["--database", "500", "--candidates", "5", "--runs", "2", "--json", "--photos"]);
    let found = json(command.arg(photos.path()).arg("--report").arg(report.path()));
    let rows = found["stages"]["rows"].as_array().expect("rows");
    let of = |row: &Value| (row["rerank"].as_str().map(str::to_string), row["local_features"].as_u64());
    // 64 x 64 pixels are 16 patches: 500 is 16.
    let wanted = [("none", 0), ("ransac", 4), ("ransac", 16), ("model", 4), ("model", 16)];
    assert_eq!(rows.iter().map(of).collect::<Vec<_>>(), wanted.map(|(r, k)| (Some(r.to_string()), Some(k))));
    assert!(rows[0]["reranking_ms"].is_null() && rows[4]["reranking_ms"]["median"].as_f64() > Some(0.0));
    let bytes = |i: usize| rows[i]["bytes_per_image"].as_u64().unwrap_or(0);
    assert_eq!((bytes(4) - bytes(0)) / 4, bytes(3) - bytes(0));
    assert_eq!(found["search_scaling"][1]["images"], 2000);
    for file in ["cost.json", "cost.md", "growth.svg"] {
        assert!(report.path().join(file).is_file(), "{file}");
    }
}

#[test]
fn errors_of_an_ablation_file_name_the_key() {
    let home = tempfile::tempdir().expect("temporary folder");
    let file = home.path().join("ablation.toml");
    let run = || {
        let mut command = r2former();
        command.args(["eval", "ablate", "--config"]).arg(&file);
        command
    };
    names(&fails(&mut run(), 1), &["ablation.toml", "cannot be read"]);
    let text = "[[dataset]]\nkind = \"vg\"\npath = \"nowhere\"\n[[model]]\n[axes]\nneighbours = [0]\n";
    std::fs::write(&file, text).expect("temporary folders can be written");
    names(&fails(&mut run(), 1), &["ablation.toml", "axes.neighbours"]);
    std::fs::write(&file, text.replace("[0]", "[3]")).expect("temporary folders can be written");
    names(&fails(&mut run(), 1), &["nowhere"]);
}

/// Five places from two sides, and a suite of them as two datasets, the second of which may be absent.
fn suite_of(dir: &std::path::Path) -> std::path::PathBuf {
    let mut positives = "query,reference\n".to_string();
    for side in ["db", "q"] {
        std::fs::create_dir(dir.join(side)).expect("temporary folders can be written");
    }
    for i in 0..5 {
        common::write_photo(&dir.join(format!("db/{i}.jpg")), i, None);
        common::write_photo(&dir.join(format!("q/{i}.jpg")), i + u32::from(i == 3), None);
        positives += &format!("{i}.jpg,{i}.jpg\n");
    }
    std::fs::write(dir.join("positives.csv"), positives).expect("temporary folders can be written");
    let set = |name: &str, queries: &str| {
        format!(
            "[[dataset]]\nkind = \"pairs\"\nname = \"{name}\"\ndatabase = \"db\"\nqueries = \"{queries}\"\n\
             positives = \"positives.csv\"\n"
        )
    };
    let model = "[[model]]\nname = \"built-in\"\nimage_size = [64, 64]\n";
    let text = format!("candidates = 3\n{}{}{model}", set("here", "q"), set("there", "absent"));
    let file = dir.join("suite.toml");
    std::fs::write(&file, text).expect("temporary folders can be written");
    file
}

#[test]
fn a_suite_is_one_table_against_an_earlier_one() {
    let home = tempfile::tempdir().expect("temporary folder");
    let file = suite_of(home.path());
    let run = |options: &[&str]| {
        let mut command = r2former();
        command.args(["eval", "suite"]).arg(&file).args(options);
        command
    };
    names(&fails(&mut run(&[]), 1), &["dataset there", "absent"]);
    let report = home.path().join("report");
    let ended = run(&["--skip-missing", "--report"]).arg(&report).assert().code(3);
    let output = ended.get_output();
    names(&String::from_utf8_lossy(&output.stderr), &["SKIPPED dataset there", "absent"]);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    names(
        &printed,
        &["built-in global", "built-in RANSAC", "built-in reranked", "mean of all sets", "worst"],
    );
    names(&printed, &["SKIPPED: there"]);
    for file in ["suite.json", "suite.md", "suite.csv"] {
        assert!(report.join(file).is_file(), "{file}");
    }
    // The second dataset is there now, but not in the baseline.
    std::fs::rename(home.path().join("q"), home.path().join("absent")).expect("can be renamed");
    std::fs::create_dir(home.path().join("q")).expect("temporary folders can be written");
    for i in 0..5 {
        common::write_photo(&home.path().join(format!("q/{i}.jpg")), i, None);
    }
    let baseline = report.to_string_lossy().into_owned();
    let mut command = run(&["--json", "--baseline", &baseline, "--baseline-model", "built-in"]);
    let found = json(&mut command);
    let sets = found["sets"].as_array().expect("sets");
    assert_eq!(sets.len(), 2);
    assert_eq!(sets[0]["rankings"][0]["difference"]["queries"], 5);
    assert!(sets[1]["rankings"][0]["difference"].is_null());
    assert!(found["notes"][0].as_str().is_some_and(|note| note.contains("there")), "{}", found["notes"]);
    assert_eq!(found["models"][0]["precision"], "f32");
    let found = json(&mut run(&["--json", "--precision", "int8"]));
    assert_eq!(found["models"][0]["precision"], "int8");
    assert_eq!(found["sets"][0]["parts"][0]["protocol"]["precision"], "int8");
    let ended = run(&["--max-queries", "1", "--precision", "int8"]).assert().success();
    names(&String::from_utf8_lossy(&ended.get_output().stdout), &["products: built-in in int8."]);
    names(&fails(&mut run(&["--precision", "int7"]), 2), &["auto, f32, bf16 or int8"]);
    let ended = run(&["--csv", "--max-queries", "2"]).assert().success();
    let csv = String::from_utf8_lossy(&ended.get_output().stdout).into_owned();
    assert!(csv.starts_with("dataset,queries,model,ranking,R@1,") && csv.contains("here,2,built-in,global"));
    assert!(csv.lines().next().is_some_and(|line| line.ends_with(",precision")), "{csv}");
    assert!(csv.lines().skip(1).all(|line| line.ends_with(",f32")), "{csv}");
    names(&fails(&mut run(&["--model", "tuned"]), 2), &["NAME=FILE"]);
    names(&fails(&mut run(&["--model", "built-in=gone.safetensors"]), 1), &["gone.safetensors"]);
    names(&fails(&mut run(&["--baseline", &file.to_string_lossy()]), 1), &["suite.toml", "suite.json"]);
    names(&fails(&mut run(&["--max-queries", "0"]), 2), &["--max-queries"]);
}

#[test]
fn a_dry_run_reports_its_memory() {
    let mut command = r2former();
    command.args(["bench", "eval", "--images", "300", "--queries", "4", "--candidates", "3"]);
    let found = json(command.args(["--image-size", "32x32", "--memory", "0", "--json"]));
    assert_eq!(found["summary"]["protocol"]["database"], 300);
    assert_eq!(found["feature_bytes"], 304 * (4 * 256 + 4 * 131));
    assert!(found["peak_bytes"].as_u64() > Some(0) || !cfg!(target_os = "linux"));
}

#[test]
fn the_index_is_measured_alone_and_its_answers_are_those_of_a_comparison_with_every_vector() {
    const DIM: usize = 12;
    let home = tempfile::tempdir().expect("temporary folder");
    let unit = |seed: usize| -> Vec<f32> {
        let raw: Vec<f32> = (0..DIM).map(|i| ((seed * 37 + i * 91) as f32 * 0.7).sin()).collect();
        let length = raw.iter().map(|v| v * v).sum::<f32>().sqrt();
        raw.iter().map(|v| v / length).collect()
    };
    let write = |name: &str, rows: &[Vec<f32>]| {
        let path = home.path().join(name);
        let bytes: Vec<u8> = rows.iter().flatten().flat_map(|v| v.to_le_bytes()).collect();
        std::fs::write(&path, bytes).expect("can be written");
        path
    };
    let (vectors, queries): (Vec<_>, Vec<_>) = ((0..300).map(unit).collect(), (300..304).map(unit).collect());
    let mut command = r2former();
    command.args(["bench", "search", "--images", "300", "--dim", "12", "--batch", "3", "--candidates", "5"]);
    command.args(["--runs", "4", "--json", "--vectors"]).arg(write("vectors", &vectors)).arg("--queries");
    let answers = home.path().join("answers");
    command.arg(write("queries", &queries)).arg("--answers").arg(&answers);
    let report = json(&mut command);
    for key in ["ms_per_query", "p50", "p99", "open_ms", "batch_ms", "index_bytes"] {
        assert!(report[key].as_f64() > Some(0.0), "{key}: {report}");
    }
    let found: Vec<Vec<(usize, f32)>> =
        serde_json::from_slice(&std::fs::read(answers).expect("written")).expect("JSON");
    assert_eq!(found.len(), queries.len());
    for (query, found) in queries.iter().zip(&found) {
        let score = |row: &[f32]| row.iter().zip(query).map(|(a, b)| a * b).sum::<f32>();
        let mut best: Vec<f32> = vectors.iter().map(|row| score(row)).collect();
        best.sort_by(|a, b| b.total_cmp(a));
        for ((row, similarity), best) in found.iter().zip(&best) {
            assert!((similarity - best).abs() < 1e-5 && (score(&vectors[*row]) - best).abs() < 1e-5);
        }
    }
}

#[test]
fn a_training_step_is_measured_on_the_device_that_is_named() {
    let run = |device: &str| {
        let mut command = r2former();
        command.args(["bench", "step", "--pairs", "2", "--local-features", "8", "--runs", "1", "--json"]);
        command.args(["--device", device]);
        command
    };
    let report = json(&mut run("cpu"));
    assert_eq!(report["device"], "cpu");
    assert!(report["pairs_per_second"].as_f64() > Some(0.0), "{report}");
    names(&fails(&mut run("cpu,cpu"), 2), &["--device cpu,cpu"]);
}

#[test]
fn adding_and_fetching_are_measured() {
    let mut command = r2former();
    command.args(["bench", "store", "--images", "70", "--local-features", "20", "--candidates", "10"]);
    let report = json(command.args(["--runs", "3", "--json"]));
    for key in ["images_per_second", "fetch_ms", "fetch_p99_ms", "index_bytes"] {
        assert!(report[key].as_f64() > Some(0.0), "{key}: {report}");
    }
}

#[test]
fn an_evaluation_measures_what_a_query_answers() {
    let home = tempfile::tempdir().expect("temporary folder");
    let at = |name: &str| home.path().join(name);
    let town =
        ["--seed", "8", "--blocks", "1x1", "--spacing", "30", "--conditions", "night", "--queries", "3"];
    r2former().arg("town").arg(at("town")).args(town).args(["--size", "120x160"]).assert().success();
    let (database, queries) = (at("town/database.csv"), at("town/queries.csv"));
    r2former().args(["index", "create", "--precision", "f32"]).arg(at("places")).assert().success();
    r2former().args(["index", "add"]).arg(at("places")).arg(&database).assert().success();
    let mut eval = r2former();
    eval.args(["eval", "photos", "--precision", "f32", "--rerank", "ransac,model", "--database"])
        .arg(&database);
    eval.arg("--queries").arg(&queries).arg("--report").arg(at("report")).assert().success();
    let results = std::fs::read(at("report/results.json")).expect("results");
    let results: Value = serde_json::from_slice(&results).expect("JSON");
    for (method, ranking) in [("ransac", "ransac"), ("model", "reranked")] {
        let mut ask = r2former();
        ask.arg("query").arg(at("places")).arg(at("town/queries/night"));
        let answers = json(ask.args(["--rerank", method, "--top", "10", "--json"]));
        let evaluated = results["queries"].as_array().expect("queries");
        assert_eq!((answers["answers"].as_array().map(Vec::len), evaluated.len()), (Some(3), 3));
        for (answer, evaluated) in answers["answers"].as_array().expect("answers").iter().zip(evaluated) {
            let matches = answer["matches"].as_array().expect("matches");
            let scores = evaluated["results"][ranking]["scores"].as_array().expect("scores");
            assert_eq!(matches.len(), scores.len());
            for (found, score) in matches.iter().zip(scores) {
                let (own, evaluated) = (found["score"].as_f64(), score.as_f64());
                let differs = own.zip(evaluated).map(|(own, evaluated)| (own - evaluated).abs());
                assert!(differs.is_some_and(|differs| differs < 1e-3), "{method}: {found} against {score}");
            }
        }
    }
}
