use easypeers_proto::crypto::admission::Role::{Answerer, Offerer};
use easypeers_proto::wire::frame::{Ping, RouteError};

use super::*;

const TOPIC: &str = "session tests";

fn identity(number: u8) -> Arc<Identity> {
    Arc::new(Identity::from_seed(&[number; 32]))
}

fn credentials(number: u8, topic_key: TopicKey) -> Credentials {
    let identity = identity(number);
    Credentials {
        address: identity.address(),
        identity,
        topic_key,
        info_hash: InfoHash::of_topic(TOPIC),
        #[cfg(feature = "compat")]
        accepts_v1: false,
        kind: PeerKind::Native,
    }
}

fn member(number: u8) -> Credentials {
    credentials(number, TopicKey::from_topic(TOPIC))
}

/// A channel between peers whose certificates have these first bytes.
fn channel(role: Role, local: u8, remote: u8) -> Channel {
    Channel {
        role,
        local_fingerprint: [local; 32],
        remote_fingerprint: [remote; 32],
        nonce: [local ^ 0x55; 32],
    }
}

struct Side {
    session: Session,
    /// Bytes that the other side has not received yet.
    out: Vec<u8>,
    events: Vec<SessionEvent>,
    error: Option<SessionError>,
}

impl Side {
    fn new(credentials: Credentials, channel: Channel) -> Self {
        let mut out = Vec::new();
        let session = Session::start(Arc::new(credentials), channel, &mut out);
        Self {
            session,
            out,
            events: Vec::new(),
            error: None,
        }
    }

    fn read(&mut self, mut bytes: &[u8]) {
        while self.error.is_none() {
            match self.session.read(&mut bytes, &mut self.out) {
                Ok(Some(event)) => self.events.push(event),
                Ok(None) => return,
                Err(error) => self.error = Some(error),
            }
        }
    }

    fn admitted(&self) -> Option<(PeerId, u64)> {
        match self.events.first()? {
            SessionEvent::Admitted { peer, token, .. } => Some((*peer, *token)),
            _ => None,
        }
    }
}

/// Carries bytes both ways in pieces of `step` bytes until neither side sends any more.
fn pump(a: &mut Side, b: &mut Side, step: usize) {
    while !(a.out.is_empty() && b.out.is_empty()) {
        let (from_a, from_b) = (std::mem::take(&mut a.out), std::mem::take(&mut b.out));
        from_a.chunks(step).for_each(|piece| b.read(piece));
        from_b.chunks(step).for_each(|piece| a.read(piece));
    }
}

fn meet(a: Credentials, b: Credentials) -> (Side, Side) {
    let mut a = Side::new(a, channel(Offerer, 1, 2));
    let mut b = Side::new(b, channel(Answerer, 2, 1));
    pump(&mut a, &mut b, usize::MAX);
    (a, b)
}

#[test]
fn members_admit_each_other_however_the_bytes_are_cut() {
    for step in [1, 7, usize::MAX] {
        let mut a = Side::new(member(1), channel(Offerer, 1, 2));
        let mut b = Side::new(member(2), channel(Answerer, 2, 1));
        pump(&mut a, &mut b, step);
        let (to_a, to_b) = (a.admitted().unwrap(), b.admitted().unwrap());
        assert_eq!(
            (to_a.0, to_b.0),
            (identity(2).address(), identity(1).address())
        );
        assert_eq!(to_a.1, to_b.1, "one token for one link");
        let mut payload = Vec::new();
        Frame::from(RouteError {
            id: easypeers_proto::MessageId::new([1; 20]),
            from: to_a.0,
        })
        .encode(&mut payload);
        write_extended(a.session.number(), &payload, &mut a.out).unwrap();
        pump(&mut a, &mut b, step);
        assert_eq!(b.events.last(), Some(&SessionEvent::Frame(payload)));
        assert!(a.error.is_none() && b.error.is_none());
    }
}

#[test]
fn every_error_has_a_label() {
    let labels: Vec<&str> = SessionError::labels().collect();
    for error in [
        SessionError::OtherSwarm,
        SessionError::Ourselves,
        SessionError::NoExtensions,
        SessionError::NoCommonExtension,
        SessionError::ForeignAddress,
        SessionError::Early,
        SessionError::Silent,
        StreamError::NoExtensionId.into(),
        ExtensionError::NoHello.into(),
        FrameError::Truncated.into(),
        AuthError::Reflected.into(),
    ] {
        assert!(labels.contains(&error.label()), "{error}");
    }
}

#[test]
fn another_secret_or_swarm_is_refused_by_both() {
    let info_hash = InfoHash::of_topic(TOPIC);
    let password = || TopicKey::from_password("opensesame", &info_hash).unwrap();
    let (a, b) = meet(member(1), credentials(2, password()));
    for side in [&a, &b] {
        assert!(
            matches!(side.error, Some(SessionError::Auth(_))),
            "{:?}",
            side.error
        );
        assert!(side.events.is_empty());
    }
    let (a, b) = meet(credentials(1, password()), credentials(2, password()));
    assert!(a.admitted().is_some() && b.admitted().is_some());

    let mut other = member(2);
    other.info_hash = InfoHash::of_topic("another");
    let (a, b) = meet(member(1), other);
    assert_eq!(a.error, Some(SessionError::OtherSwarm));
    assert_eq!(b.error, Some(SessionError::OtherSwarm));
    let (a, _) = meet(member(1), member(1));
    assert_eq!(a.error, Some(SessionError::Ourselves));
}

/// A tracker that puts itself between two peers has a connection to each, with its own certificates.
#[test]
fn swapped_fingerprints_are_refused() {
    let mut a = Side::new(member(1), channel(Offerer, 1, 9));
    let mut b = Side::new(member(2), channel(Answerer, 2, 8));
    pump(&mut a, &mut b, usize::MAX);
    assert!(
        matches!(a.error, Some(SessionError::Auth(_))),
        "{:?}",
        a.error
    );
    assert!(
        matches!(b.error, Some(SessionError::Auth(_))),
        "{:?}",
        b.error
    );
    assert!(a.events.is_empty() && b.events.is_empty());
}

#[test]
fn a_recorded_handshake_and_a_reflected_one_are_refused() {
    let mut a = Side::new(member(1), channel(Offerer, 1, 2));
    let mut b = Side::new(member(2), channel(Answerer, 2, 1));
    let mut recorded = Vec::new();
    while !(a.out.is_empty() && b.out.is_empty()) {
        let (from_a, from_b) = (std::mem::take(&mut a.out), std::mem::take(&mut b.out));
        recorded.extend_from_slice(&from_b);
        b.read(&from_a);
        a.read(&from_b);
    }
    assert!(a.admitted().is_some());
    // The same certificates, but this link has another nonce.
    let mut fresh = channel(Offerer, 1, 2);
    fresh.nonce = [7; 32];
    let mut again = Side::new(member(1), fresh);
    again.read(&recorded);
    assert!(
        matches!(again.error, Some(SessionError::Auth(_))),
        "{:?}",
        again.error
    );

    let mut mirror = Side::new(member(1), channel(Offerer, 1, 2));
    let echo = std::mem::take(&mut mirror.out);
    mirror.read(&echo);
    assert_eq!(mirror.error, Some(SessionError::Ourselves));
}

#[test]
fn frames_before_the_proof_are_refused() {
    let mut frame = Vec::new();
    let ping = Frame::from(Ping {
        token: 1,
        links: 1,
        lateness_ms: 0,
    });
    ping.encode(&mut frame);
    let mut b = Side::new(member(2), channel(Answerer, 2, 1));
    let handshake = Handshake::new(InfoHash::of_topic(TOPIC), identity(1).address());
    let mut early = handshake.encode().to_vec();
    write_extended(EP2_NUMBER.get(), &frame, &mut early).unwrap();
    b.read(&early);
    assert_eq!(b.error, Some(SessionError::Early));

    // A frame in place of the proof.
    let mut b = Side::new(member(2), channel(Answerer, 2, 1));
    let mut early = handshake.encode().to_vec();
    let hello = Hello {
        version: VERSION,
        keys: *identity(1).public().as_bytes(),
        nonce: [3; 32],
        capabilities: 0,
        kind: PeerKind::Native,
    };
    let mut payload = Vec::new();
    ExtensionHandshake::ours(hello, false).encode(&mut payload);
    write_extended(0, &payload, &mut early).unwrap();
    write_extended(EP2_NUMBER.get(), &frame, &mut early).unwrap();
    b.read(&early);
    assert_eq!(b.error, Some(SessionError::Early));
    assert!(b.events.is_empty());
}

#[cfg(feature = "compat")]
#[test]
fn a_peer_with_a_foreign_address_is_a_v1_peer_in_compatibility_mode() {
    let stranger = || {
        let mut stranger = member(1);
        stranger.address = PeerId::new([9; 20]);
        stranger.accepts_v1 = true;
        stranger
    };
    let (_, b) = meet(stranger(), member(2));
    assert_eq!(b.error, Some(SessionError::NoCommonExtension));
    let mut open = member(2);
    open.accepts_v1 = true;
    let (a, b) = meet(stranger(), open);
    let peer = PeerId::new([9; 20]);
    assert_eq!(b.events, [SessionEvent::V1 { peer }]);
    let peer = identity(2).address();
    assert_eq!(a.events, [SessionEvent::V1 { peer }]);
}

#[test]
fn an_address_that_does_not_belong_to_the_keys_is_refused() {
    let mut b = Side::new(member(2), channel(Answerer, 2, 1));
    let handshake = Handshake::new(InfoHash::of_topic(TOPIC), PeerId::new([9; 20]));
    let mut bytes = handshake.encode().to_vec();
    let hello = Hello {
        version: VERSION,
        keys: *identity(1).public().as_bytes(),
        nonce: [3; 32],
        capabilities: 0,
        kind: PeerKind::Native,
    };
    let mut payload = Vec::new();
    ExtensionHandshake::ours(hello, false).encode(&mut payload);
    write_extended(0, &payload, &mut bytes).unwrap();
    b.read(&bytes);
    assert_eq!(b.error, Some(SessionError::ForeignAddress));
}

#[test]
fn a_peer_without_extensions_is_refused() {
    let mut b = Side::new(member(2), channel(Answerer, 2, 1));
    let handshake = Handshake::new(InfoHash::of_topic(TOPIC), identity(1).address());
    let mut bytes = handshake.encode();
    bytes[20..28].fill(0);
    b.read(&bytes);
    assert_eq!(b.error, Some(SessionError::NoExtensions));
}
