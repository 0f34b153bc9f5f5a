//! A folder as downloaded from a model hub: `config.json`, and `model.safetensors` in one file or several.

use super::read::{SourceFile, safetensors};
use crate::weights::Tensors;
use crate::{ModelError, Result};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Bytes of a JSON file, at most.
const LARGEST: u64 = 16 << 20;

/// Reads the weights of every file, and what the configuration says beside their shapes.
pub(super) fn read(folder: &Path) -> Result<SourceFile> {
    let files = match json(folder, INDEX)? {
        Some(index) => shards(folder, &index)?,
        None if folder.join(WEIGHTS).is_file() => BTreeSet::from([WEIGHTS.to_string()]),
        None => {
            return Err(ModelError::checkpoint(
                folder,
                format!("is a folder without {WEIGHTS}; name the checkpoint file in it"),
            ));
        }
    };
    let (mut tensors, mut hashes) = (Tensors::new(), Vec::new());
    for file in &files {
        let path = folder.join(file);
        let (shard, _, fingerprint) = safetensors(&path)?;
        hashes.push(fingerprint);
        for (name, tensor) in shard {
            if tensors.insert(name.clone(), tensor).is_some() {
                return Err(ModelError::checkpoint(
                    &path,
                    format!("{name} is in another file of the folder, too"),
                ));
            }
        }
    }
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
    let hashes = if let [one] = &hashes[..] { Value::from(one.clone()) } else { Value::from(hashes) };
    let provenance = serde_json::json!({ "source": name, "source_sha256": hashes });
    Ok(SourceFile { tensors, metadata: metadata(folder)?, nested: false, provenance })
}

/// The files that the index of a model in several names, each in the folder itself.
fn shards(folder: &Path, index: &Value) -> Result<BTreeSet<String>> {
    let bad = |problem: String| ModelError::checkpoint(folder.join(INDEX), problem);
    let map =
        index.get("weight_map").and_then(Value::as_object).ok_or_else(|| bad("has no weight_map".into()))?;
    let files: BTreeSet<String> = map.values().filter_map(Value::as_str).map(String::from).collect();
    match files.iter().find(|file| Path::new(file).components().count() != 1 || file.starts_with('.')) {
        Some(file) => Err(bad(format!("names {file}, which is no file of this folder"))),
        None if files.is_empty() => Err(bad("names no file".into())),
        None => Ok(files),
    }
}

/// What shapes do not determine, in the words of other files' headers.
fn metadata(folder: &Path) -> Result<HashMap<String, String>> {
    let mut found = HashMap::new();
    if let Some(config) = json(folder, "config.json")? {
        for key in ["layer_norm_eps", "rope_theta", "num_attention_heads"] {
            if let Some(value) = config.get(key).filter(|value| value.is_number()) {
                found.insert(key.to_string(), value.to_string());
            }
        }
    }
    if let Some(input) = json(folder, "preprocessor_config.json")? {
        let triple = |key: &str| -> Option<Vec<f64>> {
            input.get(key)?.as_array()?.iter().map(Value::as_f64).collect()
        };
        for key in ["image_mean", "image_std"] {
            if let Some(values) = triple(key) {
                let values: Vec<String> = values.iter().map(f64::to_string).collect();
                found.insert(key.to_string(), values.join(" "));
            }
        }
        let side = |key: &str| input.get("size")?.get(key)?.as_u64();
        if let (Some(height), Some(width)) = (side("height"), side("width")) {
            found.insert("image_size".into(), format!("{height}x{width}"));
        }
    }
    Ok(found)
}

/// A JSON file of the folder; `None` if there is none.
fn json(folder: &Path, name: &str) -> Result<Option<Value>> {
    let path = folder.join(name);
    let Ok(facts) = std::fs::metadata(&path) else { return Ok(None) };
    if !facts.is_file() || facts.len() > LARGEST {
        return Err(ModelError::checkpoint(&path, "is no file of a few megabytes"));
    }
    let bytes = std::fs::read(&path).map_err(|e| ModelError::io(&path, e))?;
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|e| ModelError::checkpoint(&path, format!("is not JSON: {e}")))
}
