//! Arguments that several commands share, and what they stand for.

use crate::exit::usage;
use crate::progress::Bar;
use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use clap::builder::{PathBufValueParser, TypedValueParser};
use r2former_data::geo::FARTHEST_M;
use r2former_engine::doctor::{self, TrustCache};
use r2former_engine::{
    Extractor, IndexAddress, LoadedModel, Origin, PlaceIndex, PrecisionChoice, RerankMethod, Settings,
};
use r2former_model::device::describe;
use r2former_model::{Device, ImageSize, ModelConfig, Precision, check_device_name, parse_device};
use std::ffi::OsStr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Machine {
    /// Device: cpu; or cuda, vulkan, metal, rocm or wgpu (which chooses the graphics API itself) in a build with that
    /// feature, with a number where there are several (cuda:1). Training takes a list: cuda:0,cuda:1.
    #[arg(long, global = true, default_value = "cpu", value_name = "DEVICE", value_parser = parse_devices)]
    pub(crate) device: String,
    /// Use a device even if its results differ from the CPU's. Without this, a device is compared with the CPU when it
    /// is first used with a driver, build and model, and refused if a stage disagrees (see `r2former doctor`).
    #[arg(long, global = true)]
    pub(crate) trust_device: bool,
    /// CPU threads [default: all cores].
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
}

/// Names of devices with commas between, each checked by itself.
fn parse_devices(text: &str) -> Result<String, String> {
    text.split(',').try_for_each(check_device_name).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

impl Machine {
    /// The name of the one device that everything but training runs on.
    pub(crate) fn name(&self) -> Result<&str> {
        if self.device.contains(',') {
            usage!("--device {}: training takes a list, this command one device", self.device);
        }
        Ok(&self.device)
    }

    /// The device, after it has agreed with the CPU on the built-in model.
    pub(crate) fn device(&self) -> Result<Device> {
        self.trusted(self.name()?, None)
    }

    /// One or several, with commas between; as [`Machine::device`].
    pub(crate) fn devices(&self) -> Result<Vec<Device>> {
        self.device.split(',').map(|name| self.trusted(name, None)).collect()
    }

    /// The model on the device, after that has agreed with the CPU on this model.
    pub(crate) fn extractor(&self, loaded: LoadedModel, settings: Settings) -> Result<Extractor> {
        settings.check_device(&parse_device(self.name()?)?)?;
        let device = self.trusted(&self.device, Some((&loaded, settings.precision)))?;
        Ok(Extractor::new(loaded, settings, &device)?)
    }

    /// The model of an index on the device, in the arithmetic of the index or another that ranks alike.
    pub(crate) fn extractor_of(
        &self,
        index: &PlaceIndex,
        loaded: LoadedModel,
        precision: Option<PrecisionChoice>,
    ) -> Result<Extractor> {
        let settings = self.settings_of(index, &loaded.config, precision)?;
        self.extractor(loaded, settings)
    }

    /// The settings of that model.
    pub(crate) fn settings_of(
        &self,
        index: &PlaceIndex,
        config: &ModelConfig,
        precision: Option<PrecisionChoice>,
    ) -> Result<Settings> {
        Ok(index.settings_on(&parse_device(self.name()?)?, config, precision)?)
    }

    /// A device by name, compared with the CPU on a model when it is first used.
    fn trusted(&self, name: &str, model: Option<(&LoadedModel, Precision)>) -> Result<Device> {
        let device = parse_device(name)?;
        if self.trust_device || device == Device::flex() {
            return Ok(device);
        }
        let info = doctor::guarded(|| Ok(describe(name, &device)))?;
        let (cache, stages, bar) =
            (TrustCache::of_user(build()), r2former_train::doctor::stages(), Bar::default());
        let trust = |loaded: &LoadedModel, precision| {
            doctor::trust(loaded, precision, &device, &info, &cache, &stages, &bar)
        };
        match model {
            Some((loaded, precision)) => trust(loaded, precision)?,
            None => trust(&LoadedModel::built_in()?, Precision::F32)?,
        };
        Ok(device)
    }

    /// Sizes the one thread pool that everything runs on.
    pub(crate) fn set_threads(&self) -> Result<()> {
        // 0 stands for all cores. Started here, a pool that the system refuses is an error, not a panic later.
        rayon::ThreadPoolBuilder::new()
            .num_threads(self.threads.unwrap_or(0).into())
            .build_global()
            .context("the threads could not be started: is there a limit on memory or processes?")
    }
}

/// Reads the folder or the address of an index.
pub(crate) fn index_address() -> impl TypedValueParser<Value = IndexAddress> {
    AddressParser
}

/// Unlike a function that may fail, it does not repeat a wrong address: somebody may have written a key into it.
#[derive(Clone)]
struct AddressParser;

impl TypedValueParser for AddressParser {
    type Value = IndexAddress;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<IndexAddress, clap::Error> {
        let path = PathBufValueParser::new().parse_ref(command, arg, value)?;
        IndexAddress::parse(path).map_err(|error| {
            let text = format!("{error}\n");
            clap::Error::raw(clap::error::ErrorKind::ValueValidation, text).with_cmd(command)
        })
    }
}

/// Version, source revision and GPU backends of this program.
pub(crate) fn build() -> String {
    let features = r2former_model::device::FEATURES;
    let features = if features.is_empty() { "no GPU features".into() } else { features.join("+") };
    format!("{} ({}, {features})", env!("CARGO_PKG_VERSION"), env!("R2FORMER_REVISION"))
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
    /// Image size fed to the network [default: the model's own]: HxW for height x width in pixels, or in each photo's own
    /// shape: native, longest:N (longer side at most N) or shorter:N, resized to multiples of the patch; with :crop after
    /// it, cut to them. A photo that has this size already is not resampled.
    #[arg(long, value_name = "SIZE")]
    pub(crate) image_size: Option<ImageSize>,
    /// Arithmetic of the products: f32; bf16 (AVX-512 BF16, GPUs); int8 (8-bit integers in a transformer's blocks and in
    /// convolutions: VNNI, AVX2, NEON's dot product); or auto: int8 where the model's file says that rankings stay
    /// (`r2former model check`) and this CPU is faster in it, else the model's own. A CPU without the instructions
    /// computes in f32. The reranker has an arithmetic of its own: 16-bit integers where the model's file says that the
    /// order stays, else f32.
    #[arg(long, value_name = "PRECISION", default_value_t)]
    pub(crate) precision: PrecisionChoice,
}

/// The arithmetic of photographs that are added to an index, or searched in it.
#[derive(Debug, Clone, Args)]
pub(crate) struct IndexPrecision {
    /// Arithmetic of the products: f32, bf16, int8 or auto, as for `index create`; refused unless the model's file says that
    /// it ranks as that of the index does (`r2former model check`) [default: that of the index].
    #[arg(long, value_name = "PRECISION")]
    pub(crate) precision: Option<PrecisionChoice>,
}

impl InputArgs {
    /// The settings on the machine's device.
    pub(crate) fn settings(&self, loaded: &LoadedModel, machine: &Machine) -> Result<Settings> {
        let mut settings = Settings::of(&loaded.config);
        if let Some(size) = self.image_size {
            settings = settings.sized(size, &loaded.config);
        }
        Ok(settings.with_precision(self.precision, &loaded.config, &parse_device(machine.name()?)?))
    }
}

impl ModelArgs {
    /// The model under its settings; `size` is the images' own where they are tensors.
    pub(crate) fn extractor(&self, machine: &Machine, size: Option<[usize; 2]>) -> Result<Extractor> {
        let loaded = load_model(self.model.as_deref())?;
        let mut settings = self.input.settings(&loaded, machine)?;
        if let Some(size) = size {
            settings = settings.sized(ImageSize::Fixed(size), &loaded.config);
        }
        machine.extractor(loaded, settings)
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
            let Some(config) = ModelConfig::preset(preset) else { usage!("no preset '{preset}'") };
            LoadedModel::random(&config, 0)?
        }
    })
}

/// Parser of a hidden option that has another name now: refuses it with the new name.
pub(crate) fn renamed(new: &'static str) -> impl Fn(&str) -> Result<String, String> + Clone + Send + Sync {
    move |_| Err(format!("it is now {new}"))
}

/// The reranking method asked for, or the model's default.
pub(crate) fn rerank_or_default(asked: Option<RerankMethod>, config: &ModelConfig) -> Result<RerankMethod> {
    let rerank = asked.unwrap_or_else(|| RerankMethod::default_of(config));
    let name = &config.name;
    match rerank {
        RerankMethod::Model if config.reranker.is_none() => {
            bail!("model {name} has no reranker: leave --rerank out, or use --rerank none")
        }
        RerankMethod::Ransac | RerankMethod::Mutual if config.local.is_none() => {
            bail!(
                "model {name} has no local features: leave --rerank out, or give it some with model copy --local patches \
                 (its index has to be made again)"
            )
        }
        RerankMethod::Model if !config.trained.reranker => {
            eprintln!("note: the reranker of model {name} is not trained: its ranking is meaningless");
        }
        RerankMethod::Ransac | RerankMethod::Mutual
            if !config.trained.local && config.local.as_ref().is_some_and(|local| local.projected) =>
        {
            eprintln!("note: the local features of model {name} are a random projection of its tokens");
        }
        _ => {}
    }
    Ok(rerank)
}

/// The longest side of an image that is asked for, in pixels.
const MAX_SIDE: usize = 16_384;

/// `480x640`: height, then width.
pub(crate) fn parse_size(text: &str) -> Result<[usize; 2], String> {
    let parse = |part: &str| part.trim().parse::<usize>().ok().filter(|v| (1..=MAX_SIDE).contains(v));
    match text.split_once(['x', 'X']).map(|(h, w)| (parse(h), parse(w))) {
        Some((Some(height), Some(width))) => Ok([height, width]),
        _ => Err(format!("'{text}' is not HEIGHTxWIDTH in pixels, each 1 to {MAX_SIDE}, as in 480x640")),
    }
}

/// `52.2,0.12` or `52.2,0.12,30`: latitude and longitude in degrees, and metres above the ellipsoid.
pub(crate) fn parse_origin(text: &str) -> Result<Origin, String> {
    let numbers: Option<Vec<f64>> = text.split(',').map(|part| part.trim().parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[lat, lon]) => Origin::new(lat, lon, None).map_err(|e| e.to_string()),
        Some(&[lat, lon, altitude]) => Origin::new(lat, lon, Some(altitude)).map_err(|e| e.to_string()),
        _ => Err(format!(
            "'{text}' is not LAT,LON in degrees or LAT,LON,ALTITUDE with metres, as in 52.205,0.119,20"
        )),
    }
}

/// A finite number of `range`, both ends included; the message names the unit and the range.
pub(crate) fn bounded(text: &str, what: &str, range: RangeInclusive<f64>) -> Result<f64, String> {
    // NaN is in no range.
    let value = text.trim().parse::<f64>().ok().filter(|value| range.contains(value));
    value.ok_or_else(|| format!("'{text}' is not {what}, {} to {}", range.start(), range.end()))
}

/// Metres from 0 on: a spacing, an offset.
pub(crate) fn parse_metres(text: &str) -> Result<f64, String> {
    bounded(text, "a distance in metres", 0.0..=FARTHEST_M)
}

/// Metres above 0: a radius.
pub(crate) fn parse_radius(text: &str) -> Result<f64, String> {
    let radius = text.trim().parse::<f64>().ok().filter(|value| *value > 0.0 && *value <= FARTHEST_M);
    radius.ok_or_else(|| format!("'{text}' is not a radius in metres, above 0 and at most {FARTHEST_M}"))
}

/// The angle between two directions in degrees, 0 to 180.
pub(crate) fn parse_angle(text: &str) -> Result<f64, String> {
    bounded(text, "an angle in degrees", 0.0..=180.0)
}

/// A longitude in degrees.
pub(crate) fn parse_longitude(text: &str) -> Result<f64, String> {
    bounded(text, "a longitude in degrees", -180.0..=180.0)
}

/// A share, 0 to 1.
pub(crate) fn parse_share(text: &str) -> Result<f64, String> {
    let value = text.parse::<f64>().ok().filter(|value| (0.0..=1.0).contains(value));
    value.ok_or_else(|| format!("'{text}' is not a share, 0 to 1"))
}

/// A top-1 margin: the difference of two cosines, 0 to 2.
pub(crate) fn parse_margin(text: &str) -> Result<f32, String> {
    Ok(bounded(text, "a difference of two cosines", 0.0..=2.0)? as f32)
}

/// Refuses the name of an output that ends as files of another format do; one without an ending passes.
pub(crate) fn ensure_ending(option: &str, path: &Path, format: &str, ending: &str) -> Result<()> {
    match path.extension() {
        Some(other) if !other.eq_ignore_ascii_case(ending) && is_another_format(other) => {
            usage!("{option} {}: {format} is written: the file must end in .{ending}", path.display())
        }
        _ => Ok(()),
    }
}

/// Whether files of some format that people may expect end so: `.tmp` and `run-0.5` are names like others.
fn is_another_format(ending: &std::ffi::OsStr) -> bool {
    const KNOWN: [&str; 26] = [
        "avif",
        "bin",
        "bmp",
        "ckpt",
        "csv",
        "gif",
        "h5",
        "html",
        "jpeg",
        "jpg",
        "json",
        "mat",
        "npy",
        "npz",
        "onnx",
        "parquet",
        "pdf",
        "pkl",
        "png",
        "pt",
        "pth",
        "safetensors",
        "svg",
        "tiff",
        "torch",
        "webp",
    ];
    KNOWN.iter().any(|known| ending.eq_ignore_ascii_case(known))
}

/// The path without links and detours, where it exists.
pub(crate) fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Checks, before any work, that a file can be written at `path`; nothing is left behind and an existing
/// file stays as it is. Pipes and devices pass: only writing shows.
pub(crate) fn ensure_writable(path: &Path) -> Result<()> {
    let refused = |reason: String| anyhow!("{}: cannot be written: {reason}", path.display());
    match std::fs::metadata(path) {
        Ok(about) if about.is_dir() => return Err(refused("it is a folder".into())),
        Ok(about) if !about.is_file() => return Ok(()),
        // Outputs are written beside their place and renamed, so that the folder counts as well.
        Ok(_) => {
            std::fs::OpenOptions::new().append(true).open(path).map_err(|e| refused(e.to_string()))?;
        }
        Err(_) if path.as_os_str().is_empty() => return Err(refused("it has no name".into())),
        Err(_) => {}
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match std::fs::metadata(folder) {
        Ok(about) if !about.is_dir() => {
            return Err(refused(format!("{} is not a folder", folder.display())));
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(refused(format!("the folder {} does not exist", folder.display())));
        }
        Err(e) => return Err(refused(e.to_string())),
        Ok(_) => {}
    }
    tempfile::tempfile_in(folder).map_err(|e| refused(reason_of(&e)))?;
    Ok(())
}

/// Checks, before any work, that a model can be written at `path`, and that it is not named as one of another format.
pub(crate) fn ensure_model_output(path: &Path) -> Result<()> {
    ensure_ending("OUTPUT", path, "a model in safetensors", "safetensors")?;
    ensure_writable(path)
}

/// Checks, before any work, that files can be written in a folder that may have to be created first.
pub(crate) fn ensure_writable_folder(path: &Path) -> Result<()> {
    let refused = |reason: String| anyhow!("{}: cannot be written: {reason}", path.display());
    let full = std::path::absolute(path).map_err(|e| refused(e.to_string()))?;
    // The nearest folder that exists takes the new ones.
    for folder in full.ancestors() {
        match std::fs::metadata(folder) {
            Ok(about) if about.is_dir() => {
                return tempfile::tempfile_in(folder).map(drop).map_err(|e| refused(reason_of(&e)));
            }
            Ok(_) if folder == full => return Err(refused("it is a file, not a folder".into())),
            Ok(_) => return Err(refused(format!("{} is not a folder", folder.display()))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(refused(e.to_string())),
        }
    }
    Err(refused("no folder above it exists".into()))
}

/// The system's words without the temporary name that `tempfile` adds.
fn reason_of(error: &std::io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.source()) {
        Some(cause) => cause.to_string(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_finite_and_within_their_range() {
        type Parser = fn(&str) -> Result<f64, String>;
        let parsers: [(Parser, &str, f64, &[&str]); 4] = [
            (parse_metres, " 0", 0.0, &["-1", "1e9"]),
            (parse_radius, "25.5", 25.5, &["0", "-0.1", "2e8"]),
            (parse_angle, "180", 180.0, &["-1", "180.5"]),
            (parse_longitude, "-180", -180.0, &["181"]),
        ];
        for (parse, good, value, bad) in parsers {
            assert_eq!(parse(good), Ok(value));
            for text in ["nan", "NaN", "inf", "-inf", "1e999", "", "x", "1,5"].iter().chain(bad) {
                let message = parse(text).expect_err(text);
                assert!(message.starts_with(&format!("'{text}' is not a")), "{message}");
            }
        }
        assert_eq!(parse_margin("0.05"), Ok(0.05));
        assert!(parse_margin("nan").is_err() && parse_margin("2.1").is_err());
    }

    #[test]
    fn sizes_have_limits() {
        assert_eq!(parse_size("480x640"), Ok([480, 640]));
        for bad in ["0x5", "5", "5x", "20000x5", "-1x5", "99999999999999999999x1"] {
            assert!(parse_size(bad).expect_err(bad).contains("HEIGHTxWIDTH"), "{bad}");
        }
    }

    #[test]
    fn endings_say_what_is_written() {
        for good in ["a.svg", "a.SVG", "a", "/dev/stdout", ".hidden", "a.svg.tmp", "run-0.5"] {
            ensure_ending("--out", Path::new(good), "SVG", "svg").expect(good);
        }
        let said = ensure_ending("--out", Path::new("a.png"), "SVG", "svg").expect_err("another").to_string();
        assert_eq!(said, "--out a.png: SVG is written: the file must end in .svg");
    }

    #[test]
    fn outputs_are_checked_without_a_trace() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let out = dir.path().join("out.csv");
        ensure_writable(&out).expect("a new file in a folder");
        ensure_writable_folder(&dir.path().join("a/b")).expect("new folders");
        assert_eq!(dir.path().read_dir().expect("a folder").count(), 0);
        std::fs::write(&out, "kept").expect("can be written");
        ensure_writable(&out).expect("an existing file");
        assert_eq!(std::fs::read_to_string(&out).expect("a file"), "kept");
        for (bad, reason) in [
            (dir.path().to_owned(), "it is a folder"),
            (dir.path().join("no/out.csv"), "does not exist"),
            (out.join("x"), "is not a folder"),
        ] {
            let message = ensure_writable(&bad).expect_err("cannot be written").to_string();
            assert!(
                message.contains(reason) && message.matches("cannot be written").count() == 1,
                "{message}"
            );
        }
        let message = ensure_writable_folder(&out).expect_err("a file").to_string();
        assert!(message.contains("not a folder"), "{message}");
        let message = ensure_writable_folder(&out.join("x")).expect_err("in a file").to_string();
        assert!(message.contains("ot a folder") || message.contains("Not a directory"), "{message}");
    }
}
