//! A model on its device.

use crate::arrays::{rows, to_python};
use crate::errors::{Failure, parsed};
use crate::images::Images;
use crate::watch::run;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyByteArray, PyBytes};
use r2former_engine::{
    Extractor, ImageFeatures, LoadedModel, PrecisionChoice, RerankMethod, Settings, Verifier, extractor_on,
    rerank,
};
use r2former_model::checkpoint::{Checkpoint, Storage, parse};
use r2former_model::import::{ImportOptions, Imported, LocalOptions, import};
use r2former_model::{ImageSize, ModelConfig, cost, save};
use rayon::prelude::*;
use serde::Deserialize;
use serde_json::json;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Where a model's parameters are to be had again: on the device they are packed for computing.
#[derive(Debug)]
enum Origin {
    BuiltIn,
    File(PathBuf),
    Memory(Box<LoadedModel>),
}

impl Origin {
    fn load(&self) -> Result<LoadedModel, Failure> {
        Ok(match self {
            Self::BuiltIn => LoadedModel::built_in()?,
            Self::File(path) => LoadedModel::open(path)?,
            Self::Memory(loaded) => (**loaded).clone(),
        })
    }
}

/// A model. Its device is prepared when it is first needed.
#[pyclass(frozen, module = "r2former._native")]
pub(crate) struct Model {
    origin: Origin,
    config: ModelConfig,
    fingerprint: String,
    settings: Settings,
    #[pyo3(get)]
    device: String,
    extractor: OnceLock<Arc<Extractor>>,
}

impl Model {
    fn new(
        origin: Origin,
        (config, fingerprint): (ModelConfig, String),
        device: String,
        size: Option<ImageSize>,
        precision: Option<PrecisionChoice>,
    ) -> Result<Self, Failure> {
        let on = r2former_model::parse_device(&device)?;
        let mut settings = Settings::of(&config);
        if let Some(size) = size {
            config.check_image_size(size)?;
            settings = settings.sized(size, &config);
        }
        let settings = settings.with_precision(precision.unwrap_or_default(), &config, &on);
        Ok(Self { origin, config, fingerprint, settings, device, extractor: OnceLock::new() })
    }

    /// The model on its device. Two threads that need it first at the same time both make it.
    pub(crate) fn extractor(&self) -> Result<Arc<Extractor>, Failure> {
        self.extractor_of(|| self.load())
    }

    /// The same of parameters that the caller has loaded.
    pub(crate) fn extractor_of(
        &self,
        load: impl FnOnce() -> Result<LoadedModel, Failure>,
    ) -> Result<Arc<Extractor>, Failure> {
        if let Some(extractor) = self.extractor.get() {
            return Ok(extractor.clone());
        }
        let made = Arc::new(extractor_on(&self.device, load()?, self.settings)?);
        Ok(self.extractor.get_or_init(|| made).clone())
    }

    /// Its parameters, as they were when it was loaded.
    pub(crate) fn load(&self) -> Result<LoadedModel, Failure> {
        let loaded = self.origin.load()?;
        if loaded.fingerprint == self.fingerprint {
            return Ok(loaded);
        }
        Err(Failure::request(format!("the file of model {} is another now: load it again", self.config.name)))
    }

    pub(crate) fn settings(&self) -> Settings {
        self.settings
    }

    pub(crate) fn device(&self) -> &str {
        &self.device
    }
}

/// Options of an import, as those of `r2former model import`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ImportDocument {
    name: Option<String>,
    heads: Option<usize>,
    image_size: Option<String>,
    grid: Option<[usize; 2]>,
    pooling: Option<String>,
    normalisation: Option<String>,
    resize: Option<String>,
    position: Option<String>,
    vocabulary: Option<PathBuf>,
    layer: Option<usize>,
    neighbours: Option<usize>,
    local: Option<String>,
    num_local: Option<usize>,
    local_select: Option<String>,
    local_layer: Option<usize>,
    local_facet: Option<String>,
    local_dim: Option<String>,
    local_min_attention: Option<f32>,
    local_min_similarity: Option<f32>,
    local_geometry: Option<String>,
}

impl ImportDocument {
    fn options(self) -> Result<ImportOptions, Failure> {
        Ok(ImportOptions {
            name: self.name,
            heads: self.heads,
            local: LocalOptions {
                preset: parsed(self.local.as_deref())?,
                count: self.num_local,
                layer: self.local_layer,
                facet: parsed(self.local_facet.as_deref())?,
                select: parsed(self.local_select.as_deref())?,
                dim: parsed(self.local_dim.as_deref())?,
                min_attention: self.local_min_attention,
                min_similarity: self.local_min_similarity,
                geometry: parsed(self.local_geometry.as_deref())?,
            },
            image_size: parsed(self.image_size.as_deref())?,
            grid: self.grid,
            pooling: parsed(self.pooling.as_deref())?,
            normalisation: parsed(self.normalisation.as_deref())?,
            resize: parsed(self.resize.as_deref())?,
            position: parsed(self.position.as_deref())?,
            vocabulary: self.vocabulary,
            layer: self.layer,
            neighbours: self.neighbours,
        })
    }
}

/// References that are compared with a query between two looks for Ctrl-C.
const RERANKED_AT_ONCE: usize = 128;

/// Rows of both images, cosine, and whether the homography explains the pair, of each; and the homography.
type Matched = (Vec<(usize, usize, f32, bool)>, Option<[f64; 9]>);

/// Features of n images: global descriptors (n, d), local features (n, k, 3 + d'), and how many of the k rows each image has.
type Features<'py> = (Bound<'py, PyByteArray>, Bound<'py, PyByteArray>, Vec<usize>);

#[pymethods]
impl Model {
    #[staticmethod]
    #[pyo3(signature = (path, device, image_size, precision))]
    fn load_file(
        py: Python<'_>,
        path: Option<PathBuf>,
        device: String,
        image_size: Option<String>,
        precision: Option<String>,
    ) -> PyResult<Self> {
        run(py, None, |_| {
            let origin = path.map_or(Origin::BuiltIn, Origin::File);
            let LoadedModel { config, fingerprint, .. } = origin.load()?;
            let (size, precision) = (parsed(image_size.as_deref())?, parsed(precision.as_deref())?);
            Self::new(origin, (config, fingerprint), device, size, precision)
        })
    }

    /// A model of the bytes of its file.
    #[staticmethod]
    fn load_bytes(py: Python<'_>, file: PyBackedBytes, device: String) -> PyResult<Self> {
        run(py, None, |_| {
            let Checkpoint { config, tensors, .. } = parse(&file, Path::new("the model"))?;
            let loaded = Box::new(LoadedModel::of(&config, &tensors)?);
            let about = (loaded.config.clone(), loaded.fingerprint.clone());
            Self::new(Origin::Memory(loaded), about, device, None, None)
        })
    }

    /// The bytes of its file.
    fn file<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = run(py, None, |_| {
            let mut bytes = Vec::new();
            let read = self.load()?.file()?.read_to_end(&mut bytes);
            read.map_err(|error| Failure::request(format!("model {}: {error}", self.config.name)))?;
            Ok(bytes)
        })?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// The model, tensors that it does not use, and notes.
    #[staticmethod]
    fn import_file(
        py: Python<'_>,
        path: PathBuf,
        device: String,
        options: &str,
    ) -> PyResult<(Self, Vec<String>, Vec<String>)> {
        run(py, None, |_| {
            let options: ImportDocument = serde_json::from_str(options)?;
            let Imported { config, tensors, leftovers, notes } = import(&path, &options.options()?)?;
            let loaded = Box::new(LoadedModel::of(&config, &tensors)?);
            let about = (loaded.config.clone(), loaded.fingerprint.clone());
            let model = Self::new(Origin::Memory(loaded), about, device, None, None)?;
            Ok((model, leftovers, notes))
        })
    }

    #[getter]
    fn name(&self) -> &str {
        &self.config.name
    }

    #[getter]
    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    #[getter]
    fn image_size(&self) -> String {
        self.settings.image_size().to_string()
    }

    #[getter]
    fn global_dim(&self) -> usize {
        self.config.global_dim()
    }

    /// Values of a local feature; 0 without any.
    #[getter]
    fn local_row(&self) -> usize {
        self.config.local_row()
    }

    /// Height and width that [`Model::extract_tensor`] takes by default.
    #[getter]
    fn input_size(&self) -> (usize, usize) {
        (self.settings.height, self.settings.width)
    }

    /// Mean and standard deviation of each channel.
    #[getter]
    fn normalisation(&self) -> ([f32; 3], [f32; 3]) {
        (self.config.input.mean, self.config.input.std)
    }

    /// As `r2former model info --json`.
    fn info(&self, py: Python<'_>) -> PyResult<String> {
        run(py, None, |_| {
            let loaded = self.load()?;
            let config = &loaded.config;
            let size = self.settings.image_size();
            let [height, width] = config.nominal_size(size);
            let values = || loaded.tensors().values().map(|tensor| &tensor.data);
            let parameters: usize = values().map(|values| values.len()).sum();
            let bytes: usize = values().map(|values| values.len() * values.bytes()).sum();
            let document = json!({
                "config": config, "license": config.license(), "parameters": parameters, "weight_bytes": bytes,
                "image_size": size, "cost": cost::cost(config, height, width), "fingerprint": self.fingerprint,
            });
            Ok(document.to_string())
        })
    }

    fn save(&self, py: Python<'_>, path: PathBuf, half: bool) -> PyResult<()> {
        run(py, None, |_| {
            let loaded = self.load()?;
            let storage = if half { Storage::F16 } else { Storage::F32 };
            let checkpoint = loaded.into_checkpoint();
            Ok(save(&path, &checkpoint.config, &checkpoint.tensors, storage)?)
        })
    }

    /// Descriptors of images, decoded at once.
    fn extract<'py>(&self, py: Python<'py>, images: Images) -> PyResult<Features<'py>> {
        let features = run(py, None, |watch| {
            let extractor = self.extractor()?;
            let view = |number: usize| {
                watch.ended()?;
                let decoded = extractor.decode(&images.query(number))?;
                Ok(extractor.prepare(&decoded.pixels)?)
            };
            let view = |number| view(number).map_err(|failure: Failure| failure.about(images.name(number)));
            let views = (0..images.len()).into_par_iter().map(view).collect::<Result<Vec<_>, Failure>>()?;
            Ok(extractor.extract_views(&views)?)
        })?;
        self.features(py, &features)
    }

    /// Descriptors of a normalised tensor (n, 3, height, width), as the network gets it.
    fn extract_tensor<'py>(
        &self,
        py: Python<'py>,
        height: usize,
        width: usize,
        tensor: PyBackedBytes,
    ) -> PyResult<Features<'py>> {
        let features = run(py, None, |_| {
            let size = [self.settings.height, self.settings.width];
            if [height, width] != size {
                return Err(Failure::request(format!(
                    "the tensor has images of {height} x {width}; this model takes {} x {}: load it with \
                     image_size=({height}, {width}) for this size",
                    size[0], size[1]
                )));
            }
            let values = 3 * height * width;
            let images = tensor.chunks(size_of::<f32>() * values);
            let inputs =
                images.map(|image| rows("the tensor", image, values)).collect::<Result<Vec<_>, Failure>>()?;
            if let Some(bad) = inputs.iter().flatten().find(|value| !value.is_finite()) {
                return Err(Failure::request(format!("the tensor holds {bad}, not a finite number")));
            }
            Ok(self.extractor()?.extract(&inputs)?)
        })?;
        self.features(py, &features)
    }

    /// Scores of references (n) by their local features against those of a query, and the reranker's logits (n, 2).
    fn rerank<'py>(
        &self,
        py: Python<'py>,
        query: PyBackedBytes,
        references: Vec<PyBackedBytes>,
        method: &str,
    ) -> PyResult<(Bound<'py, PyByteArray>, Option<Bound<'py, PyByteArray>>)> {
        let (scores, logits) = run(py, None, |watch| {
            let method: RerankMethod = method.parse().map_err(Failure::request)?;
            let row = self.config.local_row();
            let own = |bytes: &PyBackedBytes| rows("local features", bytes, row);
            let (query, references) =
                (own(&query)?, references.iter().map(own).collect::<Result<Vec<_>, Failure>>()?);
            let extractor = self.extractor()?;
            let references: Vec<&[f32]> = references.iter().map(Vec::as_slice).collect();
            let mut scores = Vec::with_capacity(references.len());
            let mut logits = (method == RerankMethod::Model).then(Vec::new);
            // In parts, so that thousands can be interrupted; a pair's score does not depend on the others.
            for part in references.chunks(RERANKED_AT_ONCE) {
                watch.check();
                match &mut logits {
                    Some(logits) => {
                        let pairs = rerank(&extractor, &query, part)?;
                        logits.extend(pairs.iter().flat_map(|pair| pair.logits));
                        scores.extend(pairs.iter().map(|pair| pair.score));
                    }
                    None => scores.extend(method.scores(&extractor, &query, part)?),
                }
            }
            Ok((scores, logits))
        })?;
        Ok((to_python(py, &scores)?, logits.map(|logits| to_python(py, &logits)).transpose()?))
    }

    /// Local features of two images that are each other's nearest: rows of both, the cosine, whether the homography explains
    /// them; and the homography.
    fn match_local(
        &self,
        py: Python<'_>,
        query: PyBackedBytes,
        reference: PyBackedBytes,
    ) -> PyResult<Matched> {
        run(py, None, |_| {
            let row = self.config.local_row();
            let (query, reference) =
                (rows("local features", &query, row)?, rows("local features", &reference, row)?);
            let found = Verifier::new(&*self.extractor()?, &query)?.verify(&*reference);
            let pairs = found.pairs.iter().map(|p| (p.rows[0], p.rows[1], p.similarity, p.inlier)).collect();
            Ok((pairs, found.homography))
        })
    }

    /// What the network sees of an image of this height and width: height and width of the resized image, row and column at
    /// which the network's part of it begins, height and width of that.
    fn placement(&self, height: usize, width: usize) -> ([usize; 2], [usize; 2], [usize; 2]) {
        let at = self.config.place(self.settings.image_size(), [height, width]);
        (at.resized, at.corner, at.size)
    }
}

impl Model {
    /// Rows of zeros follow where an image has fewer local features than another.
    fn features<'py>(&self, py: Python<'py>, features: &[ImageFeatures]) -> PyResult<Features<'py>> {
        let (dim, row) = (self.config.global_dim(), self.config.local_row());
        let counts: Vec<usize> =
            features.iter().map(|f| f.local.len().checked_div(row).unwrap_or(0)).collect();
        let most = counts.iter().copied().max().unwrap_or(0);
        let mut global = Vec::with_capacity(features.len() * dim);
        let mut local = Vec::with_capacity(features.len() * most * row);
        for (i, features) in features.iter().enumerate() {
            global.extend_from_slice(&features.global);
            local.extend_from_slice(&features.local);
            local.resize((i + 1) * most * row, 0.0);
        }
        Ok((to_python(py, &global)?, to_python(py, &local)?, counts))
    }
}
