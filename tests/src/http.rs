//! As much of an HTTP client as the tests need.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// An answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// Such as 200.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The text.
    pub body: String,
}

impl Response {
    /// The first header of that name, or the empty text.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let known = self.headers.iter().find(|(known, _)| known == name);
        known.map_or("", |(_, value)| value)
    }
}

/// Sends a request head, `\r\n` between its lines and none behind the last, and reads the answer.
///
/// # Errors
/// Of the socket; [`std::io::ErrorKind::InvalidData`] for what is no HTTP.
pub async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    head: &str,
) -> std::io::Result<Response> {
    stream
        .write_all(format!("{head}\r\n\r\n").as_bytes())
        .await?;
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    };
    let mut response =
        parse(&String::from_utf8_lossy(&bytes[..end])).ok_or(std::io::ErrorKind::InvalidData)?;
    let length = response.header("content-length").parse().unwrap_or(0);
    while bytes.len() < end + 4 + length {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    response.body = String::from_utf8_lossy(&bytes[end + 4..]).into_owned();
    Ok(response)
}

fn parse(head: &str) -> Option<Response> {
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?;
    let headers = lines.filter_map(|line| line.split_once(':'));
    Some(Response {
        status: status.get(..3)?.parse().ok()?,
        headers: headers
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect(),
        body: String::new(),
    })
}
