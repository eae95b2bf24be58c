//! Limits that the decoders enforce, each with its reason.

/// Most offers kept of one announce. More are counted but not stored. Known clients send 1 to 10
/// (WebTorrent 5, Trystero 3 or 10). npm `bittorrent-tracker` relays at most 82.
pub const MAX_OFFERS: usize = 100;

/// Most infohashes in one scrape. The answer takes about 150 bytes for each, so this limits it to
/// 15 KiB. Clients scrape one torrent or a handful at a time.
pub const MAX_SCRAPE: usize = 100;

/// Longest malformed `info_hash` in bytes that a failure message repeats. The client needs it to match
/// the failure to its request. The usual mistake, 40 hex digits, takes 42 bytes with the quotes.
pub const MAX_INFO_HASH_ECHO: usize = 256;
