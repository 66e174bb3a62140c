//! `%gr`: allocation flags by the names that the kernel's own tracepoints give them.

/// Flags and their names, in the order in which they are looked for: those made of several first
/// (`__def_gfpflag_names`, include/trace/events/mmflags.h; the bits of Linux 6.18).
const NAMES: &[(u64, &str)] = &[
    (0x21c_24ca, "GFP_TRANSHUGE"),
    (0x21c_20ca, "GFP_TRANSHUGE_LIGHT"),
    (0x210_0cca, "GFP_HIGHUSER_MOVABLE"),
    (0x010_0cc2, "GFP_HIGHUSER"),
    (0x010_0cc0, "GFP_USER"),
    (0x040_0cc0, "GFP_KERNEL_ACCOUNT"),
    (0x0cc0, "GFP_KERNEL"),
    (0x0c40, "GFP_NOFS"),
    (0x0820, "GFP_ATOMIC"),
    (0x0c00, "GFP_NOIO"),
    (0x2800, "GFP_NOWAIT"),
    (1, "GFP_DMA"),
    (1 << 1, "__GFP_HIGHMEM"),
    (1 << 2, "GFP_DMA32"),
    (1 << 5, "__GFP_HIGH"),
    (1 << 6, "__GFP_IO"),
    (1 << 7, "__GFP_FS"),
    (1 << 8, "__GFP_ZERO"),
    (1 << 10, "__GFP_DIRECT_RECLAIM"),
    (1 << 11, "__GFP_KSWAPD_RECLAIM"),
    (1 << 12, "__GFP_WRITE"),
    (1 << 13, "__GFP_NOWARN"),
    (1 << 14, "__GFP_RETRY_MAYFAIL"),
    (1 << 15, "__GFP_NOFAIL"),
    (1 << 16, "__GFP_NORETRY"),
    (1 << 17, "__GFP_MEMALLOC"),
    (1 << 18, "__GFP_COMP"),
    (1 << 19, "__GFP_NOMEMALLOC"),
    (1 << 20, "__GFP_HARDWALL"),
    (1 << 21, "__GFP_THISNODE"),
    (1 << 22, "__GFP_ACCOUNT"),
    (1 << 23, "__GFP_ZEROTAGS"),
    (1 << 24, "__GFP_SKIP_ZERO"),
    (1 << 25, "__GFP_SKIP_KASAN"),
    (1 << 26, "__GFP_NO_OBJ_EXT"),
];

/// The names of the flags, and in hexadecimal what has none, between bars.
pub(crate) fn flags(bits: u64) -> String {
    if bits == 0 {
        return "0".to_owned();
    }
    let mut left = bits;
    let mut parts = Vec::new();
    for &(mask, name) in NAMES {
        if left & mask == mask {
            parts.push(name.to_owned());
            left &= !mask;
        }
    }
    if left != 0 {
        parts.push(format!("{left:#x}"));
    }
    parts.join("|")
}
