//! `--ice-server`: `stun:HOST[:PORT]` and `turn:USER:PASSWORD@HOST[:PORT]`, the URLs of RFC 7064
//! and RFC 7065 with the credentials of a TURN server in front of its host. User and password may
//! hold percent-encoded bytes (RFC 3986), because a password may contain `@`. An IPv6 address needs
//! brackets.

use easypeers::link::IceServer;
use easypeers_proto::ice::IceUrl;
use percent_encoding::percent_decode_str;

const FORMS: &str = "use stun:HOST[:PORT] or turn:USER:PASSWORD@HOST[:PORT]";

/// Reads one server.
pub(crate) fn parse(text: &str) -> Result<IceServer, String> {
    let (scheme, rest) = text.split_once(':').ok_or_else(|| FORMS.to_owned())?;
    match scheme {
        "stun" => Ok(IceServer {
            urls: vec![url(text)?],
            username: None,
            credential: None,
        }),
        "turn" => {
            // The last @ ends the credentials. A password with an @ typed as it is works, too.
            let missing = || "a TURN server needs turn:USER:PASSWORD@HOST[:PORT]".to_owned();
            let (credentials, host) = rest.rsplit_once('@').ok_or_else(missing)?;
            let (user, password) = credentials.split_once(':').ok_or_else(missing)?;
            Ok(IceServer {
                urls: vec![url(&format!("turn:{host}"))?],
                username: Some(decoded(user)?),
                credential: Some(decoded(password)?),
            })
        }
        "stuns" | "turns" => Err("TLS to STUN and TURN servers is not supported".to_owned()),
        _ => Err(FORMS.to_owned()),
    }
}

/// The URL with its port.
fn url(text: &str) -> Result<String, String> {
    if text.contains('?') {
        return Err(FORMS.to_owned());
    }
    let read = text.parse::<IceUrl>();
    read.map(|url| url.to_string())
        .map_err(|error| format!("{error}; {FORMS}"))
}

/// Undoes percent-encoding. The crate passes a `%` through that starts no two hex digits, which
/// would send a wrong password without a word.
fn decoded(text: &str) -> Result<String, String> {
    let wrong = || "in a user or password, % needs two hex digits behind it; %25 is a %".to_owned();
    let is_hex = |at: &str| {
        let digits = at.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !text.split('%').skip(1).all(is_hex) {
        return Err(wrong());
    }
    let bytes = percent_decode_str(text);
    bytes.decode_utf8().map(String::from).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stun_and_turn_servers() {
        for (text, url) in [
            ("stun:example.org", "stun:example.org:3478"),
            ("stun:192.0.2.1:19302", "stun:192.0.2.1:19302"),
            ("stun:[2001:db8::1]", "stun:[2001:db8::1]:3478"),
            ("stun:[::1]:5", "stun:[::1]:5"),
        ] {
            let server = parse(text).unwrap();
            assert_eq!(server.urls, [url]);
            assert_eq!((server.username, server.credential), (None, None));
        }
        let server = parse("turn:ann:p%40ss:w%25rd@turn.example.org:5000").unwrap();
        assert_eq!(server.urls, ["turn:turn.example.org:5000"]);
        assert_eq!(server.username.as_deref(), Some("ann"));
        assert_eq!(server.credential.as_deref(), Some("p@ss:w%rd"));
        // Names of time-limited credentials hold a colon (coturn's REST scheme).
        let server = parse("turn:1700000000%3Aann:x=@h").unwrap();
        assert_eq!(server.username.as_deref(), Some("1700000000:ann"));
        assert_eq!(server.credential.as_deref(), Some("x="));
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for text in [
            "",
            "stun",
            "stun:",
            "stun::3478",
            "stun:h:0",
            "stun:h:65536",
            "stun:a b",
            "stun://h",
            "stun:::1",
            "stun:[::1",
            "turn:h",
            "turn:user@h",
            "turn:a:%4@h",
            "turn:a:%ff@h",
            "stun:h?transport=udp",
            "turn:a:%zz@h",
            "turn:a:%+1@h",
            "turns:a:b@h",
            "stuns:h",
            "https://h",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
