//! The links of this peer: their tasks and outboxes, what arrives on them, and how they are closed.

use std::collections::HashMap;
use std::sync::Arc;

use easypeers_core::mesh::{Goodbye, Input, LinkId, Mesh, Reason};
use easypeers_core::message::Class;
use easypeers_core::session::{Credentials, SessionError};
use easypeers_core::signal::{self, AttemptId};
use easypeers_core::time::Now;
use easypeers_proto::PeerId;
use easypeers_proto::wire::extension::PeerKind;
use tokio::sync::mpsc;

use super::action::{Action, Count};
use super::frames::{self, Read};
use super::link_task::{FromLink, LinkTask, Traffic};
use super::outbox::Outbox;
use crate::link::Link;
use crate::model::Limits;
use crate::rt;

/// A link, from its open channel to the end of its task.
#[derive(Debug)]
struct Entry {
    outbox: Arc<Outbox>,
    /// The peer that it was made to, as the tracker or a member named it.
    expected: PeerId,
    /// The attempt that made it, until the link is up.
    attempt: Option<AttemptId>,
    /// It has proven to be a member, and understands our frames.
    member: bool,
    #[cfg(feature = "compat")]
    /// It is a peer of Easypeers 1.
    v1: bool,
    /// It says that it runs in a browser.
    browser: bool,
}

/// All links.
#[derive(Debug)]
pub(super) struct LinkTable {
    links: HashMap<LinkId, Entry>,
    /// The number of the last link.
    last: u64,
    credentials: Arc<Credentials>,
    limits: Limits,
    traffic: Arc<Traffic>,
    events: mpsc::Sender<(LinkId, FromLink)>,
}

impl LinkTable {
    /// `events` gets what the links' tasks report, to be handed to [`on_event`](Self::on_event).
    pub(super) fn new(
        credentials: Arc<Credentials>,
        limits: Limits,
        events: mpsc::Sender<(LinkId, FromLink)>,
    ) -> Self {
        Self {
            links: HashMap::new(),
            last: 0,
            credentials,
            limits,
            traffic: Arc::default(),
            events,
        }
    }

    /// Starts the task of a new link, which runs the handshakes first.
    pub(super) fn open(&mut self, attempt: AttemptId, peer: PeerId, link: Link) {
        let (id, outbox) = self.insert(attempt, peer);
        let task = LinkTask {
            id,
            credentials: Arc::clone(&self.credentials),
            outbox,
            events: self.events.clone(),
            traffic: Arc::clone(&self.traffic),
            limits: self.limits,
        };
        rt::spawn(task.run(link));
    }

    fn insert(&mut self, attempt: AttemptId, peer: PeerId) -> (LinkId, Arc<Outbox>) {
        self.last += 1;
        let id = LinkId(self.last);
        let outbox = Arc::new(Outbox::default());
        let entry = Entry {
            outbox: Arc::clone(&outbox),
            expected: peer,
            attempt: Some(attempt),
            member: false,
            #[cfg(feature = "compat")]
            v1: false,
            browser: false,
        };
        self.links.insert(id, entry);
        (id, outbox)
    }

    /// Takes what a link's task reports.
    pub(super) fn on_event(
        &mut self,
        link: LinkId,
        event: FromLink,
        now: Now,
        mesh: &Mesh,
    ) -> Vec<Action> {
        match event {
            FromLink::Admitted {
                peer,
                keys,
                offered,
                token,
                kind,
            } => {
                let Some(entry) = self.links.get_mut(&link) else {
                    return Vec::new();
                };
                entry.member = true;
                entry.browser = kind == PeerKind::Browser;
                if entry.expected != peer {
                    tracing::debug!(%peer, "not the peer that the tracker named");
                    return vec![self.close(link, None)];
                }
                vec![Action::Mesh(Input::LinkAdmitted {
                    link,
                    peer,
                    keys: Some(keys),
                    offered,
                    token,
                })]
            }
            #[cfg(feature = "compat")]
            FromLink::V1 { peer, offered } => {
                if let Some(entry) = self.links.get_mut(&link) {
                    entry.v1 = true;
                }
                vec![Action::Mesh(Input::LinkAdmitted {
                    link,
                    peer,
                    keys: None,
                    offered,
                    token: 0,
                })]
            }
            FromLink::Frame(frame) => self.on_frame(link, &frame, now, mesh),
            #[cfg(feature = "compat")]
            // The loop hands them to the bridge.
            FromLink::V1Message(_) => Vec::new(),
            FromLink::Suspect => vec![Action::Mesh(Input::LinkSuspect(link))],
            FromLink::Closed(error) => self.on_closed(link, error),
        }
    }

    fn on_frame(&self, link: LinkId, bytes: &[u8], now: Now, mesh: &Mesh) -> Vec<Action> {
        match frames::read(link, bytes, now, mesh) {
            Read::Input(input) => vec![Action::Mesh(input)],
            Read::Skip => Vec::new(),
            Read::Goodbye(peers) => {
                vec![Action::Mesh(Input::Hints(peers)), self.close(link, None)]
            }
            Read::Malformed => vec![
                Action::Count(Count::Rejected),
                self.close(link, Some(Reason::Protocol)),
            ],
            Read::OutOfPlace => vec![self.close(link, Some(Reason::Protocol))],
            Read::Wrong(what) => {
                tracing::debug!(link = link.0, what, "refused");
                vec![
                    Action::Count(Count::Rejected),
                    Action::Mesh(Input::BrokenRule(link)),
                ]
            }
        }
    }

    fn on_closed(&mut self, link: LinkId, error: Option<SessionError>) -> Vec<Action> {
        let mut actions = Vec::new();
        actions.extend(error.map(Action::LinkRefused));
        let Some(entry) = self.links.remove(&link) else {
            return actions;
        };
        let failed = entry
            .attempt
            .map(|attempt| Action::Signal(signal::Input::AttemptFailed { attempt }));
        actions.extend(failed);
        actions.push(Action::Mesh(Input::LinkClosed(link)));
        actions
    }

    /// An attempt whose link has come up since the last call, and the peer at its other end.
    pub(super) fn next_opened(&mut self, mesh: &Mesh) -> Option<Action> {
        self.links.iter_mut().find_map(|(id, entry)| {
            let attempt = entry.attempt?;
            let peer = mesh.up_peer(*id)?;
            entry.attempt = None;
            Some(Action::Signal(signal::Input::AttemptOpened {
                attempt,
                peer,
            }))
        })
    }

    /// Queues a frame on each of these links. Returns how many messages were dropped to make room.
    pub(super) fn send(&self, links: &[LinkId], frame: &Arc<[u8]>, class: Class) -> u64 {
        let entries = links.iter().filter_map(|link| self.links.get(link));
        entries
            .map(|entry| entry.outbox.push(class, Arc::clone(frame)))
            .sum()
    }

    #[cfg(feature = "compat")]
    /// Queues a v1 message on those of these links that lead to v1 peers. Returns how many messages
    /// were dropped to make room.
    pub(super) fn send_v1(&self, links: &[LinkId], payload: &Arc<[u8]>, class: Class) -> u64 {
        let entries = links.iter().filter_map(|link| self.links.get(link));
        entries
            .filter(|entry| entry.v1)
            .map(|entry| entry.outbox.push(class, Arc::clone(payload)))
            .sum()
    }

    /// Closes a link and tells the mesh at once. The neighbour is told the reason, if there is one.
    #[must_use]
    pub(super) fn close(&self, link: LinkId, reason: Option<Reason>) -> Action {
        let goodbye = reason.map(|reason| Goodbye {
            reason,
            peers: Vec::new(),
        });
        self.say_goodbye(link, goodbye.as_ref());
        Action::Mesh(Input::LinkClosed(link))
    }

    /// Closes a link of which the mesh has let go. Its task ends once the outbox is written.
    pub(super) fn say_goodbye(&self, link: LinkId, goodbye: Option<&Goodbye>) {
        let Some(entry) = self.links.get(&link) else {
            return;
        };
        if let Some(goodbye) = goodbye.filter(|_| entry.member) {
            let frame = frames::encode_goodbye(goodbye);
            let _ = entry.outbox.push(Class::Control, frame);
        }
        entry.outbox.close();
    }

    /// Says goodbye on every link.
    pub(super) fn leave(&self) {
        let goodbye = Goodbye {
            reason: Reason::Leaving,
            peers: Vec::new(),
        };
        for link in self.links.keys() {
            self.say_goodbye(*link, Some(&goodbye));
        }
    }

    /// Waits until every link's task has ended.
    pub(super) async fn closed(mut self, events: &mut mpsc::Receiver<(LinkId, FromLink)>) {
        while !self.links.is_empty() {
            match events.recv().await {
                Some((link, FromLink::Closed(_))) => drop(self.links.remove(&link)),
                Some(_) => {}
                None => return,
            }
        }
    }

    /// The link to a neighbour.
    pub(super) fn link_to(&self, peer: PeerId, mesh: &Mesh) -> Option<LinkId> {
        let mut links = self.links.keys().copied();
        links.find(|link| mesh.up_peer(*link) == Some(peer))
    }

    /// Whether a neighbour says that it runs in a browser.
    pub(super) fn is_browser(&self, peer: PeerId, mesh: &Mesh) -> bool {
        self.link_to(peer, mesh)
            .and_then(|link| self.links.get(&link))
            .is_some_and(|entry| entry.browser)
    }

    /// The links to neighbours of Easypeers 1.
    #[cfg(feature = "compat")]
    pub(super) fn v1_links(&self, mesh: &Mesh) -> Vec<(LinkId, PeerId)> {
        let links = self.links.iter().filter(|(_, entry)| entry.v1);
        links
            .filter_map(|(link, _)| Some((*link, mesh.up_peer(*link)?)))
            .collect()
    }

    /// Bytes sent and received on all links so far.
    pub(super) fn traffic(&self) -> (u64, u64) {
        self.traffic.sum()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use easypeers_core::mesh::Settings;
    use easypeers_core::rate::AUTHOR_RATE;
    use easypeers_core::signal::Signal;
    use easypeers_core::tracker::TrackerId;
    use easypeers_proto::crypto::{Identity, TopicKey};
    use easypeers_proto::wire::frame::{Frame, Route, Sealed};
    use easypeers_proto::{InfoHash, MessageId};

    use super::*;

    /// An attempt as the signalling starts one.
    fn attempt() -> AttemptId {
        let mut signal = Signal::new(signal::Settings {
            me: identity(1).address(),
            seed: 1,
        });
        let due = signal::Input::Due {
            tracker: TrackerId::new(0),
            offers_to_publish: 1,
            open_links: 0,
        };
        signal.handle(Now::ZERO, due, |_| false);
        match signal.poll_output() {
            Some(signal::Output::MakeOffer { attempt }) => attempt,
            other => panic!("{other:?}"),
        }
    }

    fn identity(number: u8) -> Identity {
        Identity::from_seed(&[number; 32])
    }

    /// A table without tasks, and a mesh that has nothing but itself.
    fn table() -> (LinkTable, Mesh) {
        let identity = Arc::new(identity(1));
        let mesh = Mesh::new(Settings {
            me: identity.address(),
            keys: *identity.public(),
            started_ms: 0,
            max_peers: 6,
            rate: AUTHOR_RATE,
            history: Duration::ZERO,
            flip_interval: Duration::from_secs(1200),
            seed: 1,
        });
        let credentials = Credentials {
            address: identity.address(),
            identity,
            topic_key: TopicKey::from_topic("a topic"),
            info_hash: InfoHash::of_topic("a topic"),
            #[cfg(feature = "compat")]
            accepts_v1: false,
            kind: PeerKind::Native,
        };
        let (events, _) = mpsc::channel(1);
        let table = LinkTable::new(Arc::new(credentials), Limits::default(), events);
        (table, mesh)
    }

    fn admitted(number: u8) -> FromLink {
        let identity = identity(number);
        FromLink::Admitted {
            peer: identity.address(),
            keys: *identity.public(),
            offered: true,
            token: 5,
            kind: PeerKind::Browser,
        }
    }

    /// What waits in an outbox that is closed.
    async fn written(outbox: &Outbox) -> Vec<u8> {
        let mut written = Vec::new();
        while let Some(batch) = outbox.take().await {
            written.extend(batch);
        }
        written
    }

    #[tokio::test]
    async fn only_the_peer_that_was_called_gets_the_link() {
        let (mut table, mesh) = table();
        let (link, outbox) = table.insert(attempt(), identity(2).address());
        let actions = table.on_event(link, admitted(3), Now::ZERO, &mesh);
        let closed =
            matches!(actions[..], [Action::Mesh(Input::LinkClosed(closed))] if closed == link);
        assert!(closed, "{actions:?}");
        assert!(written(&outbox).await.is_empty(), "no reason is given");
        let (link, _outbox) = table.insert(attempt(), identity(2).address());
        let actions = table.on_event(link, admitted(2), Now::ZERO, &mesh);
        assert!(matches!(
            actions[..],
            [Action::Mesh(Input::LinkAdmitted { token: 5, .. })]
        ));
    }

    #[test]
    fn a_link_that_ends_before_it_is_up_fails_its_attempt() {
        let (mut table, mesh) = table();
        let (link, _outbox) = table.insert(attempt(), identity(2).address());
        let closed = FromLink::Closed(Some(SessionError::OtherSwarm));
        let actions = table.on_event(link, closed, Now::ZERO, &mesh);
        assert!(
            matches!(
                actions[..],
                [
                    Action::LinkRefused(SessionError::OtherSwarm),
                    Action::Signal(signal::Input::AttemptFailed { .. }),
                    Action::Mesh(Input::LinkClosed(_)),
                ]
            ),
            "{actions:?}"
        );
        let again = table.on_event(link, FromLink::Closed(None), Now::ZERO, &mesh);
        assert!(again.is_empty());
    }

    #[tokio::test]
    async fn members_are_told_goodbye_and_strangers_are_not() {
        let (mut table, mesh) = table();
        let (member, to_member) = table.insert(attempt(), identity(2).address());
        let (_stranger, to_stranger) = table.insert(attempt(), identity(3).address());
        table.on_event(member, admitted(2), Now::ZERO, &mesh);
        table.leave();
        assert!(!written(&to_member).await.is_empty());
        assert!(written(&to_stranger).await.is_empty());
    }

    #[tokio::test]
    async fn a_malformed_frame_closes_the_link_and_a_wrong_one_is_a_fault() {
        let (mut table, mesh) = table();
        let (link, outbox) = table.insert(attempt(), identity(2).address());
        table.on_event(link, admitted(2), Now::ZERO, &mesh);
        let sealed = Sealed {
            id: MessageId::new([1; 20]),
            from: identity(2).address(),
            to: identity(1).address(),
            body: b"not what the id says".as_slice().into(),
        };
        let route = Route {
            hops: 0,
            hop_limit: 16,
            flood: false,
            sealed: Arc::new(sealed),
        };
        let mut frame = Vec::new();
        Frame::from(route).encode(&mut frame);
        let wrong = table.on_event(link, FromLink::Frame(frame), Now::ZERO, &mesh);
        assert!(
            matches!(
                wrong[..],
                [
                    Action::Count(Count::Rejected),
                    Action::Mesh(Input::BrokenRule(_))
                ]
            ),
            "{wrong:?}"
        );
        // GOSSIP, cut short.
        let malformed = table.on_event(link, FromLink::Frame(vec![16, 0]), Now::ZERO, &mesh);
        assert!(
            matches!(
                malformed[..],
                [
                    Action::Count(Count::Rejected),
                    Action::Mesh(Input::LinkClosed(_))
                ]
            ),
            "{malformed:?}"
        );
        assert!(!written(&outbox).await.is_empty(), "the reason");
    }

    #[tokio::test]
    async fn a_frame_goes_to_the_links_that_are_named() {
        let (mut table, _mesh) = table();
        let (first, to_first) = table.insert(attempt(), identity(2).address());
        let (_second, to_second) = table.insert(attempt(), identity(3).address());
        let frame: Arc<[u8]> = vec![1, 2, 3].into();
        assert_eq!(table.send(&[first, LinkId(99)], &frame, Class::Own), 0);
        #[cfg(feature = "compat")]
        assert_eq!(table.send_v1(&[first], &frame, Class::Own), 0);
        table.leave();
        assert!(written(&to_first).await.ends_with(&[1, 2, 3]));
        assert!(written(&to_second).await.is_empty());
    }
}
