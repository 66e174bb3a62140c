//! A decoded value, independent of how it lay in memory.

/// A value that can be shown. Strings are bytes, because traced programs need not write UTF-8.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// Nothing.
    None,
    /// `true` or `false`.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// An unsigned integer.
    Uint(u64),
    /// A string.
    Str(Vec<u8>),
    /// `buf()`: bytes, of which text escapes those that do not print.
    Buffer(Vec<u8>),
    /// Elements of an array.
    Array(Vec<Value>),
    /// Parts of a tuple.
    Tuple(Vec<Value>),
    /// Fields of a record or structure.
    Record(Vec<(String, Value)>),
    /// A number that text shows by name (a pointer in hexadecimal, `1K`); JSON shows the number.
    Symbolic {
        /// What text shows.
        text: String,
        /// What JSON and the integer conversions of `printf` show.
        number: u64,
    },
}

impl Value {
    /// A string.
    pub fn text(text: impl Into<Vec<u8>>) -> Value {
        Value::Str(text.into())
    }

    /// An address, shown in hexadecimal.
    pub fn pointer(address: u64) -> Value {
        Value::Symbolic { text: format!("{address:#x}"), number: address }
    }

    /// The 64 bits of a number; `None` for what is no number.
    pub(crate) fn bits(&self) -> Option<u64> {
        match self {
            Value::Bool(value) => Some(u64::from(*value)),
            Value::Int(value) => Some(*value as u64),
            Value::Uint(value) => Some(*value),
            Value::Symbolic { number, .. } => Some(*number),
            _ => None,
        }
    }
}
