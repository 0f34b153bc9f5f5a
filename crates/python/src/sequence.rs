//! Frames in order against an open index.

use crate::errors::Failure;
use crate::images::Images;
use crate::index::{Answers, Index, check_degrees};
use crate::watch::run;
use pyo3::prelude::*;
use r2former_engine::{OpenSequence, Positions, Progress, TrackPoint, track_geojson};
use serde_json::json;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Frames so far, and their answers. Threads may share it; frames come in the order of the calls.
#[pyclass(frozen, module = "r2former._native")]
pub(crate) struct Sequence {
    index: Py<Index>,
    frames: Mutex<OpenSequence>,
}

impl Sequence {
    pub(crate) fn begin(py: Python<'_>, index: Py<Index>, options: &str) -> PyResult<Self> {
        let open = index.get();
        let sequence = run(py, None, |_| Ok(OpenSequence::begin(&open.open, options)?))?;
        Ok(Self { index, frames: Mutex::new(sequence) })
    }

    /// A call that was cancelled left whole frames.
    fn lock(&self) -> MutexGuard<'_, OpenSequence> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Sequence {
    /// Takes frames, with seconds and metres since the frame before where they are known; the latest frame's fix as JSON.
    fn push(
        &self,
        py: Python<'_>,
        images: Images,
        times: Vec<Option<f64>>,
        moved: Vec<Option<f64>>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<String> {
        let index = self.index.get();
        run(py, progress, |watch| {
            if times.len() != images.len() || moved.len() != images.len() {
                return Err(Failure::request("each frame needs a time and a distance, or none"));
            }
            let mut frames = self.lock();
            watch.start("frames", images.len() as u64);
            let mut latest = None;
            if times.iter().any(Option::is_some) {
                frames.state_times()?;
            }
            for number in 0..images.len() {
                let (image, time, moved) = (images.query(number), times[number], moved[number]);
                latest = frames.push(&index.open, image, time, moved)?.1;
                watch.advance(1);
            }
            Ok(json!(latest).to_string())
        })
    }

    /// How many frames were taken.
    fn count(&self, py: Python<'_>) -> PyResult<usize> {
        run(py, None, |_| Ok(self.lock().results().len()))
    }

    /// The answers of the frames, each by itself, and the track.
    fn track(&self, py: Python<'_>) -> PyResult<(Answers, Track)> {
        let positions = self.index.get().open.place().positions();
        run(py, None, |_| {
            let frames = self.lock();
            let answers = Answers { results: frames.results().to_vec(), positions };
            Ok((answers, Track { points: frames.points(), positions }))
        })
    }
}

/// A fix for each frame of a sequence.
#[pyclass(frozen, module = "r2former._native")]
pub(crate) struct Track {
    points: Vec<TrackPoint>,
    positions: Positions,
}

#[pymethods]
impl Track {
    /// The list `track` of `r2former query --sequence --json`.
    fn json(&self) -> String {
        json!(self.points).to_string()
    }

    /// As `r2former query --sequence --track FILE.geojson`.
    fn geojson(&self) -> PyResult<String> {
        check_degrees(self.positions)?;
        Ok(track_geojson(&self.points, self.positions.origin()).to_string())
    }
}
