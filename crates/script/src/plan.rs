//! The plan: what user space must load, attach, do and show. Plain data.

use bombus_kernel::AttachPoint;
use bombus_platform::Helper;
use bombus_spec::ObjectSpec;

use crate::types::Type;

/// Everything that a script becomes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// Maps and programs.
    pub object: ObjectSpec,
    /// What runs when. In the order of the script.
    pub probes: Vec<Probe>,
    /// How many probes the user asked for and got (`Attached N probes`): one dispatching program
    /// may serve many.
    pub probe_count: usize,
    /// The script's maps, in order of first use.
    pub maps: Vec<MapPlan>,
    /// What records in the ring buffer ask for; a record starts with a `u64` index into this.
    pub actions: Vec<Action>,
    /// Where in the script each action stands, by the same index. Only `errorf`, `warnf` and `time`
    /// show their place; that of other actions is empty.
    pub places: Vec<Place>,
    /// Index of the ring buffer in `object.maps`, when any program sends records.
    pub events: Option<u32>,
    /// What may go wrong while programs run.
    pub failures: Option<Failures>,
    /// The map of values that user space sets before anything runs.
    pub globals: Option<Globals>,
    /// Index of the hash map of followed threads (`u32` thread id to `u8`), when the script is to
    /// keep to a tree on a kernel that sees the whole machine. User space adds the first thread.
    pub tree: Option<u32>,
    /// Texts that programs name by number: the values of `probe`, `func`.
    pub strings: Vec<String>,
    /// Warnings for the user that do not stop the script, rendered already.
    pub warnings: Vec<String>,
    /// Maps are not printed at the end (`config = { print_maps_on_exit = false }`).
    pub quiet_maps: bool,
}

/// A single-element array map that user space fills in before anything runs. Offsets in bytes; each
/// field is a `u64`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Globals {
    /// Index in `object.maps`.
    pub map: u32,
    /// Where the start time goes (`CLOCK_BOOTTIME`, nanoseconds), for `elapsed`.
    pub start_ns: Option<u32>,
    /// Where the command's process id goes, for `cpid`.
    pub cpid: Option<u32>,
}

/// A single-element array map in which programs count what goes wrong, each kind at each place of
/// the script on its own. Counting takes few instructions and cannot itself fail, as a record can;
/// user space looks from time to time and tells how much more there is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failures {
    /// Index in `object.maps`.
    pub map: u32,
    /// What is counted, in the order of the counters.
    pub counted: Vec<Failure>,
}

/// Bytes of one counter: a `u64` that only grows, then the last helper's result as an `i64`.
pub const FAILURE_BYTES: u32 = 16;

/// What one counter counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// What happened.
    pub what: FailureKind,
    /// Where in the script. Records are lost anywhere.
    pub place: Option<Place>,
}

/// What can go wrong while a program runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FailureKind {
    /// A record found the ring buffer full.
    LostRecord,
    /// A failure that the script's author should hear of.
    Runtime {
        /// The reason.
        message: String,
    },
    /// A helper that failed; its result, a negative error number, stands in the counter.
    Helper {
        /// Which.
        helper: Helper,
    },
}

/// When a program runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Probe {
    /// The probe as the user knows it, for example `tracepoint:syscalls:sys_enter_openat`.
    pub name: String,
    /// Index in `object.programs`.
    pub program: u32,
    /// What sets it off.
    pub trigger: Trigger,
    /// The number that `bpf_get_attach_cookie` gives to the program.
    pub cookie: u64,
}

/// What sets a program off.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trigger {
    /// Before anything is attached, by a test run.
    Begin,
    /// After everything is detached, by a test run.
    End,
    /// A signal to the tracer itself (`self:signal:SIGUSR1`), by a test run.
    Signal(i32),
    /// The kernel.
    Attach(AttachPoint),
}

/// One map of the script.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MapPlan {
    /// With the `@`.
    pub name: String,
    /// Index in `object.maps`.
    pub index: u32,
    /// Type of the key; `None` for a map without keys, which is an array of one element.
    /// A key of several parts is a tuple.
    pub key: Option<Type>,
    /// What the values are.
    pub value: MapValue,
    /// In a map without keys, where in the value the `u64` stands that is not zero once the map
    /// was assigned. For aggregations the value itself counts as well: a count that is not zero is
    /// there whatever the mark says.
    pub present_at: Option<u32>,
}

/// What a map's values are and how they lie in memory. Aggregations are per CPU.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MapValue {
    /// A value of this type.
    Plain(Type),
    /// `count()`: a `u64`.
    Count,
    /// `sum()`: 64 bits.
    Sum {
        /// Whether it is signed.
        signed: bool,
    },
    /// `min()`: the value, then a `u64` that is 1 once set.
    Min {
        /// Whether it is signed.
        signed: bool,
    },
    /// `max()`: as `Min`.
    Max {
        /// Whether it is signed.
        signed: bool,
    },
    /// `avg()`: total, then count.
    Avg {
        /// Whether it is signed.
        signed: bool,
    },
    /// `stats()`: total, then count.
    Stats {
        /// Whether it is signed.
        signed: bool,
    },
    /// `hist()`: an array of `u64` buckets, see [`hist_buckets`].
    Hist {
        /// Bits of resolution inside a power of two, 0 to 5.
        bits: u8,
    },
    /// `lhist()`: an array of `u64`: below `min`, the buckets, `max` and above.
    LHist {
        /// Lower bound.
        min: i64,
        /// Upper bound.
        max: i64,
        /// Width of a bucket.
        step: i64,
    },
}

/// Buckets of a `hist` with this resolution: one for negative numbers, one for each number below
/// `2^bits`, and `2^bits` for each further power of two.
pub const fn hist_buckets(bits: u8) -> usize {
    1 + (1 << bits) + (64 - bits as usize) * (1 << bits)
}

/// What user space does about a record. Offsets count from the record's start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// `exit()`: one `u64`, the exit code, at 8.
    Exit,
    /// `printf()`, and `errorf`, `warnf`.
    Printf {
        /// The format as written, escapes resolved.
        format: String,
        /// Its arguments.
        args: Vec<Slot>,
        /// Where the text goes.
        kind: PrintfKind,
    },
    /// `print(@map)`; `u64` top at 8 and `u64` div at 16 (0: none given).
    PrintMap {
        /// Index in [`Plan::maps`].
        map: u32,
    },
    /// `print(@map[key])` of an aggregation, which only user space can add up: the key at 8.
    PrintElement {
        /// Index in [`Plan::maps`].
        map: u32,
    },
    /// `print(value)`.
    PrintValue {
        /// The value.
        value: Slot,
    },
    /// `clear(@map)`.
    Clear {
        /// Index in [`Plan::maps`].
        map: u32,
    },
    /// `zero(@map)`.
    Zero {
        /// Index in [`Plan::maps`].
        map: u32,
    },
    /// `time(format)`.
    Time {
        /// A `strftime(3)` format.
        format: String,
    },
    /// `join(argv, separator)`.
    Join {
        /// What stands between two.
        separator: String,
        /// How many strings there can be. Their number (`u64`) stands at 8, then fixed-size
        /// strings of `size` bytes each.
        max: u32,
        /// Bytes of one.
        size: u32,
    },
}

/// An extent of the script.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// The file, or `stdin` for `-e`.
    pub file: String,
    /// Line number, from 1.
    pub line: u32,
    /// First column, from 1.
    pub column: u32,
    /// The line where it ends.
    pub end_line: u32,
    /// The column after the last.
    pub end_column: u32,
    /// The text of its lines, for the messages that show it.
    pub text: String,
}

/// Where formatted text goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PrintfKind {
    /// The output.
    Out,
    /// Standard error, as an error.
    Error,
    /// Standard error, as a warning.
    Warning,
}

/// A value inside a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Slot {
    /// Bytes from the record's start.
    pub offset: u32,
    /// Its type.
    pub ty: Type,
}
