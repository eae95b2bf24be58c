//! Several trackers that act as one. Within this process over a bus of its own, and as processes over
//! a real Redis (Debian's `redis-server`), each test with one of its own behind a Unix socket.

mod engine;
mod faults;
mod hostile;
mod nodes;
pub(crate) mod redis;
mod settings;
mod together;
