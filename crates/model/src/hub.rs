//! A folder as model hubs (Hugging Face) have it: the model's file as it is, its configuration, and a page.
//!
//! ```
//! use r2former_model::{Device, ModelConfig, R2Former, checkpoint, hub};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut config = ModelConfig::preset("vit-tiny").ok_or("no such preset")?;
//! # if let r2former_model::BackboneConfig::Vit(vit) = &mut config.backbone {
//! #     vit.depth = 1;
//! # }
//! let tensors = R2Former::random(&config, 1, &Device::flex())?.to_tensors()?;
//! let home = tempfile::tempdir()?;
//! let (file, folder) = (home.path().join("m.safetensors"), home.path().join("m"));
//! checkpoint::save(&file, &config, &tensors, checkpoint::Storage::F32)?;
//!
//! hub::write_folder(&folder, &config, std::fs::File::open(&file)?)?;
//! let there = hub::model_file(&folder)?.ok_or("it has one")?;
//! assert!(std::fs::read(there)? == std::fs::read(file)?);
//! # Ok(())
//! # }
//! ```

use crate::checkpoint::{HEADER, write_atomically, write_atomically_with};
use crate::stream::{self, Stream};
use crate::{ModelConfig, ModelError, Result};
use std::fmt::Write;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The model's file in such a folder.
pub const WEIGHTS: &str = "model.safetensors";

/// Licences that hubs know by a name of their own, by how headers state them.
const LICENSES: [(&str, &str); 8] = [
    ("MIT", "mit"),
    ("Apache-2.0", "apache-2.0"),
    ("BSD-2-Clause", "bsd-2-clause"),
    ("BSD-3-Clause", "bsd-3-clause"),
    ("GPL-3.0", "gpl-3.0"),
    ("CC0-1.0", "cc0-1.0"),
    ("CC-BY-4.0", "cc-by-4.0"),
    ("CC-BY-NC-4.0", "cc-by-nc-4.0"),
];

/// Writes `model.safetensors`, `config.json` and `README.md` into a folder, which is made if it is not there; `file` reads the
/// model's file, whose bytes are copied. Other files of the folder stay.
///
/// # Errors
/// [`ModelError::Io`] if the folder cannot be written or the model cannot be read.
pub fn write_folder(folder: &Path, config: &ModelConfig, mut file: impl Read) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|e| ModelError::io(folder, e))?;
    write_atomically_with(&folder.join(WEIGHTS), |out| std::io::copy(&mut file, out).map(drop))?;
    let mut json = serde_json::to_value(config).map_err(|e| ModelError::Config(e.to_string()))?;
    json["model_type"] = "r2former".into();
    let text = serde_json::to_string_pretty(&json).map_err(|e| ModelError::Config(e.to_string()))?;
    write_atomically(&folder.join("config.json"), format!("{text}\n").as_bytes())?;
    write_atomically(&folder.join("README.md"), page(config).as_bytes())
}

/// The model's file in a folder; `None` for anything but a folder with a model of this project.
///
/// # Errors
/// [`ModelError::Io`] if the file cannot be read, [`ModelError::Checkpoint`] if it is damaged.
pub fn model_file(folder: &Path) -> Result<Option<PathBuf>> {
    let path = folder.join(WEIGHTS);
    if !path.is_file() {
        return Ok(None);
    }
    let (file, length) = stream::open(&path)?;
    let own = Stream::new(file, length, &path)?.metadata().contains_key(HEADER);
    Ok(own.then_some(path))
}

/// The page: front matter in YAML, of which JSON's strings are a part, and what the configuration says.
fn page(config: &ModelConfig) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut out = String::from("---\n");
    let known = config.license().and_then(|text| LICENSES.iter().find(|(name, _)| *name == text));
    // Writing to a string does not fail.
    let _ = match (known, config.license()) {
        (Some((_, id)), _) => writeln!(out, "license: {id}"),
        (None, Some(text)) => writeln!(out, "license: other\nlicense_name: {}", quoted(text)),
        (None, None) => writeln!(out, "license: other\nlicense_name: \"not stated\""),
    };
    out.push_str(
        "library_name: r2former\npipeline_tag: image-feature-extraction\ntags:\n- visual-place-recognition\n- image-retrieval\n---\n\n",
    );
    let local = match &config.local {
        Some(local) => format!("up to {} of {} dimensions", local.count, local.dim),
        None => "none".into(),
    };
    let reranker = match &config.reranker {
        Some(_) if config.trained.reranker => "trained",
        Some(_) => "not trained",
        None => "none",
    };
    let cell = |text: &str| text.replace('|', "/").replace('\n', " ");
    let _ = write!(
        out,
        "# {}\n\nA model for visual place recognition: which photographs of a database show the same place as another one.\n\n\
         | | |\n|---|---|\n| global descriptor | {} dimensions, {} |\n| local features | {local} |\n| reranker | {reranker} |\n\
         | image size | {} |\n| licence of the weights | {} |\n",
        config.name,
        config.global_dim(),
        if config.trained.global { "trained" } else { "not trained" },
        config.input.image_size().described(),
        cell(config.license().unwrap_or("not stated")),
    );
    if let Some(origin) = config.stated("origin") {
        let _ = writeln!(out, "| origin | {} |", cell(origin));
    }
    out.push_str(
        "\nThis folder is read by the program [r2former](https://github.com/r2former/r2former):\n\n    \
         r2former model import FOLDER model.safetensors\n    r2former index create places --model model.safetensors\n",
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_states_the_licence() {
        let mut config = ModelConfig::preset("vit-tiny").expect("a preset");
        assert!(page(&config).starts_with("---\nlicense: other\nlicense_name: \"not stated\"\n"));
        config.set_license("Apache-2.0");
        assert!(page(&config).contains("license: apache-2.0\n"));
        config.set_license("research: only \"here\"");
        let page = page(&config);
        assert!(page.contains("license_name: \"research: only \\\"here\\\"\"\n"), "{page}");
        assert!(
            page.contains("library_name: r2former") && page.contains("| reranker | not trained |"),
            "{page}"
        );
    }

    #[test]
    fn other_folders_have_no_model() {
        let folder = tempfile::tempdir().expect("temporary folder");
        assert_eq!(model_file(folder.path()).expect("readable"), None);
        assert_eq!(model_file(&folder.path().join("none")).expect("readable"), None);
        std::fs::write(folder.path().join(WEIGHTS), b"damaged").expect("writes");
        assert!(model_file(folder.path()).is_err());
    }
}
