//! A typed line: a broadcast, or a command that starts with a slash. `//text` sends `/text`.

use easypeers::PeerId;

/// The fewest digits of an abbreviated address. Fewer would soon match several peers.
const MIN_PREFIX: usize = 4;

/// What a line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    /// The line is empty, and nothing is sent.
    Empty,
    /// Send to all members.
    Broadcast(String),
    /// Send to one member.
    Direct {
        to: Address,
        text: String,
    },
    Peers,
    Info,
    Help,
    Quit,
}

/// An address as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Full(PeerId),
    /// Its first 4 to 39 hex digits, in lower case.
    Prefix(String),
}

/// Why a line is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LineError {
    #[error("unknown command {0}; /help lists the commands, //text sends /text")]
    Unknown(String),
    #[error("/msg needs an address and a text: /msg ADDRESS text")]
    Incomplete,
    #[error(
        "{0:?} is not an address: use 40 hex digits, or at least the first {MIN_PREFIX} of a peer seen here"
    )]
    Address(String),
    #[error("{command} takes no argument, but got {argument:?}")]
    Argument {
        command: &'static str,
        argument: String,
    },
}

/// The answer to `/help`.
pub(crate) const HELP: &str = "\
/msg ADDRESS text   send a direct message; the first 4 digits of a peer seen here are enough
/peers              list the links
/info               show address, swarm, trackers, state and counts
/help               show this
/quit               leave, like Ctrl-C and Ctrl-D
//text              send a text that starts with a slash
Everything else goes to all peers of the topic.";

/// Reads a line without its line break.
pub(crate) fn parse(line: &str) -> Result<Line, LineError> {
    if line.is_empty() {
        return Ok(Line::Empty);
    }
    let Some(command) = line.strip_prefix('/') else {
        return Ok(Line::Broadcast(line.to_owned()));
    };
    if command.starts_with('/') {
        return Ok(Line::Broadcast(command.to_owned()));
    }
    let (name, rest) = command.split_once(' ').unwrap_or((command, ""));
    let alone = |command, line| match rest.trim() {
        "" => Ok(line),
        argument => Err(LineError::Argument {
            command,
            argument: argument.to_owned(),
        }),
    };
    match name {
        "msg" => direct(rest),
        "peers" => alone("/peers", Line::Peers),
        "info" => alone("/info", Line::Info),
        "help" => alone("/help", Line::Help),
        "quit" => alone("/quit", Line::Quit),
        _ => Err(LineError::Unknown(format!("/{name}"))),
    }
}

fn direct(rest: &str) -> Result<Line, LineError> {
    let (to, text) = rest
        .trim_start()
        .split_once(' ')
        .ok_or(LineError::Incomplete)?;
    if text.is_empty() {
        return Err(LineError::Incomplete);
    }
    Ok(Line::Direct {
        to: address(to)?,
        text: text.to_owned(),
    })
}

fn address(text: &str) -> Result<Address, LineError> {
    if let Ok(full) = text.parse() {
        return Ok(Address::Full(full));
    }
    let hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if hex && (MIN_PREFIX..40).contains(&text.len()) {
        return Ok(Address::Prefix(text.to_ascii_lowercase()));
    }
    Err(LineError::Address(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_sent_as_they_are() {
        let broadcast = |text: &str| Ok(Line::Broadcast(text.to_owned()));
        assert_eq!(parse("hello"), broadcast("hello"));
        assert_eq!(parse("  two  spaces "), broadcast("  two  spaces "));
        assert_eq!(parse(" /quit"), broadcast(" /quit"));
        assert_eq!(parse("//quit"), broadcast("/quit"));
        assert_eq!(parse("///"), broadcast("//"));
        assert_eq!(parse(""), Ok(Line::Empty));
    }

    #[test]
    fn commands() {
        assert_eq!(parse("/peers"), Ok(Line::Peers));
        assert_eq!(parse("/info "), Ok(Line::Info));
        assert_eq!(parse("/help"), Ok(Line::Help));
        assert_eq!(parse("/quit"), Ok(Line::Quit));
        let error = parse("/quit now").unwrap_err().to_string();
        assert_eq!(error, "/quit takes no argument, but got \"now\"");
        for unknown in ["/", "/q", "/Quit", "/msgs a b", "/ hello"] {
            assert!(
                matches!(parse(unknown), Err(LineError::Unknown(_))),
                "{unknown}"
            );
        }
    }

    #[test]
    fn direct_messages_name_an_address_or_its_start() {
        let full = "0123456789abcdef0123456789ABCDEF01234567";
        let to = Address::Full(full.parse().unwrap());
        let text = " two  spaces".to_owned();
        assert_eq!(
            parse(&format!("/msg {full}  two  spaces")),
            Ok(Line::Direct { to, text })
        );
        let to = Address::Prefix("01ab".to_owned());
        let text = "x".to_owned();
        assert_eq!(parse("/msg 01AB x"), Ok(Line::Direct { to, text }));
        for bad in ["/msg", "/msg 01ab", "/msg 01ab "] {
            assert_eq!(parse(bad), Err(LineError::Incomplete), "{bad}");
        }
        for bad in ["/msg 01a x", "/msg 01ag x", "/msg \u{e9}\u{e9} x"] {
            assert!(matches!(parse(bad), Err(LineError::Address(_))), "{bad}");
        }
        let long = format!("/msg {full}0 x");
        assert!(matches!(parse(&long), Err(LineError::Address(_))));
    }
}
