//! `r2former serve`: indexes over HTTP.

use crate::common::{IndexPrecision, Machine};
use crate::exit::{ExitStatus, Usage, usage};
use crate::output::{self, escaped};
use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use r2former_engine::{Extractor, IndexAddress, LoadedModel, PlaceIndex};
use r2former_model::ModelConfig;
use r2former_server::{
    Basemap, Keys, Role, ServedIndex, Server, Service, ServiceOptions, is_key_name, new_key, tls_config,
};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const EXAMPLES: &str = "\
On 127.0.0.1 (the default) everybody on this machine may do everything. Any other address needs keys:
  r2former serve --new-key write --key-name phone
  r2former serve places --listen 0.0.0.0:8443 --keys keys.txt --tls-cert cert.pem --tls-key key.pem

Ask it:
  curl --data-binary @photo.jpg http://127.0.0.1:8080/v1/locate
  curl -F image=@photo.jpg -F near=52.205,0.119 -F radius=500 http://127.0.0.1:8080/v1/locate
  curl -F image=@new.jpg -F position=52.205,0.119 http://127.0.0.1:8080/v1/places

Answers are those of `r2former query --json`; /openapi.json lists every address and parameter.
Other programs may write to the indexes meanwhile: every query sees the last change. Ctrl-C or
SIGTERM finishes what was taken, and ends.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ServeArgs {
    /// Indexes: folders, or collections as qdrant://HOST:PORT/COLLECTION. Requests name one by the name of its folder or
    /// collection, or by NAME in NAME=FOLDER; the first is the default.
    #[arg(required_unless_present = "new_key", value_name = "INDEX")]
    indexes: Vec<String>,
    /// Address and port; port 0 is any free one. 0.0.0.0 is reached from other machines, and needs --keys.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// Another name under which it is reached, as behind a proxy; requests to a loopback address under other names are
    /// refused. May be repeated.
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,
    /// Require that the indexes were built with this model; their own copies are used otherwise.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    #[command(flatten)]
    precision: IndexPrecision,
    /// Folder below which photos of the indexes lie, for pictures and thumbnails: the folder that was added, or the folder
    /// above it. Needed where photos were moved since. May be repeated.
    #[arg(long, value_name = "DIR")]
    photos: Vec<PathBuf>,
    /// Folder that keeps the photos that are sent to indexes of a cluster, in a folder for each index [default: they are not
    /// kept]. An index in a folder keeps them there.
    #[arg(long, value_name = "DIR")]
    uploads: Option<PathBuf>,
    /// Folder whose new photos with GPS are added to the first index, or to NAME in NAME=DIR; looked through every 2 seconds.
    /// May be repeated.
    #[arg(long, value_name = "DIR")]
    watch: Vec<String>,
    /// Base map of the page: an address of pictures with {z}, {x} and {y}, or a PMTiles file. Without one there is a grid;
    /// an index of local metres always has one.
    #[arg(long, value_name = "URL|FILE")]
    tiles: Option<String>,
    /// Whom the base map has to name, shown in its corner.
    #[arg(long, value_name = "TEXT", requires = "tiles", default_value = "", hide_default_value = true)]
    tiles_attribution: String,
    /// File of keys: a line for each, as --new-key prints it. It is read again when it changes.
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Let anybody read without a key, on any address. Adding and removing places needs a key all the same.
    #[arg(long)]
    allow_unauthenticated: bool,
    /// Print a new key of this role, and its line for the file of keys, and end: read (queries), write (adds places, and
    /// removes those), admin (removes any place).
    #[arg(long, value_name = "ROLE", conflicts_with = "indexes")]
    new_key: Option<Role>,
    /// Name of the new key, for the log.
    #[arg(long, value_name = "NAME", requires = "new_key", default_value = "unnamed", value_parser = parse_key_name)]
    key_name: String,
    /// Certificate chain in PEM, for https.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key of the certificate in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Origin whose web pages may ask, as https://map.example.org; * is any, and needs --keys. May be repeated.
    #[arg(long, value_name = "ORIGIN", value_parser = parse_web_origin)]
    cors: Vec<String>,
    /// Queries that may wait for their turn; more are refused with status 429.
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    queue: u32,
    /// Queries that are computed at a time, each by all threads.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: u16,
    /// Longest time that a query waits for its turn, in seconds.
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3600))]
    timeout: u32,
    /// Largest body of a request, in MiB.
    #[arg(long, default_value_t = 32, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..=4096))]
    max_body: u32,
    /// Most pixels of a photo, in millions.
    #[arg(long, default_value_t = 64, value_name = "MILLIONS", value_parser = clap::value_parser!(u32).range(1..=150))]
    max_pixels: u32,
    /// Sessions of frames that are open at a time; of several keys, one may have a quarter.
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    sessions: u32,
    /// Format of the log on standard error.
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    log: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// A line per request.
    Text,
    /// A JSON object per request.
    Json,
    /// No log.
    None,
}

fn parse_key_name(text: &str) -> Result<String, String> {
    match is_key_name(text) {
        true => Ok(text.to_owned()),
        false => Err(format!("'{text}' is not 1 to 64 letters, digits, '.', '_' or '-'")),
    }
}

/// An origin as browsers send it: anything else would never be equal to one.
fn parse_web_origin(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let whole = host.is_some_and(|host| {
        !host.is_empty()
            && host
                .chars()
                .all(|c| c.is_ascii_alphanumeric() && !c.is_ascii_uppercase() || ".-_:[]".contains(c))
    });
    match whole || text == "*" {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "'{text}' is no origin: a scheme, a host in lower case and perhaps a port, without a path, as \
             https://map.example.org; or *"
        )),
    }
}

pub(crate) fn run(args: &ServeArgs, machine: &Machine) -> Result<ExitStatus> {
    if let Some(role) = args.new_key {
        return print_key(role, &args.key_name);
    }
    start_log(args.log);
    let mut options = ServiceOptions::default();
    options.queue = args.queue as usize;
    options.workers = args.workers.into();
    options.sessions = args.sessions as usize;
    options.timeout = Duration::from_secs(args.timeout.into());
    options.max_body = (args.max_body as usize) << 20;
    options.max_pixels = u64::from(args.max_pixels) * 1_000_000;
    options.cors.clone_from(&args.cors);
    options.basemap =
        args.tiles.as_deref().map(|text| Basemap::open(text, &args.tiles_attribution)).transpose()?;
    options.watch = args.watch.iter().map(|text| watched(text)).collect::<Result<_>>()?;
    let keys = args.keys.as_deref().map(Keys::open).transpose()?;
    let options = options
        .for_address(args.listen, args.hosts.clone(), keys, args.allow_unauthenticated)
        .map_err(|error| Usage(error.to_string()))?;
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(certificate), Some(key)) => Some(tls_config(certificate, key)?),
        _ => None,
    };
    for dir in &args.photos {
        if !dir.is_dir() {
            bail!("{}: --photos is a folder of photos", dir.display());
        }
    }
    let scheme = if tls.is_some() { "https" } else { "http" };
    let indexes = open(args, machine, &options)?;
    let names: Vec<String> = indexes.iter().map(|index| index.name.clone()).collect();
    let server = Server::start(Service::new(indexes, options)?, args.listen, tls)?;
    output::stdout().line(format_args!(
        "{scheme}://{}  serving {}",
        server.address(),
        escaped(&names.join(", "))
    ))?;
    server.run_until_signal()?;
    Ok(ExitStatus::Done)
}

fn print_key(role: Role, name: &str) -> Result<ExitStatus> {
    let (key, line) = new_key(role, name)?;
    let mut out = output::stdout();
    out.line(format_args!("{key}"))?;
    out.line(format_args!("{line}"))?;
    eprintln!(
        "note: the first line is the key, for the client alone; the second goes into the file of --keys, which holds no \
         key itself. per-minute=N behind it limits requests"
    );
    Ok(ExitStatus::Done)
}

/// Opens the indexes; those of one model and size share it.
fn open(args: &ServeArgs, machine: &Machine, options: &ServiceOptions) -> Result<Vec<ServedIndex>> {
    let expected = args.model.as_deref().map(LoadedModel::open).transpose()?;
    let mut served: Vec<ServedIndex> = Vec::with_capacity(args.indexes.len());
    // With the configurations of their files: an extractor's is that of its settings.
    let mut models: Vec<(ModelConfig, Arc<Extractor>)> = Vec::new();
    let precision = args.precision.precision;
    for text in &args.indexes {
        let (name, address) = named(text)?;
        let address = IndexAddress::parse(address)?;
        let index = PlaceIndex::open(&address)?;
        let name = name.unwrap_or_else(|| address.name());
        if let Some(expected) = &expected {
            index.check_model(expected)?;
        }
        let mut alike = None;
        for (config, other) in &models {
            if other.fingerprint() == index.manifest.config.fingerprint
                && other.settings() == machine.settings_of(&index, config, precision)?
            {
                alike = Some(other.clone());
            }
        }
        let extractor = match alike {
            Some(extractor) => extractor,
            None => {
                let loaded = index.model()?;
                let config = loaded.config.clone();
                let extractor = machine.extractor_of(&index, loaded, precision)?;
                let extractor = Arc::new(extractor.with_limits(options.image_limits()));
                models.push((config, extractor.clone()));
                extractor
            }
        };
        let uploads = args.uploads.as_ref().map(|folder| folder.join(&name));
        served.push(ServedIndex { name, index, extractor, photos: args.photos.clone(), uploads });
    }
    Ok(served)
}

/// What stands behind `NAME=`, and the name, if there is one.
fn named(text: &str) -> Result<(Option<String>, &str)> {
    match text.split_once('=') {
        Some((name, rest)) if !Path::new(text).exists() => {
            if name.is_empty() || name.contains(['/', '\\']) || name.contains(char::is_control) {
                usage!("{text}: a name before = has no slashes and is not empty, as in streets=/data/places");
            }
            Ok((Some(name.to_owned()), rest))
        }
        _ => Ok((None, text)),
    }
}

/// A folder to watch, and the name of its index, if that is not the first.
fn watched(text: &str) -> Result<(Option<String>, PathBuf)> {
    named(text).map(|(name, dir)| (name, dir.into()))
}

/// Lines on standard error: one per request, with its identifier.
fn start_log(format: LogFormat) {
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false);
    match format {
        LogFormat::Text => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
        LogFormat::None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_called_by_their_folder_or_as_asked() {
        let home = tempfile::tempdir().expect("temporary folder");
        let dir = home.path().join("a=b");
        std::fs::create_dir(&dir).expect("a folder");
        let text = |path: &Path| path.to_str().expect("text").to_owned();
        assert_eq!(named(&text(&dir)).expect("a folder"), (None, &*text(&dir)));
        assert_eq!(named("streets=x/y").expect("a name"), (Some("streets".into()), "x/y"));
        let collection = "qdrant://localhost:6334/streets";
        assert_eq!(named(collection).expect("an address"), (None, collection));
        assert_eq!(named("s=qdrant://h/c").expect("an address"), (Some("s".into()), "qdrant://h/c"));
        assert!(named("a/b=x").is_err() && named("=x").is_err());
    }
}
