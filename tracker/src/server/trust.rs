//! `/trust`: with a certificate of the tracker's own, how browsers and peers learn to trust it.
//! `/trust.crt`: the authority's certificate.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use super::assets::secure;
use super::tls::Tls;

pub(super) fn router(tls: Tls) -> Router {
    Router::new()
        .route("/trust", get(page))
        .route("/trust.crt", get(certificate))
        .with_state(tls)
}

async fn certificate(State(tls): State<Tls>) -> Response {
    let Some(trust) = tls.trust() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let headers: [(HeaderName, &str); 2] = [
        // What makes phones offer to install it.
        (header::CONTENT_TYPE, "application/x-x509-ca-cert"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"easypeers-trust.crt\"",
        ),
    ];
    (headers, trust.pem.clone()).into_response()
}

async fn page(State(tls): State<Tls>) -> Response {
    let Some(trust) = tls.trust() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let fingerprint = &trust.fingerprint;
    let page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Trust this tracker</title><link rel=\"stylesheet\" href=\"/style.css\"></head>\n\
         <body><main><h1>Trust this tracker</h1>\n\
         <p>This tracker made its own certificate, so your browser warns of it. To end the warnings \
         on this device, install the certificate of the authority that signed it.</p>\n\
         <ol>\n\
         <li>Download <a href=\"/trust.crt\">easypeers-trust.crt</a>.</li>\n\
         <li>Ask whoever runs the tracker for its fingerprint, which stands in the tracker's first \
         lines, and compare. SHA-256:<br><code>{fingerprint}</code></li>\n\
         <li>Install it:\n<dl>\n\
         <dt>Firefox</dt><dd>Settings, Privacy &amp; Security, View Certificates, Authorities, \
         Import; tick \"identify websites\".</dd>\n\
         <dt>Chrome, Edge on Windows</dt><dd>Open the file, Install Certificate, Current User, place \
         it in \"Trusted Root Certification Authorities\".</dd>\n\
         <dt>Chrome on Linux</dt><dd><code>certutil -d sql:$HOME/.pki/nssdb -A -t C,, \
         -n easypeers -i easypeers-trust.crt</code></dd>\n\
         <dt>macOS</dt><dd>Open the file in Keychain Access, then Get Info, Trust, Always Trust.</dd>\n\
         <dt>iPhone, iPad</dt><dd>Open the file in Safari, install the profile in Settings, then \
         General, About, Certificate Trust Settings, switch it on.</dd>\n\
         <dt>Android</dt><dd>Settings, Security, Encryption &amp; credentials, Install a certificate, \
         CA certificate.</dd>\n\
         <dt>Native peer</dt><dd><code>SSL_CERT_FILE=easypeers-trust.crt peer --tracker wss://...</code></dd>\n\
         </dl></li>\n</ol>\n\
         <p>It can vouch for this host and for private addresses only, not for other web sites. To \
         take trust back, remove it in the same place.</p>\n\
         <p><a href=\"/\">Back to the page</a>.</p></main></body></html>\n"
    );
    let mut response = Html(page).into_response();
    secure(response.headers_mut());
    response
}
