//! The language's types, and how values lie in memory (map keys, map values, records).

/// A type.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Type {
    /// Nothing; the type of statements.
    None,
    /// An integer of 1, 2, 4 or 8 bytes.
    Int {
        /// Bytes.
        size: u8,
        /// Whether it is signed.
        signed: bool,
    },
    /// `true` or `false`; one byte.
    Bool,
    /// A string of at most `size` bytes, with its closing zero when there is room.
    Str {
        /// Bytes.
        size: u32,
    },
    /// `buf()`: a `u32` length, then that many bytes of at most `size`.
    Buf {
        /// Most bytes.
        size: u32,
    },
    /// Several values. Each lies at the next multiple of its alignment.
    Tuple(Vec<Type>),
    /// Named values.
    Record(Vec<(String, Type)>),
    /// Elements one after the other.
    Array {
        /// Of this type.
        element: Box<Type>,
        /// How many.
        len: u32,
    },
    /// An address.
    Pointer {
        /// Of this.
        to: Box<Type>,
        /// In the user's memory; otherwise in the kernel's.
        user: bool,
    },
    /// A C structure that is named, not yet looked into.
    Struct(String),
    /// `ntop()`: a `u64` address family, then 16 bytes of address.
    Inet,
    /// `strftime()`: a `u64` index into [`crate::plan::Plan::strings`] of the format, then `u64`
    /// nanoseconds since boot.
    Timestamp,
    /// `username`: a `u64` user id, shown by name.
    Username,
    /// `probe`, `func` of fixed text: a `u64` index into [`crate::plan::Plan::strings`].
    StringIndex,
    /// `kstack`, `ustack`: not yet.
    Stack {
        /// Of the user's code.
        user: bool,
    },
    /// `ksym`, `usym`: an address (and a process id) shown by name.
    Symbol {
        /// In the user's code.
        user: bool,
    },
    /// `macaddr()`: six bytes.
    MacAddr,
}

impl Type {
    /// The 64-bit signed integer.
    pub const I64: Type = Type::Int { size: 8, signed: true };
    /// The 64-bit unsigned integer.
    pub const U64: Type = Type::Int { size: 8, signed: false };

    /// Bytes that a value takes in memory.
    pub fn size(&self) -> u32 {
        match self {
            Type::None | Type::Struct(_) => 0,
            Type::Int { size, .. } => u32::from(*size),
            Type::Bool => 1,
            Type::Str { size } => *size,
            Type::Buf { size } => 4 + *size,
            Type::Tuple(parts) => layout(parts.iter()).1,
            Type::Record(parts) => layout(parts.iter().map(|(_, ty)| ty)).1,
            Type::Array { element, len } => element.size() * len,
            Type::Pointer { .. } | Type::Username | Type::StringIndex => 8,
            Type::Inet => 24,
            Type::Timestamp | Type::Symbol { .. } | Type::Stack { .. } => 16,
            Type::MacAddr => 6,
        }
    }

    /// What a value's address is a multiple of.
    pub fn align(&self) -> u32 {
        match self {
            Type::None | Type::Struct(_) | Type::Bool | Type::Str { .. } | Type::MacAddr => 1,
            Type::Int { size, .. } => u32::from(*size),
            Type::Buf { .. } => 4,
            Type::Tuple(parts) => parts.iter().map(Type::align).max().unwrap_or(1),
            Type::Record(parts) => parts.iter().map(|(_, ty)| ty.align()).max().unwrap_or(1),
            Type::Array { element, .. } => element.align(),
            Type::Pointer { .. }
            | Type::Username
            | Type::StringIndex
            | Type::Inet
            | Type::Timestamp
            | Type::Symbol { .. }
            | Type::Stack { .. } => 8,
        }
    }

    /// Where the parts of a tuple or record lie; empty for other types.
    pub fn offsets(&self) -> Vec<u32> {
        match self {
            Type::Tuple(parts) => layout(parts.iter()).0,
            Type::Record(parts) => layout(parts.iter().map(|(_, ty)| ty)).0,
            _ => Vec::new(),
        }
    }
}

/// Offsets of values that follow each other, and the size of the whole.
fn layout<'a>(parts: impl Iterator<Item = &'a Type>) -> (Vec<u32>, u32) {
    let (mut offsets, mut end, mut align) = (Vec::new(), 0u32, 1);
    for part in parts {
        end = end.next_multiple_of(part.align());
        offsets.push(end);
        end += part.size();
        align = align.max(part.align());
    }
    (offsets, end.next_multiple_of(align))
}

/// As bpftrace's messages write it: `int8`, `string[16]`, `(uint32,string[16])`, `uint8 *`.
impl std::fmt::Display for Type {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Type::None => f.write_str("none"),
            Type::Int { size, signed } => {
                let sign = if *signed { "" } else { "u" };
                write!(f, "{sign}int{}", u32::from(*size) * 8)
            }
            Type::Bool => f.write_str("bool"),
            Type::Str { size } => write!(f, "string[{size}]"),
            Type::Buf { size } => write!(f, "buffer[{size}]"),
            Type::Tuple(parts) => {
                f.write_str("(")?;
                for (position, part) in parts.iter().enumerate() {
                    let comma = if position > 0 { "," } else { "" };
                    write!(f, "{comma}{part}")?;
                }
                f.write_str(")")
            }
            Type::Record(parts) => {
                f.write_str("{")?;
                for (name, part) in parts {
                    write!(f, " .{name} = {part},")?;
                }
                f.write_str(" }")
            }
            Type::Array { element, len } => write!(f, "{element}[{len}]"),
            Type::Pointer { to, .. } => write!(f, "{to} *"),
            Type::Struct(name) => write!(f, "struct {name}"),
            Type::Inet => f.write_str("inet"),
            Type::Timestamp => f.write_str("timestamp"),
            Type::Username => f.write_str("username_t"),
            Type::StringIndex => f.write_str("string"),
            Type::Stack { user: true } => f.write_str("ustack"),
            Type::Stack { user: false } => f.write_str("kstack"),
            Type::Symbol { user: true } => f.write_str("usym_t"),
            Type::Symbol { user: false } => f.write_str("ksym_t"),
            Type::MacAddr => f.write_str("mac_address"),
        }
    }
}
