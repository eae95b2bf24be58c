//! Frames of the protocol `ep2`.
