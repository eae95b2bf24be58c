//! The tracker as a library.
