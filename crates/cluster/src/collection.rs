//! An open collection: its manifest, and requests to it.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use qdrant_client::qdrant::collections_client::CollectionsClient;
use qdrant_client::qdrant::points_client::PointsClient;
use qdrant_client::qdrant::{
    CollectionConfig, CollectionExistsRequest, CollectionInfo, CountPoints, CreateCollection,
    CreateFieldIndexCollection, DeleteCollection, DeletePoints, Filter as Conditions,
    GetCollectionInfoRequest, GetPoints, PointId, QueryBatchPoints, RetrievedPoint, ScoredPoint,
    ScrollPoints, ScrollResponse, UpdateBatchPoints, UpdateCollection, UpdateResult, UpdateStatus,
    UpsertPoints, WithPayloadSelector, WithVectorsSelector, WriteOrdering, WriteOrderingType,
};
use r2former_index::{FORMAT, IndexError, Manifest, Result};
use serde_json::Value;
use tonic::Code;

use crate::address::Address;
use crate::connection::{Ask, Cluster};
use crate::payload::string;
use crate::runtime::{self, Pending};

/// The key of the manifest in a collection's metadata, as JSON in one text.
pub(crate) const MANIFEST: &str = "r2former";

/// The key of a random text that is of one creation.
pub(crate) const CREATION: &str = "r2former-creation";

/// The key that says that the creation came to its end.
pub(crate) const READY: &str = "r2former-ready";

/// Format of a collection: its fields, vectors and files.
const COLLECTION_FORMAT: u32 = 1;

/// Deadlines of requests unless others are asked for.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// A collection of a cluster, open.
#[derive(Debug, Clone)]
pub(crate) struct Collection {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) deadline: Duration,
}

impl Collection {
    /// Opens the index at `address` and, with `fingerprint`, refuses an index of another model.
    pub(crate) fn open(address: &Address, fingerprint: Option<&str>) -> Result<Self> {
        let calls = Calls::new(address, DEADLINE)?;
        let cluster = calls.cluster.clone();
        let manifest = calls.block(|calls| async move { calls.manifest().await })?;
        if let Some(fingerprint) = fingerprint {
            manifest.expect_model(&address.path(), fingerprint)?;
        }
        Ok(Self { cluster, manifest: Arc::new(manifest), deadline: DEADLINE })
    }

    pub(crate) fn address(&self) -> &Address {
        self.cluster.address()
    }

    pub(crate) fn calls(&self) -> Calls {
        Calls { cluster: self.cluster.clone(), deadline: self.deadline }
    }

    /// A wrong request.
    pub(crate) fn request(&self, problem: impl Into<String>) -> IndexError {
        IndexError::Request { dir: self.address().path(), problem: problem.into() }
    }

    /// Damage that was found.
    pub(crate) fn damaged(&self, problem: impl Into<String>) -> IndexError {
        IndexError::Damaged { dir: self.address().path(), problem: problem.into() }
    }
}

/// Requests to a cluster.
#[derive(Debug, Clone)]
pub(crate) struct Calls {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) deadline: Duration,
}

/// One request of each kind: its name here, the client, its method, the message and the answer.
macro_rules! calls {
    ($($name:ident: $client:ident.$method:ident($request:ty) -> $answer:ty, $doing:literal;)*) => {
        $(
            async fn $name(&self, request: &$request) -> Result<$answer> {
                let ask = Ask { doing: $doing, deadline: self.deadline, each: self.each() };
                self.cluster
                    .ask(ask, request, |channel, request| async move {
                        let mut client = $client::new(channel).max_decoding_message_size(usize::MAX);
                        client.$method(request).await
                    })
                    .await
            }
        )*
    };
}

impl Calls {
    calls! {
        send_info: CollectionsClient.get(GetCollectionInfoRequest) -> qdrant_client::qdrant::GetCollectionInfoResponse, "reading what the collection is";
        send_exists: CollectionsClient.collection_exists(CollectionExistsRequest) -> qdrant_client::qdrant::CollectionExistsResponse, "looking for the collection";
        send_create: CollectionsClient.create(CreateCollection) -> qdrant_client::qdrant::CollectionOperationResponse, "creating the collection";
        send_drop: CollectionsClient.delete(DeleteCollection) -> qdrant_client::qdrant::CollectionOperationResponse, "deleting an unfinished collection";
        send_update: CollectionsClient.update(UpdateCollection) -> qdrant_client::qdrant::CollectionOperationResponse, "changing what is known about the collection";
        send_field: PointsClient.create_field_index(CreateFieldIndexCollection) -> qdrant_client::qdrant::PointsOperationResponse, "creating the index of a field";
        send_upsert: PointsClient.upsert(UpsertPoints) -> qdrant_client::qdrant::PointsOperationResponse, "adding images";
        send_batch: PointsClient.update_batch(UpdateBatchPoints) -> qdrant_client::qdrant::UpdateBatchResponse, "describing images";
        send_delete: PointsClient.delete(DeletePoints) -> qdrant_client::qdrant::PointsOperationResponse, "removing images";
        send_get: PointsClient.get(GetPoints) -> qdrant_client::qdrant::GetResponse, "reading images";
        send_scroll: PointsClient.scroll(ScrollPoints) -> ScrollResponse, "listing images";
        send_count: PointsClient.count(CountPoints) -> qdrant_client::qdrant::CountResponse, "counting images";
        send_query: PointsClient.query_batch(QueryBatchPoints) -> qdrant_client::qdrant::QueryBatchResponse, "searching";
    }

    pub(crate) fn new(address: &Address, deadline: Duration) -> Result<Self> {
        Ok(Self { cluster: Arc::new(Cluster::new(address)?), deadline })
    }

    pub(crate) fn address(&self) -> &Address {
        self.cluster.address()
    }

    /// How long one node is waited for: another can be asked in time.
    pub(crate) fn each(&self) -> Duration {
        self.deadline / 3
    }

    /// The collection's name.
    pub(crate) fn name(&self) -> String {
        self.address().collection().to_owned()
    }

    /// Runs requests to their end, from any thread.
    pub(crate) fn block<T, F>(&self, requests: impl FnOnce(Self) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        self.finish(self.start(requests)?)
    }

    /// Starts requests, from any thread.
    pub(crate) fn start<T, F>(&self, requests: impl FnOnce(Self) -> F) -> Result<Pending<Result<T>>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        runtime::start(requests(self.clone())).map_err(|problem| self.store("asking the cluster", problem))
    }

    /// Waits for started requests.
    pub(crate) fn finish<T>(&self, pending: Pending<Result<T>>) -> Result<T> {
        pending.wait().map_err(|problem| self.store("asking the cluster", problem))?
    }

    fn store(&self, doing: &'static str, problem: impl Into<String>) -> IndexError {
        IndexError::Store { dir: self.address().path(), doing, problem: problem.into() }
    }

    /// The manifest of the collection, or what else it is.
    pub(crate) async fn manifest(&self) -> Result<Manifest> {
        let config = match self.info(&self.name()).await {
            Ok(info) => info.config.unwrap_or_default(),
            Err(IndexError::NoCollection { .. }) if self.exists(&self.address().files()).await? => {
                return Err(self.half_created(&[self.address().files()]));
            }
            Err(error) => return Err(error),
        };
        match read_manifest(&self.address().path(), &config) {
            None => Err(IndexError::OtherCollection { address: self.address().to_string() }),
            Some(_) if !config.metadata.contains_key(READY) => {
                Err(self.half_created(&[self.address().files(), self.name()]))
            }
            Some(manifest) => manifest,
        }
    }

    /// An error that names what an unfinished creation left.
    pub(crate) fn half_created(&self, collections: &[String]) -> IndexError {
        let names: Vec<_> = collections.iter().map(|name| format!("{name:?}")).collect();
        let leftover =
            format!("the collection{} {}", if names.len() > 1 { "s" } else { "" }, names.join(" and "));
        IndexError::HalfCreated { address: self.address().to_string(), leftover }
    }

    pub(crate) async fn info(&self, collection: &str) -> Result<CollectionInfo> {
        let request = GetCollectionInfoRequest { collection_name: collection.into() };
        let info = self.send_info(&request).await?.result;
        info.ok_or_else(|| self.store("reading what the collection is", "an empty answer"))
    }

    pub(crate) async fn exists(&self, collection: &str) -> Result<bool> {
        let request = CollectionExistsRequest { collection_name: collection.into() };
        Ok(self.send_exists(&request).await?.result.is_some_and(|result| result.exists))
    }

    /// Creates a collection. That it is there is no error after a try whose answer was lost.
    pub(crate) async fn create(&self, request: &CreateCollection) -> Result<()> {
        match self.send_create(request).await {
            Ok(answer) if answer.result => Ok(()),
            Ok(_) => Err(self.store("creating the collection", "it was not created")),
            Err(IndexError::Store { problem, .. } | IndexError::Request { problem, .. })
                if problem.contains("already exists") =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Deletes a collection that this program has just created, and did not finish.
    pub(crate) async fn drop_unfinished(&self, collection: &str) {
        let request = DeleteCollection { collection_name: collection.into(), ..DeleteCollection::default() };
        // What remains is named when the address is used next.
        let _ = self.send_drop(&request).await;
    }

    pub(crate) async fn update(&self, request: &UpdateCollection) -> Result<()> {
        self.send_update(request).await.map(drop)
    }

    pub(crate) async fn field(&self, mut request: CreateFieldIndexCollection) -> Result<()> {
        request.wait = Some(true);
        self.send_field(&request).await.map(drop)
    }

    /// Waits until every node that can be reached knows a collection, ready as it is: others may ask them next.
    pub(crate) async fn settled(&self, collection: &str, ready: bool) {
        let request = GetCollectionInfoRequest { collection_name: collection.into() };
        for _ in 0..50 {
            let answers = self
                .cluster
                .ask_each(&request, |channel, request| async move {
                    CollectionsClient::new(channel).get(request).await
                })
                .await;
            let settled = answers.iter().all(|answer| match answer {
                Ok(answer) => {
                    let config = answer.result.as_ref().and_then(|info| info.config.as_ref());
                    !ready || config.is_some_and(|config| config.metadata.contains_key(READY))
                }
                Err(status) => status.code() != Code::NotFound,
            });
            if settled {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Writes points: returns when the collection's write consistency has applied them.
    pub(crate) async fn upsert(&self, mut request: UpsertPoints) -> Result<()> {
        (request.wait, request.ordering) = (Some(true), ordering());
        loop_until_applied(self, || async { Ok(vec![self.send_upsert(&request).await?.result]) }).await
    }

    pub(crate) async fn batch(&self, mut request: UpdateBatchPoints) -> Result<()> {
        (request.wait, request.ordering) = (Some(true), ordering());
        loop_until_applied(self, || async {
            Ok(self.send_batch(&request).await?.result.into_iter().map(Some).collect())
        })
        .await
    }

    pub(crate) async fn delete(&self, mut request: DeletePoints) -> Result<()> {
        (request.wait, request.ordering) = (Some(true), ordering());
        loop_until_applied(self, || async { Ok(vec![self.send_delete(&request).await?.result]) }).await
    }

    pub(crate) async fn get(
        &self,
        collection: &str,
        ids: Vec<PointId>,
        payload: Option<WithPayloadSelector>,
        vectors: Option<WithVectorsSelector>,
    ) -> Result<Vec<RetrievedPoint>> {
        let request = GetPoints {
            collection_name: collection.into(),
            ids,
            with_payload: payload.or(Some(false.into())),
            with_vectors: vectors.or(Some(false.into())),
            timeout: Some(self.each().as_secs().max(1)),
            ..GetPoints::default()
        };
        Ok(self.send_get(&request).await?.result)
    }

    pub(crate) async fn scroll(&self, mut request: ScrollPoints) -> Result<ScrollResponse> {
        request.timeout = Some(self.each().as_secs().max(1));
        request.with_payload = request.with_payload.or(Some(false.into()));
        request.with_vectors = request.with_vectors.or(Some(false.into()));
        self.send_scroll(&request).await
    }

    pub(crate) async fn count(&self, filter: Option<Conditions>) -> Result<usize> {
        let request = CountPoints {
            collection_name: self.name(),
            filter,
            exact: Some(true),
            timeout: Some(self.each().as_secs().max(1)),
            ..CountPoints::default()
        };
        Ok(self.send_count(&request).await?.result.map_or(0, |result| result.count as usize))
    }

    pub(crate) async fn query(&self, request: &QueryBatchPoints) -> Result<Vec<Vec<ScoredPoint>>> {
        let answers = self.send_query(request).await?.result;
        if answers.len() != request.query_points.len() {
            return Err(self.store("searching", "another number of answers than of queries"));
        }
        Ok(answers.into_iter().map(|answer| answer.result).collect())
    }
}

/// Repeats a change until every part of it is applied; some answers say that it is only noted.
async fn loop_until_applied<F>(calls: &Calls, mut send: impl FnMut() -> F) -> Result<()>
where
    F: Future<Output = Result<Vec<Option<UpdateResult>>>>,
{
    const TRIES: u32 = 5;
    for i in 0..TRIES {
        let results = send().await?;
        let applied = |result: &Option<UpdateResult>| {
            result.as_ref().is_some_and(|result| result.status == UpdateStatus::Completed as i32)
        };
        if results.iter().all(applied) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(200) * 2_u32.pow(i)).await;
    }
    Err(calls.store("waiting for a change", "the cluster noted it and did not apply it in time: repeat it"))
}

/// The node that is asked brings a change to all replicas itself. The stricter orders pass it to a leader of the shard: while
/// nodes disagree on who is alive, they pass it to each other, around and around, until nothing else is answered.
fn ordering() -> Option<WriteOrdering> {
    Some(WriteOrdering { r#type: WriteOrderingType::Weak as i32 })
}

/// The manifest in a collection's metadata; none if another program created it.
fn read_manifest(address: &Path, config: &CollectionConfig) -> Option<Result<Manifest>> {
    let text = string(&config.metadata, MANIFEST)?;
    Some(parse_manifest(address, text))
}

fn parse_manifest(address: &Path, text: &str) -> Result<Manifest> {
    let broken = |problem: String| IndexError::Damaged {
        dir: address.into(),
        problem: format!("the manifest in its metadata: {problem}"),
    };
    let mut raw: Value = serde_json::from_str(text).map_err(|error| broken(error.to_string()))?;
    let found = raw.get("format").and_then(Value::as_u64).ok_or_else(|| broken("no format number".into()))?;
    if found != u64::from(COLLECTION_FORMAT) {
        let found = u32::try_from(found).unwrap_or(u32::MAX);
        return Err(IndexError::OtherFormat { dir: address.into(), found, known: COLLECTION_FORMAT });
    }
    // A folder's format has its own numbers.
    raw["format"] = FORMAT.into();
    Manifest::parse(address, raw.to_string().as_bytes())
}

/// A manifest as it stands in a collection's metadata.
pub(crate) fn manifest_text(manifest: &Manifest) -> Result<String, String> {
    let mut raw = serde_json::to_value(manifest).map_err(|error| error.to_string())?;
    raw["format"] = COLLECTION_FORMAT.into();
    Ok(raw.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use r2former_index::{IndexConfig, Origin, Positions};

    #[test]
    fn a_manifest_comes_back() {
        let origin = Origin::new(48.123_456_789, 11.0, Some(519.5)).unwrap();
        let config = IndexConfig {
            model: "m".into(),
            fingerprint: "sha256:aa".into(),
            global_dim: 256,
            row_width: 131,
            max_rows: 50,
            positions: Positions::Local { origin: Some(origin) },
        };
        let at = Path::new("qdrant://h:1/c");
        let manifest = Manifest::new(at, config).unwrap();
        let text = manifest_text(&manifest).unwrap();
        assert_eq!(parse_manifest(at, &text).unwrap(), manifest);
        let later = text.replace("\"format\":1", "\"format\":2");
        assert!(matches!(
            parse_manifest(at, &later),
            Err(IndexError::OtherFormat { found: 2, known: 1, .. })
        ));
        for broken in ["", "[]", "{\"format\":1}"] {
            assert!(matches!(parse_manifest(at, broken), Err(IndexError::Damaged { .. })), "{broken}");
        }
    }
}
