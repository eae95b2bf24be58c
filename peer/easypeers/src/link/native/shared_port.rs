//! One UDP port for all connections. Each datagram goes to the connection that it is meant for. A
//! connection has a [`VirtualSocket`] in place of a socket of its own.
//!
//! How a datagram finds its connection (RFC 7983 tells the protocols apart by the first byte):
//! - STUN requests name our ICE user fragment first in USERNAME (RFC 8489, section 14.3).
//! - STUN responses carry the transaction id of a request that the connection sent.
//! - DTLS records only have the address they came from. A connection is known under an address once
//!   it got a STUN request from there or sent DTLS to it. Several may be known under one, when the
//!   other side also has one port and replaces a link, or both sides offer one at once. Then
//!   encrypted records go to each, since DTLS drops what it cannot authenticate (RFC 6347, section
//!   4.1.2.7), and only one handshake runs at a time, that of the lesser user fragments: what others
//!   would send of theirs is held back, and sent again by DTLS.
//!
//! Nothing else passes. TURN cannot be used: a TURN server knows its clients by their address, so
//! all connections would be one client to it.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

use super::socket::{Burst, prepare, received};

/// Longest datagram taken, in bytes. The SCTP layer of every implementation stays below 1,280.
const MAX_DATAGRAM: usize = 2048;

/// Datagrams that may wait for one connection, about 1.2 MB: what a kernel buffer of 2 MiB holds.
const QUEUE: usize = 1024;

/// Requests remembered until their response comes. A connection that starts sends about 50 a
/// second to each of its candidate pairs.
const MAX_REQUESTS: usize = 4096;

/// Most addresses one connection is known under, and most connections of one address.
const MAX_ADDRESSES: usize = 32;
const MAX_SHARING: usize = 4;

/// The socket of one local address, shared by all connections.
pub(super) struct SharedPort {
    socket: Arc<UdpSocket>,
    local: SocketAddr,
    table: Arc<Mutex<Table>>,
    reader: AbortHandle,
}

impl fmt::Debug for SharedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedPort").field(&self.local).finish()
    }
}

impl SharedPort {
    /// Binds the port and begins to read from it.
    pub(super) fn bind(address: IpAddr, port: u16) -> io::Result<Arc<Self>> {
        let bound = std::net::UdpSocket::bind((address, port))?;
        let local = bound.local_addr()?;
        let socket = Arc::new(prepare(bound)?);
        let table = Arc::new(Mutex::new(Table::default()));
        let reader = tokio::spawn(read(Arc::clone(&socket), Arc::downgrade(&table)));
        Ok(Arc::new(Self {
            socket,
            local,
            table,
            reader: reader.abort_handle(),
        }))
    }

    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    /// A socket for the connection with this ICE user fragment. It reports `alias` as its address.
    pub(super) fn attach(self: &Arc<Self>, ufrag: &str, alias: SocketAddr) -> VirtualSocket {
        let (queue, incoming) = mpsc::channel(QUEUE);
        let id = lock(&self.table).add(ufrag, queue);
        VirtualSocket {
            port: Arc::clone(self),
            id,
            alias,
            incoming: Mutex::new(incoming),
            burst: Burst::default(),
        }
    }
}

impl Drop for SharedPort {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn read(socket: Arc<UdpSocket>, table: Weak<Mutex<Table>>) {
    let mut buf = [0; MAX_DATAGRAM];
    loop {
        let datagram = socket.recv_from(&mut buf).await;
        let Some(table) = table.upgrade() else {
            return;
        };
        match datagram {
            Ok((len, from)) => {
                if let Some(bytes) = buf.get(..len) {
                    lock(&table).deliver(bytes, from);
                }
            }
            // ICMP errors of a datagram sent before; the socket is still good.
            Err(error) => tracing::debug!(%error, "shared UDP port"),
        }
    }
}

type Id = u64;
type Datagram = (Vec<u8>, SocketAddr);
type TransactionId = [u8; 12];

struct Entry {
    ufrag: String,
    queue: mpsc::Sender<Datagram>,
    addresses: Vec<SocketAddr>,
    /// The user fragments of both sides, the lesser one first, once a STUN request named them.
    pair: Option<[String; 2]>,
    /// Whether it sent application data, which shows that its handshake is over.
    established: bool,
}

/// Decides which connection gets a datagram.
#[derive(Default)]
struct Table {
    last: Id,
    entries: HashMap<Id, Entry>,
    by_ufrag: HashMap<String, Id>,
    by_address: HashMap<SocketAddr, Vec<Id>>,
    requests: HashMap<TransactionId, Id>,
    request_order: VecDeque<TransactionId>,
}

impl Table {
    fn add(&mut self, ufrag: &str, queue: mpsc::Sender<Datagram>) -> Id {
        self.last += 1;
        self.by_ufrag.insert(ufrag.to_owned(), self.last);
        let entry = Entry {
            ufrag: ufrag.to_owned(),
            queue,
            addresses: Vec::new(),
            pair: None,
            established: false,
        };
        self.entries.insert(self.last, entry);
        self.last
    }

    fn remove(&mut self, id: Id) {
        let Some(entry) = self.entries.remove(&id) else {
            return;
        };
        self.by_ufrag.remove(&entry.ufrag);
        for address in entry.addresses {
            if let Some(sharing) = self.by_address.get_mut(&address) {
                sharing.retain(|known| *known != id);
                if sharing.is_empty() {
                    self.by_address.remove(&address);
                }
            }
        }
    }

    /// Learns that a connection uses an address.
    fn meet(&mut self, id: Id, address: SocketAddr) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if entry.addresses.contains(&address) || entry.addresses.len() >= MAX_ADDRESSES {
            return;
        }
        let sharing = self.by_address.entry(address).or_default();
        if sharing.len() >= MAX_SHARING {
            return;
        }
        sharing.push(id);
        sharing.sort_unstable();
        entry.addresses.push(address);
    }

    /// Notes an outgoing datagram. Returns whether it may be sent.
    fn sends(&mut self, id: Id, bytes: &[u8], to: SocketAddr) -> bool {
        match Datum::of(bytes) {
            Datum::StunRequest(transaction, _) => {
                if self.requests.insert(transaction, id).is_none() {
                    self.request_order.push_back(transaction);
                }
                if self.request_order.len() > MAX_REQUESTS
                    && let Some(oldest) = self.request_order.pop_front()
                {
                    self.requests.remove(&oldest);
                }
            }
            Datum::Handshake => {
                self.meet(id, to);
                return self.shaking_hands(to).is_none_or(|first| first == id);
            }
            Datum::Encrypted => {
                self.meet(id, to);
                if let (Some(entry), Some(23)) = (self.entries.get_mut(&id), bytes.first()) {
                    entry.established = true;
                }
            }
            Datum::StunResponse(_) | Datum::Other => {}
        }
        true
    }

    fn deliver(&mut self, bytes: &[u8], from: SocketAddr) {
        match Datum::of(bytes) {
            Datum::StunRequest(_, Some([ours, theirs])) => {
                if let Some(id) = self.by_ufrag.get(ours).copied() {
                    self.meet(id, from);
                    if let Some(entry) = self.entries.get_mut(&id)
                        && entry.pair.is_none()
                    {
                        let mut pair = [ours.to_owned(), theirs.to_owned()];
                        pair.sort_unstable();
                        entry.pair = Some(pair);
                    }
                    self.hand(id, bytes, from);
                }
            }
            Datum::StunResponse(transaction) => {
                if let Some(id) = self.requests.get(&transaction) {
                    self.hand(*id, bytes, from);
                }
            }
            Datum::Handshake => {
                if let Some(id) = self.shaking_hands(from) {
                    self.hand(id, bytes, from);
                }
            }
            Datum::Encrypted => {
                for id in self.by_address.get(&from).into_iter().flatten() {
                    self.hand(*id, bytes, from);
                }
            }
            Datum::StunRequest(_, None) | Datum::Other => {}
        }
    }

    /// Which connection of an address the handshake there is for.
    fn shaking_hands(&self, address: SocketAddr) -> Option<Id> {
        let sharing = self.by_address.get(&address).into_iter().flatten();
        let entries = sharing.filter_map(|id| Some((*id, self.entries.get(id)?)));
        let first = entries.min_by_key(|(id, entry)| {
            let newest_first = std::cmp::Reverse(*id);
            (
                entry.established,
                entry.pair.is_none(),
                &entry.pair,
                newest_first,
            )
        });
        first.map(|(id, _)| id)
    }

    /// A full queue drops, as a socket's buffer does.
    fn hand(&self, id: Id, bytes: &[u8], from: SocketAddr) {
        if let Some(entry) = self.entries.get(&id) {
            let _ = entry.queue.try_send((bytes.to_vec(), from));
        }
    }
}

/// What a datagram is, as far as its way depends on it.
#[derive(Debug, PartialEq, Eq)]
enum Datum<'a> {
    /// With the halves of USERNAME, the user fragments of the receiver and the sender.
    StunRequest(TransactionId, Option<[&'a str; 2]>),
    StunResponse(TransactionId),
    /// A DTLS record of epoch 0.
    Handshake,
    /// Any other DTLS record.
    Encrypted,
    Other,
}

impl<'a> Datum<'a> {
    const STUN_HEADER: usize = 20;
    const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
    const USERNAME: u16 = 0x0006;

    fn of(bytes: &'a [u8]) -> Self {
        match bytes {
            [0..=3, ..] => Self::stun(bytes).unwrap_or(Self::Other),
            [20..=31, _, _, 0, 0, ..] => Self::Handshake,
            [20..=63, ..] => Self::Encrypted,
            _ => Self::Other,
        }
    }

    fn stun(bytes: &'a [u8]) -> Option<Self> {
        let (header, attributes) = bytes.split_at_checked(Self::STUN_HEADER)?;
        let kind = u16::from_be_bytes([header[0], header[1]]);
        if header.get(4..8)? != Self::MAGIC_COOKIE {
            return None;
        }
        let transaction = header.get(8..)?.try_into().ok()?;
        // The class is in two bits between those of the method (RFC 8489, section 5).
        match (kind >> 7 & 2) | (kind >> 4 & 1) {
            0 => Some(Self::StunRequest(transaction, Self::username(attributes))),
            1 => None,
            _ => Some(Self::StunResponse(transaction)),
        }
    }

    fn username(mut attributes: &'a [u8]) -> Option<[&'a str; 2]> {
        loop {
            let (head, rest) = attributes.split_first_chunk::<4>()?;
            let [kind, len] = [[head[0], head[1]], [head[2], head[3]]].map(u16::from_be_bytes);
            let len = usize::from(len);
            if kind == Self::USERNAME {
                let name = std::str::from_utf8(rest.get(..len)?).ok()?;
                return name.split_once(':').map(<[&str; 2]>::from);
            }
            attributes = rest.get(len.next_multiple_of(4)..)?;
        }
    }
}

/// One connection's share of the port.
pub(super) struct VirtualSocket {
    port: Arc<SharedPort>,
    id: Id,
    alias: SocketAddr,
    incoming: Mutex<mpsc::Receiver<Datagram>>,
    burst: Burst,
}

impl fmt::Debug for VirtualSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VirtualSocket").field(&self.alias).finish()
    }
}

impl Drop for VirtualSocket {
    fn drop(&mut self) {
        lock(&self.port.table).remove(self.id);
    }
}

impl AsyncUdpSocket for VirtualSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.alias)
    }

    /// Never waits: the kernel wakes only one waiter a socket. What does not fit is lost, as it
    /// would be further on, and sent again by SCTP.
    fn poll_send(&self, _: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        let (bytes, to) = (transmit.contents, transmit.destination);
        if !lock(&self.port.table).sends(self.id, bytes, to) {
            return Poll::Ready(Ok(bytes.len()));
        }
        Poll::Ready(match self.port.socket.try_send_to(bytes, to) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(bytes.len()),
            sent => sent,
        })
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let Some(buf) = bufs.first_mut() else {
            return Poll::Ready(Ok(0));
        };
        match lock(&self.incoming).poll_recv(cx) {
            Poll::Ready(Some((bytes, from))) => {
                let len = bytes.len().min(buf.len());
                if let (Some(to), Some(bytes)) = (buf.get_mut(..len), bytes.get(..len)) {
                    to.copy_from_slice(bytes);
                }
                self.burst.read();
                Poll::Ready(Ok(received(meta, from, len)))
            }
            Poll::Ready(None) => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            Poll::Pending => {
                ready!(self.burst.end(cx));
                Poll::Ready(Ok(received(meta, self.alias, 0)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stun(kind: u16, transaction: TransactionId, attributes: &[u8]) -> Vec<u8> {
        let mut bytes = kind.to_be_bytes().to_vec();
        bytes.extend(u16::try_from(attributes.len()).unwrap().to_be_bytes());
        bytes.extend(Datum::MAGIC_COOKIE);
        bytes.extend(transaction);
        bytes.extend(attributes);
        bytes
    }

    #[test]
    fn datagrams_are_told_apart() {
        let name = [
            0x80, 0x2a, 0, 3, 1, 2, 3, 0, 0, 6, 0, 5, b'a', b'b', b':', b'c', b'd', 0,
        ];
        let id = [7; 12];
        assert_eq!(
            Datum::of(&stun(1, id, &name)),
            Datum::StunRequest(id, Some(["ab", "cd"]))
        );
        assert_eq!(Datum::of(&stun(1, id, &[])), Datum::StunRequest(id, None));
        assert_eq!(Datum::of(&stun(0x101, id, &[])), Datum::StunResponse(id));
        assert_eq!(Datum::of(&stun(0x111, id, &[])), Datum::StunResponse(id));
        assert_eq!(Datum::of(&stun(0x11, id, &[])), Datum::Other);
        assert_eq!(Datum::of(&[0; 40]), Datum::Other);
        assert_eq!(Datum::of(&[22, 254, 253, 0, 0, 1]), Datum::Handshake);
        assert_eq!(Datum::of(&[23, 254, 253, 0, 1, 1]), Datum::Encrypted);
        assert_eq!(Datum::of(&[0x2f, 1]), Datum::Encrypted);
        assert_eq!(Datum::of(&[]), Datum::Other);
        let full = stun(1, id, &name);
        for end in 0..full.len() {
            Datum::of(&full[..end]);
        }
    }

    #[test]
    fn connections_known_under_one_address() {
        let mut table = Table::default();
        let from: SocketAddr = "192.0.2.1:9".parse().unwrap();
        let (old_queue, mut old) = mpsc::channel(4);
        let (new_queue, mut new) = mpsc::channel(4);
        let old_id = table.add("old", old_queue);
        let new_id = table.add("new", new_queue);
        let (handshake, encrypted) = ([22, 254, 253, 0, 0], [23, 254, 253, 0, 1]);
        table.deliver(&handshake, from);
        assert!(old.try_recv().is_err());
        table.sends(new_id, &handshake, from);
        table.sends(old_id, &encrypted, from);
        table.deliver(&handshake, from);
        assert!(new.try_recv().is_ok() && old.try_recv().is_err());
        table.deliver(&encrypted, from);
        assert!(new.try_recv().is_ok() && old.try_recv().is_ok());
        // Two that are not through, in either order: the same one.
        let name = |ours: &str| [&[0, 6, 0, 5], ours.as_bytes(), b":a", &[0; 3]].concat();
        let third_id = {
            let (queue, third) = mpsc::channel(4);
            let id = table.add("thi", queue);
            table.deliver(&stun(1, [1; 12], &name("new")), from);
            table.deliver(&stun(1, [2; 12], &name("thi")), from);
            assert!(new.try_recv().is_ok() && third.len() == 1);
            table.deliver(&handshake, from);
            assert!(new.try_recv().is_ok() && third.len() == 1);
            id
        };
        table.remove(third_id);
        table.remove(new_id);
        table.deliver(&handshake, from);
        assert!(old.try_recv().is_ok());
        table.remove(old_id);
        assert!(table.by_address.is_empty() && table.by_ufrag.is_empty());
    }
}
