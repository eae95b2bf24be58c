//! Where the engine is, as it is set. The text may hold a password: it is never shown.

use std::fmt;
use std::sync::Arc;

use super::relay::Engine;

/// See the module.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterUrl(String);

/// Why a URL cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ClusterUrlError(String);

impl ClusterUrlError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl From<&str> for ClusterUrl {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for ClusterUrl {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// Without user, password and query.
impl fmt::Display for ClusterUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&mask(&self.0))
    }
}

impl fmt::Debug for ClusterUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterUrl({self})")
    }
}

/// A URL that may be shown.
pub(crate) fn mask(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        // Whatever it is, it may be a password.
        return "***".to_owned();
    };
    // A password with unescaped slashes or question marks is no URL, but still a password.
    let (secret, rest) = match rest.rsplit_once('@') {
        Some((_, rest)) => ("***@", rest),
        None => ("", rest),
    };
    let end = rest.find(['?', '#']);
    let query = if end.is_some() { "?***" } else { "" };
    let place = &rest[..end.unwrap_or(rest.len())];
    format!("{scheme}://{secret}{place}{query}")
}

impl ClusterUrl {
    /// Checks the text; nothing is connected.
    ///
    /// # Errors
    /// What is wrong with it, without the text itself.
    pub fn check(&self) -> Result<(), ClusterUrlError> {
        self.engine().map(|_| ())
    }

    pub(crate) fn engine(&self) -> Result<Arc<dyn Engine>, ClusterUrlError> {
        let (scheme, rest) = self.0.split_once("://").unwrap_or_default();
        match scheme {
            // Nodes within one process: for tests.
            "memory" if !rest.is_empty() => Ok(super::memory::bus(rest)),
            #[cfg(feature = "redis")]
            _ => super::redis::engine(&self.0),
            #[cfg(not(feature = "redis"))]
            _ => Err(ClusterUrlError::new(
                "this tracker was built without the feature `redis`",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown_in_any_form() {
        let mut errors = 0;
        for url in [
            "redis://:secret@host:6379/1",
            "rediss://user:secret@host",
            "redis://user:sec/ret?secret#secret@host",
            "redis://u:p@secret@host",
            "redis+unix:///run/redis.sock?pass=secret",
            "redis://host/#secret",
            "secret",
            ":secret@host",
        ] {
            let url = ClusterUrl::from(url);
            for shown in [url.to_string(), format!("{url:?}")] {
                assert!(!shown.contains("secret"), "{shown}");
            }
            if let Err(error) = url.check() {
                errors += 1;
                assert!(!error.to_string().contains("secret"), "{error}");
            }
        }
        assert!(errors > 2, "{errors} of the URLs are refused");
        let plain = "redis://host:6379/1";
        assert_eq!(ClusterUrl::from(plain).to_string(), plain);
    }

    #[cfg(feature = "redis")]
    #[test]
    fn urls_are_checked() {
        let check = |url: &str| ClusterUrl::from(url).check();
        for good in [
            "redis://127.0.0.1",
            "redis://user:pw@host:6380/2",
            "rediss://host",
            "valkey://host",
            "unix:///run/redis.sock",
            "redis+sentinel://:pw@one:26379,two:26379/main",
            "rediss+sentinel://one/main/2",
            "memory://x",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "host:6379",
            "http://host",
            "redis://",
            "redis://host/x",
            "redis+cluster://host",
            "redis+sentinel://host",
            "redis+sentinel:///main",
            "redis://host/#insecure",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
