//! `POST /v1/places`: a photograph with its position.

use crate::body::{Upload, extension, in_memory, receive};
use crate::index::Index;
use crate::json::json_response;
use crate::params::{Params, shown};
use crate::photos::uploads_source;
use crate::places::entry;
use crate::problem::{Problem, Result};
use crate::service::Service;
use crate::writing::Held;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{HeaderValue, LOCATION};
use axum::http::{Response, StatusCode};
use r2former_data::Photo;
use r2former_data::image::{Limits, shape_of_bytes, tags_of_bytes};
use r2former_engine::{
    AddOptions, MemoryImage, NoProgress, PositionKind, QueryImage, add_images, add_photos,
};
use r2former_index::{ReadPlaces, place_id};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Parameters of a place to add.
pub(crate) const PARAMS: [&str; 8] =
    ["index", "position", "heading", "altitude", "time", "tag", "name", "replace"];

/// Longest name of an upload in bytes.
const LONGEST_NAME: usize = 200;

/// A place to add.
struct NewPlace {
    image: Upload,
    /// Without the label.
    name: String,
    photo: Photo,
    replace: bool,
}

impl NewPlace {
    fn of(params: &Params, index: &Index, image: Upload, limits: &Limits) -> Result<Self> {
        shape_of_bytes(&image.bytes, in_memory(), limits)?;
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
        photo.time = params.number("time", -1e11..=1e11)?.map(|time| time as i64).or(photo.time);
        photo.tags.extend(params.tags()?);
        let name = match params.one("name")? {
            Some(name) => checked_name(name)?.to_owned(),
            None => {
                // Of its bytes: what is sent twice because an answer was lost is one place.
                let sum: String =
                    Sha256::digest(&image.bytes)[..16].iter().map(|b| format!("{b:02x}")).collect();
                format!("{sum}.{}", extension(image.format))
            }
        };
        Ok(Self { image, name, photo, replace: params.flag("replace")? })
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
        Ok((status, entry(id, &place)))
    }
}

/// A name without anything that means something to a file system or a terminal.
fn checked_name(name: &str) -> Result<&str> {
    let usable = (1..=LONGEST_NAME).contains(&name.len())
        && !name.starts_with('.')
        && !name.contains(['/', '\\', '#'])
        && !name.contains(char::is_control)
        && name.trim() == name;
    match usable {
        true => Ok(name),
        false => Err(Problem::bad_request(format!(
            "name={}: a name has 1 to {LONGEST_NAME} bytes, no '/', '\\', '#' or control characters, and no '.' in front",
            shown(name)
        ))),
    }
}

/// Adds a photograph with its position; it is searchable, and would survive a power cut, once this answers.
pub(crate) async fn add(State(service): State<Arc<Service>>, request: Request) -> Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let mut received = receive(&service, &parts, body, false).await?;
    received.params.only(&PARAMS)?;
    let index = service.index(&received.params)?;
    index.check()?;
    let limits = Limits { max_pixels: service.limits.pixels, ..Limits::default() };
    let image = received.one()?;
    let place = NewPlace::of(&received.params, &index, image, &limits)?;
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
        assert!(checked_name("kitchen 1.jpg").is_ok());
        for bad in
            ["", ".", "..", ".hidden", "a/b", "../a", "a\\b", "a#1", "a\0", "a\n", " a", &"x".repeat(201)]
        {
            assert!(checked_name(bad).is_err(), "{bad}");
        }
    }
}
