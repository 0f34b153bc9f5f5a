//! Requests: clients of stores, retries, deadlines, and what an answer says of an object.

use crate::address::{Address, Scheme};
use crate::stores::FetchOptions;
use futures_util::StreamExt;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::HttpBuilder;
use object_store::path::Path as ObjectPath;
use object_store::{
    BackoffConfig, ClientConfigKey, ClientOptions, Error, GetOptions, GetResult, ObjectMeta, ObjectStore,
    RetryConfig,
};
use r2former_data::DataError;
use r2former_index::FileFingerprint;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

/// Environment variables that hold credentials, or say where they are.
const AWS: [&str; 5] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SKIP_SIGNATURE",
];
const GOOGLE: [&str; 5] = [
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_PATH",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "GOOGLE_SKIP_SIGNATURE",
];

/// Longest time that a whole object may take: the largest photograph on a slow line.
const OBJECT: &str = "10 minutes";
/// Longest wait for a connection.
const CONNECT: &str = "15 seconds";

fn given(names: &[&str]) -> bool {
    names.iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// A client of the store that an address is in.
pub(crate) fn client(address: &Address, options: &FetchOptions) -> Result<Arc<dyn ObjectStore>, Error> {
    let retry = RetryConfig {
        backoff: BackoffConfig {
            init_backoff: options.backoff,
            max_backoff: Duration::from_secs(10),
            base: 2.0,
        },
        max_retries: options.retries,
        retry_timeout: Duration::from_secs(90),
    };
    let limits = [(ClientConfigKey::Timeout, OBJECT), (ClientConfigKey::ConnectTimeout, CONNECT)];
    Ok(match address.scheme {
        Scheme::S3 => {
            let mut builder = AmazonS3Builder::from_env().with_bucket_name(&address.host).with_retry(retry);
            if !given(&AWS) {
                builder = builder.with_skip_signature(true);
            }
            for (key, value) in limits {
                builder = builder.with_config(AmazonS3ConfigKey::Client(key), value);
            }
            Arc::new(builder.build()?)
        }
        Scheme::Google => {
            let mut builder =
                GoogleCloudStorageBuilder::from_env().with_bucket_name(&address.host).with_retry(retry);
            if !given(&GOOGLE) {
                builder = builder.with_skip_signature(true);
            }
            for (key, value) in limits {
                builder = builder.with_config(GoogleConfigKey::Client(key), value);
            }
            Arc::new(builder.build()?)
        }
        Scheme::Http => {
            let mut client = ClientOptions::new().with_allow_http(true);
            for (key, value) in limits {
                client = client.with_config(key, value);
            }
            let query = address.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
            let url = format!("{}/{query}", address.host);
            Arc::new(HttpBuilder::new().with_url(url).with_client_options(client).with_retry(retry).build()?)
        }
    })
}

/// Where an object is in its store.
pub(crate) fn location(address: &Address) -> Result<ObjectPath, Error> {
    Ok(match address.scheme {
        Scheme::Http => ObjectPath::from_url_path(&address.key)?,
        Scheme::S3 | Scheme::Google => ObjectPath::parse(&address.key)?,
    })
}

/// What a store says of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) bytes: u64,
    /// What identifies its bytes; none where the store says nothing that changes with them.
    pub(crate) version: Option<FileFingerprint>,
}

/// Reads an object's size and version from its metadata.
///
/// S3 and Google hash small objects into the ETag, by which copies are alike wherever they lie; every other ETag means
/// something only together with its address.
pub(crate) fn about(address: &Address, meta: &ObjectMeta) -> About {
    let etag = meta.e_tag.as_deref().map(|tag| tag.trim_start_matches("W/").trim_matches('"'));
    let hashed = |tag: &&str| {
        address.scheme != Scheme::Http && tag.len() == 32 && tag.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let text = match etag.filter(|tag| !tag.is_empty()) {
        Some(tag) if hashed(&tag) => Some(format!("etag {}", tag.to_ascii_lowercase())),
        Some(tag) => Some(format!("etag {tag} of {address}")),
        None if meta.last_modified.timestamp() > 0 => {
            Some(format!("modified {} of {address}", meta.last_modified.timestamp_millis()))
        }
        None => None,
    };
    let version = text
        .map(|text| FileFingerprint { bytes: meta.size, xxh3: FileFingerprint::of(text.as_bytes()).xxh3 });
    About { bytes: meta.size, version }
}

/// Bytes of an object.
#[derive(Debug, Clone)]
pub(crate) struct Fetched {
    pub(crate) bytes: Vec<u8>,
    pub(crate) about: About,
    /// Whether they are all.
    pub(crate) all: bool,
}

/// Fetches an object, or its first bytes; refuses one of more than `most` bytes.
///
/// # Errors
/// In words, without the address.
pub(crate) async fn fetch(
    store: &dyn ObjectStore,
    address: &Address,
    head: Option<u64>,
    most: u64,
    options: &FetchOptions,
) -> Result<Fetched, String> {
    let location = location(address).map_err(|error| words(&error, address))?;
    let mut head = head;
    let mut attempt = 0;
    loop {
        let range = head.map(|end| Range { start: 0, end }.into());
        let got = store.get_opts(&location, GetOptions { range, ..GetOptions::default() }).await;
        let failed = match got {
            Ok(got) => match body(got, head, most, address, options).await {
                Ok(fetched) => return Ok(fetched),
                Err(Broken::Refused(problem)) => return Err(problem),
                Err(Broken::Again(problem)) => problem,
            },
            // A server that knows no ranges sends all of it.
            Err(Error::NotSupported { .. }) if head.is_some() => {
                head = None;
                continue;
            }
            // The client has tried again where that helps.
            Err(error) => return Err(words(&error, address)),
        };
        attempt += 1;
        if attempt > options.retries {
            return Err(format!("{failed} ({attempt} times)"));
        }
        tokio::time::sleep(options.backoff * 2_u32.saturating_pow(attempt as u32 - 1)).await;
    }
}

/// Why the bytes of an answer are not used.
enum Broken {
    /// For good.
    Refused(String),
    /// Perhaps not the next time.
    Again(String),
}

async fn body(
    got: GetResult,
    head: Option<u64>,
    most: u64,
    address: &Address,
    options: &FetchOptions,
) -> Result<Fetched, Broken> {
    let about = about(address, &got.meta);
    let wanted = got.range.end - got.range.start;
    if wanted > most {
        return Err(Broken::Refused(format!("has {wanted} bytes, and at most {most} are read")));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(wanted).unwrap_or(0));
    let mut stream = got.into_stream();
    loop {
        match tokio::time::timeout(options.stall, stream.next()).await {
            Ok(Some(Ok(chunk))) => bytes.extend_from_slice(&chunk),
            Ok(Some(Err(error))) => return Err(Broken::Again(words(&error, address))),
            Ok(None) => break,
            Err(_) => {
                return Err(Broken::Again(format!("nothing arrived for {} s", options.stall.as_secs_f32())));
            }
        }
        if bytes.len() as u64 > most {
            return Err(Broken::Refused(format!("sends more than {most} bytes, and no more are read")));
        }
    }
    if (bytes.len() as u64) < wanted {
        return Err(Broken::Again(format!("the connection ended after {} of {wanted} bytes", bytes.len())));
    }
    let all = head.is_none() || bytes.len() as u64 >= about.bytes;
    Ok(Fetched { bytes, about, all })
}

/// Whether a store wants a key, or another one. What it says of a list comes as a text alone.
fn refused(error: &Error) -> bool {
    let said = || error.to_string();
    matches!(error, Error::PermissionDenied { .. } | Error::Unauthenticated { .. })
        || matches!(error, Error::Generic { .. })
            && ["403 Forbidden", "401 Unauthorized"].iter().any(|code| said().contains(code))
}

/// What is said of an object that is not there.
const MISSING: &str = "does not exist";

/// A source that its store does not give, for the reason that [`words`] gave.
pub(crate) fn not_listed(source: &impl fmt::Display, problem: String) -> DataError {
    match problem.as_str() {
        MISSING => DataError::io(source.to_string(), io::Error::new(io::ErrorKind::NotFound, problem)),
        _ => DataError::Request(format!("{source}: {problem}")),
    }
}

/// An error of a store in a line, with what to do about it.
pub(crate) fn words(error: &Error, address: &Address) -> String {
    match error {
        Error::NotFound { .. } => MISSING.into(),
        error if refused(error) => match address.scheme {
            Scheme::S3 => "the store refuses: are AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION set, and may they \
                           list and read this? (without a key, requests are anonymous)"
                .into(),
            Scheme::Google => "the store refuses: does GOOGLE_APPLICATION_CREDENTIALS name the key of an account that may \
                               list and read this? (without one, requests are anonymous)"
                .into(),
            Scheme::Http => "the server refuses".into(),
        },
        error => {
            // The innermost cause says what happened; those around it repeat the address.
            let mut cause: &dyn std::error::Error = error;
            while let Some(inner) = cause.source() {
                cause = inner;
            }
            let (all, inner) = (error.to_string(), cause.to_string());
            let text = if all.contains(&inner) || inner.is_empty() { all } else { format!("{all}: {inner}") };
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        }
    }
}
