//! Checkpoints that are cut, foreign, or of another index.

mod common;

use common::{fails, names, r2former, small_index};
use std::path::{Path, PathBuf};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/golden/tiny.pth")
}

/// The published-format fixture as a model of this project.
fn tiny(dir: &Path) -> PathBuf {
    let out = dir.join("tiny.safetensors");
    r2former().args(["model", "import"]).arg(fixture()).arg(&out).assert().success();
    out
}

#[test]
fn a_cut_checkpoint_is_named() {
    let (home, _index, photos) = small_index();
    let photo = photos.path().join("0.jpg");
    let whole = tiny(home.path());
    for (source, name) in [(fixture(), "half.pth"), (whole, "half.safetensors")] {
        let bytes = std::fs::read(source).expect("was written above");
        let half = home.path().join(name);
        std::fs::write(&half, &bytes[..bytes.len() / 2]).expect("temporary folders can be written");
        let out = home.path().join("out.safetensors");
        names(&fails(r2former().args(["model", "import"]).arg(&half).arg(&out), 1), &[name]);
        assert!(!out.exists());
        names(&fails(r2former().args(["model", "info"]).arg(&half), 1), &[name]);
        let mut command = r2former();
        names(&fails(command.arg("match").arg(&photo).arg(&photo).arg("--model").arg(&half), 1), &[name]);
    }
}

#[test]
fn a_foreign_checkpoint_says_how_to_import() {
    let (_home, _index, photos) = small_index();
    let photo = photos.path().join("0.jpg");
    let mut command = r2former();
    command.arg("match").arg(&photo).arg(&photo).arg("--model").arg(fixture());
    names(&fails(&mut command, 1), &["tiny.pth", "r2former model import"]);
}

#[test]
fn another_architecture_is_named() {
    let home = tempfile::tempdir().expect("temporary folder");
    let data = 1.0f32.to_le_bytes();
    let view =
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1], &data).expect("one value");
    let bytes = safetensors::serialize([("embeddings.word.weight", view)], None).expect("serialises");
    let path = home.path().join("words.safetensors");
    std::fs::write(&path, bytes).expect("temporary folders can be written");
    let said = fails(r2former().args(["model", "import"]).arg(&path).arg(home.path().join("out")), 1);
    names(&said, &["words.safetensors", "embeddings.word.weight", "R2Former"]);
}

#[test]
fn an_index_refuses_another_model() {
    let (home, index, photos) = small_index();
    let other = tiny(home.path());
    let mut command = r2former();
    command.arg("query").arg(&index).arg(photos.path().join("0.jpg")).arg("--model").arg(&other);
    names(&fails(&mut command, 1), &["r2former-tiny (", " tiny ("]);
}

#[test]
fn a_size_that_does_not_fit_the_patches_says_which_would() {
    let (home, _index, photos) = small_index();
    let photo = photos.path().join("0.jpg");
    let out = home.path().join("out.safetensors");
    let mut command = r2former();
    command.arg("extract").arg(&photo).args(["--image-size", "100x130"]).arg("--out").arg(&out);
    names(&fails(&mut command, 1), &["100x130", "112x144"]);
    let mut command = r2former();
    command.arg("extract").arg(&photo).args(["--image-size", "large"]).arg("--out").arg(&out);
    names(&fails(&mut command, 2), &["HEIGHTxWIDTH"]);
}

#[test]
fn a_device_that_is_not_there_is_named() {
    let (_home, _index, photos) = small_index();
    let photo = photos.path().join("0.jpg");
    let mut command = r2former();
    names(&fails(command.arg("match").arg(&photo).arg(&photo).args(["--device", "tpu"]), 2), &["tpu", "cpu"]);
}
