//! Names that the parser must know to tell `(type)value` from `(value) - value`. What they mean is
//! decided later.

/// Types of the language itself (bpftrace's manual, "Data Types").
pub(super) const TYPES: [&str; 31] = [
    "avg_t",
    "bool",
    "buffer",
    "cgroup_path_t",
    "count_t",
    "inet",
    "int16",
    "int32",
    "int64",
    "int8",
    "kstack_t",
    "macaddr_t",
    "max_t",
    "min_t",
    "stats_t",
    "string",
    "sum_t",
    "timestamp",
    "uavg_t",
    "uint16",
    "uint32",
    "uint64",
    "uint8",
    "umax_t",
    "umin_t",
    "username_t",
    "usum_t",
    "ustack_t",
    "ustats_t",
    "usym_t",
    "void",
];

/// Builtins without arguments; `arg0` and `sarg0` with any number come on top.
const BUILTINS: [&str; 30] = [
    "args",
    "cgroup",
    "comm",
    "cpid",
    "cpu",
    "ctx",
    "curtask",
    "elapsed",
    "func",
    "gid",
    "has_cpid",
    "jiffies",
    "kstack",
    "leader_comm",
    "leader_tid",
    "ncpus",
    "nsecs",
    "numaid",
    "pcomm",
    "pid",
    "ppid",
    "probe",
    "probetype",
    "rand",
    "retval",
    "tid",
    "uid",
    "usermode",
    "username",
    "ustack",
];

/// Words that cannot be names of values.
pub(super) const KEYWORDS: [&str; 17] = [
    "break", "comptime", "continue", "else", "fn", "for", "if", "import", "let", "macro",
    "offsetof", "return", "sizeof", "typeinfo", "typeof", "unroll", "while",
];

/// Whether this is a value, so that `(name) - 1` subtracts.
pub(super) fn is_value(name: &str) -> bool {
    let is_numbered = |prefix: &str| {
        name.strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
    };
    BUILTINS.contains(&name)
        || matches!(name, "true" | "false")
        || name.starts_with("__builtin_")
        || is_numbered("arg")
        || is_numbered("sarg")
}

/// Whether this looks like a constant of C (`SIGKILL`): capitals, digits and underscores only.
pub(super) fn is_constant(name: &str) -> bool {
    name.bytes().any(|byte| byte.is_ascii_uppercase())
        && !name.bytes().any(|byte| byte.is_ascii_lowercase())
}
