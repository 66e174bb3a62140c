//! Sums of the Internet protocols (RFC 1071; `net/core/utils.c`, `include/net/checksum.h`).

/// A one's complement sum of 32-bit words that is not folded yet.
fn add(a: u32, b: u32) -> u32 {
    let (sum, carry) = a.overflowing_add(b);
    sum.wrapping_add(carry.into())
}

fn sub(a: u32, b: u32) -> u32 {
    add(a, !b)
}

/// The sum of some bytes (`csum_partial`).
fn partial(bytes: &[u8], seed: u32) -> u32 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut sum = u64::from(seed);
    for word in words {
        sum += u64::from(u32::from_ne_bytes(*word));
    }
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    sum += u64::from(u32::from_ne_bytes(last));
    sum = (sum & 0xffff_ffff) + (sum >> 32);
    sum = (sum & 0xffff_ffff) + (sum >> 32);
    sum as u32
}

/// 16 bits of a sum (`csum_from32to16`).
fn to_16(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// What stands in a header (`csum_fold`).
fn fold(sum: u32) -> u16 {
    !to_16(sum)
}

/// A header's field after a change that sums up to `change` (`csum_replace_by_diff`).
pub(super) fn by_change(field: u16, change: u32) -> u16 {
    fold(add(change, !u32::from(field)))
}

/// A header's field after 32 bits have changed (`csum_replace4`).
pub(super) fn after_change(field: u16, from: u32, to: u32) -> u16 {
    fold(add(sub(!u32::from(field), from), to))
}

/// A header's field after 16 bits have changed (`csum_replace2`).
pub(super) fn after_change_16(field: u16, from: u16, to: u16) -> u16 {
    let add = |a: u16, b: u16| {
        let (sum, carry) = a.overflowing_add(b);
        sum + u16::from(carry)
    };
    !add(add(!field, !from), to)
}

/// `bpf_csum_diff`, as it is since Linux 6.13.
pub(crate) fn csum_diff(from: &[u8], to: &[u8], seed: u32) -> u16 {
    let sum = match (from, to) {
        ([], []) => seed,
        ([], to) => partial(to, seed),
        (from, []) => !partial(from, !seed),
        (from, to) => sub(partial(to, seed), partial(from, 0)),
    };
    to_16(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header of RFC 1071's successor examples: a sum over it with its checksum is 0xffff.
    const HEADER: [u8; 20] = [
        0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0x00,
        0x01, 0xc0, 0xa8, 0x00, 0xc7,
    ];

    #[test]
    fn a_header_stays_valid() {
        assert_eq!(to_16(partial(&HEADER, 0)), 0xffff);
        let field = |header: &[u8; 20]| u16::from_ne_bytes([header[10], header[11]]);
        let mut changed = HEADER;
        changed[12..16].copy_from_slice(&[10, 1, 2, 3]);
        let word = |header: &[u8; 20]| u32::from_ne_bytes(*header[12..].first_chunk().unwrap());
        let sum = after_change(field(&HEADER), word(&HEADER), word(&changed));
        changed[10..12].copy_from_slice(&sum.to_ne_bytes());
        assert_eq!(to_16(partial(&changed, 0)), 0xffff);
        let mut again = changed;
        again[8..10].copy_from_slice(&[0x3f, 0x11]);
        let half = |header: &[u8; 20]| u16::from_ne_bytes([header[8], header[9]]);
        let sum = after_change_16(field(&changed), half(&changed), half(&again));
        again[10..12].copy_from_slice(&sum.to_ne_bytes());
        assert_eq!(to_16(partial(&again, 0)), 0xffff);
        let change = csum_diff(&changed[8..10], &again[8..10], 0);
        assert_eq!(by_change(field(&changed), change.into()), sum);
    }
}
