//! Scripts to try: well-formed ones at random, those of the tests, and mutations of both.

use std::fs;
use std::path::Path;

use super::random::Random;

/// What scripts are made from.
pub(super) struct Scripts {
    seeds: Vec<String>,
}

/// Words and signs for mutations.
const PIECES: &[&str] = &[
    "BEGIN",
    "END",
    "tracepoint:syscalls:sys_enter_openat",
    "tracepoint:syscalls:sys_*",
    "uprobe:libc:malloc",
    "interval:s:1",
    "profile:hz:99",
    "rawtracepoint:sys_enter",
    "kprobe:f",
    "self:signal:SIGUSR1",
    "config = { max_strlen = 9 }",
    "macro m($a, @b, c) {",
    "m($x, @m, 1)",
    "let",
    "let @m = lruhash(5);",
    "if",
    "else",
    "while",
    "for",
    "unroll(3)",
    "break",
    "continue",
    "return",
    "sizeof(",
    "offsetof(struct x, y)",
    "typeof(",
    "comptime",
    "true",
    "int32",
    "string[64]",
    "(uint8)",
    "(struct task_struct *)",
    "(int8[4])",
    "pid",
    "comm",
    "args",
    "args.filename",
    "arg0",
    "retval",
    "nsecs",
    "probe",
    "username",
    "count()",
    "hist(1)",
    "lhist(1, 0, 9, 1)",
    "str(",
    "buf(",
    "printf(\"%d %s\\n\", 1, comm)",
    "print(@m)",
    "clear(@m)",
    "delete(@m, 1)",
    "has_key(@m, 1)",
    "len(@m)",
    "strftime(\"%T\", nsecs)",
    "ntop(",
    "join(",
    "exit()",
    "time(\"%H\")",
    "$x",
    "$y",
    "@",
    "@m",
    "@m[1]",
    "@n[pid, comm]",
    "$1",
    "$2",
    "$#",
    "0",
    "1",
    "-1",
    "255",
    "0xffffffffffffffff",
    "9223372036854775808",
    "10ms",
    "1e3",
    "\"text\"",
    "\"%s %d %x %-10s %c %p\"",
    "\"",
    "'",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ",",
    ";",
    ":",
    "?",
    ".",
    "=",
    "<",
    ">",
    "+",
    "-",
    "*",
    "/",
    "%",
    "&",
    "|",
    "^",
    "!",
    "~",
    "==",
    "!=",
    "<=",
    ">=",
    "&&",
    "||",
    "<<",
    ">>",
    "++",
    "--",
    "->",
    "+=",
    "/=",
    "..",
    "//",
    "/*",
    "*/",
    "#define A 1\n",
    "\n",
    "$",
    "\\",
    "\u{e4}",
    "\0",
];

impl Scripts {
    /// Starts from the scripts below these directories.
    pub(super) fn new(directories: &[&Path]) -> Result<Scripts, String> {
        let mut seeds = Vec::new();
        for directory in directories {
            collect(directory, &mut seeds)
                .map_err(|error| format!("{}: {error}", directory.display()))?;
        }
        seeds.sort();
        if seeds.is_empty() {
            return Err("there are no scripts to start from".into());
        }
        Ok(Scripts { seeds })
    }

    /// How many scripts there are to start from.
    pub(super) fn seeds(&self) -> usize {
        self.seeds.len()
    }

    /// One more script.
    pub(super) fn next(&self, random: &mut Random) -> String {
        let (mut text, mutations) = match random.below(8) {
            0 => (soup(random), 0),
            1..=3 => (Generator { random, text: String::new() }.script(), 0),
            4 => (Generator { random, text: String::new() }.script(), 3),
            _ => (self.seed(random).to_string(), 8),
        };
        if mutations > 0 {
            for _ in 0..=random.below(mutations) {
                text = self.mutate(&text, random);
            }
        }
        text
    }

    fn seed(&self, random: &mut Random) -> &str {
        &self.seeds[random.below(self.seeds.len())]
    }

    /// One change: bytes or words taken out, put in, exchanged, or a part of another script.
    fn mutate(&self, text: &str, random: &mut Random) -> String {
        let words = words(text);
        let at = random.below(words.len() + 1);
        let len = random.below(4).min(words.len() - at);
        let (before, rest) = words.split_at(at);
        let (middle, after) = rest.split_at(len);
        let other;
        let middle = match random.below(8) {
            0 => Vec::new(),
            1 => vec![random.pick(PIECES)],
            2 => [middle, &[random.pick(PIECES)]].concat(),
            3 => middle.repeat(2 + random.below(3)),
            4 => middle.iter().rev().copied().collect(),
            5 => {
                other = self::words(self.seed(random));
                let start = random.below(other.len());
                let end = (start + random.below(20)).min(other.len());
                other[start..end].to_vec()
            }
            6 => return flip(text, random),
            _ => middle.iter().rev().skip(1).copied().collect(),
        };
        [before, &middle, after].concat().concat()
    }
}

/// All scripts below a directory, without the results that tests keep behind them.
fn collect(directory: &Path, seeds: &mut Vec<String>) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, seeds)?;
        } else if path.extension().is_some_and(|extension| extension == "bt") {
            let text = fs::read_to_string(&path)?;
            let script = text.split("\n======== ").next().unwrap_or_default();
            // Long ones are for other tests; here they would only cost time.
            if script.len() < 4000 {
                seeds.push(script.into());
            }
        }
    }
    Ok(())
}

/// Cuts a text into names, numbers, white space and single other characters.
fn words(text: &str) -> Vec<&str> {
    let class = |c: char| match c {
        _ if c.is_alphanumeric() || c == '_' => 0,
        _ if c.is_whitespace() => 1,
        _ => 2,
    };
    let mut words = Vec::new();
    let mut start = 0;
    let mut last = None;
    for (at, c) in text.char_indices() {
        let class = class(c);
        if last.is_some_and(|last| last != class || class == 2) {
            words.push(&text[start..at]);
            start = at;
        }
        last = Some(class);
    }
    if start < text.len() {
        words.push(&text[start..]);
    }
    words
}

/// Changes a byte; what is no UTF-8 then becomes a replacement character.
fn flip(text: &str, random: &mut Random) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let at = random.below(bytes.len());
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << random.below(8);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Words and signs without any order.
fn soup(random: &mut Random) -> String {
    let count = random.below(60);
    let separator = random.pick(&["", " "]);
    let pieces: Vec<&str> = (0..count).map(|_| random.pick(PIECES)).collect();
    format!("BEGIN {{ {} }}", pieces.join(separator))
}

/// Makes scripts that parse, and often have types that fit.
struct Generator<'r> {
    random: &'r mut Random,
    text: String,
}

impl Generator<'_> {
    fn script(mut self) -> String {
        for _ in 0..=self.random.below(2) {
            self.probe();
        }
        self.text
    }

    fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn pick(&mut self, choices: &[&str]) {
        let choice = self.random.pick(choices);
        self.text.push_str(choice);
    }

    /// One of the choices that are right everywhere; rarely one of those that are only right here
    /// or there, since one mistake hides the rest of the script from the later passes.
    fn pick_mostly(&mut self, choices: &[&str], risky: &[&str]) {
        let choices = if self.random.once_in(50) { risky } else { choices };
        self.pick(choices);
    }

    fn probe(&mut self) {
        self.pick(&[
            "BEGIN",
            "END",
            "tracepoint:syscalls:sys_enter_openat",
            "tracepoint:syscalls:sys_enter_*",
            "tracepoint:sched:sched_switch",
            "uprobe:libc:malloc",
            "uretprobe:libc:malloc",
            "interval:s:1",
            "profile:hz:99",
            "rawtracepoint:sys_enter",
            "tracepoint:raw_syscalls:sys_enter, tracepoint:raw_syscalls:sys_exit",
        ]);
        if self.random.once_in(4) {
            self.push(" /");
            self.int(2);
            self.push("/");
        }
        self.push(" {\n$a = 1; $b = (int64)2; $s = comm;\n");
        self.stmts(3);
        self.push("}\n");
    }

    fn stmts(&mut self, depth: usize) {
        for _ in 0..=self.random.below(4) {
            self.stmt(depth);
            self.push("\n");
        }
    }

    fn block(&mut self, depth: usize) {
        self.push(" {\n");
        self.stmts(depth);
        self.push("}");
    }

    fn stmt(&mut self, depth: usize) {
        let inner = depth.saturating_sub(1);
        match self.random.below(if depth == 0 { 8 } else { 13 }) {
            0 | 1 => {
                self.pick_mostly(
                    &["$a", "$b", "@i", "@j[tid]", "@k[comm, pid]"],
                    &["$c", "@h[1]", "$s"],
                );
                self.pick(&[" = ", " = ", " += ", " -= ", " <<= ", " /= ", " ^= "]);
                self.int(3);
                self.push(";");
            }
            2 => {
                let kind = self.random.pick(&["count", "sum", "avg", "hist", "max", "stats"]);
                self.push(&format!("@{kind}["));
                self.int(1);
                self.push(&format!("] = {kind}("));
                if kind != "count" {
                    self.int(2);
                }
                self.push(");");
            }
            3 => {
                self.push("printf(\"%d %s ");
                self.pick(&["%x", "%llu", "%-8d", "%p", "%05ld", "%c"]);
                self.push("\\n\", ");
                self.int(2);
                self.push(", ");
                self.string();
                self.push(", ");
                self.int(2);
                self.push(");");
            }
            4 => {
                self.push("print(");
                self.value(2);
                self.push(");");
            }
            5 => {
                self.push("$s = ");
                self.string();
                self.push(";");
            }
            6 => self.pick_mostly(
                &[
                    "@i = 1; clear(@i);",
                    "@j[1] = 2; delete(@j, tid);",
                    "exit();",
                    "$a++;",
                    "--@i;",
                    "@j[tid]++;",
                    "time(\"%T\\n\");",
                    "@k[comm, 1] = 3; print(@k, 5, 2);",
                    "return;",
                    "@count[1] = count(); zero(@count); print(@count);",
                    "@j[1] = 2; _ = len(@j);",
                ],
                &["zero(@i);", "clear(@never);", "break;", "delete(@j);"],
            ),
            7 => {
                self.push("$t = (");
                self.int(2);
                self.push(", ");
                self.string();
                self.push("); @t = $t; print($t.");
                self.pick_mostly(&["0", "1"], &["2"]);
                self.push(");");
            }
            8 | 9 => {
                self.push("if (");
                self.int(2);
                self.push(")");
                self.block(inner);
                if self.random.once_in(2) {
                    self.push(" else");
                    self.block(inner);
                }
            }
            10 => {
                self.push("for $i : 0..");
                self.pick(&["5", "$a", "pid", "100"]);
                self.block(inner);
            }
            11 => {
                self.pick_mostly(
                    &["@j[1] = 2; for $kv : @j", "@k[comm, 3] = 4; for $kv : @k", "unroll(3)"],
                    &["while ($a < 10)", "for $kv : @i", "unroll(pid)"],
                );
                self.block(inner);
            }
            _ => self.block(inner),
        }
    }

    fn value(&mut self, depth: usize) {
        match self.random.below(6) {
            0 | 1 => self.string(),
            2 => {
                self.push("(");
                self.int(depth);
                self.push(", ");
                self.string();
                self.push(")");
            }
            3 => self.pick_mostly(
                &[
                    "@i",
                    "@j[1]",
                    "buf(comm, 4)",
                    "nsecs",
                    "strftime(\"%s\", nsecs)",
                    "username",
                    "probe",
                ],
                &["args", "@count[1]", "ntop(1)", "(x = 1, y = \"s\")"],
            ),
            _ => self.int(depth),
        }
    }

    fn string(&mut self) {
        self.pick_mostly(
            &["comm", "\"text\"", "$s", "str($2)", "\"\""],
            &["probe", "str(args.filename)", "str(arg0)", "(1 ? comm : \"x\")"],
        );
    }

    fn int(&mut self, depth: usize) {
        let inner = depth.saturating_sub(1);
        match self.random.below(if depth == 0 { 3 } else { 10 }) {
            0 => self.pick(&[
                "0",
                "1",
                "-1",
                "7",
                "255",
                "65536",
                "4294967296",
                "0x7fffffffffffffff",
            ]),
            1 => self.pick_mostly(
                &[
                    "pid", "tid", "uid", "gid", "nsecs", "elapsed", "cpu", "ncpus", "rand",
                    "cgroup", "$1",
                ],
                &["curtask", "arg0", "retval", "args.id", "args.dfd", "args.prev_pid"],
            ),
            2 => self.pick_mostly(
                &["$a", "$b", "@i", "@j[tid]", "@k[comm, pid]"],
                &["$c", "$i", "$kv.0", "@count[1]"],
            ),
            3..=5 => {
                self.push("(");
                self.int(inner);
                self.pick(&[
                    " + ", " - ", " * ", " / ", " % ", " & ", " | ", " ^ ", " << ", " >> ", " == ",
                    " != ", " < ", " > ", " <= ", " >= ", " && ", " || ",
                ]);
                self.int(inner);
                self.push(")");
            }
            6 => {
                self.pick(&["-", "!", "~", "(int8)", "(uint8)", "(int32)", "(uint64)", "(bool)"]);
                self.push("(");
                self.int(inner);
                self.push(")");
            }
            7 => {
                self.push("(");
                self.string();
                self.pick(&[" == ", " != ", " < "]);
                self.string();
                self.push(")");
            }
            8 => {
                self.push("(");
                self.int(inner);
                self.pick(&[" ? ", " ?: "]);
                if self.text.ends_with("? ") {
                    self.int(inner);
                    self.push(" : ");
                }
                self.int(inner);
                self.push(")");
            }
            _ => self.pick_mostly(
                &[
                    "sizeof($a)",
                    "sizeof(uint16)",
                    "{ let $z = 3; $z }",
                    "(1, 2).0",
                    "strncmp(comm, \"a\", 1)",
                ],
                &["$a++", "++$b", "has_key(@j, tid)", "len(@j)"],
            ),
        }
    }
}
