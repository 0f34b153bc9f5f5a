//! The service over real connections to a loopback port, on small indexes that are made on the spot.

mod common;
mod contract;
mod limits;
mod locate;
mod malformed;
mod places;
mod rights;
mod watch;
