//! Errors of requests as problem details (RFC 9457), without a path of the disk.

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use r2former_data::DataError;
use r2former_engine::EngineError;
use r2former_index::{ErrorKind, IndexError};
use serde_json::json;
use std::time::Duration;

/// Media type of problem details.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// What the types of problems begin with.
pub(crate) const TYPE_PREFIX: &str = "urn:r2former:problem:";

/// An answer that is an error.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    about: Box<About>,
}

#[derive(Debug, Clone, PartialEq)]
struct About {
    /// End of the type, after [`TYPE_PREFIX`].
    kind: &'static str,
    title: &'static str,
    detail: String,
    retry_after: Option<u64>,
    header: Option<(HeaderName, HeaderValue)>,
    /// What the log says and the answer does not.
    internal: Option<String>,
}

pub(crate) type Result<T, E = Problem> = std::result::Result<T, E>;

impl Problem {
    pub(crate) fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        let detail = detail.into();
        let about = About { kind, title, detail, retry_after: None, header: None, internal: None };
        Self { status, about: Box::new(about) }
    }

    /// A parameter or body that means nothing.
    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", "The request is not understood", detail)
    }

    /// Something that can be read, but not used.
    pub(crate) fn unprocessable(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "unusable",
            "What was sent is understood but cannot be used",
            detail,
        )
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is nothing here", detail)
    }

    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", "The index has something else", detail)
    }

    /// A frame of a session that is not the next one.
    pub(crate) fn out_of_turn(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "out-of-turn", "It is not this frame's turn", detail)
    }

    pub(crate) fn unsupported(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "This media type is not read",
            detail,
        )
    }

    pub(crate) fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The request is too large", detail)
    }

    pub(crate) fn unauthorized(detail: impl Into<String>) -> Self {
        let mut problem = Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "A key is needed", detail);
        problem.about.header = Some((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        problem
    }

    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "This is not allowed", detail)
    }

    /// More than is taken at a time, or by one key.
    pub(crate) fn too_many(detail: impl Into<String>, retry_after: Duration) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "Too many requests", detail)
            .retry(retry_after)
    }

    pub(crate) fn unavailable(detail: impl Into<String>, retry_after: Duration) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not now", detail).retry(retry_after)
    }

    pub(crate) fn timeout(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "timeout", "The request took too long to arrive", detail)
    }

    /// A failure of the service; `internal` goes to the log.
    pub(crate) fn internal(internal: impl Into<String>) -> Self {
        let detail = "the service failed; its log has the reason under this request's id";
        let mut problem =
            Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The service failed", detail);
        problem.about.internal = Some(internal.into());
        problem
    }

    fn retry(mut self, after: Duration) -> Self {
        self.about.retry_after = Some(after.as_secs_f64().ceil().max(1.0) as u64);
        self
    }

    /// Says which methods there are.
    pub(crate) fn allowing(mut self, methods: HeaderValue) -> Self {
        self.about.header = Some((ALLOW, methods));
        self
    }

    /// What is wrong, for a part of an answer.
    pub(crate) fn detail(&self) -> &str {
        &self.about.detail
    }

    /// What the log says and the answer does not.
    pub(crate) fn internal_reason(&self) -> Option<&str> {
        self.about.internal.as_deref()
    }

    /// The response; `id` names the request.
    pub(crate) fn response(&self, id: &str) -> Response<Body> {
        let body = json!({
            "type": format!("{TYPE_PREFIX}{}", self.about.kind),
            "title": self.about.title,
            "status": self.status.as_u16(),
            "detail": self.about.detail,
            "instance": format!("urn:r2former:request:{id}"),
        });
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(seconds) = self.about.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if let Some((name, value)) = &self.about.header {
            headers.insert(name.clone(), value.clone());
        }
        response
    }
}

/// The guard, which knows the request's id, writes the body.
impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        response.extensions_mut().insert(self);
        response
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Data(error) => error.into(),
            EngineError::Index(error) => error.into(),
            EngineError::Request(problem) => Self::unprocessable(problem),
            EngineError::Model(error) => Self::internal(format!("the model: {error}")),
            error => Self::internal(error.to_string()),
        }
    }
}

/// Photographs are called by the name that the client gave, never by a path.
impl From<DataError> for Problem {
    fn from(error: DataError) -> Self {
        match error {
            DataError::Image { problem, remedy, .. } => {
                let cure = remedy.map(|remedy| format!(": {}", remedy.for_sender())).unwrap_or_default();
                Self::unprocessable(format!("the image: {problem}{cure}"))
            }
            DataError::Format { problem, .. } => Self::unprocessable(problem),
            DataError::Position(problem) | DataError::Request(problem) => Self::unprocessable(problem),
            DataError::Io { source, .. } => {
                Self::internal(format!("reading or writing a photograph: {source}"))
            }
            error => Self::internal(error.to_string()),
        }
    }
}

/// Waiting time until another writer has probably ended.
const BUSY: Duration = Duration::from_secs(5);

/// Waiting time until a cluster has probably come back.
const AWAY: Duration = Duration::from_secs(10);

impl From<IndexError> for Problem {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::Request { problem, .. } => Self::unprocessable(problem),
            IndexError::Busy { .. } => Self::unavailable("another program is writing to this index", BUSY),
            IndexError::Full { .. } => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "no-room",
                "There is no room left",
                "the disk of the index is full; what was acknowledged is safe",
            ),
            IndexError::ReadOnly { .. } => Self::forbidden("the service has no right to write to this index"),
            error @ (IndexError::Unreachable { .. } | IndexError::Deadline { .. }) => {
                Self::unavailable(index_problem(&error), AWAY)
            }
            error => Self::internal(index_problem(&error)),
        }
    }
}

/// What is wrong with an index, without its path.
fn index_problem(error: &IndexError) -> String {
    match error {
        IndexError::Io { source, .. } => format!("the index: {source}"),
        IndexError::Damaged { problem, .. } => format!("the index is damaged: {problem}"),
        IndexError::Unreachable { .. } => "no node of the index's cluster answers".into(),
        IndexError::Deadline { .. } => "the cluster of the index did not answer in time".into(),
        IndexError::Store { doing, problem, .. } => format!("the index failed while {doing}: {problem}"),
        error => match error.kind() {
            ErrorKind::Caller => "there is no index of this model any more".into(),
            ErrorKind::Retry => "the index stopped after an earlier failure".into(),
            ErrorKind::Machine => "the machine failed under the index".into(),
            ErrorKind::Repair => "the index is damaged".into(),
        },
    }
}
