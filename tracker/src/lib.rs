//! The tracker as a library.

pub mod ws;
