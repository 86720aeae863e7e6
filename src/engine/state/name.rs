//! Names: usernames, group ids and what people read, parsed once at the border.

use std::fmt;

use jid::NodePart;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

use crate::engine::Error;

/// The longest name accepted from callers, in bytes: the limit of a node part (RFC 7622, section 3.3).
pub const MAX_NAME_BYTES: usize = 1023;

/// A username or group id: bytes, for storage may hold names that are neither UTF-8 nor a node part.
///
/// Short names, which most are, take no allocation of their own.
#[derive(PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(SmallVec<[u8; 16]>);

impl Clone for Name {
    // SmallVec's own goes byte by byte.
    fn clone(&self) -> Self {
        Name(SmallVec::from_slice(&self.0))
    }
}

impl Name {
    /// A name exactly as storage has it.
    pub fn raw(bytes: &[u8]) -> Self {
        Name(SmallVec::from_slice(bytes))
    }

    /// A username as XMPP compares it: normalised by nodeprep.
    ///
    /// # Errors
    /// [`Error::BadRequest`] for what cannot be a node part.
    pub fn username(bytes: &[u8]) -> Result<Self, Error> {
        let node = node_part(bytes)?;
        Ok(Name::raw(node.as_bytes()))
    }

    /// A group id given by a caller. It keeps its case, for ids made by Prosody's `util.id` differ only in it.
    ///
    /// # Errors
    /// [`Error::BadRequest`] for what cannot be a node part.
    pub fn group_id(bytes: &[u8]) -> Result<Self, Error> {
        node_part(bytes)?;
        Ok(Name::raw(bytes))
    }

    /// The bytes of the name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

fn node_part(bytes: &[u8]) -> Result<String, Error> {
    if bytes.is_empty() || bytes.len() > MAX_NAME_BYTES {
        return Err(Error::BadRequest);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Error::BadRequest)?;
    let node = NodePart::new(text).map_err(|_| Error::BadRequest)?;
    Ok(node.as_str().to_owned())
}

/// Text that people read: the name of a group or chat, and with it the label on contacts.
///
/// # Errors
/// [`Error::BadRequest`] for text that is empty, over [`MAX_NAME_BYTES`], not UTF-8, or holds characters that XML
/// cannot carry: a label with one of those would break the stream of everyone who has the contact.
pub fn display_name(bytes: &[u8]) -> Result<Box<[u8]>, Error> {
    if bytes.is_empty() || bytes.len() > MAX_NAME_BYTES {
        return Err(Error::BadRequest);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Error::BadRequest)?;
    if text.chars().all(is_xml_char) { Ok(bytes.into()) } else { Err(Error::BadRequest) }
}

/// How much of a nickname others see, in characters.
const NICKNAME_LENGTH: usize = 64;

/// What others see of a nickname that a user has published: it is one line, not long, and changes nothing of the text
/// around it. None if nothing is left.
pub(crate) fn nickname(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let visible = |c: &char| is_xml_char(*c) && !is_invisible(*c);
    let spaced = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(visible);
    let mut clean = String::new();
    for c in spaced.skip_while(|&c| c == ' ') {
        if c != ' ' || !clean.ends_with(' ') {
            clean.push(c);
        }
        // Every character takes a byte at least.
        if clean.len() >= NICKNAME_LENGTH && clean.chars().count() >= NICKNAME_LENGTH {
            break;
        }
    }
    clean.truncate(clean.trim_end().len());
    clean.chars().any(|c| !is_joiner(c)).then_some(clean)
}

/// Emoji and some scripts are written with these; alone, nobody sees them.
fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}')
}

/// Characters that control others, as those that turn the direction of writing, and those that nobody sees.
fn is_invisible(c: char) -> bool {
    let marks = matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{feff}');
    let ranges = matches!(c, '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fff9}'..='\u{fffb}');
    c.is_control() || marks || ranges || c == '\u{e0001}'
}

/// The label that a group's name makes on contacts: the name without what XML cannot carry, or `fallback` if nothing is
/// left of it. Names already in storage may be anything.
pub(crate) fn label(name: &[u8], fallback: &[u8]) -> String {
    let clean: String = String::from_utf8_lossy(name).chars().filter(|&c| is_xml_char(c)).collect();
    if clean.is_empty() { String::from_utf8_lossy(fallback).into_owned() } else { clean }
}

/// XML 1.0, section 2.2, less DEL, which Prosody's stanza builder refuses as well.
fn is_xml_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{7e}' | '\u{80}'..='\u{fffd}' | '\u{10000}'..)
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Name::raw(text.as_bytes())
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(Bytes).map(|bytes| Name(SmallVec::from_vec(bytes)))
    }
}

/// Reads a byte string in whichever form a format has it.
pub(crate) struct Bytes;

impl<'de> Visitor<'de> for Bytes {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a byte string")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }

    fn visit_str<E>(self, text: &str) -> Result<Vec<u8>, E> {
        Ok(text.as_bytes().to_vec())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<u8>, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = seq.next_element()? {
            bytes.push(byte);
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_nickname_others_see_one_short_line_that_controls_nothing() {
        let clean = |text: &str| nickname(text.as_bytes());
        for (text, expected) in [
            ("Bobby", "Bobby"),
            ("  Bob \t\r\n  Marley ", "Bob Marley"),
            ("\u{202e}bboB\u{202c}\u{200f}", "bboB"),
            ("\u{2066}a\u{2069}\u{0}b\u{1b}c\u{7f}\u{85}d", "abc d"),
            ("\u{feff}\u{200b}x", "x"),
            ("👩\u{200d}🚀 می\u{200c}خواهم", "👩\u{200d}🚀 می\u{200c}خواهم"),
        ] {
            assert_eq!(clean(text).as_deref(), Some(expected), "{text:?}");
        }
        for nothing in ["", " \n", "\u{200e}\u{202e}", "\u{200d}\u{fe0f}"] {
            assert_eq!(clean(nothing), None, "{nothing:?}");
        }
        assert_eq!(nickname(b"\xff"), None);
        assert_eq!(clean(&"ü".repeat(500_000)), Some("ü".repeat(NICKNAME_LENGTH)));
        assert_eq!(clean(&" ".repeat(1_000_000)), None);
    }

    #[test]
    fn a_username_is_normalised_as_xmpp_does() {
        assert_eq!(Name::username(b"Alice"), Ok(Name::from("alice")));
        assert_eq!(Name::username("ÄRGER".as_bytes()), Ok(Name::from("ärger")));
    }

    #[test]
    fn what_cannot_be_a_node_part_is_a_bad_request() {
        let long = vec![b'a'; MAX_NAME_BYTES + 1];
        for bad in [&b""[..], b"a@b", b"a/b", b"a\0b", b"\xff", b"a b", b"<a>", &long] {
            assert_eq!(Name::username(bad), Err(Error::BadRequest), "{bad:?}");
            assert_eq!(Name::group_id(bad), Err(Error::BadRequest), "{bad:?}");
        }
    }

    #[test]
    fn a_group_id_keeps_its_case() {
        assert_eq!(Name::group_id(b"Ab-3_x"), Ok(Name::from("Ab-3_x")));
    }

    #[test]
    fn a_name_that_xml_cannot_carry_is_refused_when_given_and_cleaned_when_stored() {
        assert_eq!(display_name(b"a\x01b"), Err(Error::BadRequest));
        assert_eq!(display_name(b"a\0b"), Err(Error::BadRequest));
        assert_eq!(display_name(&[b'a'; 1024]), Err(Error::BadRequest));
        assert_eq!(display_name("Büro & <Co>".as_bytes()), Ok("Büro & <Co>".as_bytes().into()));
        assert_eq!(&*label(b"a\x01b\xff", b"id"), "ab\u{fffd}");
        assert_eq!(&*label(b"\x01", b"id"), "id");
    }
}
