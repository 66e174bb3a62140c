//! Text from numbers: `bpf_trace_printk` and `bpf_snprintf` (`bpf_bprintf_prepare`,
//! `kernel/bpf/helpers.c`).

use bombus_vm::TrapKind;

use super::{Context, failure};
use crate::maps::Errno;

/// The longest line that is printed, with its end (`MAX_BPRINTF_BUF`).
const MAX_LINE: usize = 1024;

/// Arguments that there may be (`MAX_BPRINTF_VARARGS`).
const MAX_ARGUMENTS: usize = 12;

/// How a number is written.
#[derive(Clone, Copy, Default)]
struct Form {
    left: bool,
    plus: bool,
    space: bool,
    zeros: bool,
    width: usize,
}

impl Form {
    /// Brings a text to the width.
    fn pad(self, text: &str, is_number: bool, to: &mut String) {
        let missing = self.width.saturating_sub(text.chars().count());
        if self.left {
            to.push_str(text);
            to.extend(std::iter::repeat_n(' ', missing));
        } else if self.zeros && is_number {
            let sign = text.len() - text.trim_start_matches(['-', '+', ' ']).len();
            to.push_str(&text[..sign]);
            to.extend(std::iter::repeat_n('0', missing));
            to.push_str(&text[sign..]);
        } else {
            to.extend(std::iter::repeat_n(' ', missing));
            to.push_str(text);
        }
    }
}

impl Context<'_, '_, '_> {
    /// The text at an address, up to its zero; nothing when it cannot be read.
    fn text_at(&mut self, address: u64) -> String {
        let mut bytes = Vec::new();
        while bytes.len() < MAX_LINE {
            let next = address.wrapping_add(bytes.len() as u64);
            match self.vm.read(self.run, next, 1) {
                Ok(&[byte]) if byte != 0 => bytes.push(byte),
                _ => break,
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Writes arguments that lie in memory, 8 bytes each, in a format that does, too.
    pub(in crate::run) fn formatted(
        &mut self,
        format: u64,
        data: u64,
        data_size: usize,
    ) -> Result<Result<String, Errno>, TrapKind> {
        if !data_size.is_multiple_of(8) || data_size > MAX_ARGUMENTS * 8 {
            return Ok(Err(libc::EINVAL));
        }
        let mut format = self.text_at(format).into_bytes();
        format.push(0);
        let data = match data_size {
            0 => Vec::new(),
            size => self.vm.read(self.run, data, size)?.to_vec(),
        };
        let (words, _) = data.as_chunks::<8>();
        let arguments: Vec<u64> = words.iter().map(|word| u64::from_ne_bytes(*word)).collect();
        Ok(self.format(&format, &arguments))
    }

    /// Writes arguments in a format.
    fn format(&mut self, format: &[u8], arguments: &[u64]) -> Result<String, Errno> {
        let end = format.iter().position(|byte| *byte == 0).ok_or(libc::EINVAL)?;
        let format = &format[..end];
        if !format.iter().all(|byte| (b' '..=b'~').contains(byte) || byte.is_ascii_whitespace()) {
            return Err(libc::EINVAL);
        }
        let mut text = String::new();
        let mut arguments = arguments.iter().copied();
        let mut rest = format.iter().copied().peekable();
        while let Some(byte) = rest.next() {
            if byte != b'%' {
                text.push(byte.into());
                continue;
            }
            if rest.next_if_eq(&b'%').is_some() {
                text.push('%');
                continue;
            }
            let mut form = Form::default();
            while let Some(flag) = rest.next_if(|byte| b"-+ 0".contains(byte)) {
                match flag {
                    b'-' => form.left = true,
                    b'+' => form.plus = true,
                    b' ' => form.space = true,
                    _ => form.zeros = true,
                }
            }
            while let Some(digit) = rest.next_if(u8::is_ascii_digit) {
                form.width = (form.width * 10 + usize::from(digit - b'0')).min(MAX_LINE);
            }
            let mut longs = 0;
            while rest.next_if_eq(&b'l').is_some() {
                longs += 1;
            }
            let kind = rest.next().filter(|_| longs <= 2).ok_or(libc::EINVAL)?;
            let argument = arguments.next().ok_or(libc::EINVAL)?;
            match kind {
                b's' if longs == 0 => {
                    let value = self.text_at(argument);
                    form.pad(&value, false, &mut text);
                }
                b'c' if longs == 0 => {
                    form.pad(&char::from(argument as u8).to_string(), false, &mut text);
                }
                b'p' if longs == 0 => {
                    // `%px` is the address itself; so are the others that name it in some way.
                    let _ = rest.next_if(|byte| b"xkKBsS".contains(byte));
                    form.pad(&format!("{argument:016x}"), false, &mut text);
                }
                b'd' | b'i' => {
                    let value = if longs == 0 { (argument as i32).into() } else { argument as i64 };
                    let sign = match value {
                        0.. if form.plus => "+",
                        0.. if form.space => " ",
                        _ => "",
                    };
                    form.pad(&format!("{sign}{value}"), true, &mut text);
                }
                b'u' | b'x' | b'X' => {
                    let value = if longs == 0 { (argument as u32).into() } else { argument };
                    let digits = match kind {
                        b'u' => value.to_string(),
                        b'x' => format!("{value:x}"),
                        _ => format!("{value:X}"),
                    };
                    form.pad(&digits, true, &mut text);
                }
                _ => return Err(libc::EINVAL),
            }
        }
        Ok(text)
    }
}

/// `trace_printk(fmt, size, ...)`: gives how many bytes were printed.
pub(super) fn trace_printk(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let [address, _, arguments @ ..] = context.call.args;
    let size = context.size(1)?;
    let format = context.vm.read(context.run, address, size)?.to_vec();
    let mut text = match context.format(&format, &arguments) {
        Ok(text) => text,
        Err(errno) => return Ok(failure(errno)),
    };
    let end = (0..MAX_LINE.min(text.len() + 1)).rev().find(|end| text.is_char_boundary(*end));
    text.truncate(end.unwrap_or(0));
    let len = text.len() as u64;
    context.run.print(text);
    Ok(len)
}

/// `snprintf(to, size, fmt, data, data_size)`: gives how many bytes it takes, with the zero.
pub(super) fn snprintf(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let (to, size, data_size) = (context.arg(0), context.size(1)?, context.size(4)?);
    let text = match context.formatted(context.arg(2), context.arg(3), data_size)? {
        Ok(text) => text,
        Err(errno) => return Ok(failure(errno)),
    };
    if let Some(room) = size.checked_sub(1) {
        let place = context.vm.write(context.run, to, size)?;
        let len = text.len().min(room);
        place[..len].copy_from_slice(&text.as_bytes()[..len]);
        place[len] = 0;
    }
    Ok(text.len() as u64 + 1)
}
