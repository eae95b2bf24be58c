//! The health check: a program asks another instance of itself on this machine for `/healthz`,
//! because a container image without a shell has nothing else that could.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// The longest wait for a connection, and for each part of the answer.
pub const TIMEOUT: Duration = Duration::from_secs(3);

/// The most that is read of an answer, in bytes. Only its first line counts.
const MAX_ANSWER: u64 = 4096;

/// The address at which a program that listens on `ip` is reached from its own machine: loopback
/// for `0.0.0.0` and `::`.
#[must_use]
pub const fn reachable(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    }
}

/// Connects to a program on this machine that listens on `address`. With `or_ipv4` it may listen on IPv4 alone
/// although it was asked to listen on `::`, because the host has no IPv6.
///
/// # Errors
/// Those of the system.
pub fn connect(address: SocketAddr, or_ipv4: bool) -> io::Result<TcpStream> {
    let to = |ip| TcpStream::connect_timeout(&SocketAddr::new(ip, address.port()), TIMEOUT);
    let ip = reachable(address.ip());
    let stream = to(ip).or_else(|error| match ip {
        IpAddr::V6(v6) if or_ipv4 && v6.is_loopback() => to(Ipv4Addr::LOCALHOST.into()),
        _ => Err(error),
    })?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

/// Asks for `/healthz` and reads the first line of the answer.
///
/// # Errors
/// Those of the stream.
pub fn status_line(stream: &mut (impl Read + Write)) -> io::Result<String> {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    let ended = stream.take(MAX_ANSWER).read_to_end(&mut answer);
    // A TLS connection may end without a notice. Then what arrived before counts.
    if answer.is_empty() {
        ended?;
    }
    let answer = String::from_utf8_lossy(&answer);
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

/// Judges what [`status_line`] returned for the program that listens on `place`.
///
/// # Errors
/// One sentence for the operator, unless the status is 200.
pub fn judge(place: impl fmt::Display, answer: io::Result<String>) -> Result<(), String> {
    match answer {
        Ok(line) if line.starts_with("HTTP/1.1 200") => Ok(()),
        Ok(line) => Err(format!("{place} answers {line:?}")),
        Err(error) => Err(format!("no answer from {place}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// What a health check says about a program that answers with `answer`.
    fn asked(answer: &'static [u8]) -> Result<(), String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let program = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 12];
            stream.read_exact(&mut request).unwrap();
            assert_eq!(&request, b"GET /healthz");
            stream.write_all(answer).unwrap();
        });
        let answer = connect(address, false).and_then(|mut stream| status_line(&mut stream));
        program.join().unwrap();
        judge("it", answer)
    }

    #[test]
    fn only_status_200_is_healthy() {
        assert_eq!(asked(b"HTTP/1.1 200 OK\r\n\r\nok\n"), Ok(()));
        let error = "it answers \"HTTP/1.1 503 Service Unavailable\"".to_owned();
        assert_eq!(
            asked(b"HTTP/1.1 503 Service Unavailable\r\n\r\n"),
            Err(error)
        );
    }

    #[test]
    fn a_program_that_is_not_there_is_not_healthy() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let answer = connect(address, false).and_then(|mut stream| status_line(&mut stream));
        let error = judge("it", answer).unwrap_err();
        assert!(error.starts_with("no answer from it: "), "{error}");
    }

    #[test]
    fn any_address_is_reached_over_loopback() {
        for (listen, expected) in [
            ("0.0.0.0", "127.0.0.1"),
            ("::", "::1"),
            ("192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), expected);
        }
    }
}
