//! Indexes over HTTP: locate photographs, add and remove places, look at why something matched.
//!
//! [`Service`] holds the indexes and everything that bounds work, [`router`] has the addresses, [`Server`] the
//! connections. Queries are computed by threads of their own behind a queue with a length; changes of an index by one
//! thread each. Every answer that is an error has problem details (RFC 9457), and none names a path of the disk.
//!
//! ```no_run
//! use r2former_engine::{Extractor, PlaceIndex};
//! use r2former_model::parse_device;
//! use r2former_server::{ServedIndex, Server, Service, ServiceOptions};
//! use std::sync::Arc;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let listen = "127.0.0.1:8080".parse()?;
//! let options = ServiceOptions::default().for_address(listen, Vec::new(), None, false)?;
//! let index = PlaceIndex::open("streets")?;
//! let extractor = Extractor::new(index.model()?, index.settings, &parse_device("cpu")?)?;
//! let extractor = Arc::new(extractor.with_limits(options.image_limits()));
//! let served = ServedIndex { name: "streets".into(), index, extractor, photos: Vec::new(), uploads: None };
//! let server = Server::start(Service::new(vec![served], options)?, listen, None)?;
//! println!("http://{}", server.address());
//! server.run_until_signal()?;
//! # Ok(()) }
//! ```

mod adding;
mod basemap;
mod body;
mod error;
mod explain;
mod guard;
mod index;
mod json;
mod keys;
mod listen;
mod locate;
mod metrics;
mod openapi;
mod options;
mod page;
mod params;
mod patience;
mod photos;
mod pictures;
mod places;
mod problem;
mod queue;
mod reference;
mod removed;
mod rights;
mod routes;
mod service;
mod sessions;
mod status;
mod thumbnails;
mod tls;
mod watch;
mod writing;

pub use basemap::Basemap;
pub use error::{Result, ServeError};
pub use keys::{Keys, Role, is_key_name, new_key};
pub use listen::Server;
pub use options::{ServedIndex, ServiceOptions};
pub use routes::router;
pub use service::Service;
pub use tls::tls_config;
