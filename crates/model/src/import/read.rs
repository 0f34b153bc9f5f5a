//! Reads any supported file as named tensors.

use super::archive::{as_dictionary, without_zip64};
use super::{folder, matlab};
use crate::checkpoint::HEADER;
use crate::stream::{self, Stream};
use crate::weights::{RawTensor, Tensors, expanded};
use crate::{ModelError, Result};
use half::{bf16, f16};
use pytorch_reader::{DType, PytorchReader};
use std::collections::HashMap;
use std::io::{Read, Seek};
use std::path::Path;

/// Tensors and metadata of a file.
pub(super) struct SourceFile {
    pub(super) tensors: Tensors,
    /// Metadata of a safetensors header.
    pub(super) metadata: HashMap<String, String>,
    /// Whether the weights were nested in the state of a training run.
    pub(super) nested: bool,
    /// File name and SHA-256.
    pub(super) provenance: serde_json::Value,
}

/// Keys under which training scripts nest the weights.
const NESTS: [&str; 6] = ["model_state_dict", "state_dict", "model", "teacher", "student", "model_ema"];

pub(super) fn read(path: &Path) -> Result<SourceFile> {
    if path.is_dir() {
        return folder::read(path);
    }
    let fail = |e| ModelError::io(path, e);
    let (mut file, _) = stream::open(path)?;
    let mut start = Vec::new();
    file.by_ref().take(START).read_to_end(&mut start).map_err(fail)?;
    if stream::is_safetensors(&start) {
        let (tensors, metadata, fingerprint) = safetensors(path)?;
        return Ok(SourceFile {
            tensors,
            metadata,
            nested: false,
            provenance: provenance(path, &fingerprint),
        });
    }
    file.rewind().map_err(fail)?;
    let provenance = provenance(path, &stream::fingerprint(file).map_err(fail)?);
    if r2former_matlab::is_matlab(&start) {
        let bytes = std::fs::read(path).map_err(fail)?;
        let tensors = matlab::read(&bytes).map_err(|problem| ModelError::checkpoint(path, problem))?;
        return Ok(SourceFile { tensors, metadata: HashMap::new(), nested: false, provenance });
    }
    let (tensors, nested) = pickle(path)?;
    Ok(SourceFile { tensors, metadata: HashMap::new(), nested, provenance })
}

/// Bytes by which a file's kind is recognised.
const START: u64 = 256;

fn provenance(path: &Path, fingerprint: &str) -> serde_json::Value {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
    serde_json::json!({ "source": name, "source_sha256": fingerprint })
}

/// Tensors, metadata and SHA-256 of a safetensors file.
pub(super) fn safetensors(path: &Path) -> Result<(Tensors, HashMap<String, String>, String)> {
    let (file, length) = stream::open(path)?;
    let stream = Stream::new(file, length, path)?;
    let metadata = stream.metadata();
    if metadata.contains_key(HEADER) {
        return Err(ModelError::checkpoint(path, "is already an r2former model and needs no import"));
    }
    let (tensors, fingerprint) = stream.tensors()?;
    Ok((expanded(tensors), metadata, fingerprint))
}

/// The tensors, and whether they were nested.
fn pickle(path: &Path) -> Result<(Tensors, bool)> {
    // The copy must live as long as its reader.
    let mut copy = None;
    let reader = PytorchReader::new(path).or_else(|error| {
        [without_zip64, as_dictionary]
            .into_iter()
            .find_map(|changed| {
                copy = changed(path);
                PytorchReader::new(copy.as_ref()?.path()).ok()
            })
            .ok_or(error)
    });
    let reader = reader.map_err(|e| {
        ModelError::checkpoint(
            path,
            format!("is not a readable PyTorch or safetensors checkpoint: {e}. Is it complete, and saved by torch.save?"),
        )
    })?;
    let tensors = reader.into_tensors();
    let nest =
        NESTS.iter().map(|nest| format!("{nest}.")).find(|nest| tensors.keys().any(|k| k.starts_with(nest)));
    let mut named = Tensors::new();
    for (name, tensor) in &tensors {
        let name = match &nest {
            Some(nest) => match name.strip_prefix(nest.as_str()) {
                Some(rest) => rest,
                // Optimizer state and similar are stored beside the weights.
                None => continue,
            },
            None => name.as_str(),
        };
        let bytes = tensor.read().map_err(|e| ModelError::checkpoint(path, format!("{name}: {e}")))?;
        let data = decode(&bytes, tensor.dtype()).ok_or_else(|| {
            ModelError::checkpoint(
                path,
                format!("{name} has the type {:?}, which is not supported", tensor.dtype()),
            )
        })?;
        named.insert(name.to_string(), RawTensor { shape: tensor.shape().to_vec(), data });
    }
    if named.is_empty() {
        return Err(ModelError::checkpoint(path, "holds no tensors"));
    }
    Ok((named, nest.is_some()))
}

fn decode(bytes: &[u8], dtype: DType) -> Option<Vec<f32>> {
    let pairs = || bytes.as_chunks::<2>().0.iter();
    Some(match dtype {
        DType::F32 => bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        DType::F64 => bytes.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect(),
        DType::F16 => pairs().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
        DType::BF16 => pairs().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
        // Counters (`num_batches_tracked`) are read too, since leftovers are set aside later.
        DType::I64 => bytes.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b) as f32).collect(),
        _ => return None,
    })
}
