//! Damaged, foreign and malicious files: each gives an error that names the file or the tensor.

use r2former_model::checkpoint::{Storage, load, save};
use r2former_model::import::{ImportOptions, import};
use r2former_model::weights::RawTensor;
use r2former_model::{ModelConfig, ModelError};
use std::path::{Path, PathBuf};

#[path = "bad_checkpoints/tensors.rs"]
mod tensors;

fn data(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests")).join(name)
}

/// `import` and `load` must fail with a message that names the file and contains `words`.
fn refused(path: &Path, words: &str) {
    let imported = import(path, &ImportOptions::default()).map(|i| i.config.name);
    let loaded = load(path).map(|c| c.config.name);
    for error in [imported, loaded].map(|r| r.expect_err(&path.display().to_string()).to_string()) {
        let file = path.file_name().expect("a file").to_string_lossy();
        assert!(error.contains(&*file), "{file} is not named: {error}");
        assert!(error.contains(words), "'{words}' is missing: {error}");
    }
}

fn write(folder: &tempfile::TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).expect("writes");
    path
}

/// A small r2former model: its configuration as JSON, and its file.
fn own(folder: &tempfile::TempDir) -> (serde_json::Value, PathBuf) {
    let imported = import(&data("golden/tiny.pth"), &ImportOptions::default()).expect("fixture imports");
    let path = folder.path().join("own.safetensors");
    save(&path, &imported.config, &imported.tensors, Storage::F32).expect("writes");
    (serde_json::to_value(&imported.config).expect("plain data"), path)
}

/// A safetensors file with this header's configuration and one tensor.
fn with_config(json: &str) -> Vec<u8> {
    let metadata = std::collections::HashMap::from([("r2former".to_string(), json.to_string())]);
    let bytes = [0u8; 4];
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1], &bytes).expect("fits");
    safetensors::serialize([("gem.p", view)], Some(metadata)).expect("serialises")
}

/// Peak memory of this process in bytes; `None` if the system does not report it.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

fn assert_little_memory(what: &str) {
    if let Some(peak) = peak_memory() {
        assert!(peak < 1 << 30, "{what}: the process grew to {peak} bytes");
    }
}

#[test]
fn pickles_are_not_executed() {
    let marker = Path::new("/tmp/r2former_pickle_executed");
    for file in ["evil.pth", "evil_legacy.pth", "evil_inside.pth"] {
        refused(&data("parity").join(file), "");
        assert!(!marker.exists(), "{file} was executed");
    }
}

#[test]
fn a_tensor_that_claims_terabytes() {
    refused(&data("parity/expanded.pth"), "");
    assert_little_memory("expanded.pth");
}

#[test]
fn truncated_files() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let files = [
        "golden/tiny.pth",
        "parity/global_only_legacy.pth",
        "parity/timm_vit.safetensors",
        "parity/deit.pth",
    ];
    for file in files {
        let whole = std::fs::read(data(file)).expect("test data");
        let name = data(file).file_name().expect("a file").to_string_lossy().into_owned();
        // Every sixteenth, and the first bytes, where a download may stop.
        for kept in [2, 5, 9, 100, 1000].into_iter().chain((1..16).map(|i| whole.len() * i / 16)) {
            refused(&write(&folder, &name, &whole[..kept]), "");
        }
        refused(&write(&folder, &name, &whole[..whole.len() - 1]), "");
    }
}

#[test]
fn files_of_another_kind() {
    let folder = tempfile::tempdir().expect("temporary folder");
    refused(&write(&folder, "notes.txt", b"Weights are on the other disk.\n"), "checkpoint");
    refused(&write(&folder, "empty.pth", b""), "is empty");
    refused(&write(&folder, "zeros.pth", &[0; 4096]), "checkpoint");
    refused(&write(&folder, "picture.pth", b"\x89PNG\r\n\x1a\n and so on and so forth"), "checkpoint");
    refused(folder.path(), "is a folder");
    let missing = folder.path().join("missing.pth");
    assert!(matches!(load(&missing), Err(ModelError::Io { .. })));
    assert!(matches!(import(&missing, &ImportOptions::default()), Err(ModelError::Io { .. })));
}

#[test]
fn files_for_the_other_command() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (_, path) = own(&folder);
    let error = import(&path, &ImportOptions::default()).expect_err("no import needed").to_string();
    assert!(error.contains("own.safetensors") && error.contains("already"), "{error}");
    for foreign in ["parity/timm_vit.safetensors", "golden/tiny.pth", "parity/global_only_legacy.pth"] {
        let error = load(&data(foreign)).expect_err("a foreign file").to_string();
        assert!(error.contains("r2former model import"), "{error}");
    }
}

#[test]
fn headers_with_absurd_sizes() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (config, _) = own(&folder);
    let fields = [
        "/backbone/dim",
        "/backbone/depth",
        "/backbone/heads",
        "/backbone/patch",
        "/backbone/mlp_ratio",
        "/backbone/registers",
        "/backbone/grid/0",
        "/global/dim",
        "/local/dim",
        "/local/count",
        "/reranker/dim",
        "/reranker/heads",
        "/reranker/depth",
        "/reranker/pair_depth",
        "/reranker/mlp_ratio",
        "/reranker/neighbours",
        "/input/height",
    ];
    for field in fields {
        for size in [1_000_000_000u64, u64::MAX] {
            let mut config = config.clone();
            *config.pointer_mut(field).expect("a field of the configuration") = size.into();
            let path = write(&folder, "absurd.safetensors", with_config(&config.to_string()).as_slice());
            let error = load(&path).expect_err(field).to_string();
            assert!(error.contains("absurd.safetensors"), "{field}: {error}");
        }
    }
    // Headers may claim tensors of any size; only the bytes that follow count.
    for header in [
        r#"{"a":{"dtype":"F32","shape":[1000000000,1000000000],"data_offsets":[0,8]}}"#,
        r#"{"a":{"dtype":"F32","shape":[1000000000],"data_offsets":[0,4000000000]}}"#,
        r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[18446744073709551608,18446744073709551615]}}"#,
        r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#,
    ] {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend([0; 8]);
        refused(&write(&folder, "claims.safetensors", &bytes), "");
        bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        refused(&write(&folder, "claims.safetensors", &bytes), "");
    }
    assert_little_memory("absurd headers");
}

#[test]
fn large_models_without_their_tensors() {
    // Every size is valid, but the file has almost nothing of the 100 GB.
    let folder = tempfile::tempdir().expect("temporary folder");
    let (mut config, _) = own(&folder);
    for (field, size) in [("/backbone/dim", 4096), ("/backbone/depth", 128), ("/backbone/mlp_ratio", 16)] {
        *config.pointer_mut(field).expect("a field of the configuration") = size.into();
    }
    *config.pointer_mut("/backbone/heads").expect("a field of the configuration") = 64.into();
    let config: ModelConfig = serde_json::from_value(config).expect("within the bounds");
    let tensors = [("gem.p".to_string(), RawTensor { shape: vec![1], data: vec![3.0] })].into();
    let error = r2former_model::R2Former::from_tensors(&config, tensors, &Default::default())
        .expect_err("nothing is there")
        .to_string();
    assert!(error.contains("backbone.patch_embed.proj.weight: missing"), "{error}");
    assert_little_memory("a configuration without tensors");
}

#[test]
fn unsupported_configurations() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (config, _) = own(&folder);
    let changed = |field: &str, value: serde_json::Value| {
        let mut config = config.clone();
        *config.pointer_mut(field).expect("a field of the configuration") = value;
        config.to_string()
    };
    let mut unknown = config.clone();
    unknown["backbone"]["colour"] = "red".into();
    let cases = [
        (changed("/backbone/dim", "wide".into()), "wide"),
        (changed("/input/mean", 3.into()), "3"),
        (changed("/backbone/type", "swin".into()), "swin"),
        (changed("/precision", "f8".into()), "f8"),
        (changed("/backbone/dim", (-48).into()), "-48"),
        (changed("/backbone/heads", 5.into()), "heads"),
        (changed("/format", 2.into()), "format 2"),
        (unknown.to_string(), "colour"),
        ("not JSON".into(), "configuration"),
    ];
    for (json, words) in cases {
        let error =
            load(&write(&folder, "other.safetensors", with_config(&json).as_slice())).map(|c| c.config);
        let error = error.expect_err(words).to_string();
        assert!(error.contains("other.safetensors") && error.contains(words), "{words}: {error}");
    }
}
