//! A wrong command line ends with exit code 2, whoever sees that it is wrong.

mod common;

use common::{fails, names, photo_folder, r2former, small_index};

#[test]
fn wrong_options_and_values_have_their_own_code() {
    let (home, index, photos) = small_index();
    let (index, home) = (index.display().to_string(), home.path().display().to_string());
    let photo = photos.path().join("0.jpg").display().to_string();
    let frames = photos.path().display().to_string();
    for (line, said) in [
        ("query INDEX PHOTO --device gpu", "device gpu is not known"),
        ("query INDEX PHOTO --device cpu,cpu", "training takes a list"),
        ("query INDEX PHOTO --tag a=1 --tag a=2", "no image carries both"),
        ("query INDEX PHOTO --since 2024 --until 2023", "--since is after --until"),
        ("query INDEX - -", "only once"),
        ("query INDEX PHOTO --track x.csv", "--track needs --sequence"),
        ("query INDEX --sequence FRAMES --track x.txt", "must end in .geojson or .csv"),
        ("query INDEX PHOTO --rerank none --cascade 5", "--cascade chooses candidates"),
        ("query INDEX PHOTO --approximate", "collections of a cluster"),
        ("index create HOME/new --origin 1,2", "--origin is that of local positions"),
        ("index create HOME/new --shards 2", "this is a folder"),
        ("index add INDEX PHOTO --label a/b", "without slashes"),
        ("index add INDEX PHOTO --label a --label b", "2 labels for 1 sources"),
        ("index add INDEX PHOTO --shard 0/2 --skip-duplicates", "leave one of"),
        ("serve a/b=INDEX", "a name before ="),
        ("serve INDEX --listen 0.0.0.0:0", "--keys FILE"),
        ("serve INDEX --cors map.example.org", "is no origin"),
        ("serve INDEX --cors https://map.example.org/", "without a path"),
        ("extract PHOTO --out HOME/a.npy", "must end in .safetensors"),
        ("show attention PHOTO --out HOME/a.png", "must end in .svg"),
        ("show matches PHOTO PHOTO --out HOME/a.pdf", "must end in .svg"),
        ("match - -", "only once"),
        ("eval panoramas HOME --every 1", "at least 2"),
        ("eval frames --database FRAMES --queries FRAMES --every 0", "a whole number from 1 on"),
        ("eval msls HOME --subtask x", "no MSLS subtask"),
        ("eval msls HOME --task seq2seq --sequence 4", "odd number"),
        ("eval vg HOME --predictions x.json", "name it .txt"),
        ("doctor --device cuda:x", "is not a number"),
    ] {
        let words = line.split(' ').map(|word| {
            word.replace("FRAMES", &frames)
                .replace("INDEX", &index)
                .replace("HOME", &home)
                .replace("PHOTO", &photo)
        });
        let output = fails(r2former().args(words), 2);
        assert!(output.contains(said), "{line}: {output}");
    }
    // What an index or a file holds is not the command line's fault.
    let photos = photo_folder();
    let far = fails(r2former().args(["query", &index, &photo, "--near", "100,200", "--radius", "5"]), 1);
    names(&far, &["latitude 100"]);
    fails(r2former().args(["index", "info"]).arg(photos.path()), 1);
}
