//! An open index: queries, changes, lists.

use crate::adding;
use crate::arrays::to_python;
use crate::errors::Failure;
use crate::images::Images;
use crate::model::Model;
use crate::sequence::Sequence;
use crate::watch::{Watch, run};
use pyo3::prelude::*;
use pyo3::types::PyByteArray;
use r2former_data::dataset::composed_name;
use r2former_engine::{
    AddOptions, CollectionOptions, IndexAddress, MemoryImage, OpenIndex, Origin, PlaceFields, PlaceIndex,
    PositionKind, Positions, Progress, QueryOptions, QueryResult, SearchFilter, add_images, answers_geojson,
    answers_json,
};
use r2former_index::{Filter, ReadPlaces, WritePlaces, place_id};
use serde_json::json;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

/// Results of queries.
#[pyclass(frozen, module = "r2former._native")]
pub(crate) struct Answers {
    pub(crate) results: Vec<QueryResult>,
    pub(crate) positions: Positions,
}

#[pymethods]
impl Answers {
    /// As `r2former query --json`.
    fn json(&self) -> String {
        answers_json(&self.results).to_string()
    }

    /// As `r2former query --geojson`.
    fn geojson(&self) -> PyResult<String> {
        check_degrees(self.positions)?;
        Ok(answers_geojson(&self.results, self.positions.origin()).to_string())
    }
}

/// Refuses GeoJSON of an index without degrees.
pub(crate) fn check_degrees(positions: Positions) -> Result<(), Failure> {
    match positions.kind() {
        PositionKind::Local if positions.origin().is_none() => Err(Failure::request(
            "this index has positions in local metres without an origin, and GeoJSON needs degrees: create it with an origin",
        )),
        PositionKind::None => Err(Failure::request("this index has no positions, and GeoJSON needs them")),
        _ => Ok(()),
    }
}

/// An open index. Threads share it.
#[pyclass(frozen, module = "r2former._native")]
pub(crate) struct Index {
    pub(crate) open: OpenIndex,
}

impl Index {
    fn kind(&self) -> PositionKind {
        self.open.place().positions().kind()
    }
}

#[pymethods]
impl Index {
    #[staticmethod]
    fn create(
        py: Python<'_>,
        path: PathBuf,
        model: &Model,
        positions: &str,
        origin: Option<Vec<f64>>,
        collection: &str,
    ) -> PyResult<Self> {
        run(py, None, |_| {
            let collection: CollectionOptions = serde_json::from_str(collection)?;
            let address = IndexAddress::parse(&path)?;
            let kind: PositionKind = positions.parse().map_err(Failure::request)?;
            let origin = match origin.as_deref() {
                None => None,
                Some(&[lat, lon]) => Some(Origin::new(lat, lon, None)),
                Some(&[lat, lon, altitude]) => Some(Origin::new(lat, lon, Some(altitude))),
                Some(_) => {
                    return Err(Failure::request("origin: (lat, lon) or (lat, lon, altitude) is needed"));
                }
            };
            let origin = origin.transpose().map_err(|error| Failure::request(error.to_string()))?;
            let positions = match (kind, origin) {
                (PositionKind::Local, origin) => Positions::Local { origin },
                (kind, Some(_)) => {
                    return Err(Failure::request(format!(
                        "origin is that of local positions; positions are {kind}"
                    )));
                }
                (PositionKind::Wgs84, None) => Positions::Wgs84,
                (PositionKind::None, None) => Positions::None,
            };
            let loaded = model.load()?;
            let place = PlaceIndex::create_in(&address, &loaded, model.settings(), positions, &collection)?;
            let open = OpenIndex::of(place, model.device())?;
            open.share(model.extractor_of(|| Ok(loaded))?)?;
            Ok(Self { open })
        })
    }

    #[staticmethod]
    fn open(py: Python<'_>, path: PathBuf, device: &str) -> PyResult<Self> {
        run(py, None, |_| Ok(Self { open: OpenIndex::open(&path, device)? }))
    }

    /// Creates an index from a snapshot.
    #[staticmethod]
    fn restore(py: Python<'_>, file: PathBuf, path: PathBuf, device: &str) -> PyResult<Self> {
        run(py, None, |_| Ok(Self { open: OpenIndex::of(PlaceIndex::import(&file, &path)?, device)? }))
    }

    /// Uses a model that is loaded already.
    fn share(&self, py: Python<'_>, model: &Model) -> PyResult<()> {
        run(py, None, |_| Ok(self.open.share(model.extractor()?)?))
    }

    #[getter]
    fn path(&self) -> OsString {
        AsRef::<OsStr>::as_ref(self.open.place().address()).to_owned()
    }

    #[getter]
    fn positions(&self) -> String {
        self.kind().to_string()
    }

    #[getter]
    fn model_name(&self) -> String {
        self.open.place().manifest.config.model.clone()
    }

    fn count(&self, py: Python<'_>) -> PyResult<usize> {
        run(py, None, |_| Ok(self.open.reader().count(&Filter::default())?))
    }

    /// Where were these taken? `options` are those of [`QueryOptions`].
    fn query(
        &self,
        py: Python<'_>,
        images: Images,
        options: &str,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Answers> {
        let results = run(py, progress, |watch| {
            let asked = QueryOptions::parse(options)?;
            let options = asked.locate_options(&*self.open.extractor()?, self.kind())?;
            watch.start("queries", images.len() as u64);
            let mut results = Vec::with_capacity(images.len());
            for number in 0..images.len() {
                results.push(self.open.ask(images.query(number), &asked, &options)?);
                watch.advance(1);
            }
            Ok(results)
        })?;
        Ok(Answers { results, positions: self.open.place().positions() })
    }

    /// Begins a sequence; `options` are those of [`QueryOptions`], `max_speed` and `max_step`.
    fn sequence(own: Bound<'_, Self>, options: &str) -> PyResult<Sequence> {
        Sequence::begin(own.py(), own.clone().unbind(), options)
    }

    /// Adds a folder, a table or a photograph; the report as `r2former index add --json`, and notes.
    fn add_source(
        &self,
        py: Python<'_>,
        source: PathBuf,
        options: &str,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<(String, Vec<String>)> {
        run(py, progress, |watch| {
            let report = adding::add(&self.open, &source, options, watch)?;
            Ok((report.to_string(), watch.take_notes()))
        })
    }

    /// Adds images from memory; `fields` has a document of [`PlaceFields`] for each.
    fn add_images(
        &self,
        py: Python<'_>,
        images: Images,
        fields: Vec<String>,
        update: bool,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<String> {
        run(py, progress, |watch| {
            if fields.len() != images.len() {
                return Err(Failure::request("each image needs its fields"));
            }
            let extractor = self.open.extractor()?;
            let mut all = Vec::with_capacity(images.len());
            for (number, fields) in fields.iter().enumerate() {
                let image = images.query(number);
                let photo =
                    PlaceFields::parse(fields)?.photo(images.name(number), image.tags(), self.kind())?;
                all.push(MemoryImage { image, photo });
            }
            let options = AddOptions::default().update(update);
            let started = std::time::Instant::now();
            let report = self.open.change(|writer| add_images(writer, &extractor, &all, &options, watch))?;
            Ok(adding::document(report, Vec::new(), &[], started.elapsed()).to_string())
        })
    }

    /// As `r2former index remove --json`.
    fn remove(&self, py: Python<'_>, names: Vec<String>) -> PyResult<String> {
        run(py, None, |_| {
            let mut ids: Vec<_> = names.iter().map(|name| place_id(name)).collect();
            let (removed, unknown) = self.open.change(|writer| {
                let mut known = writer.contains(&ids)?;
                for (i, name) in names.iter().enumerate().filter(|(i, _)| !known[*i]).collect::<Vec<_>>() {
                    // Letters may be typed in another form.
                    ids[i] = place_id(&composed_name(name));
                    known[i] = writer.contains(&ids[i..=i])?.contains(&true);
                }
                let unknown: Vec<&String> =
                    names.iter().zip(&known).filter(|(_, known)| !**known).map(|(name, _)| name).collect();
                Ok((writer.remove(&ids)?, unknown))
            })?;
            Ok(json!({ "removed": removed, "unknown": unknown }).to_string())
        })
    }

    /// As `r2former index list --json`.
    fn list(&self, py: Python<'_>, filter: &str) -> PyResult<String> {
        run(py, None, |watch| {
            let filter = SearchFilter::parse(filter)?.filter(self.kind())?;
            let mut places = Vec::new();
            self.open.reader().any_place(&filter, &mut |id, place| {
                watch.check();
                places.push((id, place));
                false
            })?;
            places.sort_by(|a, b| a.1.name.cmp(&b.1.name));
            let list: Vec<_> = places.iter().map(|(id, place)| json!({ "id": id, "place": place })).collect();
            Ok(serde_json::to_string(&list)?)
        })
    }

    /// As `r2former index info --json`.
    fn info(&self, py: Python<'_>) -> PyResult<String> {
        run(py, None, |_| {
            let info = self.open.reader().info()?;
            Ok(self.open.place().info_document(&info)?.to_string())
        })
    }

    /// Global descriptors (n, d) of images by name, and d.
    fn descriptors<'py>(
        &self,
        py: Python<'py>,
        names: Vec<String>,
    ) -> PyResult<(Bound<'py, PyByteArray>, usize)> {
        let values = run(py, None, |_| {
            let ids: Vec<_> = names.iter().map(|name| place_id(name)).collect();
            let mut values = Vec::new();
            for (name, global) in names.iter().zip(self.open.reader().globals(&ids)?) {
                let global =
                    global.ok_or_else(|| Failure::request(format!("{name}: is not in this index")))?;
                values.extend(global);
            }
            Ok(values)
        })?;
        Ok((to_python(py, &values)?, self.open.place().manifest.config.global_dim))
    }

    /// As `r2former index verify --json`.
    fn verify(&self, py: Python<'_>) -> PyResult<String> {
        run(py, None, |_: &Watch| Ok(serde_json::to_string(&self.open.place().verify()?)?))
    }

    fn compact(&self, py: Python<'_>) -> PyResult<()> {
        run(py, None, |_| Ok(self.open.change(|writer| Ok(writer.compact()?))?))
    }

    fn export(&self, py: Python<'_>, file: PathBuf) -> PyResult<()> {
        run(py, None, |_| Ok(PlaceIndex::export(self.open.place().address(), &file)?))
    }

    /// Waits for the change of another thread; the index is locked against other programs from here on.
    fn keep_writer(&self, py: Python<'_>) -> PyResult<()> {
        let kept = AtomicBool::new(false);
        let waited = run(py, None, |_| {
            self.open.keep_writer();
            kept.store(true, Ordering::Relaxed);
            Ok(self.open.change(|_| Ok(()))?)
        });
        if waited.is_err() && kept.into_inner() {
            // Interrupted, or another program writes: the caller does not know that it was kept, and will not release it.
            py.detach(|| self.open.release_writer()).map_err(Failure::from)?;
        }
        waited
    }

    fn release_writer(&self, py: Python<'_>) -> PyResult<()> {
        run(py, None, |_| Ok(self.open.release_writer()?))
    }
}
