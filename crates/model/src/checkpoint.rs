//! The project's own checkpoint: one safetensors file whose header carries the configuration.

use crate::weights::{RawTensor, Tensors};
use crate::{ModelConfig, ModelError, R2Former, Result};
use burn::tensor::Device;
use half::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

/// Key of the configuration in the header's metadata.
const HEADER: &str = "r2former";

/// How values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// 32-bit floats.
    F32,
    /// 16-bit IEEE floats: half the size, 11 bits of precision.
    F16,
}

/// A checkpoint in memory.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// What the model is.
    pub config: ModelConfig,
    /// Its parameters, by this project's names.
    pub tensors: Tensors,
    /// SHA-256 of the file, in hexadecimal: an index remembers it.
    pub fingerprint: String,
}

impl Checkpoint {
    /// Builds the network on `device`, with `config` in place of the stored one where a caller
    /// overrides image size or precision.
    ///
    /// # Errors
    /// [`ModelError::Tensors`] that names each tensor that does not fit.
    pub fn model(self, device: &Device) -> Result<R2Former> {
        R2Former::from_tensors(&self.config, self.tensors, device)
    }
}

/// Reads a checkpoint of this project.
///
/// # Errors
/// A missing or truncated file; a file of another kind (the message says how to import it); a
/// header that this build does not understand.
pub fn load(path: &Path) -> Result<Checkpoint> {
    parse(&read(path)?, path)
}

/// Reads a checkpoint of this project from memory; `name` stands in the messages.
///
/// # Errors
/// As [`load`].
pub fn parse(bytes: &[u8], name: &Path) -> Result<Checkpoint> {
    let file = open(bytes, name)?;
    let (_, header) = SafeTensors::read_metadata(bytes)
        .map_err(|e| ModelError::checkpoint(name, format!("its header cannot be read: {e}")))?;
    let Some(json) = header.metadata().as_ref().and_then(|m| m.get(HEADER)) else {
        return Err(ModelError::checkpoint(
            name,
            "is a safetensors file, but not an r2former model (its header carries no configuration); run: r2former model import IN OUT",
        ));
    };
    let config: ModelConfig = serde_json::from_str(json).map_err(|e| {
        ModelError::checkpoint(
            name,
            format!("its configuration is not one that this version understands: {e}"),
        )
    })?;
    config.validate().map_err(|e| ModelError::checkpoint(name, e.to_string()))?;
    Ok(Checkpoint { config, tensors: host_tensors(&file, name)?, fingerprint: fingerprint(bytes) })
}

/// Writes a checkpoint so that a reader sees the old file or the whole new one.
///
/// # Errors
/// When the folder cannot be written or the disk is full; an existing file then stays as it was.
pub fn save(path: &Path, config: &ModelConfig, tensors: &Tensors, storage: Storage) -> Result<()> {
    write_atomically(path, &serialize(path, config, tensors, storage)?)
}

/// The bytes that [`save`] writes; `name` stands in the messages.
///
/// # Errors
/// Tensors whose shapes do not fit their values.
pub fn serialize(name: &Path, config: &ModelConfig, tensors: &Tensors, storage: Storage) -> Result<Vec<u8>> {
    let json = serde_json::to_string(config).map_err(|e| ModelError::Config(e.to_string()))?;
    let encoded: Vec<(&String, &RawTensor, Vec<u8>)> =
        tensors.iter().map(|(key, tensor)| (key, tensor, encode(&tensor.data, storage))).collect();
    let dtype = match storage {
        Storage::F32 => Dtype::F32,
        Storage::F16 => Dtype::F16,
    };
    let views = encoded
        .iter()
        .map(|(key, tensor, bytes)| Ok((*key, TensorView::new(dtype, tensor.shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(|e| ModelError::checkpoint(name, e.to_string()))?;
    let metadata = HashMap::from([(HEADER.to_string(), json)]);
    safetensors::serialize(views, Some(metadata)).map_err(|e| ModelError::checkpoint(name, e.to_string()))
}

/// Writes a file so that a reader sees the old one or the whole new one, whatever happens between.
///
/// # Errors
/// When the folder cannot be written or the disk is full; an existing file then stays as it was.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if path.exists() && !path.is_file() {
        return Err(ModelError::checkpoint(
            path,
            "is there already and is no ordinary file; choose another name",
        ));
    }
    let fail = |e: std::io::Error| ModelError::io(path, e);
    let mut builder = tempfile::Builder::new();
    builder.prefix(".writing-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Temporary files are private by default; this one becomes an ordinary file (less the umask).
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder).map_err(fail)?;
    file.write_all(bytes).map_err(fail)?;
    file.as_file().sync_all().map_err(fail)?;
    file.persist(path).map_err(|e| fail(e.error))?;
    Ok(())
}

/// The bytes of a checkpoint file.
///
/// # Errors
/// A file that is missing, empty, or a folder.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    if path.is_dir() {
        return Err(ModelError::checkpoint(path, "is a folder; name the checkpoint file in it"));
    }
    let bytes = std::fs::read(path).map_err(|e| ModelError::io(path, e))?;
    if bytes.is_empty() {
        return Err(ModelError::checkpoint(path, "is empty (0 bytes)"));
    }
    Ok(bytes)
}

/// Lower-case hexadecimal SHA-256.
pub(crate) fn fingerprint(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// Whether the bytes start like a safetensors file: a length, then a JSON object.
pub(crate) fn looks_like_safetensors(bytes: &[u8]) -> bool {
    bytes.len() > 8 && bytes[8] == b'{'
}

pub(crate) fn open<'a>(bytes: &'a [u8], name: &Path) -> Result<SafeTensors<'a>> {
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"\x80\x02") {
        return Err(ModelError::checkpoint(
            name,
            "is a PyTorch checkpoint; turn it into an r2former model first: r2former model import IN OUT",
        ));
    }
    if !looks_like_safetensors(bytes) {
        return Err(ModelError::checkpoint(name, "is not a checkpoint (neither safetensors nor PyTorch)"));
    }
    SafeTensors::deserialize(bytes).map_err(|e| {
        ModelError::checkpoint(
            name,
            format!(
                "is damaged: {e}. Was the download or copy cut short ({} bytes)? Fetch it again",
                bytes.len()
            ),
        )
    })
}

/// Every floating-point tensor of the file in 32 bits.
pub(crate) fn host_tensors(file: &SafeTensors<'_>, name: &Path) -> Result<Tensors> {
    file.tensors()
        .into_iter()
        .map(|(tensor, view)| {
            let data = decode(view.data(), view.dtype()).ok_or_else(|| {
                ModelError::checkpoint(
                    name,
                    format!(
                        "{tensor} holds {:?}, which is not a floating-point type that can be read",
                        view.dtype()
                    ),
                )
            })?;
            Ok((tensor, RawTensor { shape: view.shape().to_vec(), data }))
        })
        .collect()
}

fn encode(data: &[f32], storage: Storage) -> Vec<u8> {
    match storage {
        Storage::F32 => data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Storage::F16 => data.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
    }
}

fn decode(bytes: &[u8], dtype: Dtype) -> Option<Vec<f32>> {
    let pairs = || bytes.as_chunks::<2>().0.iter();
    Some(match dtype {
        Dtype::F32 => bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        Dtype::F64 => bytes.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect(),
        Dtype::F16 => pairs().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
        Dtype::BF16 => pairs().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
        Dtype::I64 => bytes.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b) as f32).collect(),
        _ => return None,
    })
}
