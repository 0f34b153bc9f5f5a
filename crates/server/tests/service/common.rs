//! Photographs, an index, a service on a free port, and a client that speaks as plainly as can be.

use r2former_data::dataset::{SourceOptions, list_photos, source_root};
use r2former_data::image::{PhotoTags, Rgb8, jpeg_with_tags};
use r2former_engine::{
    AddOptions, Extractor, LatLon, LoadedModel, NoProgress, PlaceIndex, PositionKind, Positions, Settings,
    Source, add_photos,
};
use r2former_model::{Calibration, Clue, ConfidenceFit, parse_device};
use r2former_server::{ServedIndex, Server, Service, ServiceOptions};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tempfile::TempDir;

/// A photograph-like picture that depends on `seed` alone.
pub(crate) fn picture(seed: u32, width: usize, height: usize) -> Rgb8 {
    let wave = |x: usize, k: u32| (x as f32 * (0.02 + 0.013 * ((seed * 7 + k * 3) % 11) as f32)).sin();
    let pixels = (0..height)
        .flat_map(|y| (0..width).map(move |x| (x, y)))
        .flat_map(|(x, y)| {
            [0u32, 1, 2].map(|c| (127.0 + 60.0 * wave(x + 13 * c as usize, c) + 60.0 * wave(y, c + 3)) as u8)
        })
        .collect();
    Rgb8 { width, height, pixels }
}

/// A JPEG, with GPS where a position is given.
pub(crate) fn jpeg(seed: u32, position: Option<LatLon>) -> Vec<u8> {
    let tags = PhotoTags { position, ..Default::default() };
    jpeg_with_tags(&picture(seed, 96, 80), 90, &tags).expect("a sound picture encodes")
}

/// The built-in model without its calibration, once.
pub(crate) fn extractor() -> Arc<Extractor> {
    static EXTRACTOR: OnceLock<Arc<Extractor>> = OnceLock::new();
    let model =
        || LoadedModel::built_in().expect("a sound build").with(|config, _| config.calibration = None);
    EXTRACTOR.get_or_init(|| extractor_of(model().expect("a sound model"))).clone()
}

fn extractor_of(model: LoadedModel) -> Arc<Extractor> {
    let settings = Settings::of(&model.config);
    let extractor = Extractor::new(model, settings, &parse_device("cpu").expect("a CPU")).expect("a CPU");
    Arc::new(extractor.with_limits(ServiceOptions::default().image_limits()))
}

/// The built-in model with a calibration of its own: half of the answers that are as similar as `half` are correct.
pub(crate) fn calibrated(half: f64) -> LoadedModel {
    let fits = ["model", "ransac", "mutual", "none"].map(|ranking| ConfidenceFit {
        ranking: ranking.into(),
        positions: true,
        bias: -40.0 * half,
        weights: [(Clue::Similarity, 40.0)].into(),
        typical: None,
    });
    let calibration = Calibration {
        radius_m: 25.0,
        threshold: 0.5,
        fits: fits.to_vec(),
        position_scale: Some(2.0),
        fitted_on: Vec::new(),
    };
    let model = LoadedModel::built_in().expect("a sound build");
    model.with(|config, _| config.calibration = Some(calibration)).expect("a sound calibration")
}

/// A folder with an index, and the photographs in it.
pub(crate) struct Home {
    model: Arc<Extractor>,
    pub(crate) dir: TempDir,
    pub(crate) index: PathBuf,
    pub(crate) photos: PathBuf,
}

impl Home {
    /// Three photographs about 20 m apart, called `camera/0.jpg` and so on.
    pub(crate) fn new() -> Self {
        Self::empty(Positions::Wgs84).with_three()
    }

    /// The same with the model of [`calibrated`].
    pub(crate) fn calibrated(half: f64) -> Self {
        let model = calibrated(half);
        let mut home = Self::of(&model, Positions::Wgs84);
        home.model = extractor_of(model);
        home.with_three()
    }

    fn with_three(self) -> Self {
        let home = self;
        for seed in 0..3u32 {
            let position = LatLon { lat: 52.2 + 0.0002 * f64::from(seed), lon: 0.12 };
            std::fs::write(home.photos.join(format!("{seed}.jpg")), jpeg(seed, Some(position)))
                .expect("a file");
        }
        home.add_folder();
        home
    }

    /// An index without images.
    pub(crate) fn empty(positions: Positions) -> Self {
        Self::of(&LoadedModel::built_in().expect("a sound build"), positions)
    }

    fn of(model: &LoadedModel, positions: Positions) -> Self {
        let dir = tempfile::tempdir().expect("temporary folder");
        let (index, photos) = (dir.path().join("places"), dir.path().join("camera"));
        std::fs::create_dir(&photos).expect("a folder");
        let settings = Settings::of(&model.config);
        PlaceIndex::create_with(&index, model, settings, positions).expect("a new index");
        Self { model: extractor(), dir, index, photos }
    }

    /// Adds what is in the folder of photographs, as `r2former index add` does.
    pub(crate) fn add_folder(&self) {
        let index = PlaceIndex::open(&self.index).expect("an index");
        let root = source_root(&self.photos, None, None).expect("a folder");
        let without = index.positions().kind() == PositionKind::None;
        let listed = SourceOptions { positions: without.then_some(PositionKind::None), ..Default::default() };
        let mut photos = list_photos(&self.photos, None, &listed).expect("photographs").photos;
        root.label(&mut photos);
        let source = Source { label: root.label.clone(), root: root.root_text() };
        let options = AddOptions::default().sources(vec![source]);
        let mut writer = index.writer().expect("nobody else writes");
        add_photos(&mut writer, &self.model, &photos, &options, &NoProgress).expect("added");
    }

    pub(crate) fn served(&self) -> ServedIndex {
        ServedIndex {
            name: "places".into(),
            index: PlaceIndex::open(&self.index).expect("an index"),
            uploads: None,
            extractor: self.model.clone(),
            photos: Vec::new(),
        }
    }

    /// A service of this index on loopback.
    pub(crate) fn serve(&self) -> Serving {
        self.serve_with(ServiceOptions::default())
    }

    pub(crate) fn serve_with(&self, options: ServiceOptions) -> Serving {
        let listen = "127.0.0.1:0".parse().expect("an address");
        let options = options.for_address(listen, Vec::new(), None, false).expect("loopback");
        self.serve_as(options)
    }

    pub(crate) fn serve_as(&self, options: ServiceOptions) -> Serving {
        let service = Service::new(vec![self.served()], options).expect("an index");
        let listen = "127.0.0.1:0".parse().expect("an address");
        Serving(Server::start(service, listen, None).expect("a free port"))
    }

    /// What no answer may hold.
    pub(crate) fn secret(&self) -> String {
        self.dir.path().to_str().expect("text").to_owned()
    }
}

/// A running service.
pub(crate) struct Serving(pub(crate) Server);

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}\n{}", self.head, String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Asserts an error with problem details, and returns what it says.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> String {
        let said = String::from_utf8_lossy(&self.body).into_owned();
        assert_eq!(self.status, status, "{said}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.head);
        let json = self.json();
        assert_eq!(json["status"], status, "{said}");
        assert!(
            json["type"].as_str().is_some_and(|kind| kind.starts_with("urn:r2former:problem:")),
            "{said}"
        );
        let id = self.header("x-request-id").expect("an identifier");
        assert_eq!(json["instance"], format!("urn:r2former:request:{id}"));
        json["detail"].as_str().expect("a detail").to_owned()
    }
}

impl Serving {
    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        stream
    }

    /// Sends a request as it is given, with `Host` and `Connection: close`.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head.push_str(&format!("Host: {}\r\n", self.address()));
        }
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        self.raw(&[head.as_bytes(), body].concat())
    }

    /// Sends bytes, and reads what comes back to its end; a service that refuses early may not take all of them.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Reply {
        let mut stream = self.connect();
        let _ = stream.write_all(bytes);
        reply(&mut stream)
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], b"")
    }

    pub(crate) fn post(&self, path: &str, image: &[u8]) -> Reply {
        self.send("POST", path, &[("Content-Type", "image/jpeg")], image)
    }

    pub(crate) fn form(&self, path: &str, parts: &[Part<'_>]) -> Reply {
        let (kind, body) = form(parts);
        self.send("POST", path, &[("Content-Type", &kind)], &body)
    }
}

/// Reads an answer until the other end closes.
pub(crate) fn reply(stream: &mut TcpStream) -> Reply {
    let mut bytes = Vec::new();
    // A reset after the answer is the end, too.
    let _ = stream.read_to_end(&mut bytes);
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let Some(end) = end else { return Reply { status: 0, head: String::new(), body: bytes } };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let mut body = bytes[end + 4..].to_vec();
    if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        body = unchunked(&body);
    }
    Reply { status, head, body }
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let size =
            std::str::from_utf8(&rest[..end]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let Some(size) = size.filter(|size| *size > 0) else { break };
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 4 + size..];
    }
    body
}

/// A part of a form: a field, or a file with its name.
pub(crate) enum Part<'a> {
    Text(&'a str, &'a str),
    File(&'a str, &'a [u8]),
}

/// A multipart form: its media type and its bytes.
pub(crate) fn form(parts: &[Part<'_>]) -> (String, Vec<u8>) {
    let boundary = "a-boundary-that-is-nowhere-else";
    let mut body = Vec::new();
    for part in parts {
        let (disposition, bytes) = match part {
            Part::Text(name, value) => (format!("name=\"{name}\""), value.as_bytes()),
            Part::File(name, bytes) => (format!("name=\"image\"; filename=\"{name}\""), *bytes),
        };
        let head = format!("--{boundary}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={boundary}"), body)
}

/// Asserts that bytes do not hold a text.
#[track_caller]
pub(crate) fn hides(reply: &Reply, secret: &str) {
    let all = format!("{}\n{}", reply.head, String::from_utf8_lossy(&reply.body));
    assert!(!all.contains(secret), "{all}");
}

/// Files in a folder.
pub(crate) fn files(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<_> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
