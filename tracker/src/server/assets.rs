//! The demo page and the browser peer, inside the binary.
//!
//! Every file but the page itself is there twice: under its plain name, for pages of others, asked
//! for anew each time, and under a folder named by the hash of all of them, to be kept for ever.
//! The page names the latter; the files of one folder find each other by relative names.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
const WASM: &str = "application/wasm";

/// A file of `tracker/web/`.
#[derive(Debug, Clone)]
struct Asset {
    mime: &'static str,
    body: Bytes,
    etag: HeaderValue,
}

macro_rules! files {
    ($($name:literal $folder:literal $mime:ident),* $(,)?) => {
        &[$(($name, $mime, include_bytes!(concat!("../../web/", $folder, $name)) as &[u8])),*]
    };
}

/// Name, type and content of each file but the page.
const FILES: &[(&str, &str, &[u8])] = files![
    "style.css" "" CSS,
    "app.js" "" SCRIPT,
    "map.js" "" SCRIPT,
    "chat.js" "" SCRIPT,
    "snippets.js" "" SCRIPT,
    "easypeers.mjs" "pkg/" SCRIPT,
    "easypeers.js" "pkg/" SCRIPT,
    "easypeers.wasm" "pkg/" WASM,
    "easypeers.d.ts" "pkg/" TEXT,
];

const PAGE: &str = include_str!("../../web/index.html");

/// What stands in the page for the folder of the files.
const FOLDER: &str = "{assets}";

/// What stands in it to hide the way to `/trust` where there is none.
const TRUST: &str = "{trust}";

/// Only what this server itself serves may run, be shown or be asked. The peer is WebAssembly.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; \
    style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

/// `/HASH/`, where the files may be kept for ever.
static KEPT: LazyLock<String> = LazyLock::new(|| format!("/{:016x}/", hash(&FILES)));

/// Routes of the page and its files; whether there is a `/trust`.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(trust: bool) -> Router<S> {
    let page = PAGE.replace(FOLDER, &KEPT);
    let page = page.replace(TRUST, if trust { "" } else { "hidden" });
    let page = Asset::new(HTML, page.into());
    let mut router = Router::new().route("/", serve(page, false));
    for (name, mime, body) in FILES {
        let asset = Asset::new(mime, Bytes::from_static(body));
        router = router
            .route(&format!("/{name}"), serve(asset.clone(), false))
            .route(&format!("{}{name}", *KEPT), serve(asset, true));
    }
    router
}

/// The stylesheet's address, for other pages.
pub(super) fn stylesheet() -> String {
    format!("{}style.css", *KEPT)
}

fn serve<S: Clone + Send + Sync + 'static>(
    asset: Asset,
    kept: bool,
) -> axum::routing::MethodRouter<S> {
    get(move |headers: HeaderMap| async move { asset.respond(&headers, kept) })
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl Asset {
    fn new(mime: &'static str, body: Bytes) -> Self {
        let etag = format!("\"{:016x}\"", hash(&body));
        Self {
            mime,
            body,
            etag: HeaderValue::try_from(etag).unwrap_or(HeaderValue::from_static("\"\"")),
        }
    }

    /// The file, or 304 when the browser has just this one.
    fn respond(&self, request: &HeaderMap, kept: bool) -> Response {
        let known = request.get(header::IF_NONE_MATCH) == Some(&self.etag);
        let mut response = if known {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            self.body.clone().into_response()
        };
        let headers = response.headers_mut();
        let cache = if kept {
            "public, max-age=31536000, immutable"
        } else {
            "no-cache"
        };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.mime));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
        headers.insert(header::ETAG, self.etag.clone());
        // Pages of others may use the peer.
        if self.mime != HTML {
            let anybody = HeaderValue::from_static("*");
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, anybody);
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
