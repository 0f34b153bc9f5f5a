//! What went wrong with one request, and whether it is worth another try.

use std::error::Error;
use std::time::Duration;

use r2former_index::IndexError;
use tonic::{Code, Status};

use crate::address::Address;

/// Why a request has no answer yet.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The node cannot be reached, or the connection to it ended.
    Connection(String),
    /// The node answers, and not with what was asked for: it may later, or another node may now.
    Node(String, Option<Duration>),
    /// Another try would end alike.
    Final(IndexError),
}

/// Sorts what a node, or the connection to it, said.
pub(crate) fn sort(address: &Address, key: &'static str, doing: &'static str, status: &Status) -> Trouble {
    // Statuses that the connection made have a source; those of the server have none.
    if status.source().is_some() {
        let problem = status.source().map_or_else(|| status.message().to_owned(), chain);
        return Trouble::Connection(problem);
    }
    let problem = status.message().trim().to_owned();
    if is_full(&problem) {
        return Trouble::Final(IndexError::Full { dir: address.path(), problem });
    }
    let name = || address.to_string();
    let store = |problem| IndexError::Store { dir: address.path(), doing, problem };
    match status.code() {
        Code::Unauthenticated | Code::PermissionDenied => {
            Trouble::Final(IndexError::KeyRefused { address: name(), key, problem })
        }
        Code::NotFound if problem.contains("Collection") => {
            Trouble::Final(IndexError::NoCollection { address: name() })
        }
        Code::InvalidArgument => Trouble::Final(IndexError::Request {
            dir: address.path(),
            problem: format!("the cluster refuses this while {doing}: {problem}"),
        }),
        Code::Unimplemented => Trouble::Final(store(format!(
            "{problem}: its version of Qdrant does not know this request; 1.16 and later do"
        ))),
        Code::NotFound
        | Code::AlreadyExists
        | Code::OutOfRange
        | Code::DataLoss
        | Code::FailedPrecondition => Trouble::Final(store(problem)),
        _ => {
            let wait =
                status.metadata().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
            Trouble::Node(problem, wait.map(Duration::from_secs))
        }
    }
}

/// Whether a node has no room left: it says so in words alone.
fn is_full(problem: &str) -> bool {
    let problem = problem.to_lowercase();
    ["no space left", "not enough disk", "exceeds available disk", "no disk space"]
        .iter()
        .any(|words| problem.contains(words))
}

/// An error and what led to it, each once, with advice where TLS is in the way.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let words = source.to_string();
        if !words.is_empty() && !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        next = source.source();
    }
    if let Some(advice) = advice(&text) {
        text = format!("{text}; {advice}");
    }
    text
}

fn advice(text: &str) -> Option<&'static str> {
    let has = |words: &str| text.contains(words);
    if has("UnknownIssuer") || has("CaUsedAsEndEntity") || has("SelfSigned") {
        return Some("set R2FORMER_QDRANT_CA to a PEM file of the authority that signed its certificate");
    }
    if has("NotValidForName") || has("certificate") {
        return Some("its certificate does not do for this name");
    }
    if has("InvalidContentType") || has("corrupt message") {
        return Some("this port does not speak TLS: qdrant:// instead of qdrants://");
    }
    if has("BrokenPipe") || has("broken pipe") || has("ConnectionReset") {
        return Some("if this is a port with TLS: qdrants://");
    }
    if has("h2 protocol error") || has("http2 error") || has("InvalidPreface") {
        return Some(
            "this is not a port of gRPC without TLS: qdrants:// if it is one with TLS; 6333 is that of HTTP",
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use r2former_index::ErrorKind;

    fn sorted(status: &Status) -> Trouble {
        let address = "qdrant://h:1/c".parse().unwrap();
        sort(&address, "the key of R2FORMER_QDRANT_KEY", "searching", status)
    }

    fn last(status: &Status) -> IndexError {
        match sorted(status) {
            Trouble::Final(error) => error,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_can_succeed_later_is_tried_again() {
        for code in [
            Code::Internal,
            Code::Unavailable,
            Code::DeadlineExceeded,
            Code::Aborted,
            Code::Unknown,
            Code::Cancelled,
            Code::ResourceExhausted,
        ] {
            assert!(matches!(sorted(&Status::new(code, "x")), Trouble::Node(_, None)), "{code}");
        }
        let mut limited = Status::resource_exhausted("rate limit");
        limited.metadata_mut().insert("retry-after", "3".parse().unwrap());
        assert!(matches!(sorted(&limited), Trouble::Node(_, Some(wait)) if wait == Duration::from_secs(3)));
    }

    #[test]
    fn what_cannot_succeed_names_the_address_and_the_cure() {
        let missing = last(&Status::not_found("Not found: Collection `c` doesn't exist!"));
        assert!(
            missing.to_string().contains("qdrant://h:1/c") && missing.to_string().contains("index create"),
            "{missing}"
        );
        let refused = last(&Status::unauthenticated("Invalid API key or JWT"));
        assert!(refused.to_string().contains("R2FORMER_QDRANT_KEY"), "{refused}");
        assert_eq!(refused.kind(), ErrorKind::Caller);
        assert_eq!(last(&Status::invalid_argument("limit")).kind(), ErrorKind::Caller);
        let full = last(&Status::internal("Service internal error: No space left on device: WAL"));
        assert!(matches!(full, IndexError::Full { .. }), "{full}");
    }
}
