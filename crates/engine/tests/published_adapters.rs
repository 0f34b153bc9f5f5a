//! CricaVPR, SelaVPR, SelaVPR++ and AnyLoc on kernels of every level beside the outputs of their own code
//! (`crates/model/tests/parity`).

#![allow(clippy::unwrap_used, reason = "a failure of a test's own set-up is a failed test")]

#[path = "../../model/tests/common/mod.rs"]
#[allow(dead_code, reason = "written for other tests")]
mod common;
#[path = "../../model/tests/parity/generate.rs"]
#[allow(dead_code, reason = "written for other tests")]
mod generate;

use common::{Outputs, close, host};
use r2former_engine::{FusedAggregate, FusedBackbone};
use r2former_kernels::{Level, MatmulPrecision};
use r2former_model::import::{ImportOptions, Imported, import};
use r2former_model::{Device, R2Former};
use std::path::{Path, PathBuf};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/parity").join(name)
}

/// Imports a file of generated weights.
fn imported(outputs: &Outputs, case: &str, options: &ImportOptions) -> Imported {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("published.safetensors");
    generate::write(&path, &outputs.shapes(case), str::to_string);
    import(&path, options).unwrap()
}

/// Descriptors by the kernels of every level, which take the weights out of the model.
fn compare(imported: &Imported, size: [usize; 2], expected: &[f32], what: &str) {
    let pixels = host(generate::image(size));
    for level in Level::available() {
        let mut model =
            R2Former::from_tensors(&imported.config, imported.tensors.clone(), &Device::flex()).unwrap();
        let backbone = FusedBackbone::taking(&mut model, level, MatmulPrecision::F32, size).unwrap();
        assert!(FusedAggregate::new(&model, level).is_err(), "{what}: compare with its kernels, too");
        let features = model.features(backbone.tokens(&pixels).unwrap(), size).unwrap();
        close(&host(features.global), expected, 1e-5, &format!("{what} at {level}"));
        // Nothing is left to compute by the model itself.
        let error = model.extract(generate::image(size)).unwrap_err().to_string();
        assert!(error.contains("released"), "{what}: {error}");
    }
}

#[test]
fn adapters_as_their_own_code_computes_them() {
    let outputs = Outputs::open(&data("adapters.outputs.safetensors"));
    for (case, side) in [
        ("cricavpr", 224),
        ("selavpr", 224),
        ("selavpr_reg", 224),
        ("selavprplusplus_base", 322),
        ("selavprplusplus_large_rerank", 98),
    ] {
        let imported = imported(&outputs, case, &ImportOptions::default());
        let expected = outputs.values(&format!("{case}.{side}x{side}"));
        compare(&imported, [side; 2], &expected, case);
    }
}

#[test]
fn anyloc_as_its_own_code_computes_it() {
    let outputs = Outputs::open(&data("anyloc.outputs.safetensors"));
    let vocabulary = Some(data("dinov2_small_l2_value_c6_urban_c_centers.pt"));
    let imported = imported(&outputs, "dinov2", &ImportOptions { vocabulary, ..Default::default() });
    for size in [[98, 98], [126, 84], [322, 322]] {
        let expected = outputs.values(&format!("{}x{}", size[0], size[1]));
        compare(&imported, size, &expected, &format!("{size:?}"));
    }
}
