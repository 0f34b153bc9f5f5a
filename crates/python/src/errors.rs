//! Errors of the library as Python exceptions with the same text. The classes are in `python/r2former/errors.py`.

use pyo3::PyErr;
use r2former_data::{DataError, Remedy};
use r2former_engine::{EngineError, FailureKind};
use r2former_eval::EvalError;
use r2former_index::IndexError;
use r2former_model::ModelError;
use std::str::FromStr;

mod classes {
    pyo3::import_exception!(r2former.errors, BusyError);
    pyo3::import_exception!(r2former.errors, DamagedError);
    pyo3::import_exception!(r2former.errors, DataError);
    pyo3::import_exception!(r2former.errors, DeviceError);
    pyo3::import_exception!(r2former.errors, InternalError);
    pyo3::import_exception!(r2former.errors, ModelError);
    pyo3::import_exception!(r2former.errors, NotFoundError);
    pyo3::import_exception!(r2former.errors, PlaceIndexError);
    pyo3::import_exception!(r2former.errors, RequestError);
}

/// One of the names that a type is read from; the type says what is wrong with others.
pub(crate) fn parsed<T: FromStr<Err: ToString>>(text: Option<&str>) -> Result<Option<T>, Failure> {
    text.map(|text| text.parse::<T>().map_err(|error| Failure::request(error.to_string()))).transpose()
}

/// A failure on its way to Python; made without the interpreter.
#[derive(Debug)]
pub(crate) struct Failure {
    /// `None` for a fault of this library.
    kind: Option<FailureKind>,
    text: String,
}

impl Failure {
    pub(crate) fn request(text: impl Into<String>) -> Self {
        Self { kind: Some(FailureKind::Request), text: text.into() }
    }

    /// A panic, which is a fault of this library.
    pub(crate) fn internal(what: &str) -> Self {
        let text = format!("internal error: {what}; please report this with the output of `r2former doctor`");
        Self { kind: None, text }
    }

    /// What went wrong, in words.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The same, about an image that only its caller can name.
    pub(crate) fn about(self, name: &str) -> Self {
        if self.text.starts_with(name) {
            return self;
        }
        Self { text: format!("{name}: {}", self.text), ..self }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self { kind: Some(error.failure()), text: without_options(&error) }
    }
}

/// The program's words, but for its options, which callers do not have, and commands that need a file, where there is none.
fn without_options(error: &EngineError) -> String {
    match error {
        EngineError::Untrusted { device, stage, fault } => format!(
            "{device} is not used: in the stage \"{stage}\" {fault}. Use device=\"cpu\"; `r2former doctor` with this device shows every \
             stage (and is what a bug report needs)"
        ),
        EngineError::Data(DataError::Image { path, problem, remedy: Some(remedy) }) => {
            let words = match remedy {
                Remedy::AgainOrPart => Remedy::Again.to_string(),
                other if path.exists() => other.to_string(),
                Remedy::Again => "get it again".into(),
                Remedy::Smaller(_) => "make it smaller".into(),
                Remedy::Convert(_) => "convert it to JPEG or PNG".into(),
                Remedy::Frames(_) => "take its frames one by one".into(),
                other => other.for_sender().into(),
            };
            format!("{}: {problem}: {words}", path.display())
        }
        other => other.to_string(),
    }
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        EngineError::from(error).into()
    }
}

impl From<ModelError> for Failure {
    fn from(error: ModelError) -> Self {
        EngineError::from(error).into()
    }
}

impl From<IndexError> for Failure {
    fn from(error: IndexError) -> Self {
        EngineError::from(error).into()
    }
}

impl From<EvalError> for Failure {
    fn from(error: EvalError) -> Self {
        let kind = match &error {
            EvalError::Engine(error) => error.failure(),
            EvalError::Dataset { .. } | EvalError::File { .. } | EvalError::Predictions(_) => {
                FailureKind::Data
            }
            _ => FailureKind::Request,
        };
        Self { kind: Some(kind), text: error.to_string() }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::request(error.to_string())
    }
}

impl From<Failure> for PyErr {
    fn from(Failure { kind, text }: Failure) -> Self {
        match kind {
            None => classes::InternalError::new_err(text),
            Some(FailureKind::Data) => classes::DataError::new_err(text),
            Some(FailureKind::NotFound) => classes::NotFoundError::new_err(text),
            Some(FailureKind::Model) => classes::ModelError::new_err(text),
            Some(FailureKind::Device) => classes::DeviceError::new_err(text),
            Some(FailureKind::Index) => classes::PlaceIndexError::new_err(text),
            Some(FailureKind::Busy) => classes::BusyError::new_err(text),
            Some(FailureKind::Damaged) => classes::DamagedError::new_err(text),
            Some(_) => classes::RequestError::new_err(text),
        }
    }
}
