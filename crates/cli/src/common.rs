//! Arguments that several commands share, and what they stand for.

use anyhow::{Context, Result, bail};
use clap::Args;
use r2former_data::LatLon;
use r2former_engine::{Extractor, LoadedModel, Near, Rerank, Settings};
use r2former_model::{Device, ModelConfig, Precision, parse_device};
use std::path::{Path, PathBuf};

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Machine {
    /// Where to compute: cpu, or cuda:0, vulkan, metal, rocm, webgpu in a build with that feature; for training
    /// several with commas between, as in cuda:0,cuda:1.
    #[arg(long, global = true, default_value = "cpu", value_name = "DEVICE")]
    pub(crate) device: String,
    /// Threads to use; all cores by default.
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
}

impl Machine {
    pub(crate) fn device(&self) -> Result<Device> {
        Ok(parse_device(&self.device)?)
    }

    /// One or several, with commas between.
    pub(crate) fn devices(&self) -> Result<Vec<Device>> {
        self.device.split(',').map(|name| Ok(parse_device(name)?)).collect()
    }

    /// Sizes the one thread pool that everything runs on.
    pub(crate) fn set_threads(&self) -> Result<()> {
        if let Some(threads) = self.threads {
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads.into())
                .build_global()
                .context("the thread pool could not be started")?;
        }
        Ok(())
    }
}

/// Which model, and how images are fed to it.
#[derive(Debug, Clone, Args)]
pub(crate) struct ModelArgs {
    /// Model file made by `r2former model import` [default: the one built in].
    #[arg(long, value_name = "FILE")]
    pub(crate) model: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) input: InputArgs,
}

/// Overrides of a model's own settings.
#[derive(Debug, Clone, Args)]
pub(crate) struct InputArgs {
    /// Image size fed to the network, height x width in pixels [default: the model's own]. A photo that
    /// has this size already is not resampled.
    #[arg(long, value_name = "HxW", value_parser = parse_size)]
    pub(crate) image_size: Option<[usize; 2]>,
    /// Arithmetic of the products: f32 or bf16 [default: the model's own]. A CPU without the instructions
    /// (AVX-512 BF16) computes in f32 either way; the reranker always does on a CPU.
    #[arg(long, value_name = "PRECISION")]
    pub(crate) precision: Option<Precision>,
}

impl InputArgs {
    pub(crate) fn settings(&self, loaded: &LoadedModel) -> Settings {
        let mut settings = Settings::of(&loaded.config);
        if let Some([height, width]) = self.image_size {
            (settings.height, settings.width) = (height, width);
        }
        settings.precision = self.precision.unwrap_or(settings.precision);
        settings
    }
}

impl ModelArgs {
    /// The model under its settings; `size` is the images' own where they are tensors.
    pub(crate) fn extractor(&self, machine: &Machine, size: Option<[usize; 2]>) -> Result<Extractor> {
        let loaded = load_model(self.model.as_deref())?;
        let mut settings = self.input.settings(&loaded);
        if let Some([height, width]) = size {
            (settings.height, settings.width) = (height, width);
        }
        Ok(Extractor::new(loaded, settings, &machine.device()?)?)
    }
}

/// The named model, or the one that comes with the program.
pub(crate) fn load_model(path: Option<&Path>) -> Result<LoadedModel> {
    Ok(match path {
        Some(path) => LoadedModel::open(path)?,
        None => LoadedModel::built_in()?,
    })
}

/// A model file, or random weights of a preset's architecture.
pub(crate) fn model_or_preset(path: Option<&Path>, preset: &str) -> Result<LoadedModel> {
    Ok(match path {
        Some(path) => LoadedModel::open(path)?,
        None => {
            let config = ModelConfig::preset(preset).with_context(|| format!("no preset '{preset}'"))?;
            LoadedModel::random(&config, 0)?
        }
    })
}

/// The way to rerank that was asked for, or the best that the model offers.
pub(crate) fn rerank_or_default(asked: Option<Rerank>, config: &ModelConfig) -> Result<Rerank> {
    let rerank = asked.unwrap_or_else(|| Rerank::default_of(config));
    let name = &config.name;
    match rerank {
        Rerank::Model if config.reranker.is_none() => {
            bail!("model {name} has no reranker: leave --rerank out, or use --rerank none")
        }
        Rerank::Ransac if config.local.is_none() => {
            bail!("model {name} has no local features: leave --rerank out, or use --rerank none")
        }
        Rerank::Model if !config.trained.reranker => {
            eprintln!("note: the reranker of model {name} is not trained; its order means nothing");
        }
        Rerank::Ransac if !config.trained.local => {
            eprintln!("note: the local features of model {name} are a random projection of its tokens");
        }
        _ => {}
    }
    Ok(rerank)
}

/// `480x640`: height, then width.
pub(crate) fn parse_size(text: &str) -> Result<[usize; 2], String> {
    let parse = |part: &str| part.trim().parse::<usize>().ok().filter(|v| *v > 0);
    match text.split_once(['x', 'X']).map(|(h, w)| (parse(h), parse(w))) {
        Some((Some(height), Some(width))) => Ok([height, width]),
        _ => Err(format!("'{text}' is not HEIGHTxWIDTH, as in 480x640")),
    }
}

/// `52.2,0.12`: latitude, then longitude, in degrees.
pub(crate) fn parse_position(text: &str) -> Result<LatLon, String> {
    let number = |part: &str| part.trim().parse::<f64>().ok();
    match text.split_once(',').map(|(lat, lon)| (number(lat), number(lon))) {
        Some((Some(lat), Some(lon))) => LatLon::new(lat, lon).map_err(|e| e.to_string()),
        _ => Err(format!("'{text}' is not LAT,LON in degrees, as in 52.205,0.119")),
    }
}

/// A difference of two cosines, 0 to 2.
pub(crate) fn parse_margin(text: &str) -> Result<f32, String> {
    let margin = text.trim().parse::<f32>().ok().filter(|v| (0.0..=2.0).contains(v));
    margin.ok_or_else(|| format!("'{text}' is not a difference of two cosines, 0 to 2, as in 0.05"))
}

/// A prior from `--near` and `--radius`, which need each other.
pub(crate) fn near(position: Option<LatLon>, radius_m: Option<f64>) -> Result<Option<Near>> {
    match (position, radius_m) {
        (Some(position), Some(radius_m)) if radius_m.is_finite() && radius_m > 0.0 => {
            Ok(Some(Near { position, radius_m }))
        }
        (Some(_), Some(radius)) => bail!("--radius {radius}: must be a positive number of metres"),
        (None, None) => Ok(None),
        _ => bail!("--near LAT,LON and --radius METRES belong together"),
    }
}
