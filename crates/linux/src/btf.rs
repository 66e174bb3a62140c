//! The kernel's own types: the ids of functions, and of the typedefs that name its tracepoints.

use std::path::Path;

/// Each tracepoint `X` has a typedef `btf_trace_X` (`include/trace/bpf_probe.h`).
pub(crate) const TRACEPOINT_PREFIX: &str = "btf_trace_";

/// The kinds that are looked for (`BTF_KIND_*`, `include/uapi/linux/btf.h`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `BTF_KIND_TYPEDEF`.
    Typedef = 8,
    /// `BTF_KIND_FUNC`.
    Function = 12,
}

/// The types of the kernel proper, or of one module.
pub(crate) struct KernelTypes {
    data: Vec<u8>,
    /// Length of the strings of the types that these build on, which come first in offsets.
    base_strings: usize,
    types: std::ops::Range<usize>,
    strings: std::ops::Range<usize>,
}

/// Where the kernel shows types.
const DIRECTORY: &str = "/sys/kernel/btf";

impl KernelTypes {
    /// The kernel proper's; `None` when it does not describe its types.
    pub(crate) fn open() -> Option<KernelTypes> {
        KernelTypes::read(&Path::new(DIRECTORY).join("vmlinux"), 0)
    }

    /// Those of every module that is loaded.
    pub(crate) fn modules(&self) -> Vec<KernelTypes> {
        let Ok(directory) = std::fs::read_dir(DIRECTORY) else { return Vec::new() };
        let files = directory.flatten().filter(|entry| entry.file_name() != "vmlinux");
        files.filter_map(|entry| KernelTypes::read(&entry.path(), self.strings.len())).collect()
    }

    fn read(path: &Path, base_strings: usize) -> Option<KernelTypes> {
        KernelTypes::parse(std::fs::read(path).ok()?, base_strings)
    }

    /// `struct btf_header`, then types, then strings.
    fn parse(data: Vec<u8>, base_strings: usize) -> Option<KernelTypes> {
        const MAGIC: u16 = 0xeb9f;
        if data.get(..2)? != MAGIC.to_ne_bytes() {
            return None;
        }
        let header = word(&data, 4)? as usize;
        let section = |at| {
            let start = header.checked_add(word(&data, at)? as usize)?;
            let end = start.checked_add(word(&data, at + 4)? as usize)?;
            (end <= data.len()).then_some(start..end)
        };
        let (types, strings) = (section(8)?, section(16)?);
        Some(KernelTypes { base_strings, types, strings, data })
    }

    /// The id of the type of this kind and name, in the kernel proper's numbers.
    pub(crate) fn find(&self, kind: Kind, name: &str) -> Option<u32> {
        let mut types = self.iter();
        types.find(|ty| ty.kind == kind as u32 && self.is_named(ty, name)).map(|ty| ty.id)
    }

    /// The names of this kind that start with `prefix`, without it.
    pub(crate) fn names<'a>(
        &'a self,
        kind: Kind,
        prefix: &'a str,
    ) -> impl Iterator<Item = &'a str> + 'a {
        let of_kind = self.iter().filter(move |ty| ty.kind == kind as u32);
        of_kind.filter_map(move |ty| {
            let name = self.string(ty.name)?;
            let end = name.iter().position(|&byte| byte == 0)?;
            std::str::from_utf8(&name[..end]).ok()?.strip_prefix(prefix)
        })
    }

    fn is_named(&self, ty: &Type, name: &str) -> bool {
        self.string(ty.name)
            .and_then(|string| string.strip_prefix(name.as_bytes()))
            .is_some_and(|rest| rest.first() == Some(&0))
    }

    fn string(&self, offset: u32) -> Option<&[u8]> {
        let offset = (offset as usize).checked_sub(self.base_strings)?;
        self.data[self.strings.clone()].get(offset..)
    }

    fn iter(&self) -> impl Iterator<Item = Type> + '_ {
        let types = &self.data[self.types.clone()];
        let (mut at, mut id) = (0, 0);
        std::iter::from_fn(move || {
            let (name, info) = (word(types, at)?, word(types, at + 4)?);
            let (kind, members) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
            at += 12 + trailing(kind, members)?;
            id += 1;
            Some(Type { id, name, kind })
        })
    }
}

struct Type {
    id: u32,
    name: u32,
    kind: u32,
}

/// Bytes after a type's common part; `None` for a kind that this does not know.
fn trailing(kind: u32, members: usize) -> Option<usize> {
    Some(match kind {
        // INT, VAR, DECL_TAG.
        1 | 14 | 17 => 4,
        // ARRAY.
        3 => 12,
        // STRUCT, UNION; DATASEC, ENUM64.
        4 | 5 | 15 | 19 => 12 * members,
        // ENUM, FUNC_PROTO.
        6 | 13 => 8 * members,
        // PTR, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FLOAT, TYPE_TAG.
        2 | 7..=12 | 16 | 18 => 0,
        _ => return None,
    })
}

fn word(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(data.get(at..at + 4)?.try_into().ok()?))
}
