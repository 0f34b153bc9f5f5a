//! Where a collection is: `qdrant://HOST:PORT[,HOST:PORT...]/COLLECTION`, and what opens it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The schemes, without and with TLS.
const PLAIN: &str = "qdrant://";
const SECURE: &str = "qdrants://";

/// Port of gRPC unless an address has another.
const PORT: u16 = 6334;

/// Longest name of a collection in bytes: one of its files' collection is longer by `-files`, and Qdrant allows 255.
const LONGEST_NAME: usize = 240;

/// What the collection of an index's files is called besides its name.
const FILES: &str = "-files";

/// Address of a place index in a Qdrant cluster: `qdrant://HOST:PORT[,HOST:PORT...]/COLLECTION`, `qdrants://` with TLS.
///
/// The ports are those of gRPC (6334 if there is none). Several nodes of one cluster may be named: where one does not
/// answer, the next is asked. The key is never part of it: `R2FORMER_QDRANT_KEY` holds it, or
/// `R2FORMER_QDRANT_KEY_FILE` names a file that does.
///
/// ```
/// use r2former_cluster::Address;
///
/// let address: Address = "qdrant://10.0.0.1:6334,10.0.0.2:6334/streets".parse()?;
/// assert_eq!(address.collection(), "streets");
/// assert!(Address::is_address("qdrants://db.example.org/streets"));
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    hosts: Vec<String>,
    collection: String,
    tls: bool,
}

impl Address {
    /// Whether this is meant as an address, and not as a folder.
    pub fn is_address(text: &str) -> bool {
        text.starts_with(PLAIN) || text.starts_with(SECURE)
    }

    /// Each node as `HOST:PORT`, at least one.
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// The collection.
    pub fn collection(&self) -> &str {
        &self.collection
    }

    /// Whether connections are encrypted.
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// The collection of the index's files.
    pub(crate) fn files(&self) -> String {
        format!("{}{FILES}", self.collection)
    }

    /// The address where errors name an index's folder.
    pub(crate) fn path(&self) -> PathBuf {
        self.to_string().into()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { SECURE } else { PLAIN };
        write!(f, "{scheme}{}/{}", self.hosts.join(","), self.collection)
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (tls, rest) = match (text.strip_prefix(PLAIN), text.strip_prefix(SECURE)) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(format!("{text:?} is no address of a collection: {PLAIN}HOST:PORT/COLLECTION")),
        };
        // Before the text is shown anywhere: what stands before an '@' may be a key.
        if rest.contains('@') || rest.contains('?') {
            return Err(format!(
                "an address of a collection holds no key and no options ({PLAIN}HOST:PORT/COLLECTION); set \
                 R2FORMER_QDRANT_KEY, or R2FORMER_QDRANT_KEY_FILE to a file that holds the key"
            ));
        }
        let (hosts, collection) = rest
            .split_once('/')
            .ok_or_else(|| format!("{text:?} names no collection: {PLAIN}HOST:PORT/COLLECTION"))?;
        let collection = collection.strip_suffix('/').unwrap_or(collection);
        check_name(collection)
            .map_err(|problem| format!("{text:?}: the collection {collection:?} {problem}"))?;
        let mut found: Vec<String> = Vec::new();
        for host in hosts.split(',') {
            let host = host_and_port(host).map_err(|problem| format!("{text:?}: {problem}"))?;
            if !found.contains(&host) {
                found.push(host);
            }
        }
        Ok(Self { hosts: found, collection: collection.into(), tls })
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(plain) || name.starts_with('.') {
        return Err(format!("is not made of 1 to {LONGEST_NAME} letters, digits, '-', '_' and '.'"));
    }
    if name.ends_with(FILES) {
        return Err(format!("ends with {FILES:?}, which is for the files of an index"));
    }
    Ok(())
}

/// `HOST:PORT` of a host with or without one; IPv6 in brackets.
fn host_and_port(text: &str) -> Result<String, String> {
    let wrong = || format!("{text:?} is no host, or no host and port: HOST:PORT, [IPv6]:PORT");
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or_else(wrong)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|error| format!("{text:?}: {error}"))?;
            (format!("[{host}]"), port)
        }
        None => {
            let at = text.find(':').unwrap_or(text.len());
            (text[..at].to_owned(), &text[at..])
        }
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '[' | ']');
    if host.is_empty() || !host.chars().all(plain) {
        return Err(wrong());
    }
    let port = match port {
        "" => PORT,
        port => {
            let port = port.strip_prefix(':').and_then(|port| port.parse().ok()).filter(|&port| port > 0);
            port.ok_or_else(wrong)?
        }
    };
    Ok(format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for (text, hosts, collection, tls) in [
            ("qdrant://localhost:6334/streets", &["localhost:6334"][..], "streets", false),
            ("qdrant://a/b", &["a:6334"], "b", false),
            ("qdrants://a.org:1,b.org:2,a.org:1/x_1.2-y/", &["a.org:1", "b.org:2"], "x_1.2-y", true),
            ("qdrant://[::1]:7000,[fe80::1]/c", &["[::1]:7000", "[fe80::1]:6334"], "c", false),
        ] {
            assert!(Address::is_address(text));
            let address: Address = text.parse().unwrap();
            assert_eq!(
                (address.hosts(), address.collection(), address.tls()),
                (&hosts.iter().map(|&h| h.to_owned()).collect::<Vec<_>>()[..], collection, tls)
            );
            assert_eq!(address.to_string().parse(), Ok(address));
        }
        for folder in ["streets", "/data/qdrant", "./qdrant:", "C:\\index", "http://localhost:6334/x"] {
            assert!(!Address::is_address(folder));
        }
    }

    #[test]
    fn a_wrong_address_is_refused_by_what_is_wrong() {
        for (text, word) in [
            ("localhost:6334/streets", "no address"),
            ("qdrant://localhost:6334", "names no collection"),
            ("qdrant://localhost:6334/", "letters, digits"),
            ("qdrant://localhost/a/b", "letters, digits"),
            ("qdrant:///a", "HOST:PORT"),
            ("qdrant://a:b/c", "HOST:PORT"),
            ("qdrant://a:0/c", "HOST:PORT"),
            ("qdrant://a:70000/c", "HOST:PORT"),
            ("qdrant://a,/c", "HOST:PORT"),
            ("qdrant://[::1/c", "HOST:PORT"),
            ("qdrant://a b/c", "HOST:PORT"),
            ("qdrant://a/streets-files", "files of an index"),
        ] {
            let problem = text.parse::<Address>().unwrap_err();
            assert!(problem.contains(word), "{text}: {problem}");
        }
        for text in ["qdrant://secret@a/c", "qdrant://a/c?api_key=secret", "qdrants://user:secret@a:1/c"] {
            let problem = text.parse::<Address>().unwrap_err();
            assert!(problem.contains("R2FORMER_QDRANT_KEY") && !problem.contains("secret"), "{problem}");
        }
    }
}
