//! The page's own `WebSocket` and `fetch`.
//!
//! A page cannot ping; it sends a question that every tracker answers instead. Nor can it slow a
//! server that sends too much: such a connection is closed.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

use js_sys::{JsString, Uint8Array};
use tokio::sync::Notify;
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{BinaryType, CloseEvent, MessageEvent, Response, WebSocket};

use super::{CONNECT, GET, MAX_ANSWER, MAX_MESSAGE, Received, closed_by_tracker, no_answer};
use crate::model::TrackerUrl;
use crate::rt;

/// Messages that wait for the tracker's task: more than it ever leaves, since it runs in between.
const UNREAD: usize = 256;

/// Bytes that wait to be sent. A tracker that leaves so much does not read.
const UNSENT: u32 = 1 << 20;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(catch, js_name = fetch)]
    async fn fetch(url: &str) -> Result<JsValue, JsValue>;
}

/// Makes connections.
#[derive(Debug, Clone)]
pub(in crate::tracker) struct Connector;

impl Connector {
    pub(in crate::tracker) const fn new() -> Self {
        Self
    }

    pub(in crate::tracker) async fn connect(&self, url: &TrackerUrl) -> Result<Socket, String> {
        let mut socket = Socket::new(url).map_err(|error| words(&error))?;
        match rt::timeout(CONNECT, socket.opened()).await {
            Some(Ok(())) => Ok(socket),
            Some(Err(error)) => Err(error),
            None => Err(no_answer()),
        }
    }

    /// The body of a resource of the tracker's host, if it is there, small, and this page's to read.
    pub(in crate::tracker) async fn get(&self, url: &TrackerUrl, path: &str) -> Option<Vec<u8>> {
        let scheme = if url.is_secure() { "https" } else { "http" };
        let resource = format!("{scheme}://{}{path}", url.authority());
        let fetch = async {
            let response: Response = fetch(&resource).await.ok()?.dyn_into().ok()?;
            if !response.ok() {
                return None;
            }
            let body = JsFuture::from(response.array_buffer().ok()?).await.ok()?;
            let body = Uint8Array::new(&body);
            (body.length() as usize <= MAX_ANSWER).then(|| body.to_vec())
        };
        rt::timeout(GET, fetch).await?
    }
}

/// What the page's events leave for the task.
#[derive(Debug, Default)]
struct Inbox {
    opened: bool,
    messages: VecDeque<Received>,
    /// Why it ended.
    closed: Option<String>,
}

#[derive(Debug, Default)]
struct Shared {
    inbox: RefCell<Inbox>,
    changed: Notify,
}

impl Shared {
    fn change(&self, change: impl FnOnce(&mut Inbox)) {
        change(&mut self.inbox.borrow_mut());
        self.changed.notify_one();
    }
}

/// A connection to a tracker.
pub(in crate::tracker) struct Socket {
    socket: WebSocket,
    shared: Rc<Shared>,
    _on_open: Closure<dyn FnMut()>,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_close: Closure<dyn FnMut(CloseEvent)>,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Socket")
    }
}

impl Socket {
    fn new(url: &TrackerUrl) -> Result<Self, JsValue> {
        let socket = WebSocket::new(&url.to_string())?;
        socket.set_binary_type(BinaryType::Arraybuffer);
        let shared = Rc::<Shared>::default();
        let inbox = Rc::clone(&shared);
        let on_open =
            Closure::<dyn FnMut()>::new(move || inbox.change(|inbox| inbox.opened = true));
        let inbox = Rc::clone(&shared);
        let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
            inbox.change(|inbox| inbox.take(&event));
        });
        let inbox = Rc::clone(&shared);
        let on_close = Closure::<dyn FnMut(CloseEvent)>::new(move |event: CloseEvent| {
            inbox.change(|inbox| {
                let said = Some(event.reason()).filter(|reason| !reason.is_empty());
                inbox.closed.get_or_insert_with(|| match said {
                    Some(reason) => reason,
                    // A page is not told more.
                    None if !inbox.opened => "it cannot be reached".to_owned(),
                    None if event.code() == 1006 => "connection lost".to_owned(),
                    None => String::new(),
                });
            });
        });
        socket.set_onopen(Some(on_open.as_ref().unchecked_ref()));
        socket.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        socket.set_onclose(Some(on_close.as_ref().unchecked_ref()));
        Ok(Self {
            socket,
            shared,
            _on_open: on_open,
            _on_message: on_message,
            _on_close: on_close,
        })
    }

    async fn opened(&mut self) -> Result<(), String> {
        loop {
            {
                let inbox = self.shared.inbox.borrow();
                if let Some(reason) = &inbox.closed {
                    return Err(reason.clone());
                }
                if inbox.opened {
                    return Ok(());
                }
            }
            self.shared.changed.notified().await;
        }
    }

    /// The next thing that it tells. Loses nothing when dropped before it is ready.
    pub(in crate::tracker) async fn receive(&mut self) -> Received {
        loop {
            {
                let mut inbox = self.shared.inbox.borrow_mut();
                if let Some(message) = inbox.messages.pop_front() {
                    return message;
                }
                if let Some(reason) = &inbox.closed {
                    return closed_by_tracker(Some(reason.clone()));
                }
            }
            self.shared.changed.notified().await;
        }
    }

    #[expect(clippy::unused_async, reason = "a native socket waits")]
    pub(in crate::tracker) async fn send(&mut self, text: String) -> Result<(), String> {
        if self.socket.buffered_amount() > UNSENT {
            return Err("it does not read".to_owned());
        }
        let sent = self.socket.send_with_str(&text);
        sent.map_err(|error| words(&error))
    }

    /// Asks for a sign of life.
    pub(in crate::tracker) async fn ping(
        &mut self,
        question: impl FnOnce() -> String,
    ) -> Result<(), String> {
        self.send(question()).await
    }

    #[expect(clippy::unused_async, reason = "a native socket waits")]
    pub(in crate::tracker) async fn close(&mut self) {
        // Who is gone already needs no farewell.
        let _ = self.socket.close();
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.socket.set_onopen(None);
        self.socket.set_onmessage(None);
        self.socket.set_onclose(None);
        let _ = self.socket.close();
    }
}

impl Inbox {
    fn take(&mut self, event: &MessageEvent) {
        let data = event.data();
        let message = match data.dyn_ref::<JsString>() {
            // A character takes at most three bytes in UTF-8.
            Some(text) if text.length() as usize > MAX_MESSAGE => None,
            Some(text) => Some(Received::Text(String::from(text))),
            None => Some(Received::Other),
        };
        match message {
            Some(message) if self.messages.len() < UNREAD => self.messages.push_back(message),
            _ => self.closed = Some("it sends too much".to_owned()),
        }
    }
}

/// What the browser says, without its type.
fn words(error: &JsValue) -> String {
    match error.dyn_ref::<js_sys::Error>() {
        Some(error) => String::from(error.message()),
        None => "the browser refused".to_owned(),
    }
}
