//! Session descriptions like those of browsers, each with the token of its offer inside.

use crate::{
    ids::{Bytes, mix},
    scan,
};

/// Descriptions of different lengths; offers use one half, answers the other.
const VARIANTS: u16 = 64;

#[derive(Debug)]
pub(crate) struct Descriptions {
    offers: Vec<Template>,
    answers: Vec<Template>,
}

impl Descriptions {
    pub(crate) fn new(seed: u64, bytes: u32) -> Self {
        let templates = |kind, salt| {
            (0..VARIANTS)
                .map(|variant| Template::new(kind, mix(seed ^ salt ^ u64::from(variant)), bytes))
                .collect()
        };
        Self {
            offers: templates(Kind::Offer, 1 << 40),
            answers: templates(Kind::Answer, 2 << 40),
        }
    }

    pub(crate) fn variant(n: u64) -> u16 {
        (mix(n) % u64::from(VARIANTS)) as u16
    }

    pub(crate) fn offer(&self, variant: u16) -> &Template {
        &self.offers[usize::from(variant % VARIANTS)]
    }

    pub(crate) fn answer(&self, variant: u16) -> &Template {
        &self.answers[usize::from(variant % VARIANTS)]
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Offer,
    Answer,
}

/// A description with a hole for a token.
#[derive(Debug)]
pub(crate) struct Template {
    plain: [String; 2],
    escaped: [Vec<u8>; 2],
}

impl Template {
    fn new(kind: Kind, seed: u64, mean: u32) -> Self {
        let (setup, session) = match kind {
            Kind::Offer => ("actpass", "WMS"),
            Kind::Answer => ("active", "WMS *"),
        };
        let length = mean as usize * (78 + (seed % 45) as usize) / 100;
        let head = format!(
            "v=0\r\no=- {} 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
             a=msid-semantic: {session}\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n\
             c=IN IP4 0.0.0.0\r\na=ice-ufrag:{:04x}\r\na=ice-pwd:epld",
            mix(seed) >> 1,
            seed & 0xffff,
        );
        let fingerprint: Vec<String> = (0..32)
            .map(|i| format!("{:02X}", mix(seed ^ i) & 0xff))
            .collect();
        let mut tail = format!(
            "\r\na=ice-options:trickle\r\na=fingerprint:sha-256 {}\r\na=setup:{setup}\r\na=mid:0\r\n\
             a=sctp-port:5000\r\na=max-message-size:262144\r\n",
            fingerprint.join(":"),
        );
        let missing = length.saturating_sub(head.len() + 20 + tail.len());
        let mut candidates = String::new();
        for i in 0.. {
            let bits = mix(seed ^ 0x100 ^ i);
            let line = format!(
                "a=candidate:{} 1 udp 2113937151 192.0.2.{} {} typ host generation 0 network-cost 999\r\n",
                bits >> 32,
                bits & 0x7f,
                1024 + (bits >> 8 & 0x7fff),
            );
            if candidates.len() + line.len() > missing {
                break;
            }
            candidates += &line;
        }
        tail += &candidates;
        // What is left up to the length: an attribute that nobody knows.
        if let Some(rest) = missing.checked_sub(candidates.len() + 6) {
            tail += &format!("a=x:{}\r\n", "z".repeat(rest));
        }
        let plain = [head, tail];
        let escaped = plain
            .each_ref()
            .map(|part| part.replace("\r\n", "\\r\\n").into_bytes());
        Self { plain, escaped }
    }

    /// Appends the description as the inside of a JSON string.
    pub(crate) fn push(&self, out: &mut Vec<u8>, token: &Bytes) {
        out.extend_from_slice(&self.escaped[0]);
        out.extend_from_slice(token);
        out.extend_from_slice(&self.escaped[1]);
    }

    /// Whether the inside of a JSON string is this description with this token.
    pub(crate) fn matches(&self, escaped: &[u8], token: &Bytes) -> bool {
        fn same(text: &[u8], token: &[u8], parts: [&[u8]; 2]) -> bool {
            text.strip_prefix(parts[0])
                .and_then(|rest| rest.strip_prefix(token))
                .is_some_and(|rest| rest == parts[1])
        }
        same(escaped, token, self.escaped.each_ref().map(|p| &p[..]))
            || scan::unescape(escaped).is_some_and(|text| {
                let parts = self.plain.each_ref().map(|p| p.as_bytes());
                same(text.as_bytes(), token, parts)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &Bytes = b"0123456789abcdefghij";

    #[test]
    fn lengths_vary_around_the_mean() {
        let descriptions = Descriptions::new(3, 900);
        let lengths: Vec<usize> = (0..VARIANTS)
            .map(|v| {
                let mut out = Vec::new();
                descriptions.offer(v).push(&mut out, TOKEN);
                scan::unescape(&out).unwrap().len()
            })
            .collect();
        let mean = lengths.iter().sum::<usize>() / lengths.len();
        assert!(
            lengths.iter().all(|l| (690..=1110).contains(l)),
            "{lengths:?}"
        );
        assert!((860..=940).contains(&mean), "{mean}");
    }

    #[test]
    fn matches_what_was_sent_however_it_is_escaped() {
        let descriptions = Descriptions::new(3, 900);
        let template = descriptions.answer(5);
        let mut out = Vec::new();
        template.push(&mut out, TOKEN);
        assert!(template.matches(&out, TOKEN));
        let text = String::from_utf8(out.clone()).unwrap();
        assert!(template.matches(text.replace('/', "\\/").as_bytes(), TOKEN));
        assert!(template.matches(text.replace("\\r", "\\u000d").as_bytes(), TOKEN));
        assert!(!template.matches(text.replacen('0', "1", 1).as_bytes(), TOKEN));
        assert!(!template.matches(&out[..out.len() - 1], TOKEN));
        assert!(!template.matches(&out, b"0123456789abcdefghiX"));
        assert!(!descriptions.offer(5).matches(&out, TOKEN));
    }
}
