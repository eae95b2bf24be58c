//! Bounds that the codec enforces while it decodes, each with its reason.

/// Offers kept of one announce; more are counted, not stored. Known clients send 1 to 10
/// (WebTorrent 5, Trystero 3 or 10); bittorrent-tracker relays at most 82.
pub const MAX_OFFERS: usize = 100;

/// Infohashes in one scrape. The answer takes about 150 bytes for each, so this bounds it to
/// 15 KiB; clients scrape one torrent at a time or a handful.
pub const MAX_SCRAPE: usize = 100;

/// Bytes of a malformed `info_hash` that a failure message echoes, so that the client can match
/// it. A 40-digit hex hash, the usual mistake, takes 42 with its quotes.
pub const MAX_INFO_HASH_ECHO: usize = 256;
