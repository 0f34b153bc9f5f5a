//! Who may ask, from where: keys, the header Host, and pages of other origins.

use crate::keys::{Identity, Keys, Refusal, Role};
use crate::problem::{Problem, Result};
use axum::http::header::{AUTHORIZATION, HOST, HeaderValue, ORIGIN};
use axum::http::request::Parts;

/// A header for clients that cannot set `Authorization`.
const API_KEY: &str = "x-api-key";

/// Rights of requests.
#[derive(Debug)]
pub(crate) struct Rights {
    keys: Option<Keys>,
    anonymous: Option<Role>,
    hosts: Option<Vec<String>>,
    cors: Vec<String>,
}

impl Rights {
    pub(crate) fn new(
        keys: Option<Keys>,
        anonymous: Option<Role>,
        hosts: Option<Vec<String>>,
        cors: Vec<String>,
    ) -> Self {
        let hosts = hosts.map(|hosts| hosts.iter().map(|host| host.to_ascii_lowercase()).collect());
        Self { keys, anonymous, hosts, cors }
    }

    /// Refuses requests under a name that is not ours: a page of the web can give our address a name of its own.
    pub(crate) fn check_host(&self, parts: &Parts) -> Result<()> {
        let Some(hosts) = &self.hosts else { return Ok(()) };
        let stated = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
        let asked = parts.uri.authority().map(|authority| authority.as_str());
        let ours = |host: &str| {
            let name = without_port(host).to_ascii_lowercase();
            hosts.contains(&name)
        };
        if stated.is_some_and(ours) && asked.is_none_or(ours) {
            return Ok(());
        }
        Err(Problem::forbidden("the header Host names none of this service's names; --host adds one"))
    }

    /// The origin to answer to with CORS headers, where a request comes from a page of another origin.
    ///
    /// # Errors
    /// 403 for a page that is neither ours nor allowed.
    pub(crate) fn check_origin(&self, parts: &Parts) -> Result<Option<HeaderValue>> {
        let Some(origin) = parts.headers.get(ORIGIN) else { return Ok(None) };
        let text = origin.to_str().unwrap_or_default();
        let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
        let authority = text.split_once("://").map(|(_, authority)| authority);
        if authority.is_some() && authority == host {
            return Ok(None);
        }
        if self.cors.iter().any(|allowed| allowed == "*" || allowed == text) {
            return Ok(Some(origin.clone()));
        }
        Err(Problem::forbidden("pages of this origin may not ask; --cors allows one"))
    }

    /// Who asks, and whether that is enough for `needed`.
    pub(crate) fn identify(&self, parts: &Parts, needed: Role) -> Result<Identity> {
        let identity = match (&self.keys, key_of(parts)) {
            (Some(keys), Some(key)) => match keys.check(key) {
                Ok(identity) => identity,
                Err(Refusal::Unknown) => return Err(Problem::unauthorized("the key is not known")),
                Err(Refusal::TooOften(wait)) => {
                    return Err(Problem::too_many("this key's requests in a minute are used up", wait));
                }
            },
            _ => match self.anonymous {
                Some(role) => Identity { name: "anonymous".into(), role },
                None => {
                    return Err(Problem::unauthorized(
                        "send a key as `Authorization: Bearer KEY` or `X-Api-Key: KEY`",
                    ));
                }
            },
        };
        if identity.role >= needed {
            return Ok(identity);
        }
        let detail = format!("this needs the role {needed}, and the request has {}", identity.role);
        let can_try = self.keys.is_some() && &*identity.name == "anonymous";
        Err(if can_try { Problem::unauthorized(detail) } else { Problem::forbidden(detail) })
    }
}

fn key_of(parts: &Parts) -> Option<&str> {
    let bearer = parts.headers.get(AUTHORIZATION).and_then(|value| {
        let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    bearer.or_else(|| parts.headers.get(API_KEY)?.to_str().ok().map(str::trim))
}

/// A host without its port; an IPv6 address keeps its brackets.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => {
            if name.starts_with('[') && !name.ends_with(']') { host } else { name }
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn only_our_names_and_pages_pass() {
        let hosts = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).to_vec();
        let rights = Rights::new(None, Some(Role::Admin), Some(hosts), vec!["https://map.example".into()]);
        for (host, passes) in [
            ("localhost", true),
            ("LOCALHOST:8080", true),
            ("127.0.0.1:1", true),
            ("[::1]:8080", true),
            ("evil.example", false),
            ("127.0.0.1.evil.example:8080", false),
            ("", false),
        ] {
            assert_eq!(rights.check_host(&parts("/", &[("host", host)])).is_ok(), passes, "{host}");
        }
        assert!(rights.check_host(&parts("/", &[])).is_err());
        assert!(rights.check_host(&parts("http://evil.example/", &[("host", "localhost")])).is_err());
        let origin =
            |origin| rights.check_origin(&parts("/", &[("host", "localhost:80"), ("origin", origin)]));
        assert_eq!(origin("http://localhost:80").ok(), Some(None));
        assert_eq!(origin("https://map.example").ok().flatten().expect("allowed"), "https://map.example");
        assert!(origin("null").is_err() && origin("https://evil.example").is_err());
    }

    #[test]
    fn roles_include_the_ones_before() {
        let rights = Rights::new(None, Some(Role::Write), None, Vec::new());
        let asks = |needed| rights.identify(&parts("/", &[]), needed);
        assert!(asks(Role::Read).is_ok() && asks(Role::Write).is_ok());
        assert_eq!(asks(Role::Admin).expect_err("more").status.as_u16(), 403);
        let closed = Rights::new(None, None, None, Vec::new());
        assert_eq!(closed.identify(&parts("/", &[]), Role::Read).expect_err("a key").status.as_u16(), 401);
    }
}
