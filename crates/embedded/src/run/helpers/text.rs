//! Numbers from text (`kernel/bpf/helpers.c`).

use bombus_vm::TrapKind;

use super::{Context, failure};
use crate::maps::Errno;

/// A number in front of a text: whether it is negative, its value, how many bytes it takes
/// (`__bpf_strtoull`).
fn parse(text: &[u8], flags: u64) -> Result<(bool, u64, usize), Errno> {
    let text = &text[..text.iter().position(|byte| *byte == 0).unwrap_or(text.len())];
    let mut base = match flags {
        0 | 8 | 10 | 16 => flags as u32,
        _ => return Err(libc::EINVAL),
    };
    let mut at = text.iter().take_while(|byte| is_space(**byte)).count();
    let is_negative = text.get(at) == Some(&b'-');
    at += usize::from(is_negative);
    let digits = &text[at..];
    let is_hexadecimal =
        matches!(digits, [b'0', b'x' | b'X', digit, ..] if digit.is_ascii_hexdigit());
    if base == 0 {
        base = match digits {
            _ if is_hexadecimal => 16,
            [b'0', ..] => 8,
            _ => 10,
        };
    }
    if base == 16 && matches!(digits, [b'0', b'x' | b'X', ..]) {
        at += 2;
    }
    let mut value = 0u64;
    let mut count = 0;
    for digit in text[at..].iter().map_while(|byte| char::from(*byte).to_digit(base)) {
        let next = value.checked_mul(base.into()).and_then(|next| next.checked_add(digit.into()));
        value = next.ok_or(libc::ERANGE)?;
        count += 1;
    }
    if count == 0 { Err(libc::EINVAL) } else { Ok((is_negative, value, at + count)) }
}

/// The kernel's `isspace`.
fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ' | 0xa0)
}

impl Context<'_, '_, '_> {
    fn number(
        &mut self,
        convert: impl FnOnce(bool, u64) -> Result<u64, Errno>,
    ) -> Result<u64, TrapKind> {
        let (from, len, flags, to) = (self.arg(0), self.size(1)?, self.arg(2), self.arg(3));
        if len == 0 {
            return Ok(failure(libc::EINVAL));
        }
        let text = self.vm.read(self.run, from, len)?;
        let parsed = parse(text, flags);
        let result = parsed.and_then(|(sign, value, len)| Ok((convert(sign, value)?, len)));
        match result {
            Ok((value, len)) => {
                self.vm.write(self.run, to, 8)?.copy_from_slice(&value.to_ne_bytes());
                Ok(len as u64)
            }
            Err(errno) => Ok(failure(errno)),
        }
    }
}

/// `strtol(text, size, flags, to)`: gives how many bytes the number took.
pub(super) fn strtol(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    context.number(|is_negative, value| match is_negative {
        true if value > 1 << 63 => Err(libc::ERANGE),
        true => Ok(value.wrapping_neg()),
        false if value >= 1 << 63 => Err(libc::ERANGE),
        false => Ok(value),
    })
}

/// `strtoul(text, size, flags, to)`.
pub(super) fn strtoul(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    context.number(|is_negative, value| if is_negative { Err(libc::EINVAL) } else { Ok(value) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(parse(b"42", 0), Ok((false, 42, 2)));
        assert_eq!(parse(b" \t-0x1fz", 0), Ok((true, 31, 7)));
        assert_eq!(parse(b"017\0junk", 0), Ok((false, 15, 3)));
        assert_eq!(parse(b"0x1f", 16), Ok((false, 31, 4)));
        assert_eq!(parse(b"18446744073709551616", 10), Err(libc::ERANGE));
        assert_eq!(parse(b"x", 0), Err(libc::EINVAL));
        assert_eq!(parse(b"1", 2), Err(libc::EINVAL));
        assert_eq!(parse(b"", 0), Err(libc::EINVAL));
    }
}
