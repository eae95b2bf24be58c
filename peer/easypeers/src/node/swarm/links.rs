//! What comes from links, and how they are closed.

use easypeers_proto::PeerId;
use easypeers_proto::wire::extension::PeerKind;

use super::Swarm;
use crate::node::frames;
use crate::node::link::FromLink;
use easypeers_core::mesh::{Goodbye, Input, LinkId, Reason};
use easypeers_core::message::Class;
use easypeers_core::session::SessionError;
use easypeers_core::signal;

impl Swarm {
    pub(super) fn on_link(&mut self, link: LinkId, event: FromLink) {
        self.view_soon();
        match event {
            FromLink::Admitted {
                peer,
                keys,
                offered,
                token,
                kind,
            } => {
                let Some(entry) = self.links.get_mut(&link) else {
                    return;
                };
                entry.member = true;
                entry.browser = kind == PeerKind::Browser;
                if entry.expected != peer {
                    tracing::debug!(%peer, "not the peer that the tracker named");
                    return self.close_link(link, None);
                }
                self.mesh_input(Input::LinkAdmitted {
                    link,
                    peer,
                    keys: Some(keys),
                    offered,
                    token,
                });
            }
            FromLink::Compat { peer, offered } => {
                if let Some(entry) = self.links.get_mut(&link) {
                    entry.compat = true;
                }
                self.mesh_input(Input::LinkAdmitted {
                    link,
                    peer,
                    keys: None,
                    offered,
                    token: 0,
                });
            }
            FromLink::Frame(frame) => self.on_frame(link, &frame),
            FromLink::CompatMessage(message) => self.on_compat_message(link, message),
            FromLink::Suspect => self.mesh_input(Input::LinkSuspect(link)),
            FromLink::Closed(error) => self.on_closed(link, error),
        }
    }

    fn on_closed(&mut self, link: LinkId, error: Option<SessionError>) {
        if let Some(error) = error {
            self.known.note_refused(error, &mut self.stats);
        }
        let Some(entry) = self.links.remove(&link) else {
            return;
        };
        if let Some(compat) = &mut self.compat {
            compat.forget_link(link);
        }
        if let Some(attempt) = entry.attempt {
            self.signal_input(signal::Input::AttemptFailed { attempt });
        }
        self.mesh_input(Input::LinkClosed(link));
    }

    pub(super) fn link_to(&self, peer: PeerId) -> Option<LinkId> {
        let mut links = self.links.keys().copied();
        links.find(|link| self.mesh.up_peer(*link) == Some(peer))
    }

    /// A neighbour passed something on that does not hold.
    pub(in crate::node) fn strike(&mut self, link: LinkId, what: &'static str) {
        self.stats.rejected += 1;
        tracing::debug!(link = link.0, what, "refused");
        self.mesh_input(Input::BrokenRule(link));
    }

    /// Closes a link; the mesh hears of it when its task has ended, at once if it is told why.
    pub(in crate::node) fn close_link(&mut self, link: LinkId, reason: Option<Reason>) {
        let goodbye = reason.map(|reason| Goodbye {
            reason,
            peers: Vec::new(),
        });
        self.say_goodbye(link, goodbye.as_ref());
        self.mesh_input(Input::LinkClosed(link));
    }

    pub(super) fn say_goodbye(&self, link: LinkId, goodbye: Option<&Goodbye>) {
        let Some(entry) = self.links.get(&link) else {
            return;
        };
        if let Some(goodbye) = goodbye.filter(|_| entry.member) {
            let frame = frames::goodbye(goodbye);
            let _ = entry.outbox.push(Class::Control, frame);
        }
        entry.outbox.close();
    }
}
