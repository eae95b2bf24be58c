//! Ids and message codec that tracker and peers have in common.
