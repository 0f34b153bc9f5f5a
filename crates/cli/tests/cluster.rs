//! The program on an index in a cluster: one node of the Qdrant server that `R2FORMER_QDRANT` names, started here. Without
//! the variable nothing is tested, and a line says so.
#![cfg(target_os = "linux")]

mod common;
#[path = "../../cluster/tests/common/nodes.rs"]
mod nodes;

use common::service::Serving;
use common::{Command, Ended, fails, names, r2former};
use nodes::Nodes;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where models of collections are kept.
const CACHE: &str = "XDG_CACHE_HOME";

/// A folder of its own for a test, with a rendered town in it.
struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        let home = Self { dir: tempfile::tempdir().expect("temporary folder") };
        let town =
            ["--seed", "5", "--blocks", "1x1", "--spacing", "30", "--conditions", "day", "--queries", "4"];
        r2former().arg("town").arg(home.at("town")).args(town).args(["--size", "120x160"]).assert().success();
        home
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The program, whose models are kept here.
    fn run(&self, args: &[&str]) -> Command {
        let mut command = r2former();
        command.env(CACHE, text(&self.at("cache"))).args(args);
        command
    }

    /// The town's queries, which say where they were taken.
    fn photos(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.at("town/queries/day")).expect("a folder");
        let mut photos: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        photos.sort();
        photos
    }

    /// Models that were fetched.
    fn models(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.at("cache/r2former/models")).into_iter().flatten();
        entries.map(|entry| entry.expect("an entry").path()).collect()
    }
}

fn out(ended: &Ended) -> String {
    String::from_utf8_lossy(&ended.get_output().stdout).into_owned()
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&out(ended)).expect("JSON")
}

/// What an answer is made of, but for times and the last digits of numbers.
fn answers(ended: &Ended) -> Vec<(String, Vec<(String, String)>)> {
    let rounded = |value: &Value| value.as_f64().map_or_else(String::new, |value| format!("{value:.3}"));
    let document = json(ended);
    let one = |answer: &Value| {
        let matches = answer["matches"].as_array().expect("matches").iter();
        let matches = matches.map(|found| {
            let numbers = format!("{} {}", rounded(&found["similarity"]), rounded(&found["score"]));
            (found["path"].as_str().expect("a name").to_owned(), numbers)
        });
        (answer["query"].as_str().expect("a name").to_owned(), matches.collect())
    };
    document["answers"].as_array().expect("answers").iter().map(one).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

#[test]
fn a_collection_is_an_index_as_a_folder_is() {
    let Some(nodes) = Nodes::start(1) else { return };
    let home = Home::new();
    let streets = nodes.address("streets").to_string();
    let (places, table, queries) = (home.at("places"), home.at("town/database.csv"), home.at("town/queries"));
    let (places, table, queries) = (text(&places), text(&table), text(&queries));

    // Created once, with options.
    let said = fails(&mut home.run(&["index", "info", &streets]), 1);
    names(&said, &[&streets, "no such collection", "r2former index create"]);
    let created = home
        .run(&["index", "create", &streets, "--shards", "2", "--quantization", "int8"])
        .assert()
        .success();
    names(
        &out(&created),
        &[&format!("{streets}: an empty index"), &format!("next: r2former index add {streets}")],
    );
    let said = fails(&mut home.run(&["index", "create", &streets]), 1);
    names(&said, &[&streets, "choose another name"]);
    let said = fails(&mut home.run(&["query", &streets, queries]), 1);
    names(&said, &[&streets, "the index is empty"]);

    // Filled as a folder is.
    home.run(&["index", "create", places]).assert().success();
    let added = |index: &str| json(&home.run(&["index", "add", index, table, "--json"]).assert().success());
    let (folder, collection) = (added(places), added(&streets));
    let images = folder["added"].as_u64().expect("a number");
    assert!(images > 5 && collection["added"] == images, "{collection}");
    assert_eq!(added(&streets)["already_indexed"], images);
    let listed = |index: &str| json(&home.run(&["index", "list", index, "--json"]).assert().success());
    assert_eq!(listed(places), listed(&streets));
    let info = home.run(&["index", "info", &streets]).assert().success();
    names(&out(&info), &[&format!("images      {images}"), "in cluster", "r2former-tiny", "extent"]);
    let info = json(&home.run(&["index", "info", &streets, "--json"]).assert().success());
    assert_eq!((&info["images"], &info["changes"]), (&images.into(), &Value::Null));

    // It answers as the folder does, by the model that it keeps: fetched once, and again where the copy is damaged.
    let ask = |index: &str, more: &[&str]| {
        answers(&home.run(&["query", index, queries, "--json", "--top", "3"]).args(more).assert().success())
    };
    let expected = ask(places, &[]);
    assert_eq!(expected.len(), 4);
    assert_eq!(ask(&streets, &[]), expected);
    assert_eq!(ask(&streets, &["--approximate"]), expected);
    let near = ["--near", "exif", "--radius", "50", "--rerank", "none"];
    assert_eq!(ask(&streets, &near), ask(places, &near));
    let [model] = &home.models()[..] else { panic!("{:?}", home.models()) };
    let whole = std::fs::read(model).expect("a file");
    std::fs::write(model, &whole[..whole.len() / 2]).expect("a file");
    assert_eq!(ask(&streets, &[]), expected);
    assert_eq!(std::fs::read(model).expect("a file"), whole);

    // Copied into a folder and back.
    let (back, again) = (home.at("back"), nodes.address("again").to_string());
    let back = text(&back);
    let copied =
        json(&home.run(&["index", "copy", &streets, back, "--verify-all", "--json"]).assert().success());
    assert_eq!((&copied["copied"], &copied["verified"]["samples"]), (&images.into(), &images.into()));
    assert_eq!((copied["from"][0].as_str(), copied["to"].as_str()), (Some(&*streets), Some(back)));
    assert_eq!((listed(back), ask(back, &[])), (listed(places), expected.clone()));
    home.run(&["index", "verify", back]).assert().success();
    let copied = home.run(&["index", "copy", back, &again, "--replicas", "1"]).assert().success();
    names(&out(&copied), &[&format!("copied {images} images"), "0 problems"]);
    let copied = home.run(&["index", "copy", &streets, back, &again, "--json"]).assert().success();
    assert_eq!(json(&copied)["already_there"], 2 * images);
    assert_eq!(ask(&again, &[]), expected);

    // Removed, verified, and what only a folder can do.
    let first = listed(places)[0]["place"]["name"].as_str().expect("a name").to_owned();
    let removed = home.run(&["index", "remove", &again, &first, "--json"]).assert().success();
    assert_eq!(json(&removed)["removed"], 1);
    let verified = home.run(&["index", "verify", &again]).assert().success();
    names(&out(&verified), &[&format!("{} images read, 0 problems", images - 1)]);
    let said = fails(&mut home.run(&["index", "compact", &again]), 1);
    names(&said, &[&again, "nothing to compact"]);
    let said = fails(&mut home.run(&["index", "copy", &again, &again]), 1);
    names(&said, &["into itself"]);
    home.run(&["index", "copy", places, &again]).assert().success();
    assert_eq!(listed(places), listed(&again));
}

#[test]
fn a_collection_is_served() {
    let Some(nodes) = Nodes::start(1) else { return };
    let home = Home::new();
    let streets = nodes.address("streets").to_string();
    home.run(&["index", "create", &streets]).assert().success();
    home.run(&["index", "add", &streets, text(&home.at("town/database.csv"))]).assert().success();
    let uploads = home.at("uploads");
    let cache = home.at("cache");
    let mut serving = Serving::start(&streets, &["--uploads", text(&uploads)], &[(CACHE, text(&cache))]);
    let indexes = serving.ask("GET", "/v1/indexes", b"");
    assert!(indexes.contains(r#""name":"streets""#) && indexes.contains(r#""changes":null"#), "{indexes}");
    let photo = std::fs::read(&home.photos()[0]).expect("a photograph");
    for path in ["/v1/locate?top=2", "/v1/locate?top=2&approximate=true"] {
        let answer = serving.post(path, &photo);
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"path\":\"database/"), "{answer}");
    }
    // A place of a photograph that is sent, with its picture; it is found at once.
    let added = serving.post("/v1/places?position=51,0.1&name=sent.jpg", &photo);
    assert!(added.starts_with("HTTP/1.1 201 "), "{added}");
    let document: Value =
        serde_json::from_str(added.split("\r\n\r\n").nth(1).expect("a body")).expect("JSON");
    let place = format!("/v1/places/{}", document["id"].as_str().expect("text"));
    assert!(serving.ask("GET", &format!("{place}/thumbnail"), b"").starts_with("HTTP/1.1 200 "));
    let found = serving.post("/v1/locate?top=1&rerank=none", &photo);
    assert!(found.contains("\"path\":\"uploads/sent.jpg\""), "{found}");
    assert_eq!(std::fs::read_dir(uploads.join("streets")).expect("a folder").count(), 1);
    let removed = serving.ask("DELETE", &place, b"");
    assert!(removed.starts_with("HTTP/1.1 20"), "{removed}");
    serving.child.kill().expect("it runs");
    serving.child.wait().expect("it was started");
    // Without a folder the photograph is not kept.
    let mut serving = Serving::start(format!("s={streets}"), &[], &[(CACHE, text(&cache))]);
    assert!(
        serving.post("/v1/places?position=51,0.1&name=sent.jpg&index=s", &photo).starts_with("HTTP/1.1 201 ")
    );
    let lost = serving.ask("GET", &format!("{place}/image"), b"");
    assert!(lost.starts_with("HTTP/1.1 404 ") && lost.contains("--uploads"), "{lost}");
    serving.child.kill().expect("it runs");
    serving.child.wait().expect("it was started");
}

#[test]
fn a_watched_folder_fills_a_collection() {
    let Some(mut nodes) = Nodes::start(1) else { return };
    let home = Home::new();
    let streets = nodes.address("streets").to_string();
    home.run(&["index", "create", &streets]).assert().success();
    let photos = home.photos();
    let (watched, cache) = (home.at("camera"), home.at("cache"));
    std::fs::create_dir(&watched).expect("a folder");
    let take = |photo: &Path| {
        std::fs::copy(photo, watched.join(photo.file_name().expect("a name"))).expect("a file");
    };
    let serve = || Serving::start(&streets, &["--watch", text(&watched)], &[(CACHE, text(&cache))]);
    let wait_for = |serving: &Serving, images: usize| {
        let start = Instant::now();
        let holds = format!(r#""images":{images},"#);
        while !serving.ask("GET", "/v1/indexes", b"").contains(&holds) {
            assert!(start.elapsed() < Duration::from_secs(120), "{images} images do not come");
            std::thread::sleep(Duration::from_millis(200));
        }
    };
    // What lies there at the start, and what comes while it serves, each findable by itself.
    take(&photos[0]);
    let mut serving = serve();
    wait_for(&serving, 1);
    take(&photos[1]);
    wait_for(&serving, 2);
    let name = format!("\"path\":\"camera/{}\"", photos[1].file_name().expect("a name").display());
    let found = serving.post("/v1/locate?top=1", &std::fs::read(&photos[1]).expect("a photograph"));
    assert!(found.contains(&name), "{found}");
    // While the cluster is away it continues, and what came then is added afterwards.
    nodes.kill(0);
    take(&photos[2]);
    std::thread::sleep(Duration::from_secs(6));
    nodes.restart(0);
    wait_for(&serving, 3);
    // Killed and started again it adds nothing twice.
    serving.child.kill().expect("it runs");
    serving.child.wait().expect("it was started");
    take(&photos[3]);
    let mut serving = serve();
    wait_for(&serving, 4);
    serving.child.kill().expect("it runs");
    serving.child.wait().expect("it was started");
    let listed = json(&home.run(&["index", "list", &streets, "--json"]).assert().success());
    assert_eq!(listed.as_array().expect("a list").len(), 4);
    home.run(&["index", "verify", &streets]).assert().success();
}
