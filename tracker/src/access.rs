//! Which infohashes are served and which web origins may connect. Read at start, again on SIGHUP.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use easypeers_proto::InfoHash;

use crate::config::Settings;

/// Why a list could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// The file itself.
    #[error("cannot read {path}: {error}", path = path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A line of it.
    #[error("{path}:{line}: an infohash has 40 hexadecimal digits, got {text:?}", path = path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The word that is no infohash.
        text: String,
    },
}

/// The lists in force.
#[derive(Debug, Default)]
pub(crate) struct Access {
    /// Refused infohashes with the message for their clients.
    deny: HashMap<InfoHash, Box<str>>,
    /// With a list, only these are served.
    allow: Option<HashMap<InfoHash, Box<str>>>,
    /// Web origins that may connect; none listed: any.
    origins: Vec<Box<str>>,
}

/// Why an infohash is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict<'a> {
    Served,
    Denied(&'a str),
    NotAllowed,
}

impl Access {
    pub(crate) fn load(settings: &Settings) -> Result<Self, AccessError> {
        let deny = settings
            .deny_file
            .as_deref()
            .map(read)
            .transpose()?
            .unwrap_or_default();
        let allow = settings.allow_file.as_deref().map(read).transpose()?;
        let origins = settings.allow_origin.iter();
        let origins = origins
            .map(|origin| origin.trim_end_matches('/').into())
            .collect();
        Ok(Self {
            deny,
            allow,
            origins,
        })
    }

    /// Whether a page of `origin` may connect. Programs send no origin and always may: the list
    /// protects users of browsers, not the tracker from programs.
    pub(crate) fn admits(&self, origin: Option<&str>) -> bool {
        let Some(origin) = origin else { return true };
        self.origins.is_empty() || self.origins.iter().any(|known| **known == *origin)
    }

    pub(crate) fn verdict(&self, info_hash: &InfoHash) -> Verdict<'_> {
        if let Some(message) = self.deny.get(info_hash) {
            return Verdict::Denied(message);
        }
        match &self.allow {
            Some(allow) if !allow.contains_key(info_hash) => Verdict::NotAllowed,
            _ => Verdict::Served,
        }
    }
}

/// One infohash a line in 40 hex digits, then an optional message; `#` starts a comment line.
fn read(path: &Path) -> Result<HashMap<InfoHash, Box<str>>, AccessError> {
    let text = fs::read_to_string(path).map_err(|error| AccessError::Read {
        path: path.to_owned(),
        error,
    })?;
    let mut list = HashMap::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (hash, message) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let info_hash = hash.parse().map_err(|_| AccessError::Line {
            path: path.to_owned(),
            line: index + 1,
            text: hash.chars().take(60).collect(),
        })?;
        list.insert(info_hash, message.trim().into());
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("tracker-{}-{name}", std::process::id()));
        fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn lists_have_comments_messages_and_either_case() {
        let hash = "00ff10203040506070809a0b0c0d0e0f11121314";
        let path = file(
            "deny",
            &format!("# why\n\n {}  not here \n", hash.to_uppercase()),
        );
        let settings = Settings {
            deny_file: Some(path.clone()),
            ..Settings::default()
        };
        let access = Access::load(&settings).unwrap();
        assert_eq!(
            access.verdict(&hash.parse().unwrap()),
            Verdict::Denied("not here")
        );
        assert_eq!(access.verdict(&InfoHash::of_topic("x")), Verdict::Served);
        let settings = Settings {
            allow_file: Some(path.clone()),
            ..Settings::default()
        };
        let access = Access::load(&settings).unwrap();
        assert_eq!(access.verdict(&hash.parse().unwrap()), Verdict::Served);
        assert_eq!(
            access.verdict(&InfoHash::of_topic("x")),
            Verdict::NotAllowed
        );
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_bad_line_is_named() {
        let path = file("bad", "# one\nxyz oops\n");
        let settings = Settings {
            deny_file: Some(path.clone()),
            ..Settings::default()
        };
        let error = Access::load(&settings).unwrap_err().to_string();
        assert!(
            error.contains(":2:") && error.contains("\"xyz\""),
            "{error}"
        );
        fs::remove_file(path).unwrap();
        let settings = Settings {
            allow_file: Some("/nonexistent".into()),
            ..Settings::default()
        };
        let error = Access::load(&settings).unwrap_err().to_string();
        assert!(error.starts_with("cannot read /nonexistent"), "{error}");
    }

    #[test]
    fn an_origin_list_is_for_browsers() {
        let origins = vec!["https://example.org/".to_owned()];
        let settings = Settings {
            allow_origin: origins,
            ..Settings::default()
        };
        let access = Access::load(&settings).unwrap();
        assert!(access.admits(Some("https://example.org")) && access.admits(None));
        assert!(!access.admits(Some("http://example.org")) && !access.admits(Some("null")));
        assert!(Access::default().admits(Some("https://anything.example")));
    }
}
