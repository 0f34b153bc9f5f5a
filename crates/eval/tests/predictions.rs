//! Predictions files on a road whose metrics are computed by hand, and every error of such files.

mod common;

use common::{msls, vg, vg_name};
use r2former_data::dataset::{Dataset, MslsOptions, MslsTask, VgOptions, read_msls, read_vg};
use r2former_eval::{
    EmptyQueries, EvalError, Predictions, PredictionsError, PredictionsFile, Ranking, Result, Rules, RunInfo,
    Scores, compare, read_predictions, score, write_scores,
};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn city(task: MslsTask) -> (TempDir, Dataset) {
    let dir = tempfile::tempdir().expect("temporary folder");
    msls(dir.path(), "cph", true);
    let options = MslsOptions { cities: vec!["cph".into()], task, ..Default::default() };
    let set = read_msls(dir.path(), &options).expect("a sound city");
    (dir, set)
}

fn file(dir: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, text).expect("temporary folders can be written");
    path
}

fn drop_empty() -> Rules {
    Rules { empty_queries: EmptyQueries::Drop, ..Default::default() }
}

fn scores(set: &Dataset, files: &[&Path], at: &[usize]) -> Result<Scores> {
    let runs: Vec<Predictions> =
        files.iter().map(|file| read_predictions(file, None, set)).collect::<Result<_, _>>()?;
    score(set, &runs, &drop_empty(), at)
}

#[track_caller]
fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-9, "{found}, expected {expected}");
}

const GOOD: &str = "\
# a comment
q0 d1 t0 d0 d2 d3
q1 d0 d2 t0 d1 t1
q2 t0 t1 t2 d0 d1
q3 d0 d1 d2 d3 d6
u0 t2 t1 d0 d1 d2
";

/// Positives within 25 m: q0 (10 m) d0 d1; q1 (30 m) d1 d2; q2 (50 m) d2 d3; q3 (120 m) d6 d7, because the panorama d5 is
/// left out; u0 (230 m) t1 t2; u1 (1000 m) none, so it is dropped.
///
/// | query | positives at ranks | AP@1 | AP@2 | AP@5 |
/// |---|---|---|---|---|
/// | q0 | 1, 3 | 1 | 1/2 | (1 + 2/3) / 2 = 5/6 |
/// | q1 | 2, 4 | 0 | (1/2) / 2 = 1/4 | (1/2 + 2/4) / 2 = 1/2 |
/// | q2 | none | 0 | 0 | 0 |
/// | q3 | 5 | 0 | 0 | (1/5) / 2 = 1/10 |
/// | u0 | 1, 2 | 1 | (1 + 1) / 2 = 1 | 1 |
#[test]
fn images_by_hand() {
    let (dir, set) = city(MslsTask::Im2Im);
    assert_eq!((set.database.len(), set.queries.len()), (9, 6));
    let path = file(&dir, "good.txt", GOOD);
    let found = scores(&set, &[&path], &[5, 1, 2]).expect("sound");
    let run = &found.summary.runs[0];
    for (n, recall, precision) in
        [(1, 2.0 / 5.0, 2.0 / 5.0), (2, 3.0 / 5.0, 1.75 / 5.0), (5, 4.0 / 5.0, (5.0 / 6.0 + 1.6) / 5.0)]
    {
        near(run.recall.at(n), recall);
        near(run.mean_average_precision.at(n), precision);
    }
    let interval = run.intervals[0].1;
    assert!(interval.low < 0.4 && 0.4 < interval.high);
    assert_eq!(found.queries.iter().map(|q| q.positives).collect::<Vec<_>>(), [2; 5]);
    let protocol = &found.summary.protocol;
    assert_eq!((protocol.queries, protocol.empty_query_count), (5, 1));
    // The first matches lie 10, 30, 150, 120 and 10 m off.
    assert_eq!(run.localisation.map(|l| l.median_m), Some(30.0));
    assert!(protocol.notes.iter().any(|note| note == "task im2im"), "{:?}", protocol.notes);
}

/// Sequences of three whose middle frame is chosen: A d0 d1 d2, B d1 d2 d3, C d2 d3 d4, D d5 d6 d7 (not around d4, which
/// is not in the subtask, nor d5, a panorama; T misses a frame). Queries X q0 q1 q2 at 10, 30 and 50 m, Y q1 q2 q3 at 30,
/// 50 and 120 m. Of X's frames some reach d0 to d3: A, B, C are positives. Of Y's q3 also reaches D.
///
/// X: D A B C, so AP@4 = (1/2 + 2/3 + 3/4) / 3; Y: D C B A, all positives.
#[test]
fn sequences_by_hand() {
    let (dir, set) = city(MslsTask::Seq2Seq);
    let path = file(
        &dir,
        "sequences.txt",
        "q0,q1,q2 d5,d6,d7 d0,d1,d2 d1,d2,d3 d2,d3,d4\nq1,q2,q3 d5,d6,d7 d2,d3,d4 d1,d2,d3 d0,d1,d2\n",
    );
    let found = scores(&set, &[&path], &[1, 4]).expect("sound");
    let run = &found.summary.runs[0];
    near(run.recall.at(1), 0.5);
    near(run.recall.at(4), 1.0);
    near(run.mean_average_precision.at(1), 0.5);
    near(run.mean_average_precision.at(4), ((0.5 + 2.0 / 3.0 + 0.75) / 3.0 + 1.0) / 2.0);
    let note = found.summary.protocol.notes.join("; ");
    // Of 9 chosen database images 4 are middles; of 6 queries 2.
    assert!(note.contains("task seq2seq, sequences of 3 consecutive frames"), "{note}");
    assert!(note.contains("4 queries and 5 references are in the middle of no sequence"), "{note}");
}

/// X reaches the images d0 d1 d2 d3, Y d1 d2 d3 d6 d7. As a query of one image q0 reaches A and B, q1 and q2 A, B and C,
/// q3 only D; u0 and u1 reach nothing.
#[test]
fn mixed_tasks_by_hand() {
    for (task, text, positives) in [
        (MslsTask::Seq2Im, "q0,q1,q2 d0\nq1,q2,q3 d0\n", &[4, 5][..]),
        (MslsTask::Im2Seq, "q0 d0,d1,d2\nq1 d0,d1,d2\nq2 d0,d1,d2\nq3 d0,d1,d2\n", &[2, 3, 3, 1]),
    ] {
        let (dir, set) = city(task);
        let path = file(&dir, "first.txt", text);
        let found = scores(&set, &[&path], &[1]).expect("sound");
        assert_eq!(found.queries.iter().map(|q| q.positives).collect::<Vec<_>>(), positives, "{task}");
        let right = if task == MslsTask::Seq2Im { 0.5 } else { 0.75 };
        near(found.summary.runs[0].recall.at(1), right);
    }
}

#[test]
fn the_middle_frame_is_in_the_subtask() {
    let (dir, _) = city(MslsTask::Im2Im);
    let options = MslsOptions {
        cities: vec!["cph".into()],
        subtask: "d2n".into(),
        task: MslsTask::Seq2Seq,
        ..Default::default()
    };
    // The subtask holds what lies before 100 m: middles d1, d2, d3, d4 and q1, q2.
    let set = read_msls(dir.path(), &options).expect("sound");
    let names = |photos: &[r2former_data::Photo]| -> Vec<String> {
        photos.iter().map(|photo| photo.tags["key"].clone()).collect()
    };
    assert_eq!(
        (names(&set.database), names(&set.queries)),
        (["d1", "d2", "d3", "d4"].map(str::to_string).to_vec(), ["q1", "q2"].map(str::to_string).to_vec())
    );
    for sequence in [0, 1, 4] {
        let said =
            read_msls(dir.path(), &MslsOptions { sequence, ..options.clone() }).expect_err("no middle");
        assert!(said.to_string().contains("odd number"), "{said}");
    }
}

/// The query at 10 m has the references at 0 and 20 m as positives, that at 100 m has none: kept, it fails. QueryPredictions for
/// the first: 40, 20, 0; AP@2 = (1/2) / 2.
#[test]
fn a_tree_by_hand_in_both_formats() {
    let dir = tempfile::tempdir().expect("temporary folder");
    vg(dir.path());
    let set = read_vg(dir.path(), &VgOptions::default()).expect("a sound tree");
    let [a, b, c] = [0, 20, 40].map(vg_name);
    let [q, lost] = [10, 100].map(vg_name);
    let table = file(&dir, "p.csv", &format!("query,ref1,ref2,ref3\n{lost},{a},{b},{c}\n{q},{c},{b},{a}\n"));
    let pairs = format!(
        "# kapture format: 1.1\n# query_image, map_image, score\n{q}, {a}, 0.1\n{lost}, {a}, 5\n{q}, {b}, 0.5\n\
         {lost}, {b}, 4\n{q}, {c}, 0.9\n"
    );
    // As an index names references.
    let labelled = file(&dir, "labelled.txt", &pairs.replace(", @", ", database/@"));
    let pairs = file(&dir, "pairs.txt", &pairs);
    for path in [&table, &pairs, &labelled] {
        let run = read_predictions(path, None, &set).expect("sound");
        assert_eq!(run.label.as_deref(), (path == &labelled).then_some("database"));
        let at =
            |rules: &Rules| score(&set, std::slice::from_ref(&run), rules, &[1, 2]).expect("sound").summary;
        let (kept, dropped) = (at(&Rules::default()), at(&drop_empty()));
        near(kept.runs[0].recall.at(1), 0.0);
        near(kept.runs[0].recall.at(2), 0.5);
        near(kept.runs[0].mean_average_precision.at(2), 0.125);
        near(dropped.runs[0].recall.at(2), 1.0);
        near(dropped.runs[0].mean_average_precision.at(2), 0.25);
        assert_eq!(kept.protocol.database, 3);
    }
}

/// A label is one for all references of a file: what remains of other names may be another image.
#[test]
fn labels_that_differ_are_unknown_names() {
    let dir = tempfile::tempdir().expect("temporary folder");
    vg(dir.path());
    let set = read_vg(dir.path(), &VgOptions::default()).expect("a sound tree");
    let [a, b, q] = [0, 20, 10].map(vg_name);
    for (names, line) in [
        ([format!("one/{a}"), format!("two/{b}")], 2),
        ([a.clone(), format!("one/{b}")], 3),
        ([format!("one/{a}"), b.clone()], 2),
        ([format!("one/two/{a}"), format!("one/{b}")], 2),
    ] {
        let [first, second] = &names;
        let text = format!("# query_image, map_image, score\n{q}, {first}, 2\n{q}, {second}, 1\n");
        match read_predictions(&file(&dir, "p.txt", &text), None, &set) {
            Err(PredictionsError::UnknownReference { line: at, .. }) => assert_eq!(at, line, "{names:?}"),
            other => panic!("{names:?}: {other:?}"),
        }
    }
}

/// The first file is right at rank 1 for q0 and u0, the second for all five: three queries only the second gets right,
/// McNemar p = 2 / 2^3.
#[test]
fn two_files_are_compared() {
    let (dir, set) = city(MslsTask::Im2Im);
    let first = file(&dir, "first.txt", GOOD);
    let second = file(&dir, "second.txt", "q0 d0 d3\nq1 d1 d3\nq2 d2 d6\nq3 d7 d0\nu0 t1 d0\nu1 d0 d1\n");
    let found = scores(&set, &[&first, &second], &[1, 2]).expect("sound");
    let [comparison] = &found.summary.comparisons[..] else { panic!("{:?}", found.summary.comparisons) };
    assert!(comparison.first.ends_with("first.txt") && comparison.second.ends_with("second.txt"));
    let test = &comparison.recall[0].test;
    near(test.difference.value, 0.6);
    near(test.p, 0.25);
    assert_eq!((test.only_first, test.only_second), (0, 3));
    assert!(scores(&set, &[&first, &first], &[1]).is_err(), "the same file twice");
}

#[test]
fn every_error_says_where_and_what_to_do() {
    let (dir, set) = city(MslsTask::Im2Im);
    let said = |text: &str, at: &[usize]| -> String {
        match scores(&set, &[&file(&dir, "p.txt", text)], at) {
            Err(EvalError::Predictions(error)) => error.to_string(),
            other => panic!("{other:?}"),
        }
    };
    let swap = |from: &str, to: &str| GOOD.replace(from, to);
    for (text, at, parts) in [
        (swap("q1 d0", "q9 d0"), 5, &["p.txt:3", "query q9", "6", "delete the line"][..]),
        (swap("t0 d1 t1", "t0 d4 t1"), 5, &["p.txt:3", "reference d4", "query q1", "9", "another split"]),
        (swap("q2 t0 t1", "q2 t0 t0"), 5, &["p.txt:4", "reference t0", "query q2", "unique"]),
        (swap("q2 t0", "q1 t0"), 5, &["p.txt:4", "query q1", "line 3", "keep one"]),
        (swap("u0 t2 t1 d0 d1 d2", ""), 5, &["p.txt", "query u0", "1 of 5", "every query must be present"]),
        (swap("u0 t2 t1 d0 d1 d2", "u0 t2"), 5, &["p.txt:6", "query u0", "1 predictions", "5 are", "--at"]),
        // No more can be asked than there are references.
        (GOOD.to_string(), 100, &["p.txt:2", "query q0", "5 predictions", "9 are"]),
        (String::new(), 5, &["p.txt", "no predictions", "one line per query"]),
        ("# only\n\n".to_string(), 5, &["p.txt", "no predictions"]),
    ] {
        let said = said(&text, &[at]);
        parts.iter().for_each(|part| assert!(said.contains(part), "does not name '{part}': {said}"));
    }
    let odd = read_predictions(&file(&dir, "p.json", GOOD), None, &set).expect_err("no such ending");
    assert!(matches!(&odd, PredictionsError::Extension { .. }) && odd.to_string().contains(".csv"), "{odd}");
    let gone = read_predictions(&dir.path().join("gone.txt"), None, &set).expect_err("is not there");
    assert!(gone.to_string().contains("gone.txt"), "{gone}");
    let sound = read_predictions(&file(&dir, "good.txt", GOOD), None, &set).expect("sound");
    for at in [&[][..], &[0, 1]] {
        assert!(score(&set, std::slice::from_ref(&sound), &drop_empty(), at).is_err());
    }
}

#[test]
fn written_predictions_are_read_again() {
    for task in [MslsTask::Im2Im, MslsTask::Seq2Seq] {
        let (dir, set) = city(task);
        let count = set.database.len() as u32;
        let queries: Vec<usize> = (0..set.queries.len()).rev().collect();
        let ranking = |q: &usize| (0..count).map(|r| (r + *q as u32) % count).collect::<Vec<u32>>();
        let rankings: Vec<Ranking> =
            queries.iter().map(|q| Ranking { references: ranking(q), scores: Vec::new() }).collect();
        for name in ["p.txt", "p.csv"] {
            let path = dir.path().join(name);
            PredictionsFile::new(&path, &set).expect("sound").write(&queries, &rankings).expect("room");
            let found = read_predictions(&path, None, &set).expect("own file");
            let found: Vec<Vec<u32>> = found.queries.into_iter().flatten().map(|p| p.references).collect();
            assert_eq!(found, (0..set.queries.len()).map(|q| ranking(&q)).collect::<Vec<_>>(), "{name}");
        }
        let error = PredictionsFile::new(&dir.path().join("p"), &set).err().expect("no ending");
        assert!(matches!(error, EvalError::Predictions(PredictionsError::Extension { .. })), "{error}");
    }
    let (dir, mut set) = city(MslsTask::Im2Im);
    set.database[3].tags.insert("key".into(), "a b".into());
    let error = PredictionsFile::new(&dir.path().join("p.txt"), &set).err().expect("a blank");
    assert!(error.to_string().contains("'a b'") && error.to_string().contains(".csv"), "{error}");
    PredictionsFile::new(&dir.path().join("p.csv"), &set).expect("a table allows spaces");
}

#[test]
fn results_are_compared_under_one_protocol_only() {
    let (dir, set) = city(MslsTask::Im2Im);
    let first = file(&dir, "first.txt", GOOD);
    let second = file(&dir, "second.txt", "q0 d0\nq1 d1\nq2 d2\nq3 d7\nu0 t1\nu1 d0\n");
    let write = |name: &str, files: &[&PathBuf], rules: &Rules| -> PathBuf {
        let runs = files.iter().map(|file| read_predictions(file, None, &set).expect("sound"));
        let scores = score(&set, &runs.collect::<Vec<_>>(), rules, &[1]).expect("sound");
        let folder = dir.path().join(name);
        write_scores(&folder, &scores, &RunInfo::gather("r2former", "none")).expect("room");
        folder.join("results.json")
    };
    let a = write("a", &[&first], &drop_empty());
    let b = write("b", &[&second], &drop_empty());
    let found = compare((&a, None), (&b, None), false).expect("the same protocol");
    assert_eq!((found.queries, found.recall.iter().map(|d| d.at).collect::<Vec<_>>()), (5, vec![1, 5, 10]));
    let at_1 = &found.recall[0];
    near(at_1.first, 0.4);
    near(at_1.second, 1.0);
    near(at_1.test.p, 0.25);
    assert_eq!(at_1.test.only_second, 3);

    write("both", &[&first, &second], &drop_empty());
    let page = std::fs::read_to_string(dir.path().join("both/report.html")).expect("a page");
    // Recall of both files, their difference, and a curve; nothing that needs a model.
    for part in ["40.0 (", "100.0 (", "second.txt compared with", "+60.0 (", "<svg"] {
        assert!(page.contains(part), "{part}");
    }
    for part in ["Model configuration", "<h2>Map", "NaN"] {
        assert!(!page.contains(part), "{part}");
    }

    let said = |a: (&Path, Option<&str>), b: (&Path, Option<&str>), any| {
        compare(a, b, any).expect_err("not to be compared").to_string()
    };
    // Within 5 m nothing but q3 has a positive.
    let narrow = write("narrow", &[&second], &Rules { radius_m: 5.0, ..drop_empty() });
    let refused = said((&a, None), (&narrow, None), false);
    assert!(refused.contains("radius_m is 25.0 and 5.0") && refused.contains("--any-protocol"), "{refused}");
    let other = said((&a, None), (&narrow, None), true);
    assert!(other.contains("cph/query/q0") && other.contains("4 of its 5"), "{other}");
    // At 24 m the same queries count, so it is possible if it must be.
    let wide = write("wide", &[&second], &Rules { radius_m: 24.0, ..drop_empty() });
    assert!(compare((&a, None), (&wide, None), true).is_ok());

    let both = write("both", &[&first, &second], &drop_empty());
    let unclear = said((&a, None), (&both, None), false);
    assert!(unclear.contains("several rankings") && unclear.contains("second.txt"), "{unclear}");
    let ranking = second.display().to_string();
    assert!(compare((&a, None), (&both, Some(&ranking)), false).is_ok());
    let none = said((&a, Some("reranked")), (&b, None), false);
    assert!(none.contains("has no ranking reranked") && none.contains("first.txt"), "{none}");
    let foreign = file(&dir, "foreign.json", "{}");
    assert!(said((&foreign, None), (&b, None), false).contains("foreign.json"));
}

#[test]
fn a_city_without_positions_is_not_scored() {
    let dir = tempfile::tempdir().expect("temporary folder");
    msls(dir.path(), "miami", false);
    let options = MslsOptions { cities: vec!["miami".into()], ..Default::default() };
    let set = read_msls(dir.path(), &options).expect("tables that the challenge has");
    // Nothing says which images are panoramas: d5 stays.
    assert_eq!((set.database.len(), set.queries.len(), set.has_ground_truth()), (10, 6, false));
    assert!(set.notes[0].contains("panoramas kept where no raw.csv"), "{:?}", set.notes);
    let path = file(&dir, "p.txt", GOOD);
    let said = scores(&set, &[&path], &[1]).expect_err("no positions").to_string();
    assert!(said.contains("no positions") && said.contains("--predictions"), "{said}");
}
