//! A typed line: a message to everybody, or a command behind a slash. `//text` sends `/text`.

use easypeers::PeerId;

/// Fewest digits of an abbreviated address: fewer would soon fit several peers.
const MIN_PREFIX: usize = 4;

/// What a line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    /// Nothing.
    Empty,
    /// To everybody.
    Say(String),
    /// To one.
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
    /// First digits, lower case, 4 to 39.
    Prefix(String),
}

/// Why a line is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LineError {
    #[error("unknown command {0}; /help lists those there are, //text sends /text")]
    Unknown(String),
    #[error("use /msg ADDRESS text")]
    Direct,
    #[error(
        "{0:?} is no address: 40 hex digits, or at least {MIN_PREFIX} of a peer that was seen here"
    )]
    Address(String),
    #[error("{0} takes nothing behind it")]
    Extra(&'static str),
}

/// What `/help` says.
pub(crate) const HELP: &str = "\
/msg ADDRESS text   send to one peer; the first 4 digits of a peer seen here will do
/peers              list the links
/info               show address, swarm, trackers, state and counts
/help               show this
/quit               leave, as Ctrl-C and Ctrl-D do
//text              send a text that starts with a slash
anything else is sent to everybody";

/// Reads a line, which holds no line break.
pub(crate) fn parse(line: &str) -> Result<Line, LineError> {
    if line.is_empty() {
        return Ok(Line::Empty);
    }
    let Some(command) = line.strip_prefix('/') else {
        return Ok(Line::Say(line.to_owned()));
    };
    if command.starts_with('/') {
        return Ok(Line::Say(command.to_owned()));
    }
    let (name, rest) = command.split_once(' ').unwrap_or((command, ""));
    let alone = |name, line| match rest.trim() {
        "" => Ok(line),
        _ => Err(LineError::Extra(name)),
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
    let (to, text) = rest.trim_start().split_once(' ').ok_or(LineError::Direct)?;
    if text.is_empty() {
        return Err(LineError::Direct);
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
        let say = |text: &str| Ok(Line::Say(text.to_owned()));
        assert_eq!(parse("hello"), say("hello"));
        assert_eq!(parse("  two  spaces "), say("  two  spaces "));
        assert_eq!(parse(" /quit"), say(" /quit"));
        assert_eq!(parse("//quit"), say("/quit"));
        assert_eq!(parse("///"), say("//"));
        assert_eq!(parse(""), Ok(Line::Empty));
    }

    #[test]
    fn commands() {
        assert_eq!(parse("/peers"), Ok(Line::Peers));
        assert_eq!(parse("/info "), Ok(Line::Info));
        assert_eq!(parse("/help"), Ok(Line::Help));
        assert_eq!(parse("/quit"), Ok(Line::Quit));
        assert_eq!(parse("/quit now"), Err(LineError::Extra("/quit")));
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
            assert_eq!(parse(bad), Err(LineError::Direct), "{bad}");
        }
        for bad in ["/msg 01a x", "/msg 01ag x", "/msg \u{e9}\u{e9} x"] {
            assert!(matches!(parse(bad), Err(LineError::Address(_))), "{bad}");
        }
        let long = format!("/msg {full}0 x");
        assert!(matches!(parse(&long), Err(LineError::Address(_))));
    }
}
