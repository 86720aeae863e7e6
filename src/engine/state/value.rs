//! Stored data of any shape, carried through untouched.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::engine::state::name::Bytes;

/// A byte string of Lua.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text(pub Box<[u8]>);

/// What one of Prosody's stores can hold: plain data.
///
/// Tables are sorted by key, so that equal tables are equal values. Floating point numbers are kept as their bits,
/// which makes values hashable.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Value {
    /// `true` or `false`.
    Bool(bool),
    /// An integer.
    Integer(i64),
    /// The bits of a floating point number.
    Number(u64),
    /// A string.
    Text(Text),
    /// A table; see [`Value::table`].
    Table(Vec<(Value, Value)>),
}

impl Value {
    /// A string.
    pub fn text(bytes: &[u8]) -> Value {
        Value::Text(Text(bytes.into()))
    }

    /// A table of these entries, in any order.
    pub fn table(mut entries: Vec<(Value, Value)>) -> Value {
        entries.sort_unstable();
        Value::Table(entries)
    }

    /// A set in Lua's way: each text a key whose value is `true`.
    pub fn set<'a>(keys: impl Iterator<Item = &'a [u8]>) -> Value {
        Value::table(keys.map(|key| (Value::text(key), Value::Bool(true))).collect())
    }

    /// The empty table: what this module stores for a member.
    pub fn empty() -> Value {
        Value::Table(Vec::new())
    }

    /// The entry `key` of a table.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let key = Value::text(key.as_bytes());
        self.entries().iter().find(|(k, _)| *k == key).map(|(_, value)| value)
    }

    /// The entries of a table; none for anything else.
    pub fn entries(&self) -> &[(Value, Value)] {
        match self {
            Value::Table(entries) => entries,
            _ => &[],
        }
    }

    /// The bytes of a string.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Text(Text(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// A whole number, however storage has kept it: some forms know no integers.
    pub fn as_integer(&self) -> Option<i64> {
        match *self {
            Value::Integer(i) => Some(i),
            Value::Number(bits) => {
                let number = f64::from_bits(bits);
                (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64)
            }
            _ => None,
        }
    }

    /// The value as JSON; nothing if there is no such form. A table with keys from 1 on is an array, any other an
    /// object.
    pub fn to_json(&self) -> Option<String> {
        self.json().map(|json| json.to_string())
    }

    fn json(&self) -> Option<serde_json::Value> {
        Some(match self {
            Value::Bool(flag) => (*flag).into(),
            Value::Integer(_) | Value::Number(_) => self.as_integer()?.into(),
            Value::Text(Text(bytes)) => std::str::from_utf8(bytes).ok()?.into(),
            Value::Table(entries) => {
                let is_array = (1..).zip(entries).all(|(at, (key, _))| key.as_integer() == Some(at));
                if is_array && !entries.is_empty() {
                    return entries.iter().map(|(_, value)| value.json()).collect::<Option<Vec<_>>>().map(Into::into);
                }
                let mut object = serde_json::Map::new();
                for (key, value) in entries {
                    object.insert(std::str::from_utf8(key.as_bytes()?).ok()?.to_owned(), value.json()?);
                }
                object.into()
            }
        })
    }

    /// The text keys of a table: the members of a set.
    pub fn text_keys(&self) -> impl Iterator<Item = &[u8]> {
        self.entries().iter().filter_map(|(key, _)| key.as_bytes())
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(Bytes).map(|bytes| Text(bytes.into()))
    }
}
