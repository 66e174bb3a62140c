//! Changes of bytes that readers may stumble over.

use super::random::Random;

/// Bytes at the start of a file that say what is where.
const HEADER: usize = 64;

/// A few changes: a byte, a number with an interesting value, a piece from elsewhere, the end.
pub(super) fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    const NUMBERS: [u64; 12] =
        [0, 1, 2, 7, 8, 0x7f, 0xff, 0xff00, 0xffff, 0x7fff_ffff, 0xffff_ffff, u64::MAX];
    if bytes.is_empty() {
        return;
    }
    for _ in 0..=random.below(6) {
        let among = if random.once_in(16) { bytes.len().min(HEADER) } else { bytes.len() };
        let at = random.below(among);
        match random.below(12) {
            0..3 => bytes[at] ^= 1 << random.below(8),
            3..5 => bytes[at] = random.next() as u8,
            5..8 => {
                let width = 1 << (1 + random.below(3));
                let at = at & !(width - 1);
                let number = match random.below(3) {
                    0 => random.below(bytes.len() * 2) as u64,
                    _ => NUMBERS[random.below(NUMBERS.len())],
                };
                for (byte, value) in bytes[at..].iter_mut().zip(&number.to_le_bytes()[..width]) {
                    *byte = *value;
                }
            }
            8..11 => {
                let (from, len) = (random.below(bytes.len()), 1 << random.below(8));
                let piece = bytes[from..].iter().take(len).copied().collect::<Vec<u8>>();
                for (byte, value) in bytes[at..].iter_mut().zip(piece) {
                    *byte = value;
                }
            }
            _ if random.once_in(8) => bytes.truncate(at.max(1)),
            _ => {}
        }
    }
}
