//! The peer for JavaScript, as thin as possible: `peer/js/easypeers.mjs` turns it into the API that a
//! page sees. It takes plain values and an object of options, and returns promises and calls of one
//! listener.
//!
//! A panic is a trap without a message, which ends the peer.
//!
//! Runs in a page or a worker with `RTCPeerConnection`, on its event loop.

use std::future::Future;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use js_sys::{Array, Error, Function, Object, Promise, Reflect, Uint8Array};
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;

use crate::{
    Data, Easypeers, Event, IceServers, Identity, Message, Options, PeerId, Receipt, SendError,
    Status, rt,
};

/// Options as the wrapper passes them. It has checked their types; their values are checked here.
struct WebOptions(Object);

impl WebOptions {
    fn get(&self, name: &str) -> Option<JsValue> {
        let value = Reflect::get(&self.0, &name.into()).ok()?;
        (!value.is_undefined()).then_some(value)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name)?.as_string()
    }

    fn number(&self, name: &str) -> Option<u32> {
        // The wrapper has checked that it is whole and in range.
        self.get(name)?.as_f64().map(|number| number as u32)
    }

    fn milliseconds(&self, name: &str, default: Duration) -> Duration {
        let given = self.number(name);
        given.map_or(default, |number| Duration::from_millis(number.into()))
    }

    fn id<T: FromStr<Err: ToString>>(&self, name: &str) -> Result<Option<T>, JsValue> {
        self.text(name).map(|id| parse(&id)).transpose()
    }

    fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.is_truthy())
    }

    fn read(&self, identity: Arc<Identity>) -> Result<Options, JsValue> {
        let defaults = Options::default();
        let trackers = self.get("trackers").map(|list| Array::from(&list));
        let trackers = trackers.iter().flat_map(Array::iter);
        let trackers = trackers.map(|url| parse(&url.as_string().unwrap_or_default()));
        let ice_servers = match self.text("iceServers") {
            None => IceServers::Auto,
            Some(json) => IceServers::Only(serde_json::from_str(&json).map_err(error)?),
        };
        Ok(Options {
            trackers: trackers.collect::<Result<_, _>>()?,
            max_peers: self
                .number("maxPeers")
                .map_or(defaults.max_peers, |number| number as usize),
            timeout: self.milliseconds("timeout", defaults.timeout),
            identifier: self.id("identifier")?,
            #[cfg(feature = "compat")]
            address: self.id("address")?,
            password: self.text("password"),
            ice_servers,
            relay_only: self.flag("relayOnly"),
            history: self.milliseconds("history", defaults.history),
            #[cfg(feature = "compat")]
            compat: self.flag("compat"),
            identity: Some(identity),
            ..defaults
        })
    }
}

/// A peer.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Peer {
    handle: Easypeers,
    #[cfg(feature = "compat")]
    compat: bool,
}

#[wasm_bindgen]
impl Peer {
    /// Joins the mesh of a topic. `seed` is an identity's, 32 bytes; `listener` is called with the
    /// name of each event and its value.
    ///
    /// # Errors
    /// An `Error` for options that cannot work.
    #[wasm_bindgen(constructor)]
    pub fn new(
        topic: &str,
        options: Object,
        seed: &[u8],
        listener: Function,
    ) -> Result<Peer, JsValue> {
        let options = WebOptions(options).read(identity(seed)?)?;
        #[cfg(feature = "compat")]
        let compat = options.compat;
        // In a page, joining waits for nothing.
        let joined = Easypeers::join(topic, options).now_or_never();
        let handle = joined.ok_or_else(|| error("not ready"))?.map_err(error)?;
        let mut events = handle.events();
        rt::spawn(async move {
            while let Some(event) = events.next().await {
                tell(&listener, event);
            }
        });
        Ok(Self {
            handle,
            #[cfg(feature = "compat")]
            compat,
        })
    }

    /// Sends text or bytes to every member; resolves to the message's id.
    pub fn broadcast(&self, data: &JsValue) -> Promise {
        let (handle, data) = (self.handle.clone(), read_data(data));
        promise(async move { Ok(handle.send(data).await?.to_string().into()) })
    }

    /// Sends text or bytes to one member; resolves to its receipt.
    ///
    /// # Errors
    /// An `Error` for a malformed address.
    pub fn direct(&self, address: &str, data: &JsValue) -> Result<Promise, JsValue> {
        let (handle, data) = (self.handle.clone(), read_data(data));
        let to: PeerId = parse(address)?;
        Ok(promise(async move {
            Ok(receipt(handle.send_to(to, data).await?))
        }))
    }

    /// 40 hex digits.
    #[wasm_bindgen(getter)]
    pub fn address(&self) -> String {
        self.handle.address().to_string()
    }

    /// Takes another address.
    ///
    /// # Errors
    /// An `Error` for an address that this peer cannot have.
    #[cfg(feature = "compat")]
    #[wasm_bindgen(js_name = setAddress)]
    pub fn set_address(&self, address: &str) -> Result<Promise, JsValue> {
        let address: PeerId = parse(address)?;
        if !self.compat && address != self.handle.address() {
            return Err(error(SendError::ForeignAddress(address)));
        }
        let handle = self.handle.clone();
        Ok(done(async move { handle.set_address(address).await }))
    }

    /// Becomes the peer with this identity's seed.
    ///
    /// # Errors
    /// An `Error` for a seed that is not 32 bytes.
    #[wasm_bindgen(js_name = setIdentity)]
    pub fn set_identity(&self, seed: &[u8]) -> Result<Promise, JsValue> {
        let (handle, identity) = (self.handle.clone(), identity(seed)?);
        Ok(done(async move { handle.set_identity(identity).await }))
    }

    /// 40 hex digits.
    #[wasm_bindgen(getter)]
    pub fn identifier(&self) -> String {
        self.handle.identifier().to_string()
    }

    /// Moves to another swarm.
    ///
    /// # Errors
    /// An `Error` for anything but an infohash.
    #[wasm_bindgen(js_name = setIdentifier)]
    pub fn set_identifier(&self, identifier: &str) -> Result<Promise, JsValue> {
        let (handle, identifier) = (self.handle.clone(), parse(identifier)?);
        Ok(done(async move { handle.set_identifier(identifier).await }))
    }

    /// Links kept.
    #[wasm_bindgen(getter, js_name = maxPeers)]
    pub fn max_peers(&self) -> usize {
        self.handle.max_peers()
    }

    /// Sets how many links are kept.
    #[wasm_bindgen(js_name = setMaxPeers)]
    pub fn set_max_peers(&self, max_peers: usize) -> Promise {
        let handle = self.handle.clone();
        done(async move { handle.set_max_peers(max_peers).await })
    }

    /// Milliseconds between announces.
    #[wasm_bindgen(getter)]
    pub fn timeout(&self) -> f64 {
        self.handle.timeout().as_secs_f64() * 1000.0
    }

    /// Sets the milliseconds between announces.
    #[wasm_bindgen(js_name = setTimeout)]
    pub fn set_timeout(&self, milliseconds: u32) -> Promise {
        let handle = self.handle.clone();
        let timeout = Duration::from_millis(milliseconds.into());
        done(async move { handle.set_timeout(timeout).await })
    }

    /// Links that are up.
    #[wasm_bindgen(getter, js_name = wireCount)]
    pub fn wire_count(&self) -> usize {
        self.handle.wire_count()
    }

    /// The state, and why.
    pub fn status(&self) -> Object {
        status(&self.handle.status())
    }

    /// The neighbours.
    pub fn peers(&self) -> Array {
        let peers = self.handle.peers();
        let peers = peers.iter().map(|peer| {
            object(&[
                ("address", peer.address.to_string().into()),
                ("up", milliseconds(peer.up)),
                ("rtt", peer.rtt.map_or(JsValue::NULL, milliseconds)),
                ("offered", peer.offered.into()),
                ("compat", peer.compat.into()),
                ("browser", peer.browser.into()),
            ])
        });
        peers.collect()
    }

    /// Counts since the start.
    pub fn stats(&self) -> Object {
        let stats = self.handle.stats();
        let count = |count: u64| JsValue::from(count as f64);
        object(&[
            ("links", count(stats.links)),
            (
                "members",
                stats.members.map_or(JsValue::NULL, JsValue::from),
            ),
            ("linksOpened", count(stats.links_opened)),
            ("connectionsCreated", count(stats.connections_created)),
            ("messagesSent", count(stats.messages_sent)),
            ("messagesReceived", count(stats.messages_received)),
            ("messagesForwarded", count(stats.messages_forwarded)),
            ("duplicates", count(stats.duplicates)),
            ("rejected", count(stats.rejected)),
            ("dropped", count(stats.dropped)),
            ("bytesSent", count(stats.bytes_sent)),
            ("bytesReceived", count(stats.bytes_received)),
        ])
    }

    /// Cuts the link to a neighbour; resolves to whether there was one.
    ///
    /// # Errors
    /// An `Error` for a malformed address.
    pub fn disconnect(&self, address: &str) -> Result<Promise, JsValue> {
        let (handle, peer) = (self.handle.clone(), parse(address)?);
        Ok(promise(
            async move { Ok(handle.disconnect(peer).await?.into()) },
        ))
    }

    /// Disconnects from the trackers, or connects to them again at once.
    #[wasm_bindgen(js_name = useTrackers)]
    pub fn use_trackers(&self, use_them: bool) -> Promise {
        let handle = self.handle.clone();
        done(async move { handle.use_trackers(use_them).await })
    }

    /// Says goodbye and ends.
    pub fn close(&self) -> Promise {
        let handle = self.handle.clone();
        promise(async move {
            handle.close().await;
            Ok(JsValue::UNDEFINED)
        })
    }
}

fn error(error: impl ToString) -> JsValue {
    Error::new(&error.to_string()).into()
}

fn parse<T: FromStr<Err: ToString>>(text: &str) -> Result<T, JsValue> {
    text.parse().map_err(error)
}

fn identity(seed: &[u8]) -> Result<Arc<Identity>, JsValue> {
    let seed = seed
        .try_into()
        .map_err(|_| error("an identity is 32 bytes"))?;
    Ok(Arc::new(Identity::from_seed(seed)))
}

fn read_data(data: &JsValue) -> Data {
    match data.as_string() {
        Some(text) => text.into(),
        None => Uint8Array::new(data).to_vec().into(),
    }
}

fn promise(work: impl Future<Output = Result<JsValue, SendError>> + 'static) -> Promise {
    // Boxed: one kind of task for all promises.
    let work: LocalBoxFuture<'static, _> = Box::pin(work.map(|result| result.map_err(error)));
    future_to_promise(work)
}

fn done(work: impl Future<Output = Result<(), SendError>> + 'static) -> Promise {
    promise(work.map(|result| result.map(|()| JsValue::UNDEFINED)))
}

fn milliseconds(time: Duration) -> JsValue {
    (time.as_secs_f64() * 1000.0).into()
}

fn object(fields: &[(&str, JsValue)]) -> Object {
    let object = Object::new();
    for (name, value) in fields {
        // A new object takes any field.
        let _ = Reflect::set(&object, &JsValue::from(*name), value);
    }
    object
}

fn receipt(receipt: Receipt) -> JsValue {
    let mut fields = vec![("result", receipt.as_str().into())];
    if let Receipt::Delivered { hops, rtt } = receipt {
        fields.push(("hops", hops.into()));
        fields.push(("rtt", milliseconds(rtt)));
    }
    object(&fields).into()
}

fn status(status: &Status) -> Object {
    object(&[
        ("state", status.state.as_str().into()),
        ("reason", status.reason.as_str().into()),
        ("links", status.links.into()),
        ("trackers", status.trackers.into()),
    ])
}

fn message(message: &Message) -> Object {
    let bytes = message.data.as_bytes();
    object(&[
        ("message", String::from_utf8_lossy(bytes).as_ref().into()),
        ("from", message.from.to_string().into()),
        ("id", message.id.to_string().into()),
        ("data", Uint8Array::from(bytes).into()),
        ("binary", message.data.as_text().is_none().into()),
        ("direct", message.direct.into()),
        ("verified", message.verified.into()),
        ("hops", message.hops.into()),
        ("time", JsValue::from(message.time_ms as f64)),
    ])
}

fn tell(listener: &Function, event: Event) {
    let (name, value): (&str, JsValue) = match event {
        Event::Connect(peer) => ("connect", peer.to_string().into()),
        Event::Disconnect(peer) => ("disconnect", peer.to_string().into()),
        Event::Message(received) => ("message", message(&received).unchecked_into()),
        Event::State(now) => ("state", status(&now).unchecked_into()),
        Event::Lagged(lost) => ("lagged", JsValue::from(lost as f64)),
    };
    // The wrapper's listener throws nothing: it reports what the page's listeners throw.
    let _ = listener.call2(&JsValue::NULL, &name.into(), &value);
}
