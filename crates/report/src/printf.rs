//! The formats of `printf()`.
//!
//! They look like C's and are carried out like C++ streams, which is what the reference uses:
//! zeros pad to the left of a sign, a width goes to the first part of a compound value only, and
//! what is no conversion stays as it stands.

use crate::text::{hex_escaped, value as value_text};
use crate::{Value, gfp, text};

/// A format taken apart.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Format {
    /// Text before each conversion.
    parts: Vec<(Vec<u8>, Conversion)>,
    /// Text after the last.
    rest: Vec<u8>,
}

/// One `%...`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conversion {
    left: bool,
    plus: bool,
    alternate: bool,
    zeros: bool,
    width: usize,
    length: Length,
    kind: Kind,
}

/// How many bits of an integer count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Length {
    Char,
    Short,
    Int,
    Long,
}

/// What a conversion shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Signed,
    Unsigned,
    Octal,
    Hex {
        upper: bool,
    },
    Char,
    Pointer,
    Text,
    /// `%r`: a buffer, printable characters kept.
    Buffer,
    /// `%rx`: every byte as `\x00`.
    EscapedBuffer,
    /// `%rh`: bytes in hexadecimal, separated by blanks.
    HexBuffer,
    /// `%gr`: flags of the kernel's page allocator.
    GfpFlags,
}

/// Conversion letters, longest first: `rx` before `r`.
const KINDS: &[(&str, Kind)] = &[
    ("d", Kind::Signed),
    ("i", Kind::Signed),
    ("u", Kind::Unsigned),
    ("o", Kind::Octal),
    ("x", Kind::Hex { upper: false }),
    ("X", Kind::Hex { upper: true }),
    ("c", Kind::Char),
    ("s", Kind::Text),
    ("p", Kind::Pointer),
    ("rh", Kind::HexBuffer),
    ("rx", Kind::EscapedBuffer),
    ("r", Kind::Buffer),
    ("gr", Kind::GfpFlags),
];

impl Format {
    /// Takes a format apart. Never fails: what is no conversion is text.
    pub fn parse(format: &str) -> Format {
        let (mut parts, mut pending, mut rest) = (Vec::new(), Vec::new(), format);
        while let Some(at) = rest.find('%') {
            pending.extend_from_slice(&rest.as_bytes()[..at]);
            rest = &rest[at + 1..];
            let conversion = Conversion::parse(rest);
            match conversion {
                Some((Some(conversion), after)) => {
                    parts.push((std::mem::take(&mut pending), conversion));
                    rest = after;
                }
                Some((None, after)) => {
                    pending.push(b'%');
                    rest = after;
                }
                None => pending.push(b'%'),
            }
        }
        pending.extend_from_slice(rest.as_bytes());
        Format { parts, rest: pending }
    }

    /// How many arguments it takes.
    pub fn arity(&self) -> usize {
        self.parts.len()
    }

    /// Appends the text with the arguments put in. An argument that does not fit its conversion
    /// is shown as `!{reason}`; a missing one leaves its place empty.
    pub fn apply(&self, args: &[Value], out: &mut Vec<u8>) {
        let mut args = args.iter();
        for (before, conversion) in &self.parts {
            out.extend_from_slice(before);
            if let Some(arg) = args.next() {
                conversion.apply(arg, out);
            }
        }
        out.extend_from_slice(&self.rest);
    }
}

impl Conversion {
    /// Reads what follows a `%`: flags in the order `-+ #0`, width, precision, length, letter.
    /// `Some(None)` is `%%`.
    fn parse(text: &str) -> Option<(Option<Conversion>, &str)> {
        let mut rest = text;
        let left = take(&mut rest, "-");
        let plus = take(&mut rest, "+");
        take(&mut rest, " ");
        let alternate = take(&mut rest, "#");
        let zeros = take(&mut rest, "0");
        let width = take_number(&mut rest);
        if rest.starts_with('.') {
            // Precision is for floating point numbers, which the language does not have.
            rest = &rest[1..];
            take_number(&mut rest)?;
        }
        let modifiers = rest.len() - rest.trim_start_matches(['h', 'l', 'L', 'j', 'z', 't']).len();
        let (modifiers, rest) = rest.split_at(modifiers);
        if let Some(after) = rest.strip_prefix('%') {
            return Some((None, after));
        }
        let (kind, after) = KINDS
            .iter()
            .filter(|(letters, _)| rest.starts_with(letters))
            .max_by_key(|(letters, _)| letters.len())
            .map(|(letters, kind)| (*kind, &rest[letters.len()..]))?;
        let length = match modifiers {
            "hh" => Length::Char,
            "h" => Length::Short,
            "l" | "ll" | "j" | "z" | "t" => Length::Long,
            _ => Length::Int,
        };
        let width = width.flatten().unwrap_or(0);
        Some((Some(Conversion { left, plus, alternate, zeros, width, length, kind }), after))
    }

    fn apply(&self, arg: &Value, out: &mut Vec<u8>) {
        match self.kind {
            Kind::Text => self.text(arg, out),
            Kind::Buffer | Kind::EscapedBuffer | Kind::HexBuffer => match arg {
                Value::Buffer(bytes) => {
                    let text = match self.kind {
                        Kind::HexBuffer => {
                            let bytes: Vec<_> = bytes.iter().map(|b| format!("{b:02x}")).collect();
                            bytes.join(" ")
                        }
                        kind => hex_escaped(bytes, kind == Kind::Buffer),
                    };
                    self.pad(text.as_bytes(), out);
                }
                _ => self.text(arg, out),
            },
            Kind::GfpFlags => match arg.bits() {
                Some(bits) if !matches!(arg, Value::Bool(_)) => {
                    self.pad(gfp::flags(bits).as_bytes(), out);
                }
                _ => {
                    out.extend_from_slice(b"!{invalid GFP flags conversion: ");
                    out.extend_from_slice(&value_text(arg));
                    out.push(b'}');
                }
            },
            _ => match arg.bits() {
                Some(bits) => self.pad(&self.number(bits), out),
                None => {
                    out.extend_from_slice(b"!{invalid integer conversion: ");
                    out.extend_from_slice(&value_text(arg));
                    out.push(b'}');
                }
            },
        }
    }

    fn number(&self, bits: u64) -> Vec<u8> {
        let signed = match self.length {
            Length::Char => i64::from(bits as i8),
            Length::Short => i64::from(bits as i16),
            Length::Int => i64::from(bits as i32),
            Length::Long => bits as i64,
        };
        let unsigned = match self.length {
            Length::Char => u64::from(bits as u8),
            Length::Short => u64::from(bits as u16),
            Length::Int => u64::from(bits as u32),
            Length::Long => bits,
        };
        let prefixed = self.alternate && unsigned != 0;
        let text = match self.kind {
            Kind::Char => return vec![bits as u8],
            Kind::Signed if self.plus && signed >= 0 => format!("+{signed}"),
            Kind::Signed => signed.to_string(),
            Kind::Octal if prefixed => format!("0{unsigned:o}"),
            Kind::Octal => format!("{unsigned:o}"),
            Kind::Hex { upper: false } if prefixed => format!("{unsigned:#x}"),
            Kind::Hex { upper: false } => format!("{unsigned:x}"),
            Kind::Hex { upper: true } if prefixed => format!("0X{unsigned:X}"),
            Kind::Hex { upper: true } => format!("{unsigned:X}"),
            Kind::Pointer if bits == 0 => "0".to_owned(),
            Kind::Pointer => format!("{bits:#x}"),
            _ => unsigned.to_string(),
        };
        text.into_bytes()
    }

    /// A value by its own form. The width goes to what is written first: the opening bracket of a
    /// compound value.
    fn text(&self, arg: &Value, out: &mut Vec<u8>) {
        let whole = match arg {
            Value::Int(number) if self.plus && *number >= 0 => format!("+{number}").into_bytes(),
            _ => text::value(arg),
        };
        let first = match arg {
            Value::Tuple(_) | Value::Array(_) => 1,
            Value::Record(_) => 2,
            _ => whole.len(),
        };
        let (first, rest) = whole.split_at(first);
        self.pad(first, out);
        out.extend_from_slice(rest);
    }

    fn pad(&self, text: &[u8], out: &mut Vec<u8>) {
        let fill = if self.zeros { b'0' } else { b' ' };
        let missing = self.width.saturating_sub(text.len());
        if !self.left {
            out.resize(out.len() + missing, fill);
        }
        out.extend_from_slice(text);
        if self.left {
            out.resize(out.len() + missing, fill);
        }
    }
}

fn take(rest: &mut &str, prefix: &str) -> bool {
    match rest.strip_prefix(prefix) {
        Some(after) => {
            *rest = after;
            true
        }
        None => false,
    }
}

/// A number or a `*`, which counts as no number; `None` when there is neither.
fn take_number(rest: &mut &str) -> Option<Option<usize>> {
    if take(rest, "*") {
        return Some(None);
    }
    let digits = rest.len() - rest.trim_start_matches(|char: char| char.is_ascii_digit()).len();
    let (number, after) = rest.split_at(digits);
    *rest = after;
    // A width that no line has is a mistake in the script, not a reason to fill the memory.
    (digits > 0).then(|| number.parse().ok().map(|width: usize| width.min(1 << 16)))
}
