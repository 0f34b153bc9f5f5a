//! A node that answers as a script says: for what a real one does only now and then.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use qdrant_client::qdrant::{
    CollectionClusterInfoResponse, CollectionConfig, CollectionInfo, CountResponse, CountResult,
    GetCollectionInfoResponse, LocalShardInfo, PointsOperationResponse, RemoteShardInfo, ReplicaState,
    UpdateResult, UpdateStatus,
};
use r2former_index::Manifest;
use tokio::net::TcpListener;

use super::images::config;

/// What a node does with a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// Refuses, with a code of gRPC.
    Status(u16, &'static str),
    /// Never answers.
    Hang,
    /// Ends the connection.
    Close,
    /// Writes, as far as this status.
    Write(UpdateStatus),
}

/// A node. It stops with the runtime that it runs on.
pub struct Stub {
    pub port: u16,
    /// Replies to changes and counts, in turn; then what a sound node answers.
    pub script: Arc<Mutex<VecDeque<Reply>>>,
    /// Changes and counts that it was asked for.
    pub asked: Arc<AtomicUsize>,
}

impl Stub {
    /// A node of this number; another node's shard is `other` to it, and its own is in use.
    pub async fn start(peer: u64, other: ReplicaState) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let script = Arc::new(Mutex::new(VecDeque::new()));
        let asked = Arc::new(AtomicUsize::new(0));
        let stub = Self { port, script: script.clone(), asked: asked.clone() };
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (script, asked) = (script.clone(), asked.clone());
                tokio::spawn(async move {
                    let service = hyper::service::service_fn(move |request| {
                        answer(request, peer, other, script.clone(), asked.clone())
                    });
                    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        stub
    }

    pub fn says(&self, replies: impl IntoIterator<Item = Reply>) {
        self.script.lock().unwrap().extend(replies);
    }

    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;

async fn answer(
    request: Request<Incoming>,
    peer: u64,
    other: ReplicaState,
    script: Arc<Mutex<VecDeque<Reply>>>,
    asked: Arc<AtomicUsize>,
) -> Result<Response<Body>, std::io::Error> {
    let path = request.uri().path().to_owned();
    let _ = request.into_body().collect().await;
    match path.as_str() {
        "/qdrant.Collections/Get" => Ok(message(&info())),
        "/qdrant.Collections/CollectionClusterInfo" => Ok(message(&view(peer, other))),
        _ => {
            asked.fetch_add(1, Ordering::SeqCst);
            let reply = script.lock().unwrap().pop_front();
            match reply.unwrap_or(Reply::Write(UpdateStatus::Completed)) {
                Reply::Status(code, words) => Ok(refusal(code, words)),
                Reply::Hang => std::future::pending().await,
                Reply::Close => Err(std::io::Error::other("closed")),
                Reply::Write(_) if path == "/qdrant.Points/Count" => Ok(message(&CountResponse {
                    result: Some(CountResult { count: peer }),
                    ..Default::default()
                })),
                Reply::Write(status) => {
                    let result = Some(UpdateResult { operation_id: Some(1), status: status as i32 });
                    Ok(message(&PointsOperationResponse { result, ..Default::default() }))
                }
            }
        }
    }
}

/// The collection of the other tests.
fn info() -> GetCollectionInfoResponse {
    let manifest = Manifest::new(std::path::Path::new("stub"), config()).unwrap();
    let mut manifest = serde_json::to_value(manifest).unwrap();
    manifest["format"] = 1.into();
    let metadata =
        [("r2former".to_owned(), manifest.to_string().into()), ("r2former-ready".to_owned(), true.into())];
    let config = CollectionConfig { metadata: metadata.into(), ..Default::default() };
    let result = Some(CollectionInfo { config: Some(config), ..Default::default() });
    GetCollectionInfoResponse { result, ..Default::default() }
}

/// Two nodes with a shard each.
fn view(peer: u64, other: ReplicaState) -> CollectionClusterInfoResponse {
    let own =
        LocalShardInfo { shard_id: peer as u32, state: ReplicaState::Active as i32, ..Default::default() };
    let elsewhere = 3 - peer;
    let other = RemoteShardInfo {
        shard_id: elsewhere as u32,
        peer_id: elsewhere,
        state: other as i32,
        ..Default::default()
    };
    CollectionClusterInfoResponse {
        peer_id: peer,
        local_shards: vec![own],
        remote_shards: vec![other],
        ..Default::default()
    }
}

fn message(message: &impl Message) -> Response<Body> {
    let mut bytes = vec![0];
    bytes.extend_from_slice(&(message.encoded_len() as u32).to_be_bytes());
    message.encode(&mut bytes).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(Bytes::from(bytes)).with_trailers(async move { Some(Ok(trailers)) });
    Response::builder().header("content-type", "application/grpc").body(BodyExt::boxed(body)).unwrap()
}

fn refusal(code: u16, words: &str) -> Response<Body> {
    Response::builder()
        .header("content-type", "application/grpc")
        .header("grpc-status", code.to_string())
        .header("grpc-message", words)
        .body(BodyExt::boxed(Full::new(Bytes::new())))
        .unwrap()
}
