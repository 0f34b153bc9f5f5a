//! Creating the two collections of an index.
//!
//! The one of the files comes first, with the attachments; then the one of the images, with the manifest in its metadata;
//! and when its fields are indexed, the mark that it is ready. What stops in between is recognised by every other call.

#![allow(deprecated, reason = "Qdrant 1.16 to 1.18 know where data is to be by these fields alone")]

use qdrant_client::qdrant::quantization_config::Quantization as Kind;
use qdrant_client::qdrant::{
    CreateCollection, CreateFieldIndexCollection, Distance, FieldType, FloatIndexParams, GeoIndexParams,
    HnswConfigDiff, IntegerIndexParams, KeywordIndexParams, PayloadIndexParams, QuantizationConfig,
    QuantizationType, ScalarQuantization, UpdateCollection, Value, VectorParams, VectorParamsMap,
    VectorsConfig, payload_index_params::IndexParams, vectors_config::Config,
};
use r2former_index::{
    Attachment, CollectionOptions, IndexConfig, IndexError, Manifest, PositionKind, Quantization, Result,
};

use crate::address::Address;
use crate::attachments::{self, KIND};
use crate::collection::{CREATION, Calls, MANIFEST, READY, manifest_text};
use crate::payload::{FILE, GEO, LAT, LON, TAGS, TIME, X, Y, Z, string, text};

/// The vector of a point.
pub(crate) const GLOBAL: &str = "global";

/// Bytes of one image's local features that Qdrant does not take: its log holds a change in 32 MiB.
const TOO_MANY: usize = 16 << 20;

/// Creates an empty index: the collection of `address`, and the one of its files with `attachments` in it (names and
/// content; [`attachment`](crate::attachment) reads them). How it is kept can be changed later with Qdrant's own tools.
///
/// # Errors
/// [`CollectionExists`](IndexError::CollectionExists), [`HalfCreated`](IndexError::HalfCreated) by an earlier attempt,
/// [`Request`](IndexError::Request) for a shape or options that the cluster does not take, the reader's of an attachment,
/// or the cluster's. An attachment that cannot be read to its end leaves no collection.
pub fn create(
    address: &Address,
    config: IndexConfig,
    options: &CollectionOptions,
    attachments: &mut [Attachment<'_>],
) -> Result<()> {
    let manifest = Manifest::new(&address.path(), config)?;
    let refuse = |problem: String| IndexError::Request { dir: address.path(), problem };
    options.check().map_err(refuse)?;
    let config = &manifest.config;
    let local = config.row_width * config.max_rows;
    if local >= TOO_MANY {
        return Err(refuse(format!(
            "{local} bytes of local features per image; a cluster takes less than {TOO_MANY}"
        )));
    }
    let manifest_json = manifest_text(&manifest).map_err(refuse)?;
    for (name, _) in attachments.iter() {
        attachments::check_name(name).map_err(refuse)?;
    }
    // Which of two creations at a time a collection is of.
    let creation = format!("{:032x}", fastrand::u128(..));
    let calls = Calls::new(address, crate::collection::DEADLINE)?;
    let (files, main) = (address.files(), calls.name());

    let request = CreateCollection {
        collection_name: files.clone(),
        shard_number: Some(1),
        metadata: [(CREATION.into(), text(&*creation))].into(),
        ..common(options)
    };
    let mark = creation.clone();
    calls.block(|calls| async move {
        calls.nothing_there().await?;
        calls.create_own(&request, &mark).await?;
        calls.field(field(&request.collection_name, KIND, keyword(false))).await
    })?;
    if let Err(error) = attachments::write(&calls, attachments) {
        calls.block(|calls| async move {
            calls.drop_unfinished(&files).await;
            Ok(())
        })?;
        return Err(error);
    }

    let request = CreateCollection {
        collection_name: main.clone(),
        shard_number: options.shards,
        vectors_config: Some(vectors(config, options)),
        metadata: [(MANIFEST.to_owned(), text(manifest_json)), (CREATION.to_owned(), text(&*creation))]
            .into(),
        ..common(options)
    };
    let fields = fields(&main, config, options);
    let ready = UpdateCollection {
        collection_name: main.clone(),
        metadata: [(READY.to_owned(), Value::from(true))].into(),
        ..UpdateCollection::default()
    };
    calls.block(|calls| async move {
        calls.create_own(&request, &creation).await?;
        for field in fields {
            calls.field(field).await?;
        }
        calls.update(&ready).await?;
        calls.settled(&files, false).await;
        calls.settled(&main, true).await;
        Ok(())
    })
}

impl Calls {
    /// Refuses to create over anything.
    async fn nothing_there(&self) -> Result<()> {
        let (main, files) = (self.name(), self.address().files());
        let exists = |collection: &str| IndexError::CollectionExists {
            address: self.address().to_string(),
            collection: collection.into(),
        };
        if self.exists(&main).await? {
            return match self.manifest().await {
                Err(error @ IndexError::HalfCreated { .. }) => Err(error),
                _ => Err(exists(&main)),
            };
        }
        if self.exists(&files).await? {
            return Err(self.half_created(&[files]));
        }
        Ok(())
    }

    /// Creates a collection, and sees that it is the one of this creation.
    async fn create_own(&self, request: &CreateCollection, creation: &str) -> Result<()> {
        self.create(request).await?;
        let collection = &request.collection_name;
        let metadata = self.info(collection).await?.config.unwrap_or_default().metadata;
        match string(&metadata, CREATION) {
            Some(found) if found == creation => Ok(()),
            Some(_) => Err(IndexError::CollectionExists {
                address: self.address().to_string(),
                collection: collection.clone(),
            }),
            None => Err(IndexError::Store {
                dir: self.address().path(),
                doing: "creating the collection",
                problem: format!("{collection:?} has no metadata: Qdrant 1.16 or later is needed"),
            }),
        }
    }
}

/// What both collections share.
fn common(options: &CollectionOptions) -> CreateCollection {
    CreateCollection {
        replication_factor: options.replicas,
        write_consistency_factor: options.write_consistency,
        on_disk_payload: Some(true),
        ..CreateCollection::default()
    }
}

/// The vector of images.
fn vectors(config: &IndexConfig, options: &CollectionOptions) -> VectorsConfig {
    let int8 = ScalarQuantization {
        r#type: QuantizationType::Int8 as i32,
        always_ram: Some(true),
        ..ScalarQuantization::default()
    };
    let global = VectorParams {
        size: config.global_dim as u64,
        // They have unit length as they are, and stay what they are to the last bit.
        distance: Distance::Dot as i32,
        on_disk: Some(options.on_disk),
        hnsw_config: Some(HnswConfigDiff { on_disk: Some(options.on_disk), ..HnswConfigDiff::default() }),
        quantization_config: match options.quantization {
            Quantization::None => None,
            Quantization::Int8 => Some(QuantizationConfig { quantization: Some(Kind::Scalar(int8)) }),
        },
        ..VectorParams::default()
    };
    let map = [(GLOBAL.to_owned(), global)].into();
    VectorsConfig { config: Some(Config::ParamsMap(VectorParamsMap { map })) }
}

/// The fields that filters read.
fn fields(
    collection: &str,
    config: &IndexConfig,
    options: &CollectionOptions,
) -> Vec<CreateFieldIndexCollection> {
    let on_disk = options.on_disk;
    let float = || {
        let params = FloatIndexParams { on_disk: Some(on_disk), ..FloatIndexParams::default() };
        (FieldType::Float, IndexParams::FloatIndexParams(params))
    };
    let geo = GeoIndexParams { on_disk: Some(on_disk), ..GeoIndexParams::default() };
    let integer = IntegerIndexParams {
        lookup: Some(false),
        range: Some(true),
        on_disk: Some(on_disk),
        ..IntegerIndexParams::default()
    };
    let mut fields = vec![
        field(collection, TIME, (FieldType::Integer, IndexParams::IntegerIndexParams(integer))),
        field(collection, TAGS, keyword(on_disk)),
        // As many values as images: not in memory.
        field(collection, FILE, keyword(true)),
    ];
    match config.positions.kind() {
        PositionKind::Wgs84 => {
            fields.push(field(collection, GEO, (FieldType::Geo, IndexParams::GeoIndexParams(geo))));
            fields.extend([LAT, LON].map(|key| field(collection, key, float())));
        }
        PositionKind::Local => fields.extend([X, Y, Z].map(|key| field(collection, key, float()))),
        PositionKind::None => {}
    }
    fields
}

fn keyword(on_disk: bool) -> (FieldType, IndexParams) {
    let params = KeywordIndexParams { on_disk: Some(on_disk), ..KeywordIndexParams::default() };
    (FieldType::Keyword, IndexParams::KeywordIndexParams(params))
}

fn field(
    collection: &str,
    key: &str,
    (kind, params): (FieldType, IndexParams),
) -> CreateFieldIndexCollection {
    CreateFieldIndexCollection {
        collection_name: collection.into(),
        field_name: key.into(),
        field_type: Some(kind as i32),
        field_index_params: Some(PayloadIndexParams { index_params: Some(params) }),
        ..CreateFieldIndexCollection::default()
    }
}
