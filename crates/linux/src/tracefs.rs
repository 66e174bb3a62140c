//! tracefs: where the kernel lists its tracepoints and their record layouts
//! (`Documentation/trace/events.rst`).

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use bombus_kernel::catalog::{Field, TracepointFormat};
use bombus_kernel::inspect::KernelSymbol;

use crate::error::errno_of;
use crate::sys::{Errno, mount};

/// A tracefs that can be read, for as long as this is kept.
#[derive(Debug)]
pub struct Tracefs {
    root: PathBuf,
    /// When nobody has mounted one: ours, which nobody else sees.
    _mount: Option<OwnedFd>,
}

/// Where it is mounted; the second place mounts itself when it is looked at.
const PLACES: &[&str] = &["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

impl Tracefs {
    /// Finds one that this process may read, or makes one of its own if it may.
    pub fn find() -> Option<Tracefs> {
        let mounted = PLACES.iter().map(Path::new).find(|place| place.join("events").is_dir());
        if let Some(root) = mounted {
            return Some(Tracefs { root: root.to_owned(), _mount: None });
        }
        let mount = mount::detached(c"tracefs").ok()?;
        let root = PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd()));
        root.join("events").is_dir().then_some(Tracefs { root, _mount: Some(mount) })
    }

    /// Its directory, for this process.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Every tracepoint as (category, name), sorted.
    pub(crate) fn tracepoints(&self) -> Vec<(String, String)> {
        let mut events = match std::fs::read_to_string(self.root.join("available_events")) {
            Ok(list) => list
                .lines()
                .filter_map(|line| line.split_once(':'))
                .map(|(category, name)| (category.to_owned(), name.to_owned()))
                .collect(),
            Err(_) => self.walk(),
        };
        events.sort();
        events.dedup();
        events
    }

    /// The functions that ftrace knows, those of modules among them, sorted. Several can have one
    /// name.
    pub(crate) fn functions(&self) -> Vec<String> {
        let list = std::fs::read_to_string(self.root.join("available_filter_functions"));
        parse_functions(&list.unwrap_or_default())
    }

    fn walk(&self) -> Vec<(String, String)> {
        let directories = |path: &Path| {
            let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
            let directories = entries.filter(|entry| entry.path().is_dir());
            directories.filter_map(|entry| entry.file_name().into_string().ok()).collect::<Vec<_>>()
        };
        let events = self.root.join("events");
        let categories = directories(&events).into_iter();
        categories
            .flat_map(|category| {
                let names = directories(&events.join(&category)).into_iter();
                names.map(|name| (category.clone(), name)).collect::<Vec<_>>()
            })
            .collect()
    }

    fn read(&self, category: &str, name: &str, file: &str) -> Result<String, Errno> {
        let plain = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains('/');
        if !plain(category) || !plain(name) {
            return Err(libc::ENOENT);
        }
        let path = self.root.join("events").join(category).join(name).join(file);
        std::fs::read_to_string(path).map_err(|error| errno_of(&error))
    }

    /// The number by which `perf_event_open(2)` knows a tracepoint.
    pub(crate) fn tracepoint_id(&self, category: &str, name: &str) -> Result<u64, Errno> {
        self.read(category, name, "id")?.trim().parse().map_err(|_| libc::EIO)
    }

    /// The layout of one tracepoint's records; `None` when there is no such tracepoint.
    pub(crate) fn format(&self, category: &str, name: &str) -> Option<TracepointFormat> {
        self.read(category, name, "format").ok().map(|text| parse_format(&text))
    }
}

/// From the text of a `format` file. Fields that every record has are left out, and so is what
/// cannot be understood.
fn parse_format(text: &str) -> TracepointFormat {
    let fields = text.lines().filter_map(|line| parse_field(line.trim()));
    TracepointFormat { fields: fields.filter(|field| !is_common(&field.name)).collect() }
}

/// Fields of `struct trace_entry` (`include/linux/trace_events.h`).
/// What ftrace cannot name any more, for example because it was code for the start only.
const NAMELESS: &str = "__ftrace_invalid_address__";

/// The names of a list of functions, one a line, some with their module: `name [module]`.
fn parse_functions(text: &str) -> Vec<String> {
    let names = text.lines().filter_map(|line| line.split_whitespace().next());
    let named = names.filter(|name| !name.starts_with(NAMELESS));
    let mut names: Vec<String> = named.map(str::to_owned).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Which other names the listed functions have: symbols at the same address, as (name, listed name),
/// sorted. `listed` is sorted by name, `symbols` by address.
pub(crate) fn aliases(listed: &[String], symbols: &[KernelSymbol]) -> Vec<(String, String)> {
    let is_listed = |symbol: &&KernelSymbol| listed.binary_search(&symbol.name).is_ok();
    let mut found = Vec::new();
    for same in symbols.chunk_by(|a, b| a.address == b.address) {
        let Some(known) = same.iter().find(is_listed) else { continue };
        let others = same.iter().filter(|symbol| !is_listed(symbol));
        found.extend(others.map(|symbol| (symbol.name.clone(), known.name.clone())));
    }
    found.sort_unstable();
    found
}

fn is_common(name: &str) -> bool {
    matches!(
        name,
        "common_type"
            | "common_flags"
            | "common_preempt_count"
            | "common_pid"
            | "common_preempt_lazy_count"
            | "common_migrate_disable"
            | "common_padding"
    )
}

/// One line, for example `field:char comm[16]; offset:8; size:16; signed:0;` (with tabs).
fn parse_field(line: &str) -> Option<Field> {
    let mut parts = line.split(';').map(str::trim);
    let declaration = parts.next()?.strip_prefix("field:")?.trim();
    let mut number = |label: &str| parts.next()?.strip_prefix(label)?.parse::<u32>().ok();
    let (offset, size) = (number("offset:")?, number("size:")?);
    let signed = number("signed:").unwrap_or(0) != 0;
    let (declaration, elements) = match declaration.split_once('[') {
        // `char comm[16]`; but the brackets of `__data_loc char[] name` belong to the type.
        Some((before, brackets)) if brackets.ends_with(']') => {
            (before.trim_end(), Some(brackets.trim_end_matches(']')))
        }
        _ => (declaration, None),
    };
    let start = declaration.rfind(|byte: char| !byte.is_alphanumeric() && byte != '_')? + 1;
    let (c_type, name) = (declaration[..start].trim_end(), &declaration[start..]);
    if name.is_empty() || c_type.is_empty() {
        return None;
    }
    // Old kernels write constants by their names, `char comm[TASK_COMM_LEN]`.
    let array = elements.map(|count| count.parse().unwrap_or(size / element_size(c_type)));
    Some(Field { name: name.to_owned(), c_type: c_type.to_owned(), array, offset, size, signed })
}

/// Bytes of the types that arrays of named length are made of.
fn element_size(c_type: &str) -> u32 {
    match c_type.trim_start_matches("const ").trim_start_matches("unsigned ") {
        "short" | "u16" | "__u16" | "s16" | "__s16" | "__be16" => 2,
        "int" | "u32" | "__u32" | "s32" | "__s32" | "__be32" => 4,
        "long" | "u64" | "__u64" | "s64" | "__s64" | "long long" | "__be64" => 8,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(line: &str) -> Field {
        parse_field(line).unwrap_or_else(|| panic!("not a field: {line}"))
    }

    #[test]
    fn functions() {
        let list = "vfs_read\n__ftrace_invalid_address___512\ncleanup_module [veth]\nvfs_read\n\
                    acct_exit.isra.0\n";
        assert_eq!(parse_functions(list), ["acct_exit.isra.0", "cleanup_module", "vfs_read"]);
        assert!(parse_functions("").is_empty());
    }

    #[test]
    fn functions_of_one_code() {
        let symbol = |&(address, name): &(u64, &str)| KernelSymbol {
            address,
            name: name.into(),
            module: String::new(),
        };
        let symbols = [(1, "start"), (2, "__do_b"), (2, "__x64_b"), (2, "a_b"), (3, "c"), (4, "d")];
        let symbols: Vec<KernelSymbol> = symbols.iter().map(symbol).collect();
        let listed = ["__do_b", "c"].map(str::to_owned);
        let expected = [("__x64_b", "__do_b"), ("a_b", "__do_b")];
        assert_eq!(aliases(&listed, &symbols), expected.map(|(a, b)| (a.into(), b.into())));
        assert!(aliases(&[], &symbols).is_empty());
    }

    #[test]
    fn plain_fields() {
        let pointer = field("field:const char * filename;\toffset:24;\tsize:8;\tsigned:0;");
        assert_eq!((&*pointer.c_type, &*pointer.name), ("const char *", "filename"));
        assert_eq!((pointer.offset, pointer.size, pointer.signed), (24, 8, false));
        let tight = field("field:char *buf;\toffset:24;\tsize:8;\tsigned:0;");
        assert_eq!((&*tight.c_type, &*tight.name), ("char *", "buf"));
        let number = field("field:pid_t prev_pid;\toffset:24;\tsize:4;\tsigned:1;");
        assert_eq!((&*number.c_type, &*number.name, number.signed), ("pid_t", "prev_pid", true));
    }

    #[test]
    fn arrays() {
        let comm = field("field:char prev_comm[16];\toffset:8;\tsize:16;\tsigned:0;");
        assert_eq!((&*comm.c_type, &*comm.name, comm.array), ("char", "prev_comm", Some(16)));
        let named = field("field:char comm[TASK_COMM_LEN];\toffset:8;\tsize:16;\tsigned:0;");
        assert_eq!((named.array, named.size), (Some(16), 16));
        let args = field("field:unsigned long args[6];\toffset:16;\tsize:48;\tsigned:0;");
        assert_eq!((&*args.c_type, args.array), ("unsigned long", Some(6)));
        let place = field("field:__data_loc char[] name;\toffset:8;\tsize:4;\tsigned:0;");
        assert_eq!(
            (&*place.c_type, &*place.name, place.array),
            ("__data_loc char[]", "name", None)
        );
    }

    #[test]
    fn whole_formats() {
        let text = "name: x\nID: 1\nformat:\n\
            \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
            \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
            \tfield:u32 ret;\toffset:8;\tsize:4;\tsigned:0;\n\nprint fmt: \"%d\", REC->ret\n";
        let format = parse_format(text);
        assert_eq!(format.fields.len(), 1);
        assert_eq!(format.fields[0].name, "ret");
        assert_eq!(parse_field("print fmt: \"field:int x;\""), None);
        assert_eq!(parse_field("field:;offset:1;size:2;"), None);
    }
}
