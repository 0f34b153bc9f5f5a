//! `POST /v1/places`: a photograph with its position.

use crate::body::{Upload, extension, in_memory, receive};
use crate::index::Index;
use crate::json::json_response;
use crate::params::{Params, shown};
use crate::photos::uploads_source;
use crate::places::entry;
use crate::problem::{Problem, Result};
use crate::service::{Service, blocking};
use crate::writing::Held;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{HeaderValue, LOCATION};
use axum::http::{Response, StatusCode};
use r2former_data::dataset::composed_name;
use r2former_data::image::{Limits, Shape, decode_bytes, shape_of_bytes, tags_of_bytes};
use r2former_data::{PanoramaMode, PanoramaOptions, Photo, expand_panoramas_by, tag_refusal};
use r2former_engine::{
    AddOptions, MemoryImage, NoProgress, PositionKind, QueryImage, add_images, add_photos,
};
use r2former_index::{ReadPlaces, place_id};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Parameters of a place to add.
pub(crate) const PARAMS: [&str; 9] =
    ["index", "position", "heading", "altitude", "time", "tag", "name", "panorama", "replace"];

/// What is done with a panorama that becomes several places elsewhere.
pub(crate) const PANORAMA: [&str; 2] = ["refuse", "whole"];

/// Longest name of an upload in bytes.
const LONGEST_NAME: usize = 200;

/// A place to add.
struct NewPlace {
    image: Upload,
    /// Without the label.
    name: String,
    photo: Photo,
    replace: bool,
    limits: Limits,
    /// What is to be said of the photograph.
    notes: Vec<String>,
}

impl NewPlace {
    fn of(params: &Params, index: &Index, image: Upload, limits: Limits) -> Result<Self> {
        let shape = shape_of_bytes(&image.bytes, in_memory(), &limits)?;
        let tags = tags_of_bytes(&image.bytes, in_memory()).unwrap_or_default();
        let kind = index.kind();
        let mut photo = tags.photo("", "");
        match params.position(kind)? {
            Some(position) => {
                photo.position = Some(position);
                // They are those of the EXIF's position.
                (photo.position_error, photo.position_method) = (None, None);
            }
            None if kind == PositionKind::Wgs84 && photo.position.is_some() => {}
            None if kind == PositionKind::None => photo.position = None,
            None => {
                return Err(Problem::unprocessable(match kind {
                    PositionKind::Wgs84 => {
                        "where was it taken? Its EXIF has no position: give position=LAT,LON"
                    }
                    _ => "where was it taken? Give position=X,Y or position=X,Y,Z in metres",
                }));
            }
        }
        if let Some(heading) = params.number("heading", -360.0..=360.0)? {
            (photo.heading, photo.heading_ref) = (Some(heading.rem_euclid(360.0)), None);
        }
        photo.altitude = params.number("altitude", -12_000.0..=100_000.0)?.or(photo.altitude);
        photo.time = params.time()?.or(photo.time);
        for (key, value) in params.tags()? {
            if let Some(why) = tag_refusal(&key, &value) {
                return Err(Problem::unprocessable(format!("tag={}: {why}", shown(&key))));
            }
            photo.tags.insert(key, value);
        }
        let name = match params.one("name")? {
            Some(name) => checked_name(name)?,
            None => {
                // Of its bytes: what is sent twice because an answer was lost is one place.
                let sum: String =
                    Sha256::digest(&image.bytes)[..16].iter().map(|b| format!("{b:02x}")).collect();
                format!("{sum}.{}", extension(image.format))
            }
        };
        let mode = match params.word("panorama", &PANORAMA)? {
            "whole" => PanoramaMode::Whole,
            _ => PanoramaMode::Views,
        };
        photo.name.clone_from(&name);
        let (photo, notes) = as_one(photo, mode, shape)?;
        Ok(Self { image, name, photo, replace: params.flag("replace")?, limits, notes })
    }

    /// Puts it into the index. The photograph's file is durable before the place is, and the place before this returns.
    fn add(mut self, index: &Index, held: &mut Held) -> Result<(StatusCode, Value)> {
        let (writer, extractor) = held.both()?;
        let source = uploads_source(&writer.sources()?);
        self.photo.name = format!("{}/{}", source.label, self.name);
        let id = place_id(&self.photo.name);
        let failed = |error: std::io::Error| Problem::internal(format!("storing a photograph: {error}"));
        let stored = index.photos.store(id, &self.image.bytes).map_err(failed)?;
        let options = AddOptions::default().update(self.replace).sources(vec![source]);
        let report = match stored {
            Some(path) => {
                self.photo.path = path;
                add_photos(writer, extractor, &[self.photo], &options, &NoProgress)
            }
            None => {
                let image = QueryImage::from(&*self.image.bytes).named("image");
                let image = MemoryImage { image, photo: self.photo };
                add_images(writer, extractor, &[image], &options, &NoProgress)
            }
        };
        let known = writer.get(&[id]).map(|mut places| places.pop().flatten());
        if let Ok(known) = &known {
            index.photos.keep_only(id, known.as_ref().and_then(|place| place.file));
        }
        let report = report?;
        if let Some((_, reason)) = report.unreadable.first() {
            // In words for the client, which the report's are not.
            decode_bytes(&self.image.bytes, in_memory(), &self.limits)?;
            // The reason begins with the path of the file.
            let reason = reason.split_once(": ").map_or(reason.as_str(), |(_, reason)| reason);
            return Err(Problem::unprocessable(format!("the image: {reason}")));
        }
        if let Some(changed) = report.changed.first() {
            let what: Vec<&str> = changed.changes.iter().map(|change| change.what.as_str()).collect();
            return Err(Problem::conflict(format!(
                "the index has another photograph or another statement of this name: {} differ; replace=true takes the \
                 new one",
                what.join(", ")
            )));
        }
        let place = known?.ok_or_else(|| Problem::internal("what was added is not in the index"))?;
        let status = if report.added > 0 { StatusCode::CREATED } else { StatusCode::OK };
        let mut document = entry(id, &place);
        document["notes"] = self.notes.into();
        Ok((status, document))
    }
}

/// The photograph as the one place that it becomes, and what is to be said of it.
///
/// # Errors
/// 422 for a panorama of which `index add` makes several places.
fn as_one(photo: Photo, mode: PanoramaMode, shape: Shape) -> Result<(Photo, Vec<String>)> {
    let (width, height) = (shape.width, shape.height);
    let options = PanoramaOptions::default().mode(mode);
    let expanded = expand_panoramas_by(vec![photo], &options, |_| Some(shape.clone()));
    match <[Photo; 1]>::try_from(expanded.photos) {
        Ok([photo]) => Ok((photo, expanded.notes)),
        Err(_) => Err(Problem::unprocessable(format!(
            "the image is a panorama of {width} x {height} pixels, by its tags or its shape, and a place is one view: cut views \
             out of it and send each, or add it with `r2former index add` where the index is, which cuts them; \
             panorama=whole takes it as it is, squeezed to the model's shape"
        ))),
    }
}

/// A name without anything that means something to a file system or a terminal; letters with accents are composed, so
/// that both forms of Unicode are one name.
fn checked_name(name: &str) -> Result<String> {
    let name = composed_name(name);
    let usable = (1..=LONGEST_NAME).contains(&name.len())
        && !name.starts_with('.')
        && !name.contains(['/', '\\', '#'])
        && !name.contains(char::is_control)
        && name.trim() == name;
    match usable {
        true => Ok(name),
        false => Err(Problem::bad_request(format!(
            "name={}: a name has 1 to {LONGEST_NAME} bytes, no '/', '\\', '#' or control characters, and no '.' in front",
            shown(&name)
        ))),
    }
}

/// Adds a photograph with its position; it is searchable, and would survive a power cut, once this answers.
pub(crate) async fn add(State(service): State<Arc<Service>>, request: Request) -> Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let mut received = receive(&service, &parts, body, false).await?;
    received.params.only(&PARAMS)?;
    let index = service.index(&received.params)?;
    let looked = index.clone();
    blocking(move || looked.check()).await?;
    let limits = Limits { max_pixels: service.limits.pixels, ..Limits::default() };
    let image = received.one()?;
    let place = NewPlace::of(&received.params, &index, image, limits)?;
    let writes = index.clone();
    let (status, document) = index.writing.run(move |held| place.add(&writes, held)).await?;
    let mut response = json_response(status, &document);
    let location = format!("/v1/places/{}", document["id"].as_str().unwrap_or_default());
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_nowhere() {
        assert_eq!(checked_name("kitchen 1.jpg"), Ok("kitchen 1.jpg".into()));
        assert_eq!(checked_name("cafe\u{301}.jpg"), checked_name("caf\u{e9}.jpg"));
        for bad in
            ["", ".", "..", ".hidden", "a/b", "../a", "a\\b", "a#1", "a\0", "a\n", " a", &"x".repeat(201)]
        {
            assert!(checked_name(bad).is_err(), "{bad}");
        }
    }
}
