//! `--ice-server`: `stun:HOST[:PORT]` and `turn:USER:PASSWORD@HOST[:PORT]`, the forms of RFC 7064
//! and RFC 7065 with the credentials of a TURN server in front of its host. User and password may
//! hold percent-encoded bytes (RFC 3986), so that a password may contain `@`; an IPv6 address
//! stands in brackets.

use easypeers::link::IceServer;

/// The port of STUN and TURN (RFC 8489).
const PORT: u16 = 3478;

const FORMS: &str = "use stun:HOST[:PORT] or turn:USER:PASSWORD@HOST[:PORT]";

/// Reads one server.
pub(crate) fn parse(text: &str) -> Result<IceServer, String> {
    let (scheme, rest) = text.split_once(':').ok_or_else(|| FORMS.to_owned())?;
    match scheme {
        "stun" => Ok(IceServer {
            urls: vec![url("stun", rest)?],
            username: None,
            credential: None,
        }),
        "turn" => {
            // The last @ ends the credentials, so that one typed unencoded is understood too.
            let missing = || "a TURN server needs turn:USER:PASSWORD@HOST[:PORT]".to_owned();
            let (credentials, host) = rest.rsplit_once('@').ok_or_else(missing)?;
            let (user, password) = credentials.split_once(':').ok_or_else(missing)?;
            Ok(IceServer {
                urls: vec![url("turn", host)?],
                username: Some(decoded(user)?),
                credential: Some(decoded(password)?),
            })
        }
        "stuns" | "turns" => Err("TLS to STUN and TURN servers is not supported".to_owned()),
        _ => Err(FORMS.to_owned()),
    }
}

fn url(scheme: &str, authority: &str) -> Result<String, String> {
    let bracket_end = authority.rfind(']').map_or(0, |at| at + 1);
    let (host, port) = match authority[bracket_end..].rfind(':') {
        None => (authority, PORT),
        Some(at) => {
            let (host, port) = authority.split_at(bracket_end + at);
            let port = port[1..].parse().ok().filter(|port| *port != 0);
            (
                host,
                port.ok_or_else(|| "the port is from 1 to 65535".to_owned())?,
            )
        }
    };
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    let name = !host.is_empty() && host.chars().all(allowed);
    let literal = || {
        let inner = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        inner.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
    };
    if name || literal() {
        Ok(format!("{scheme}:{host}:{port}"))
    } else {
        Err(FORMS.to_owned())
    }
}

/// Undoes percent-encoding.
fn decoded(text: &str) -> Result<String, String> {
    let wrong = || "user and password: % starts two hex digits, %25 is a %".to_owned();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        match (digit(), digit()) {
            (Some(high), Some(low)) => bytes.push((high << 4 | low) as u8),
            _ => return Err(wrong()),
        }
    }
    String::from_utf8(bytes).map_err(|_| wrong())
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
            "turns:a:b@h",
            "stuns:h",
            "https://h",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
