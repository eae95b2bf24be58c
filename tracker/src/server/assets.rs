//! The demo page, inside the binary.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// A file of `tracker/web/`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asset {
    pub(super) path: &'static str,
    mime: &'static str,
    body: &'static str,
}

pub(super) const ASSETS: [Asset; 3] = [
    Asset {
        path: "/",
        mime: "text/html; charset=utf-8",
        body: include_str!("../../web/index.html"),
    },
    Asset {
        path: "/style.css",
        mime: "text/css; charset=utf-8",
        body: include_str!("../../web/style.css"),
    },
    Asset {
        path: "/app.js",
        mime: "text/javascript; charset=utf-8",
        body: include_str!("../../web/app.js"),
    },
];

/// Only what this server itself serves may run, be shown or be asked.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

impl Asset {
    /// The file, or 304 when the browser has just this one.
    pub(super) fn respond(self, request: &HeaderMap) -> Response {
        let mut hasher = DefaultHasher::new();
        self.body.hash(&mut hasher);
        let etag = format!("\"{:016x}\"", hasher.finish());
        let known = request
            .get(header::IF_NONE_MATCH)
            .is_some_and(|known| *known == etag);
        let mut response = if known {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            self.body.into_response()
        };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.mime));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if let Ok(etag) = HeaderValue::try_from(etag) {
            headers.insert(header::ETAG, etag);
        }
        secure(headers);
        response
    }
}

/// Headers that every page carries.
pub(super) fn secure(headers: &mut HeaderMap) {
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(POLICY),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
}
