//! Descriptions that must not reach the WebRTC stack, and odd ones that must.

use proptest::prelude::*;

use super::super::sdp::{Description, Kind, Setup, own_hosts, rewrite_own};
use crate::model::{MAX_CANDIDATES, MAX_SDP, SdpError};

const GOOD: &str = "v=0\r\n\
o=- 1 2 IN IP4 127.0.0.1\r\n\
s=-\r\n\
t=0 0\r\n\
a=group:BUNDLE 0\r\n\
m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n\
c=IN IP4 0.0.0.0\r\n\
a=candidate:1 1 udp 2113937151 192.0.2.1 40000 typ host generation 0\r\n\
a=ice-ufrag:abcd\r\n\
a=ice-pwd:0123456789012345678901\r\n\
a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n\
a=setup:actpass\r\n\
a=mid:0\r\n\
a=sctp-port:5000\r\n\
a=max-message-size:262144\r\n";

const CANDIDATE: &str = "a=candidate:1 1 udp 2113937151 192.0.2.1 40000 typ host generation 0\r\n";

fn read(sdp: &str) -> Result<Description, SdpError> {
    Description::read(sdp, Kind::Offer)
}

/// `GOOD` with one piece replaced.
fn with(old: &str, new: &str) -> String {
    assert!(GOOD.contains(old));
    GOOD.replacen(old, new, 1)
}

#[test]
fn good() {
    let description = read(GOOD).unwrap();
    assert_eq!(description.text, GOOD);
    assert_eq!(description.setup, Setup::ActPass);
    assert_eq!(description.ufrag, "abcd");
    assert_eq!(description.max_message, 262_144);
    assert_eq!(description.fingerprint[..3], [0, 0x11, 0x22]);
    // Bare line feeds are accepted too (RFC 8866, section 5).
    assert_eq!(read(&GOOD.replace("\r\n", "\n")).unwrap().text, GOOD);
}

#[test]
fn refused() {
    let fingerprint = GOOD
        .lines()
        .find(|line| line.contains("fingerprint"))
        .unwrap();
    let cases = [
        (String::new(), SdpError::Malformed),
        ("v=1\r\n".to_owned(), SdpError::Malformed),
        ("hello".to_owned(), SdpError::Malformed),
        (with("s=-", "s-"), SdpError::Malformed),
        (with("s=-", "S=-"), SdpError::Malformed),
        (with("s=-", "s=\u{7}"), SdpError::Malformed),
        (with("s=-", ""), SdpError::Malformed),
        (
            format!("{GOOD}s={}\r\n", "x".repeat(MAX_SDP)),
            SdpError::TooLong,
        ),
        (with("m=application", "m=audio"), SdpError::Media),
        (
            with("m=application 9", "m=application 99999"),
            SdpError::Media,
        ),
        (with("UDP/DTLS/SCTP", "RTP/AVP"), SdpError::Media),
        (
            with("webrtc-datachannel", "webrtc-datachannel 5"),
            SdpError::Media,
        ),
        (
            format!("{GOOD}m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"),
            SdpError::Media,
        ),
        (
            format!("{GOOD}m=video 9 UDP/TLS/RTP/SAVPF 96\r\n"),
            SdpError::Media,
        ),
        (with(fingerprint, "a=x"), SdpError::Fingerprint),
        (format!("{GOOD}{fingerprint}\r\n"), SdpError::Fingerprint),
        (with("sha-256", "sha-1"), SdpError::Fingerprint),
        (with(":EE:FF\r\n", ":EE\r\n"), SdpError::Fingerprint),
        (with(":EE:FF\r\n", ":EE:FF:00\r\n"), SdpError::Fingerprint),
        (with(":EE:FF\r\n", ":EE:+F\r\n"), SdpError::Fingerprint),
        (
            with("ice-ufrag:abcd", "ice-ufrag:abc"),
            SdpError::Credentials,
        ),
        (
            with("ice-ufrag:abcd", "ice-ufrag:ab d"),
            SdpError::Credentials,
        ),
        (with("a=ice-ufrag:abcd\r\n", ""), SdpError::Credentials),
        (with("ice-pwd:0", "ice-pwd:"), SdpError::Credentials),
        (format!("{GOOD}a=ice-ufrag:efgh\r\n"), SdpError::Credentials),
        (
            GOOD.to_owned() + &CANDIDATE.repeat(MAX_CANDIDATES),
            SdpError::TooManyCandidates,
        ),
        (with("40000", "0"), SdpError::Candidate),
        (with("40000", "65536"), SdpError::Candidate),
        (with("2113937151", "-1"), SdpError::Candidate),
        (with("typ host", "typ ghost"), SdpError::Candidate),
        (with(" 1 udp", " 0 udp"), SdpError::Candidate),
        (with(" udp ", " smoke "), SdpError::Candidate),
        (with("192.0.2.1 40000", "a_b 40000"), SdpError::Candidate),
        (with("setup:actpass", "setup:holdconn"), SdpError::Attribute),
        (with("sctp-port:5000", "sctp-port:0"), SdpError::Attribute),
        (
            with("message-size:262144", "message-size:5"),
            SdpError::Attribute,
        ),
        (
            with("message-size:262144", "message-size:many"),
            SdpError::Attribute,
        ),
    ];
    for (sdp, error) in cases {
        assert_eq!(read(&sdp), Err(error), "{sdp}");
    }
    assert_eq!(
        Description::read(GOOD, Kind::Answer),
        Err(SdpError::Attribute),
        "an answer must choose its part"
    );
}

/// Candidates that the stack cannot use are left out.
#[test]
fn left_out() {
    for useless in [
        "7d3d4b2e-9a4c-4ad0-8f0f-0a2a51c0f5f1.local 40000 typ host",
        "0.0.0.0 40000 typ host",
        "224.0.0.1 40000 typ host",
        ":: 40000 typ host",
        "ff02::1 40000 typ host",
    ] {
        let sdp = with("192.0.2.1 40000 typ host", useless);
        assert_eq!(read(&sdp).unwrap().text, with(CANDIDATE, ""), "{useless}");
    }
    let tcp = with(
        " udp 2113937151 192.0.2.1 40000 typ host",
        " tcp 1 192.0.2.1 9 typ host tcptype active",
    );
    assert_eq!(read(&tcp).unwrap().text, with(CANDIDATE, ""));
    // Firefox names 2^30 - 1. Zero means any size (RFC 8841, section 6.1).
    let size = |text: &str| read(&with("262144", text)).unwrap().max_message;
    assert_eq!(size("1073741823"), 1_073_741_823);
    assert_eq!(size("0"), usize::MAX);
    assert_eq!(
        read(&with("a=max-message-size:262144\r\n", ""))
            .unwrap()
            .max_message,
        65_536
    );
}

#[test]
fn own_candidates_are_rewritten() {
    let local: std::net::SocketAddr = "192.0.2.1:40000".parse().unwrap();
    assert_eq!(own_hosts(GOOD), [local]);
    let told = "[2001:db8::1]:7".parse().unwrap();
    let text = rewrite_own(
        GOOD,
        |address| if address == local { told } else { address },
    );
    assert_eq!(text, with("192.0.2.1 40000", "2001:db8::1 7"));
    let reflexive = with("typ host", "typ srflx");
    assert_eq!(rewrite_own(&reflexive, |_| told), reflexive);
}

proptest! {
    /// Reading never panics, and a description that passes once passes again unchanged.
    #[test]
    fn reading_is_total(cuts in prop::collection::vec((0_usize..700, ".{0,8}"), 0..4)) {
        let mut sdp = GOOD.to_owned();
        for (at, text) in cuts {
            let at = at.min(sdp.len());
            if sdp.is_char_boundary(at) {
                sdp.insert_str(at, &text);
            }
        }
        if let Ok(description) = read(&sdp) {
            prop_assert_eq!(read(&description.text).unwrap().text, description.text);
        }
    }
}
