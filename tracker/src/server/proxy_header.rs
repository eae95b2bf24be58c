//! The PROXY protocol, versions 1 and 2: a header in which a TCP proxy says whom a connection
//! comes from, before anything of the client (haproxy.org, proxy-protocol.txt, 2.1 and 2.2).
//!
//! In: the socket of a trusted proxy. Out: the client's address, or none where the proxy speaks for
//! itself (`LOCAL`, `UNKNOWN`). Nothing behind the header is read.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Version 2 begins so; version 1 with `PROXY`.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes that both versions have at least: `PROXY UNKNOWN\r\n` is 15, a header of version 2 is 16.
const FIRST: usize = 13;

/// Bytes of the longest line of version 1.
const MAX_LINE: usize = 107;

/// Bytes of addresses and additions in version 2. The format allows 64 KiB; what proxies send, names
/// and certificates' subjects included, is far below this.
const MAX_REST: usize = 4096;

/// Reads the header and nothing else.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<IpAddr>> {
    let mut first = [0; FIRST];
    stream.read_exact(&mut first).await?;
    if first[..12] == SIGNATURE {
        let mut head = [0; 3];
        stream.read_exact(&mut head).await?;
        let length = usize::from(u16::from_be_bytes([head[1], head[2]]));
        if length > MAX_REST {
            return Err(malformed());
        }
        let mut rest = vec![0; length];
        stream.read_exact(&mut rest).await?;
        return version_2(first[12], head[0], &rest).ok_or_else(malformed);
    }
    let mut line = first.to_vec();
    // A byte at a time, since what follows the line is the client's.
    while !line.ends_with(b"\r\n") {
        if line.len() >= MAX_LINE || !line.starts_with(b"PROXY ") {
            return Err(malformed());
        }
        line.push(stream.read_u8().await?);
    }
    version_1(&line).ok_or_else(malformed)
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no PROXY header")
}

/// The outer option is whether it is a header, the inner whether it names a client.
fn version_1(line: &[u8]) -> Option<Option<IpAddr>> {
    let text = str::from_utf8(line).ok()?;
    let text = text.strip_prefix("PROXY ")?.strip_suffix("\r\n")?;
    let words: Vec<_> = text.split(' ').collect();
    match words[..] {
        ["UNKNOWN", ..] => Some(None),
        [family @ ("TCP4" | "TCP6"), source, destination, from, to] => {
            let (source, destination) = (address(family, source)?, address(family, destination)?);
            let _: (u16, u16) = (from.parse().ok()?, to.parse().ok()?);
            (source.is_ipv4() == destination.is_ipv4()).then_some(Some(source))
        }
        _ => None,
    }
}

fn address(family: &str, text: &str) -> Option<IpAddr> {
    match family {
        "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        _ => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
    }
}

fn version_2(version: u8, family: u8, rest: &[u8]) -> Option<Option<IpAddr>> {
    match (version, family) {
        // LOCAL: a health check of the proxy.
        (0x20, _) => Some(None),
        (0x21, 0x11) if rest.len() >= 12 => {
            let source: [u8; 4] = rest[..4].try_into().ok()?;
            Some(Some(Ipv4Addr::from(source).into()))
        }
        (0x21, 0x21) if rest.len() >= 36 => {
            let source: [u8; 16] = rest[..16].try_into().ok()?;
            Some(Some(Ipv6Addr::from(source).into()))
        }
        // Unix sockets, datagrams and what is not specified: no address that helps.
        (0x21, family) if family & 0x0f != 1 || family >> 4 == 3 || family >> 4 == 0 => Some(None),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What was read and how many bytes are left.
    fn parsed(bytes: &[u8]) -> (Option<Option<String>>, usize) {
        let mut rest = bytes;
        let runtime = tokio::runtime::Builder::new_current_thread();
        let result = { runtime }.build().unwrap().block_on(read(&mut rest));
        let shown = result.ok().map(|ip| ip.map(|ip| ip.to_string()));
        (shown, rest.len())
    }

    fn v2(command: u8, family: u8, length: u16, rest: &[u8]) -> Vec<u8> {
        [
            &SIGNATURE,
            &[command, family][..],
            &length.to_be_bytes(),
            rest,
        ]
        .concat()
    }

    #[test]
    fn version_1_lines() {
        let client = |ip: &str| Some(Some(ip.to_owned()));
        for (line, expected) in [
            (
                "PROXY TCP4 192.0.2.1 198.51.100.1 5000 443\r\n",
                client("192.0.2.1"),
            ),
            (
                "PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n",
                client("2001:db8::1"),
            ),
            ("PROXY UNKNOWN\r\n", Some(None)),
            ("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", Some(None)),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 5000\r\n", None),
            ("PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n", None),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 5000 65536\r\n", None),
            ("PROXY TCP5 192.0.2.1 198.51.100.1 5000 443\r\n", None),
        ] {
            let read = parsed(format!("{line}GET /").as_bytes());
            assert_eq!(read.0, expected, "{line}");
            if expected.is_some() {
                assert_eq!(read.1, 5, "{line}");
            }
        }
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(MAX_LINE));
        assert_eq!(parsed(long.as_bytes()).0, None);
        assert_eq!(parsed(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").0, None);
    }

    #[test]
    fn version_2_blocks() {
        let v4 = [192, 0, 2, 1, 198, 51, 100, 1, 0, 1, 0, 2];
        let mut v6 = [0; 36];
        v6[..16].copy_from_slice(&"2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
        let with_additions = [&v4[..], &[4, 0, 1, 9]].concat();
        for (bytes, expected) in [
            (v2(0x21, 0x11, 12, &v4), Some(Some("192.0.2.1"))),
            (v2(0x21, 0x11, 16, &with_additions), Some(Some("192.0.2.1"))),
            (v2(0x21, 0x21, 36, &v6), Some(Some("2001:db8::1"))),
            (v2(0x20, 0x00, 0, &[]), Some(None)),
            (v2(0x21, 0x31, 0, &[]), Some(None)),
            (v2(0x21, 0x00, 0, &[]), Some(None)),
            (v2(0x21, 0x11, 11, &v4[..11]), None),
            (v2(0x22, 0x11, 12, &v4), None),
            (v2(0x31, 0x11, 12, &v4), None),
            (v2(0x21, 0x11, 12, &v4[..5]), None),
            (v2(0x21, 0x11, 0xffff, &v4), None),
        ] {
            let expected = expected.map(|ip| ip.map(str::to_owned));
            assert_eq!(parsed(&bytes).0, expected, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parsed(&bytes);
            let _ = parsed(&[&SIGNATURE[..], &bytes].concat());
            let _ = parsed(&[&b"PROXY "[..], &bytes].concat());
        }
    }
}
