//! The commands that look at and change what is loaded, as a table: what they are called, what
//! they take, what they do. Parser, help, manual page and completions come from it.

use clap::{Arg, ArgAction, Command, value_parser};
use std::ffi::OsString;
use std::path::PathBuf;

/// A kind of object and what can be done with it.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    about: &'static str,
    commands: &'static [Row],
}

impl Group {
    /// What the name of the group alone means.
    pub(crate) fn first(&self) -> &'static str {
        self.commands.first().map_or("", |row| row.0)
    }
}

/// A command: name, another name or nothing, what it takes, what it does.
type Row = (&'static str, &'static str, &'static str, &'static str);

const PROG: &str = "{id ID | tag TAG | name NAME | pinned FILE}";

/// All groups. The first command of a group is what the group's name alone means.
pub(crate) const GROUPS: &[Group] = &[
    Group {
        name: "prog",
        about: "Loaded programs",
        commands: &[
            ("show", "list", "[id ID | tag TAG | name NAME | pinned FILE]", "List programs"),
            (
                "dump",
                "",
                "{xlated | jited} PROG [file FILE | [opcodes] [linum] [visual]]",
                "Print a program's instructions",
            ),
            (
                "load",
                "",
                "OBJ PATH [type TYPE] [map {idx N | name NAME} MAP] [pinmaps DIR] [autoattach] \
                 [kernel_btf FILE]; with --check OBJ...",
                "Load an object and pin its first program; with --check, only try every program",
            ),
            (
                "loadall",
                "",
                "OBJ PATH [type TYPE] [map {idx N | name NAME} MAP] [pinmaps DIR] [autoattach] \
                 [kernel_btf FILE]",
                "Load an object and pin its programs in a directory",
            ),
            ("pin", "", "PROG FILE", "Give a program a name in a BPF file system"),
            (
                "run",
                "",
                "{PROG | OBJ [--kernel linux | embedded] [--program NAME]} data_in FILE [data_out FILE [data_size_out N]] [ctx_in FILE \
                 [ctx_out FILE [ctx_size_out N]]] [repeat N]",
                "Run a program over a packet or context; of an object file, without loading it first",
            ),
            (
                "tracelog",
                "",
                "[{stdout | stderr} PROG]",
                "Print what programs write with bpf_printk, or what one writes to its stream",
            ),
            ("attach", "", "PROG ATTACH_TYPE [MAP]", "Attach a program to a map of sockets"),
            ("detach", "", "PROG ATTACH_TYPE [MAP]", "Detach it again"),
            ("profile", "", "PROG ...", "Not supported; `bombus top` shows runs and their time"),
        ],
    },
    Group {
        name: "map",
        about: "Maps and their elements",
        commands: &[
            ("show", "list", "[id ID | name NAME | pinned FILE]", "List maps"),
            ("dump", "", "MAP", "Print every element"),
            (
                "update",
                "",
                "MAP [key DATA] [value VALUE] [any | exist | noexist]",
                "Store an element",
            ),
            ("lookup", "", "MAP [key DATA]", "Print an element"),
            ("getnext", "", "MAP [key DATA]", "Print the key after a key"),
            ("delete", "", "MAP key DATA", "Remove an element"),
            ("pin", "", "MAP FILE", "Give a map a name in a BPF file system"),
            (
                "create",
                "",
                "FILE type TYPE key SIZE value SIZE entries N name NAME [flags FLAGS] [inner_map MAP]",
                "Make a map and pin it",
            ),
            (
                "event_pipe",
                "",
                "MAP [cpu N index M]",
                "Print what programs send by a map of perf events",
            ),
            ("peek", "", "MAP", "Print the next value of a queue or stack"),
            ("push", "", "MAP value VALUE", "Add a value to a stack"),
            ("enqueue", "", "MAP value VALUE", "Add a value to a queue"),
            ("pop", "", "MAP", "Take a value from a stack"),
            ("dequeue", "", "MAP", "Take a value from a queue"),
            ("freeze", "", "MAP", "Keep user space from writing to a map"),
        ],
    },
    Group {
        name: "link",
        about: "Links between programs and hooks",
        commands: &[
            ("show", "list", "[id ID | pinned FILE]", "List links"),
            ("pin", "", "LINK FILE", "Give a link a name in a BPF file system"),
            ("detach", "", "LINK", "Detach what a link attaches"),
        ],
    },
    Group {
        name: "btf",
        about: "Type information",
        commands: &[
            ("show", "list", "[id ID]", "List BTF objects"),
            (
                "dump",
                "",
                "{id ID | prog PROG | map MAP [key | value | kv | all] | file FILE} \
                 [format {raw | c [unsorted]}] [root_id ID]",
                "Print types, as they are or as declarations of C",
            ),
        ],
    },
    Group {
        name: "cgroup",
        about: "Programs of cgroups",
        commands: &[
            ("show", "list", "CGROUP [effective]", "List the programs of a cgroup"),
            ("tree", "", "[CGROUP_ROOT] [effective]", "List the programs of all cgroups"),
            ("attach", "", "CGROUP ATTACH_TYPE PROG [multi | override]", "Attach a program"),
            ("detach", "", "CGROUP ATTACH_TYPE PROG", "Detach it again"),
        ],
    },
    Group {
        name: "feature",
        about: "What this kernel can do",
        commands: &[
            (
                "probe",
                "",
                "[kernel | dev NAME] [full] [unprivileged] [macros [prefix PREFIX]]",
                "Find out what programs and maps there can be, and what they may do",
            ),
            (
                "list_builtins",
                "",
                "{prog_types | map_types | attach_types | link_types | helpers}",
                "List what there is a name for",
            ),
        ],
    },
    Group {
        name: "net",
        about: "Programs of network devices",
        commands: &[
            ("show", "list", "[dev NAME]", "List the programs of network devices"),
            (
                "attach",
                "",
                "{xdp | xdpgeneric | xdpdrv | xdpoffload | tcx_ingress | tcx_egress} PROG dev NAME \
                 [overwrite | prepend]",
                "Attach a program to a device",
            ),
            (
                "detach",
                "",
                "{xdp | xdpgeneric | xdpdrv | xdpoffload | tcx_ingress | tcx_egress} dev NAME",
                "Detach it again",
            ),
        ],
    },
    Group {
        name: "struct_ops",
        about: "Structures of kernel callbacks",
        commands: &[
            ("show", "list", "[id ID | name NAME]", "List structures"),
            ("dump", "", "[id ID | name NAME]", "Print structures with what is in them"),
            (
                "register",
                "",
                "OBJ [LINK_DIR]",
                "Load an object and put its structures into use; links are pinned in a directory",
            ),
            ("unregister", "", "{id ID | name NAME}", "Take a structure out of use"),
        ],
    },
    Group {
        name: "token",
        about: "Rights that BPF file systems pass on",
        commands: &[("show", "list", "", "List what file systems pass on")],
    },
    Group {
        name: "batch",
        about: "Many commands at once",
        commands: &[("file", "", "FILE", "Carry out the commands in a file, one a line")],
    },
    Group {
        name: "iter",
        about: "Iterators",
        commands: &[(
            "pin",
            "",
            "OBJ PATH [map MAP]",
            "Pin an iterator: whoever reads the file gets what the program prints",
        )],
    },
    Group {
        name: "gen",
        about: "Making object files",
        commands: &[("object", "", "OUTPUT INPUT...", "Link objects into one")],
    },
    Group {
        name: "perf",
        about: "What processes trace",
        commands: &[("show", "list", "", "List tracepoints and probes that have programs")],
    },
];

/// Whether this is the name of a group.
pub(crate) fn has(name: &str) -> bool {
    GROUPS.iter().any(|group| group.name == name)
}

/// The group and the command that these words begin, and whether the second was one. Both may be
/// shortened; the first that fits is meant.
pub(crate) fn find(
    group: &str,
    command: Option<&str>,
) -> Option<(&'static str, &'static str, usize)> {
    let begins = |name: &str, word: &str| !word.is_empty() && name.starts_with(word);
    let group = GROUPS.iter().find(|each| begins(each.name, group))?;
    let Some(word) = command else { return Some((group.name, group.first(), 0)) };
    let mut rows = group.commands.iter();
    let row = rows.find(|row| begins(row.0, word) || begins(row.1, word))?;
    Some((group.name, row.0, 1))
}

/// The table as commands for the parser.
pub(crate) fn commands() -> impl Iterator<Item = Command> {
    GROUPS.iter().map(|group| {
        let rows = group.commands.iter().map(|&(name, alias, takes, about)| {
            let command = Command::new(name).about(about).arg(
                Arg::new("words")
                    .value_name("WORDS")
                    .help(takes.replace("PROG ", &format!("{PROG} ")))
                    .num_args(0..)
                    .action(ArgAction::Append)
                    .value_parser(value_parser!(OsString)),
            );
            let command = match (group.name, name) {
                ("prog", "load") => command.arg(
                    Arg::new("check")
                        .long("check")
                        .action(ArgAction::SetTrue)
                        .help("Try every program of every object, and keep none"),
                ),
                ("prog", "run") => command.args(super::test_run::arguments()),
                _ => command,
            };
            if alias.is_empty() { command } else { command.visible_alias(alias) }
        });
        Command::new(group.name)
            .about(group.about)
            .infer_subcommands(true)
            .subcommands(rows)
            .args(options())
    })
}

/// What every command takes.
fn options() -> Vec<Arg> {
    let switch = |long: &'static str, short: char, help: &'static str| {
        Arg::new(long).long(long).short(short).action(ArgAction::SetTrue).global(true).help(help)
    };
    vec![
        switch("json", 'j', "Print JSON"),
        switch("pretty", 'p', "Print JSON over several lines"),
        switch("bpffs", 'f', "Show where objects are pinned"),
        switch("nomount", 'n', "Never mount a BPF file system"),
        switch("mapcompat", 'm', "Accepted: map definitions are always read leniently"),
        switch("debug", 'd', "Say what the verifier says"),
        switch("use-loader", 'L', "Accepted: programs are loaded the same way in any case"),
        Arg::new("base-btf")
            .long("base-btf")
            .short('B')
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .global(true)
            .help("Types that those of a file go on from"),
    ]
}
