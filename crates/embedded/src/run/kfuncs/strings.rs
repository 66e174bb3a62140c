//! Strings, which may be anywhere in the kernel's memory (`__bpf_strncasecmp` and what follows it,
//! `kernel/bpf/helpers.c`). What cannot be read, and what has no end within 64 KiB, are errors.

use bombus_vm::TrapKind;

use super::{Context, failure};
use crate::maps::Errno;
use crate::run::helpers::USER_END;

/// Bytes of a string that are looked at (`XATTR_SIZE_MAX`).
const LONGEST: u64 = 1 << 16;

type Found = Result<u64, Errno>;

impl Context<'_, '_, '_> {
    /// A byte of the string that an argument points to.
    fn byte(&mut self, index: usize, at: u64) -> Result<u8, Errno> {
        let address = self.arg(index).wrapping_add(at);
        let byte = self.vm.read(self.run, address, 1).map_err(|_| libc::EFAULT)?;
        Ok(byte[0])
    }

    /// That these arguments are addresses of the kernel (`copy_from_kernel_nofault_allowed`).
    fn are_strings(&self, arguments: &[usize]) -> Result<(), Errno> {
        let is_user = |index: &usize| self.arg(*index) < USER_END;
        if arguments.iter().any(is_user) { Err(libc::ERANGE) } else { Ok(()) }
    }

    fn compare(&mut self, len: u64, fold: bool) -> Found {
        self.are_strings(&[0, 1])?;
        for at in 0..len.min(LONGEST) {
            let (a, b) = (self.byte(0, at)?, self.byte(1, at)?);
            // (Characters are signed on x86.)
            let (a, b) = (folded(a, fold) as i8, folded(b, fold) as i8);
            match a.cmp(&b) {
                std::cmp::Ordering::Less => return Ok(u64::MAX),
                std::cmp::Ordering::Greater => return Ok(1),
                std::cmp::Ordering::Equal if a == 0 => return Ok(0),
                std::cmp::Ordering::Equal => {}
            }
        }
        if len >= LONGEST { Err(libc::E2BIG) } else { Ok(0) }
    }

    /// The first place of a character, or of the end where that will do.
    fn find(&mut self, len: u64, char: u8, or_end: bool) -> Found {
        self.are_strings(&[0])?;
        for at in 0..len.min(LONGEST) {
            match self.byte(0, at)? {
                byte if byte == char => return Ok(at),
                0 if or_end => return Ok(at),
                0 => return Err(libc::ENOENT),
                _ => {}
            }
        }
        if len >= LONGEST { Err(libc::E2BIG) } else { Err(libc::ENOENT) }
    }

    fn length(&mut self, len: u64) -> Found {
        self.are_strings(&[0])?;
        for at in 0..len.min(LONGEST) {
            if self.byte(0, at)? == 0 {
                return Ok(at);
            }
        }
        if len >= LONGEST { Err(libc::E2BIG) } else { Ok(len) }
    }

    /// How many bytes at the start are in the set that argument 1 is, or are not.
    fn span(&mut self, accepted: bool) -> Found {
        self.are_strings(&[0, 1])?;
        for at in 0..LONGEST {
            let byte = self.byte(0, at)?;
            if byte == 0 {
                return Ok(at);
            }
            let mut in_set = None;
            for place in 0..LONGEST {
                let member = self.byte(1, place)?;
                if member == byte || member == 0 {
                    in_set = Some(member != 0);
                    break;
                }
            }
            if in_set.ok_or(libc::E2BIG)? != accepted {
                return Ok(at);
            }
        }
        Err(libc::E2BIG)
    }

    /// Where in the first `len` bytes argument 1 stands.
    fn search(&mut self, len: u64, fold: bool) -> Found {
        self.are_strings(&[0, 1])?;
        for at in 0..LONGEST {
            let mut compared = 0;
            while at + compared <= len && compared < LONGEST {
                let wanted = self.byte(1, compared)?;
                if wanted == 0 {
                    return Ok(at);
                }
                if at + compared == len {
                    break;
                }
                let byte = self.byte(0, at + compared)?;
                if byte == 0 {
                    return Err(libc::ENOENT);
                }
                if folded(byte, fold) != folded(wanted, fold) {
                    break;
                }
                compared += 1;
            }
            if compared == LONGEST {
                return Err(libc::E2BIG);
            }
            if at + compared == len {
                return Err(libc::ENOENT);
            }
        }
        Err(libc::E2BIG)
    }
}

fn folded(byte: u8, fold: bool) -> u8 {
    if fold { byte.to_ascii_lowercase() } else { byte }
}

fn given(found: Found) -> Result<u64, TrapKind> {
    Ok(found.unwrap_or_else(failure))
}

pub(super) fn strcmp(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    given(context.compare(LONGEST, false))
}

pub(super) fn strcasecmp(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    given(context.compare(LONGEST, true))
}

/// `strncasecmp(a, b, len)`.
pub(super) fn strncasecmp(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    given(context.compare(context.arg(2), true))
}

/// `strchr(text, char)`.
pub(super) fn strchr(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    given(context.find(LONGEST, context.arg(1) as u8, false))
}

/// `strchrnul(text, char)`.
pub(super) fn strchrnul(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    given(context.find(LONGEST, context.arg(1) as u8, true))
}

/// `strnchr(text, len, char)`.
pub(super) fn strnchr(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    given(context.find(context.arg(1), context.arg(2) as u8, false))
}

/// `strrchr(text, char)`.
pub(super) fn strrchr(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let char = context.arg(1) as u8;
    let last = |context: &mut Context<'_, '_, '_>| -> Found {
        context.are_strings(&[0])?;
        let mut last = Err(libc::ENOENT);
        for at in 0..LONGEST {
            let byte = context.byte(0, at)?;
            if byte == char {
                last = Ok(at);
            }
            if byte == 0 {
                return last;
            }
        }
        Err(libc::E2BIG)
    };
    given(last(context))
}

pub(super) fn strlen(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    given(context.length(LONGEST))
}

/// `strnlen(text, len)`.
pub(super) fn strnlen(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    given(context.length(context.arg(1)))
}

/// `strspn(text, accept)`.
pub(super) fn strspn(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    given(context.span(true))
}

/// `strcspn(text, reject)`.
pub(super) fn strcspn(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    given(context.span(false))
}

pub(super) fn strstr(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    given(context.search(LONGEST, false))
}

pub(super) fn strcasestr(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    given(context.search(LONGEST, true))
}

/// `strnstr(text, wanted, len)`.
pub(super) fn strnstr(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    given(context.search(context.arg(2), false))
}

/// `strncasestr(text, wanted, len)`.
pub(super) fn strncasestr(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    given(context.search(context.arg(2), true))
}
