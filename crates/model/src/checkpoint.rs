//! The r2former checkpoint: one safetensors file whose header carries the [`ModelConfig`] as JSON.
//!
//! ```
//! use r2former_model::checkpoint::{Storage, load, save};
//! use r2former_model::{Device, ModelConfig, R2Former};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut config = ModelConfig::preset("vit-tiny").ok_or("no such preset")?;
//! # if let r2former_model::BackboneConfig::Vit(vit) = &mut config.backbone {
//! #     vit.depth = 2;
//! # }
//! let model = R2Former::random(&config, 1, &Device::flex())?;
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("model.safetensors");
//! save(&path, &config, &model.to_tensors()?, Storage::F32)?;
//!
//! let checkpoint = load(&path)?;
//! assert_eq!(checkpoint.config, config);
//! assert_eq!(checkpoint.fingerprint.len(), 64);
//! let restored = checkpoint.model(&Device::flex())?;
//! assert_eq!(restored.to_tensors()?, model.to_tensors()?);
//! # Ok(())
//! # }
//! ```

use crate::stream::{self, Stream};
use crate::weights::{RawTensor, StoredTensors, Tensors, expanded};
use crate::{ModelConfig, ModelError, R2Former, Result};
use burn::tensor::Device;
use half::f16;
use safetensors::Dtype;
use safetensors::tensor::View;
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::path::Path;

/// Key of the configuration in the header's metadata.
pub(crate) const HEADER: &str = "r2former";

/// Storage type of a checkpoint's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// 32-bit floats.
    F32,
    /// 16-bit IEEE floats: half the size, 11 significant bits.
    F16,
}

impl Storage {
    /// Bytes per value.
    fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }
}

/// A checkpoint in memory.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// Architecture, preprocessing and provenance.
    pub config: ModelConfig,
    /// Parameters by name.
    pub tensors: Tensors,
    /// SHA-256 of the file in lower-case hexadecimal, which an index stores to recognise its model.
    pub fingerprint: String,
}

impl Checkpoint {
    /// Builds the network on `device`. Change [`config`](Self::config) before to override image size or precision.
    ///
    /// # Errors
    /// [`ModelError::Config`] for an invalid configuration, [`ModelError::Tensors`] naming each tensor that does not
    /// fit it.
    pub fn model(self, device: &Device) -> Result<R2Former> {
        R2Former::from_tensors(&self.config, self.tensors, device)
    }
}

/// A checkpoint in memory whose values have the bits of its file: written in 16 bits they take half the memory.
#[derive(Debug, Clone)]
pub struct StoredCheckpoint {
    /// As in a [`Checkpoint`].
    pub config: ModelConfig,
    /// Parameters by name.
    pub tensors: StoredTensors,
    /// As in a [`Checkpoint`].
    pub fingerprint: String,
}

impl StoredCheckpoint {
    /// The same with all values in 32 bits.
    pub fn expanded(self) -> Checkpoint {
        let Self { config, tensors, fingerprint } = self;
        Checkpoint { config, tensors: expanded(tensors), fingerprint }
    }
}

/// Loads an r2former checkpoint with all values in 32 bits.
///
/// # Errors
/// [`ModelError::Io`] if the file cannot be read. [`ModelError::Checkpoint`] for a truncated file, a file of another
/// kind (the message says how to import it), or a header that this version does not understand.
pub fn load(path: &Path) -> Result<Checkpoint> {
    Ok(load_stored(path)?.expanded())
}

/// Loads an r2former checkpoint as it is stored.
///
/// # Errors
/// As [`load`].
pub fn load_stored(path: &Path) -> Result<StoredCheckpoint> {
    let (file, length) = stream::open(path)?;
    of_stream(file, length, path)
}

/// Reads an r2former checkpoint from memory, with all values in 32 bits; `name` stands for the file in error messages.
///
/// # Errors
/// [`ModelError::Checkpoint`] as [`load`].
pub fn parse(bytes: &[u8], name: &Path) -> Result<Checkpoint> {
    Ok(parse_stored(bytes, name)?.expanded())
}

/// Reads an r2former checkpoint from memory as it is stored.
///
/// # Errors
/// As [`parse`].
pub fn parse_stored(bytes: &[u8], name: &Path) -> Result<StoredCheckpoint> {
    of_stream(bytes, bytes.len() as u64, name)
}

fn of_stream(source: impl Read, length: u64, name: &Path) -> Result<StoredCheckpoint> {
    let stream = Stream::new(source, length, name)?;
    let Some(json) = stream.metadata().remove(HEADER) else {
        return Err(ModelError::checkpoint(
            name,
            "is a safetensors file but not an r2former model (no configuration in its header); convert it first: r2former model import IN OUT",
        ));
    };
    let config: ModelConfig = serde_json::from_str(&json).map_err(|e| {
        ModelError::checkpoint(name, format!("its configuration is not supported by this version: {e}"))
    })?;
    config.validate().map_err(|e| ModelError::checkpoint(name, e.to_string()))?;
    let (tensors, fingerprint) = stream.tensors()?;
    Ok(StoredCheckpoint { config, tensors, fingerprint })
}

/// The bytes of a file that was loaded, for a copy; `fingerprint` is [`Checkpoint::fingerprint`].
///
/// # Errors
/// [`ModelError::Io`] if the file cannot be opened. Reading fails at the end of a file that has changed since.
pub fn reopen(path: &Path, fingerprint: &str) -> Result<impl Read + use<>> {
    stream::Unchanged::open(path, fingerprint)
}

/// Saves a checkpoint atomically: a reader sees the old file or the whole new one.
///
/// # Errors
/// [`ModelError::Io`] if the folder cannot be written or the disk is full; an existing file is then unchanged.
/// [`ModelError::Checkpoint`] for tensors whose shape and values differ in length, or if `path` exists and is not a
/// regular file.
pub fn save(path: &Path, config: &ModelConfig, tensors: &Tensors, storage: Storage) -> Result<()> {
    let mut header = header(path, config, tensors, storage)?;
    // The library reserves memory for the values, too.
    header.shrink_to_fit();
    write_atomically_with(path, |file| {
        file.write_all(&header)?;
        write_values(file, tensors, storage)
    })
}

/// Copies a checkpoint under another configuration; the values are copied as they are, byte for byte.
///
/// # Errors
/// As [`load`] for `from` and as [`save`] for `to`; [`ModelError::Config`] for a configuration that is invalid.
pub fn save_with_config(from: &Path, to: &Path, config: &ModelConfig) -> Result<()> {
    config.validate()?;
    let (file, length) = stream::open(from)?;
    // Checks that the header describes the file.
    Stream::new(file, length, from)?;
    let fail = |e| ModelError::io(from, e);
    let (mut file, _) = stream::open(from)?;
    let (mut size, mut header) = ([0; 8], Vec::new());
    file.read_exact(&mut size).map_err(fail)?;
    (&mut file).take(u64::from_le_bytes(size)).read_to_end(&mut header).map_err(fail)?;
    let mut header: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&header).map_err(|e| ModelError::checkpoint(from, e.to_string()))?;
    let json = serde_json::to_string(config).map_err(|e| ModelError::Config(e.to_string()))?;
    let metadata = header.entry("__metadata__").or_insert_with(|| serde_json::json!({}));
    metadata[HEADER] = json.into();
    let mut text = serde_json::to_vec(&header).map_err(|e| ModelError::Config(e.to_string()))?;
    // Values begin at a multiple of eight bytes.
    text.resize(text.len().next_multiple_of(8), b' ');
    write_atomically_with(to, |copy| {
        copy.write_all(&(text.len() as u64).to_le_bytes())?;
        copy.write_all(&text)?;
        std::io::copy(&mut file, copy).map(drop)
    })
}

/// The bytes that [`save`] writes; `name` stands for the file in error messages.
///
/// # Errors
/// [`ModelError::Checkpoint`] for tensors whose shape and values differ in length.
pub fn serialize(name: &Path, config: &ModelConfig, tensors: &Tensors, storage: Storage) -> Result<Vec<u8>> {
    let mut bytes = header(name, config, tensors, storage)?;
    // Memory is the only limit of writing to it.
    write_values(&mut bytes, tensors, storage).map_err(|e| ModelError::io(name, e))?;
    Ok(bytes)
}

/// A tensor's place in a file, without its values.
struct Place<'a>(&'a RawTensor, Storage);

impl View for Place<'_> {
    fn dtype(&self) -> Dtype {
        match self.1 {
            Storage::F32 => Dtype::F32,
            Storage::F16 => Dtype::F16,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&[])
    }

    fn data_len(&self) -> usize {
        self.0.data.len() * self.1.bytes()
    }
}

/// What precedes the values in a file.
fn header(name: &Path, config: &ModelConfig, tensors: &Tensors, storage: Storage) -> Result<Vec<u8>> {
    let json = serde_json::to_string(config).map_err(|e| ModelError::Config(e.to_string()))?;
    let wrong = tensors.iter().find(|(_, t)| t.shape.iter().product::<usize>() != t.data.len());
    if let Some((key, tensor)) = wrong {
        let (shape, count) = (&tensor.shape, tensor.data.len());
        return Err(ModelError::checkpoint(
            name,
            format!("{key}: {count} values do not fill shape {shape:?}"),
        ));
    }
    let places = tensors.iter().map(|(key, tensor)| (key, Place(tensor, storage)));
    let metadata = HashMap::from([(HEADER.to_string(), json)]);
    safetensors::serialize(places, Some(metadata)).map_err(|e| ModelError::checkpoint(name, e.to_string()))
}

/// The values of all tensors in the file's sequence, a piece at a time: models can be as large as half the memory.
fn write_values(out: &mut impl Write, tensors: &Tensors, storage: Storage) -> std::io::Result<()> {
    const PIECE: usize = 1 << 16;
    for values in tensors.values().flat_map(|tensor| tensor.data.chunks(PIECE)) {
        out.write_all(&encode(values, storage))?;
    }
    Ok(())
}

/// Writes a file atomically and durably: a temporary file in the same folder is synced, then renamed.
///
/// # Errors
/// [`ModelError::Io`] if the folder cannot be written or the disk is full; an existing file is then unchanged.
/// [`ModelError::Checkpoint`] if `path` exists and is not a regular file.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomically_with(path, |file| file.write_all(bytes))
}

/// [`write_atomically`] of what `write` writes, a piece at a time.
///
/// # Errors
/// As [`write_atomically`], and what `write` returns.
pub fn write_atomically_with(
    path: &Path,
    write: impl FnOnce(&mut std::fs::File) -> std::io::Result<()>,
) -> Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if path.exists() && !path.is_file() {
        return Err(ModelError::checkpoint(path, "exists and is not a regular file; choose another name"));
    }
    let fail = |e: std::io::Error| ModelError::io(path, e);
    let mut builder = tempfile::Builder::new();
    builder.prefix(".writing-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Temporary files are private by default; this one gets ordinary permissions (less the umask).
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder).map_err(fail)?;
    write(file.as_file_mut()).map_err(fail)?;
    file.as_file().sync_all().map_err(fail)?;
    file.persist(path).map_err(|e| fail(e.error))?;
    Ok(())
}

fn encode(data: &[f32], storage: Storage) -> Vec<u8> {
    match storage {
        Storage::F32 => data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Storage::F16 => data.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::tensor::TensorView;

    /// Written piece by piece, a file is what the library writes at once.
    #[test]
    fn files_are_as_safetensors_serializes_them() {
        let config = ModelConfig::preset("vit-tiny").unwrap();
        let tensor = |shape: &[usize]| {
            let count = shape.iter().product();
            RawTensor { shape: shape.to_vec(), data: (0..count).map(|i| i as f32 * 0.37 - 5.0).collect() }
        };
        let named = [("b.weight", &[70_000, 2][..]), ("a", &[]), ("b.bias", &[3])];
        let tensors: Tensors = named.map(|(name, shape)| (name.to_string(), tensor(shape))).into();
        for (storage, dtype) in [(Storage::F32, Dtype::F32), (Storage::F16, Dtype::F16)] {
            let json = serde_json::to_string(&config).unwrap();
            let bytes: Vec<_> = tensors.iter().map(|(k, t)| (k, t, encode(&t.data, storage))).collect();
            let views =
                bytes.iter().map(|(k, t, b)| (*k, TensorView::new(dtype, t.shape.clone(), b).unwrap()));
            let metadata = HashMap::from([(HEADER.to_string(), json)]);
            let expected = safetensors::serialize(views, Some(metadata)).unwrap();
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("model.safetensors");
            save(&path, &config, &tensors, storage).unwrap();
            assert!(std::fs::read(&path).unwrap() == expected);
            assert!(serialize(&path, &config, &tensors, storage).unwrap() == expected);
        }
        let short = [("a".to_string(), RawTensor { shape: vec![2], data: vec![1.0] })].into();
        assert!(serialize(Path::new("m"), &config, &short, Storage::F32).is_err());
    }

    #[test]
    fn another_configuration_leaves_the_values_as_they_are() {
        let mut config = ModelConfig::preset("vit-tiny").unwrap();
        let tensors: Tensors = [
            ("a".to_string(), RawTensor { shape: vec![3], data: vec![0.1, -2.0, 3.5] }),
            ("b".to_string(), RawTensor { shape: vec![1, 2], data: vec![7.0, 0.25] }),
        ]
        .into();
        let folder = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| folder.path().join(name));
        save(&from, &config, &tensors, Storage::F16).unwrap();
        config.name = "another, of a longer name".into();
        save_with_config(&from, &to, &config).unwrap();
        let (before, after) = (load(&from).unwrap(), load(&to).unwrap());
        assert_eq!((&after.config, &after.tensors), (&config, &before.tensors));
        assert_ne!(after.fingerprint, before.fingerprint);
        let [before, after] = [from, to].map(|path| std::fs::read(path).unwrap());
        assert_eq!(after[after.len() - 10..], before[before.len() - 10..], "five values of 16 bits");
        config.format = 99;
        assert!(save_with_config(&folder.path().join("to"), &folder.path().join("no"), &config).is_err());
    }

    /// A file that changed after it was loaded is not copied under the old fingerprint.
    #[test]
    fn a_changed_file_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let bytes = vec![7u8; 300_000];
        std::fs::write(&path, &bytes).unwrap();
        let before = stream::fingerprint(&*bytes).unwrap();
        let mut copy = Vec::new();
        reopen(&path, &before).unwrap().read_to_end(&mut copy).unwrap();
        assert!(copy == bytes);
        std::fs::write(&path, &bytes[1..]).unwrap();
        assert!(reopen(&path, &before).unwrap().read_to_end(&mut copy).is_err());
    }
}
