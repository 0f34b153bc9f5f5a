//! An open index.

use crate::arguments::{bytes, handed_over, optional, path, pixels, text};
use crate::failure::{Failure, guard};
use ::r2former_index::{ReadPlaces, WritePlaces, place_id};
use r2former_engine::{
    AddOptions, EngineError, LoadedModel, MemoryImage, NoProgress, OpenIndex, PlaceFields, PlaceIndex,
    PositionKind, PrecisionChoice, QueryImage, QueryOptions, Settings, add_images, answers_json,
};
use r2former_model::parse_device;
use serde_json::json;
use std::ffi::{CString, c_char, c_int};
use std::ptr::null_mut;
use std::sync::Arc;

/// An open index. Any number of threads may use it at the same time; it is closed once, when none does.
#[allow(non_camel_case_types, reason = "a name of C")]
#[derive(Debug)]
pub struct r2former_index {
    /// Sequences share it.
    pub(crate) open: Arc<OpenIndex>,
}

/// What an image is called that has no other name.
pub(crate) const NAME: &str = "image";

impl r2former_index {
    fn new(open: OpenIndex) -> *mut Self {
        // Opening for writing looks through the index: it is done once, by the first change.
        open.keep_writer();
        Box::into_raw(Box::new(Self { open: Arc::new(open) }))
    }

    fn kind(&self) -> PositionKind {
        self.open.place().positions().kind()
    }

    /// The document of a query.
    fn locate(&self, query: QueryImage<'_>, options: &str) -> Result<*mut c_char, Failure> {
        let asked = QueryOptions::parse(options)?;
        let options = asked.locate_options(&*self.open.extractor()?, self.kind())?;
        let result = self.open.ask(query, &asked, &options)?;
        handed_over(answers_json(&[result]).to_string())
    }

    /// The document of an image that was added.
    fn add(&self, name: &str, image: QueryImage<'_>, fields: &str) -> Result<*mut c_char, Failure> {
        let image = image.named(name);
        let photo = PlaceFields::parse(fields)?.photo(name, image.tags(), self.kind())?;
        let extractor = self.open.extractor()?;
        let images = [MemoryImage { image, photo }];
        // A robot that says where a frame was means it.
        let options = AddOptions::default().update(true);
        let report =
            self.open.change(|writer| add_images(writer, &extractor, &images, &options, &NoProgress))?;
        if let Some((_, reason)) = report.unreadable.into_iter().next() {
            return Err(EngineError::Data(r2former_data::DataError::image(name, reason)).into());
        }
        handed_over(
            json!({
                "id": place_id(name), "name": name, "added": report.added, "updated": report.updated.len(),
                "already_indexed": report.already_indexed,
            })
            .to_string(),
        )
    }
}

/// An index by its pointer.
///
/// # Safety
/// The pointer is null, or an index that is open during the call.
pub(crate) unsafe fn opened<'a>(index: *const r2former_index) -> Result<&'a r2former_index, Failure> {
    // SAFETY: as the caller promises.
    unsafe { index.as_ref() }.ok_or_else(|| Failure::request("index: is NULL"))
}

/// Opens an index: a folder, or a collection of a cluster as `qdrant://HOST:PORT/COLLECTION`. `device` may be NULL for the
/// CPU. Returns NULL where it fails.
///
/// # Safety
/// `path` is text that ends with 0; `device` as well, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn r2former_open(path: *const c_char, device: *const c_char) -> *mut r2former_index {
    let open = guard(|| {
        // SAFETY: as the caller promises.
        let (dir, device) = unsafe { (self::path("path", path)?, optional("device", device)?) };
        Ok(r2former_index::new(OpenIndex::open(&dir, device.unwrap_or("cpu"))?))
    });
    open.unwrap_or(null_mut())
}

/// Creates an empty index of positions in latitude and longitude, in a new or empty folder or as a new collection, and opens
/// it. `model` is a model file, or NULL for the built-in model; `device` may be NULL for the CPU. Returns NULL where it
/// fails.
///
/// # Safety
/// `path` is text that ends with 0; `model` and `device` as well, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn r2former_create(
    path: *const c_char,
    model: *const c_char,
    device: *const c_char,
) -> *mut r2former_index {
    let open = guard(|| {
        // SAFETY: as the caller promises.
        let (dir, device) = unsafe { (self::path("path", path)?, optional("device", device)?) };
        let loaded = match model.is_null() {
            true => LoadedModel::built_in()?,
            // SAFETY: as the caller promises.
            false => LoadedModel::open(&unsafe { self::path("model", model) }?)?,
        };
        let device = device.unwrap_or("cpu");
        let settings = Settings::of(&loaded.config).with_precision(
            PrecisionChoice::Auto,
            &loaded.config,
            &parse_device(device)?,
        );
        let place = PlaceIndex::create(&dir, &loaded, settings)?;
        Ok(r2former_index::new(OpenIndex::of(place, device)?))
    });
    open.unwrap_or(null_mut())
}

/// Closes an index that no other thread uses any more. NULL is ignored.
///
/// # Safety
/// `index` is NULL, or comes from `r2former_open` or `r2former_create` and was not closed before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn r2former_close(index: *mut r2former_index) {
    guard(|| {
        if !index.is_null() {
            // SAFETY: as the caller promises, it is a box of ours that nobody else has.
            drop(unsafe { Box::from_raw(index) });
        }
        Ok(())
    });
}

/// Where was this photograph taken? `bytes` are those of an image file (JPEG, PNG, WebP, TIFF, ...). `options` is NULL or a
/// JSON object: top, candidates, rerank, cascade, adaptive, approximate, min_confidence, near, radius, tags, since, until.
/// Returns the document of `r2former query --json`, to be freed by `r2former_free`; NULL where it fails. An image that
/// cannot be read is an answer with the status `unreadable`.
///
/// # Safety
/// `index` is open, `length` bytes can be read at `bytes`, `options` is text that ends with 0 or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn r2former_locate(
    index: *const r2former_index,
    bytes: *const u8,
    length: usize,
    options: *const c_char,
) -> *mut c_char {
    let document = guard(|| {
        // SAFETY: as the caller promises.
        let (index, options) = unsafe { (opened(index)?, optional("options", options)?) };
        // SAFETY: as the caller promises.
        let bytes = unsafe { self::bytes(bytes, length) }?;
        index.locate(QueryImage::from(bytes).named(NAME), options.unwrap_or_default())
    });
    document.unwrap_or(null_mut())
}

/// As `r2former_locate`, of a camera's frame: pixels of red, green and blue, 8 bits each, rows from the top, `stride` bytes
/// apart.
///
/// # Safety
/// As of `r2former_locate`; `height` rows of `3 * width` bytes can be read at `pixels`, each `stride` bytes after the one
/// before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn r2former_locate_rgb(
    index: *const r2former_index,
    pixels: *const u8,
    width: usize,
    height: usize,
    stride: usize,
    options: *const c_char,
) -> *mut c_char {
    let document = guard(|| {
        // SAFETY: as the caller promises.
        let (index, options) = unsafe { (opened(index)?, optional("options", options)?) };
        // SAFETY: as the caller promises.
        let frame = unsafe { self::pixels(pixels, [width, height, stride]) }?;
        index.locate(QueryImage::from(&frame).named(NAME), options.unwrap_or_default())
    });
    document.unwrap_or(null_mut())
}

/// Adds an image under a name of your own, or replaces the one of that name. `fields` is NULL or a JSON object: position
/// (`[lat, lon]`, or `[x, y]` or `[x, y, z]` in an index of local metres), heading (degrees clockwise from north), altitude
/// (metres), time (seconds since 1970 UTC), tags (an object of texts); what it does not say, the EXIF says. Once it
/// returns, the image would survive a power cut, and is found by every query. Returns a JSON object with id, name, added,
/// updated and already_indexed, to be freed by `r2former_free`; NULL where it fails.
///
/// # Safety
/// `index` is open, `name` is text that ends with 0, `fields` as well or NULL, `length` bytes can be read at `bytes`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn r2former_add(
    index: *const r2former_index,
    name: *const c_char,
    bytes: *const u8,
    length: usize,
    fields: *const c_char,
) -> *mut c_char {
    let document = guard(|| {
        // SAFETY: as the caller promises.
        let (index, name, fields) =
            unsafe { (opened(index)?, text("name", name)?, optional("fields", fields)?) };
        // SAFETY: as the caller promises.
        let bytes = unsafe { self::bytes(bytes, length) }?;
        index.add(name, QueryImage::from(bytes), fields.unwrap_or_default())
    });
    document.unwrap_or(null_mut())
}

/// As `r2former_add`, of a camera's frame: see `r2former_locate_rgb`.
///
/// # Safety
/// As of `r2former_add` and `r2former_locate_rgb`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn r2former_add_rgb(
    index: *const r2former_index,
    name: *const c_char,
    pixels: *const u8,
    width: usize,
    height: usize,
    stride: usize,
    fields: *const c_char,
) -> *mut c_char {
    let document = guard(|| {
        // SAFETY: as the caller promises.
        let (index, name, fields) =
            unsafe { (opened(index)?, text("name", name)?, optional("fields", fields)?) };
        // SAFETY: as the caller promises.
        let frame = unsafe { self::pixels(pixels, [width, height, stride]) }?;
        index.add(name, QueryImage::from(&frame), fields.unwrap_or_default())
    });
    document.unwrap_or(null_mut())
}

/// Removes an image by its name. Returns 1 if it was there, 0 if not, -1 where it fails.
///
/// # Safety
/// `index` is open, `name` is text that ends with 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn r2former_remove(index: *const r2former_index, name: *const c_char) -> c_int {
    let removed = guard(|| {
        // SAFETY: as the caller promises.
        let (index, name) = unsafe { (opened(index)?, text("name", name)?) };
        Ok(index.open.change(|writer| Ok(writer.remove(&[place_id(name)])?))?)
    });
    removed.map_or(-1, |removed| c_int::from(removed > 0))
}

/// Images, bytes, extent and model: the document of `r2former index info --json`, to be freed by `r2former_free`; NULL
/// where it fails.
///
/// # Safety
/// `index` is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn r2former_info(index: *const r2former_index) -> *mut c_char {
    let document = guard(|| {
        // SAFETY: as the caller promises.
        let open = unsafe { &opened(index)?.open };
        let info = open.reader().info()?;
        handed_over(open.place().info_document(&info)?.to_string())
    });
    document.unwrap_or(null_mut())
}

/// Lets other processes write to the index: it is locked from the first change on until this is called or it is closed.
/// Returns 1, or 0 where it fails.
///
/// # Safety
/// `index` is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn r2former_release_writer(index: *const r2former_index) -> c_int {
    let released = guard(|| {
        // SAFETY: as the caller promises.
        Ok(unsafe { opened(index) }?.open.pause_writer()?)
    });
    c_int::from(released.is_some())
}

/// Frees a document. NULL is ignored.
///
/// # Safety
/// `document` is NULL, or comes from a function of this library and was not freed before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn r2former_free(document: *mut c_char) {
    if !document.is_null() {
        // SAFETY: as the caller promises, it is a text of ours that nobody else has.
        drop(unsafe { CString::from_raw(document) });
    }
}
