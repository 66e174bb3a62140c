//! `/etc/ld.so.cache`: where the dynamic linker finds libraries (glibc's `sysdeps/generic/dl-cache.h`).

use std::path::PathBuf;

/// Start of the format of today.
const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
/// Start of the format of old, which the one of today may follow.
const OLD_MAGIC: &[u8] = b"ld.so-1.7.0\0";

/// Bytes before the first entry, and of one: flags, name, path, then what does not matter here.
const HEADER: usize = 48;
const ENTRY: usize = 24;

/// What an entry's flags say of a library for this machine: for glibc, and the architecture.
const FLAGS: u32 = if cfg!(target_arch = "x86_64") {
    0x0303
} else if cfg!(target_arch = "aarch64") {
    0x0a03
} else {
    0x0003
};

/// The libraries in a cache as (name, path), in its order: of one library the newest first. Empty
/// when it is not a cache.
pub(crate) fn libraries(cache: &[u8]) -> impl Iterator<Item = (&str, PathBuf)> {
    let cache = today(cache).unwrap_or_default();
    let count = word(cache, 20).unwrap_or(0) as usize;
    let entries = cache.get(HEADER..).unwrap_or_default().chunks_exact(ENTRY).take(count);
    entries.filter_map(move |entry| {
        let name = text(cache, word(entry, 4)?)?;
        let path = text(cache, word(entry, 8)?)?;
        (word(entry, 0)? & 0xffff == FLAGS).then(|| (name, PathBuf::from(path)))
    })
}

/// The part in the format of today, to whose start its offsets relate.
fn today(cache: &[u8]) -> Option<&[u8]> {
    if cache.starts_with(MAGIC) {
        return Some(cache);
    }
    if !cache.starts_with(OLD_MAGIC) {
        return None;
    }
    let count = word(cache, 12)? as usize;
    let end = count.checked_mul(12)?.checked_add(16)?.checked_next_multiple_of(8)?;
    cache.get(end..).filter(|rest| rest.starts_with(MAGIC))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn text(cache: &[u8], offset: u32) -> Option<&str> {
    let bytes = cache.get(offset as usize..)?;
    let end = bytes.iter().position(|&byte| byte == 0)?;
    std::str::from_utf8(&bytes[..end]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(entries: &[(u32, &str, &str)]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend((entries.len() as u32).to_ne_bytes());
        bytes.resize(HEADER, 0);
        let mut strings = Vec::new();
        let start = HEADER + ENTRY * entries.len();
        for (flags, name, path) in entries {
            bytes.extend(flags.to_ne_bytes());
            for text in [name, path] {
                bytes.extend(((start + strings.len()) as u32).to_ne_bytes());
                strings.extend(text.bytes().chain([0]));
            }
            bytes.extend([0; 12]);
        }
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn libraries_of_this_machine() {
        let entries = [
            (FLAGS, "libm.so.6", "/lib/libm.so.6"),
            (FLAGS ^ 0x0800, "libc.so.6", "/lib32/libc.so.6"),
            (FLAGS, "libc.so.6", "/lib/libc.so.6"),
        ];
        let wanted =
            vec![("libm.so.6", "/lib/libm.so.6".into()), ("libc.so.6", "/lib/libc.so.6".into())];
        let plain = cache(&entries);
        assert_eq!(libraries(&plain).collect::<Vec<_>>(), wanted);
        let mut old = OLD_MAGIC.to_vec();
        old.extend(1u32.to_ne_bytes());
        old.extend([0; 12 + 4]);
        old.extend(&plain);
        assert_eq!(libraries(&old).collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn broken_caches() {
        let whole = cache(&[(FLAGS, "libm.so.6", "/lib/libm.so.6")]);
        for end in 0..whole.len() {
            assert_eq!(libraries(&whole[..end]).count(), 0);
        }
        let mut lying = whole.clone();
        lying[20..24].fill(0xff);
        lying[HEADER + 4..HEADER + 12].fill(0xff);
        assert_eq!(libraries(&lying).count(), 0);
    }
}
