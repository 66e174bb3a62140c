//! Which `syscall` instructions can be replaced.

use std::collections::HashMap;

use super::code;

/// How far around an instruction jumps to it are looked for: what C libraries make of a function
/// with a system call is smaller.
pub(super) const AROUND: usize = 2048;
/// What tells two places apart beside their address in the page.
const CLOSE: usize = 64;

/// What was found out about places. Libraries are at another address in every process, but at the
/// same place in a page.
#[derive(Debug, Default)]
pub(super) struct Sites {
    known: HashMap<(u16, Vec<u8>), bool>,
}

impl Sites {
    /// The instructions at `address`, if they can be replaced. `read` fills a buffer from an
    /// address on, and says how much it could.
    pub(super) fn replaceable(
        &mut self,
        address: u64,
        mut read: impl FnMut(u64, &mut [u8]) -> usize,
    ) -> Option<Vec<u8>> {
        let mut close = vec![0; 2 * CLOSE];
        let start = address - CLOSE as u64;
        if read(start, &mut close) < close.len() {
            return None;
        }
        let length = code::site_length(&close[CLOSE..])?;
        let instructions = close[CLOSE..][..length].to_vec();
        let place = ((address & 0xfff) as u16, close);
        if let Some(&known) = self.known.get(&place) {
            return known.then_some(instructions);
        }
        // Where the code's mapping begins or ends nearby, there is less to look at.
        let page = 4096;
        let mut code = vec![0; 2 * AROUND];
        let mut start = address - AROUND as u64;
        let mut length = read(start, &mut code);
        if length < AROUND + code::MAX_SITE {
            start = address & !(page - 1);
            length = read(start, &mut code);
        }
        let at = (address - start) as usize;
        let code = code.get(..length)?;
        let good = is_undisturbed(code, at, instructions.len());
        self.known.insert(place, good);
        good.then_some(instructions)
    }
}

/// Whether nothing in `code` looks like a jump into what would be replaced at `at`. What looks like
/// a jump may be none; then the instruction stays as it is for nothing.
fn is_undisturbed(code: &[u8], at: usize, length: usize) -> bool {
    let inside = at as i64 + 1..(at + length) as i64;
    let short = |index: usize| Some(index as i64 + 2 + i64::from(*code.get(index + 1)? as i8));
    let long = |index: usize| {
        let bytes = code.get(index..index + 4)?.try_into().ok()?;
        Some(index as i64 + 4 + i64::from(i32::from_le_bytes(bytes)))
    };
    !(0..code.len()).any(|index| {
        let target = match code[index] {
            // jcc, jmp, loop and jrcxz, 8 bits.
            0x70..=0x7f | 0xe0..=0xe3 | 0xeb => short(index),
            // jmp and call, 32 bits.
            0xe8 | 0xe9 => long(index + 1),
            // The second byte of jcc, 32 bits.
            0x80..=0x8f if index > 0 && code[index - 1] == 0x0f => long(index + 1),
            _ => None,
        };
        target.is_some_and(|target| inside.contains(&target))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SITE: [u8; 8] = [0x0f, 0x05, 0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff];

    fn with(before: &[u8], after: &[u8]) -> (Vec<u8>, usize) {
        let mut code = vec![0x90; 200];
        code.extend(before);
        let at = code.len();
        code.extend(SITE);
        code.extend(after);
        code.extend([0x90; 200]);
        (code, at)
    }

    #[test]
    fn jumps_to_the_comparison_disturb() {
        for (before, after, good) in [
            (&[0x90][..], &[0x77, 0x10][..], true),
            // jmp over the syscall
            (&[0xeb, 0x02], &[], false),
            // to the syscall itself
            (&[0xeb, 0x00], &[], true),
            // behind all
            (&[0xeb, 0x08], &[], true),
            // back to the comparison
            (&[], &[0x75, 0xf8], false),
            (&[], &[0x0f, 0x85, 0xf4, 0xff, 0xff, 0xff], false),
            (&[0xe9, 2, 0, 0, 0], &[], false),
            (&[0xe9, 0, 0, 0, 0], &[], true),
        ] {
            let (code, at) = with(before, after);
            assert_eq!(is_undisturbed(&code, at, SITE.len()), good, "{before:x?} {after:x?}");
        }
    }

    #[test]
    fn what_is_not_readable_is_left_alone() {
        let (code, at) = with(&[], &[]);
        let base = 0x1000;
        let mut read = |from: u64, into: &mut [u8]| {
            let rest = from.checked_sub(base).and_then(|from| code.get(from as usize..));
            let rest = rest.unwrap_or_default();
            let length = rest.len().min(into.len());
            into[..length].copy_from_slice(&rest[..length]);
            length
        };
        let mut sites = Sites::default();
        let site = base + at as u64;
        assert_eq!(sites.replaceable(site, &mut read), Some(SITE.to_vec()));
        assert_eq!(sites.replaceable(site + 1, &mut read), None);
        assert_eq!(sites.replaceable(0x9000, &mut read), None);
    }
}
