//! One `RTCPeerConnection` and its events: they become [`Facts`] to wait for, and the bytes of the
//! channel.
//!
//! Invariant: dropping a [`Connection`] closes it, and none of its events arrives any more.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

use js_sys::{ArrayBuffer, Reflect, Uint8Array};
use tokio::sync::watch;
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::*;
use web_sys::{
    MessageEvent, RtcDataChannel, RtcDataChannelEvent, RtcDataChannelState, RtcDataChannelType,
    RtcIceGatheringState, RtcPeerConnection, RtcPeerConnectionIceEvent, RtcPeerConnectionState,
};

use crate::link::LOW_WATER;

/// Bytes that wait for their reader: 36 times what our sender leaves unacknowledged. A page cannot
/// slow the other side down, so a link that is not read loses its connection.
const UNREAD: usize = 9 << 20;

/// Longest message accepted, in bytes: the limit that browsers announce.
const MAX_MESSAGE: u32 = 256 << 10;

/// The state of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum State {
    /// Not connected yet.
    #[default]
    New,
    /// ICE and DTLS are up.
    Connected,
    /// The other side stopped answering; it may come back.
    Suspect,
    /// ICE gave up, or DTLS failed.
    Failed,
    /// The other side did what it must not.
    Violated,
    /// Closed by either side.
    Closed,
}

impl State {
    pub(super) fn is_over(self) -> bool {
        matches!(self, Self::Failed | Self::Violated | Self::Closed)
    }
}

/// How far the search for our own candidates is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Default)]
pub(super) enum Gathering {
    #[default]
    Nothing,
    SomeCandidate,
    Complete,
}

/// What is known of a connection.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Facts {
    pub(super) state: State,
    pub(super) gathering: Gathering,
    /// Whether any candidate was found.
    pub(super) candidates: bool,
    /// Whether the channel is open.
    pub(super) open: bool,
    /// Counts messages that arrived and times that the send buffer ran low, to wake those that wait.
    pub(super) news: u64,
}

/// What the page's events change.
#[derive(Default)]
struct Shared {
    facts: watch::Sender<Facts>,
    channel: RefCell<Option<RtcDataChannel>>,
    messages: RefCell<VecDeque<Vec<u8>>>,
    unread: Cell<usize>,
}

impl Shared {
    fn change(&self, change: impl FnOnce(&mut Facts)) {
        self.facts.send_modify(change);
    }

    /// The first end stays the reason.
    fn reach(&self, state: State) {
        self.facts.send_if_modified(|facts| {
            let changes = !facts.state.is_over() && facts.state != state;
            if changes {
                facts.state = state;
            }
            changes
        });
    }

    fn on_message(&self, event: &MessageEvent) {
        let data = event.data();
        let bytes = data.dyn_ref::<ArrayBuffer>();
        let taken = bytes.is_some_and(|bytes| {
            let length = bytes.byte_length();
            self.unread.set(self.unread.get() + length as usize);
            length <= MAX_MESSAGE && self.unread.get() <= UNREAD
        });
        match bytes.filter(|_| taken) {
            Some(bytes) => {
                let bytes = Uint8Array::new(bytes).to_vec();
                self.messages.borrow_mut().push_back(bytes);
                self.change(|facts| facts.news += 1);
            }
            // Too much, or text, which no peer sends.
            None => self.reach(State::Violated),
        }
    }
}

/// The callbacks for events. Freed with the connection.
type Handlers = Vec<Closure<dyn FnMut(JsValue)>>;

/// A connection that is closed when it is dropped.
pub(super) struct Connection {
    peer: RtcPeerConnection,
    shared: Rc<Shared>,
    facts: watch::Receiver<Facts>,
    handlers: Rc<RefCell<Handlers>>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("facts", &*self.facts.borrow())
            .finish_non_exhaustive()
    }
}

impl Connection {
    pub(super) fn new(peer: RtcPeerConnection) -> Self {
        let shared = Rc::<Shared>::default();
        let facts = shared.facts.subscribe();
        let connection = Self {
            peer,
            shared,
            facts,
            handlers: Rc::default(),
        };
        connection.listen();
        connection
    }

    fn listen(&self) {
        let peer = &self.peer;
        let seen = self.handler(|shared, event| {
            let event: &RtcPeerConnectionIceEvent = event.unchecked_ref();
            let found = event.candidate().is_some();
            shared.change(|facts| {
                facts.candidates |= found;
                if found && facts.gathering == Gathering::Nothing {
                    facts.gathering = Gathering::SomeCandidate;
                }
            });
        });
        peer.set_onicecandidate(Some(&seen));
        let of = peer.clone();
        peer.set_onicegatheringstatechange(Some(&self.handler(move |shared, _| {
            if of.ice_gathering_state() == RtcIceGatheringState::Complete {
                shared.change(|facts| facts.gathering = Gathering::Complete);
            }
        })));
        let of = peer.clone();
        peer.set_onconnectionstatechange(Some(&self.handler(move |shared, _| {
            match of.connection_state() {
                RtcPeerConnectionState::Connected => shared.reach(State::Connected),
                RtcPeerConnectionState::Disconnected => shared.reach(State::Suspect),
                RtcPeerConnectionState::Failed => shared.reach(State::Failed),
                RtcPeerConnectionState::Closed => shared.reach(State::Closed),
                _ => {}
            }
        })));
        let handlers = Rc::downgrade(&self.handlers);
        peer.set_ondatachannel(Some(&self.handler(move |shared, event| {
            let event: &RtcDataChannelEvent = event.unchecked_ref();
            let channel = event.channel();
            // The bindings have no getter for it.
            let ordered = Reflect::get(&channel, &"ordered".into());
            let reliable = ordered.is_ok_and(|ordered| ordered == true)
                && channel.max_retransmits().is_none()
                && channel.max_packet_life_time().is_none();
            let first = shared.channel.borrow().is_none();
            match handlers.upgrade() {
                Some(handlers) if reliable && first => adopt(shared, &handlers, &channel),
                _ => shared.reach(State::Violated),
            }
        })));
    }

    /// Listens to the channel that we made.
    pub(super) fn adopt(&self, channel: &RtcDataChannel) {
        adopt(&self.shared, &self.handlers, channel);
    }

    fn handler(&self, call: impl FnMut(&Rc<Shared>, &JsValue) + 'static) -> js_sys::Function {
        handler(&self.shared, &self.handlers, call)
    }

    pub(super) const fn peer(&self) -> &RtcPeerConnection {
        &self.peer
    }

    pub(super) fn channel(&self) -> Option<RtcDataChannel> {
        self.shared.channel.borrow().clone()
    }

    pub(super) fn facts(&self) -> Facts {
        *self.facts.borrow()
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Facts> {
        self.facts.clone()
    }

    /// Waits for facts that fulfil the condition.
    pub(super) async fn wait_for(&self, wanted: impl FnMut(&Facts) -> bool) -> Facts {
        let mut facts = self.facts.clone();
        let found = facts.wait_for(wanted).await.map(|facts| *facts);
        // The sender lives as long as we do.
        found.unwrap_or_else(|_| self.facts())
    }

    /// The next message that came.
    pub(super) fn take(&self) -> Option<Vec<u8>> {
        let message = self.shared.messages.borrow_mut().pop_front()?;
        let left = self.shared.unread.get().saturating_sub(message.len());
        self.shared.unread.set(left);
        Some(message)
    }

    pub(super) fn close(&self) {
        self.peer.close();
        self.shared.reach(State::Closed);
    }
}

fn handler(
    shared: &Rc<Shared>,
    handlers: &RefCell<Handlers>,
    mut call: impl FnMut(&Rc<Shared>, &JsValue) + 'static,
) -> js_sys::Function {
    // Weak: a callback must not keep its owner alive.
    let shared = Rc::downgrade(shared);
    let closure = Closure::<dyn FnMut(JsValue)>::new(move |event: JsValue| {
        if let Some(shared) = shared.upgrade() {
            call(&shared, &event);
        }
    });
    let function = closure.as_ref().unchecked_ref::<js_sys::Function>().clone();
    handlers.borrow_mut().push(closure);
    function
}

fn adopt(shared: &Rc<Shared>, handlers: &RefCell<Handlers>, channel: &RtcDataChannel) {
    channel.set_binary_type(RtcDataChannelType::Arraybuffer);
    channel.set_buffered_amount_low_threshold(LOW_WATER as u32);
    let open = |shared: &Rc<Shared>| shared.change(|facts| facts.open = true);
    channel.set_onopen(Some(&handler(shared, handlers, move |shared, _| {
        open(shared)
    })));
    let on_message = handler(shared, handlers, |shared, event| {
        shared.on_message(event.unchecked_ref());
    });
    channel.set_onmessage(Some(&on_message));
    let on_low = handler(shared, handlers, |shared, _| {
        shared.change(|facts| facts.news += 1)
    });
    channel.set_onbufferedamountlow(Some(&on_low));
    let on_close = handler(shared, handlers, |shared, _| shared.reach(State::Closed));
    channel.set_onclose(Some(&on_close));
    *shared.channel.borrow_mut() = Some(channel.clone());
    // The other side's may be open already.
    if channel.ready_state() == RtcDataChannelState::Open {
        open(shared);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.peer.set_onicecandidate(None);
        self.peer.set_onicegatheringstatechange(None);
        self.peer.set_onconnectionstatechange(None);
        self.peer.set_ondatachannel(None);
        if let Some(channel) = self.shared.channel.borrow_mut().take() {
            channel.set_onopen(None);
            channel.set_onmessage(None);
            channel.set_onbufferedamountlow(None);
            channel.set_onclose(None);
        }
        self.peer.close();
    }
}
