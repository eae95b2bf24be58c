//! The program `tracker` as a process: what it prints, how it exits, what signals do.

mod configuration;
mod documented;
mod faults;
pub(crate) mod process;
mod signals;
mod sockets;
mod supervisor;
