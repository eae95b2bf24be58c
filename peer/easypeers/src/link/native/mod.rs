//! Links over the crate `webrtc`, which only this folder names.

mod channel;
mod connection;
mod pending;
mod ports;
mod runtime;
mod server;
mod shared_port;
mod socket;
#[cfg(test)]
mod tests;
mod webrtc;

pub use self::channel::{Link, LinkReceiver, LinkSender};
pub use self::pending::{PendingAnswer, PendingOffer};
pub use self::webrtc::Transport;

use super::{
    FIRST_CANDIDATE, FLUSH, GATHER, HIGH_WATER, IceServer, LABEL, LOW_WATER, LinkError, LinkEvent,
    LinkOptions, MAX_PIECE, OPEN, Terms, UdpPorts, sdp,
};

impl From<::webrtc::error::Error> for LinkError {
    fn from(error: ::webrtc::error::Error) -> Self {
        Self::Stack(error.to_string())
    }
}
