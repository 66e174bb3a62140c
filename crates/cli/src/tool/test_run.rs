//! `bombus prog run`.

use std::ffi::OsString;
use std::io::Read;
use std::path::Path;

use bombus_embedded::Embedded;
use bombus_kernel::inspect::Inspect;
use bombus_kernel::{Error, Kernel, Loader, TestRun};
use bombus_linux::Linux;
use bombus_platform::{ETHERNET_HEADER, ProgType, takes_packets};
use clap::builder::PossibleValuesParser;
use clap::{Arg, value_parser};
use serde_json::{Map, Value};

use super::output::{Failed, Output, because_of, meaning, reason};
use super::words::{Words, number};
use super::{Options, Tool, load};
use crate::flags::KernelChoice;
use crate::host;

/// Where packet and context come from and go to.
#[derive(Default)]
struct Wanted {
    data_in: Option<String>,
    data_out: Option<String>,
    ctx_in: Option<String>,
    ctx_out: Option<String>,
    data_size: Option<usize>,
    ctx_size: Option<usize>,
    repeat: u32,
}

/// What each word of `prog run` is, whole.
const WORDS: [&str; 7] =
    ["data_in", "data_out", "data_size_out", "ctx_in", "ctx_out", "ctx_size_out", "repeat"];

impl Wanted {
    fn parse(words: &mut Words) -> Result<Wanted, Failed> {
        let mut wanted = Wanted { repeat: 1, ..Wanted::default() };
        while let Some(word) = words.next() {
            let matching: Vec<&str> =
                WORDS.into_iter().filter(|each| each.starts_with(&word)).collect();
            let what = match matching[..] {
                [what] => what,
                [] => {
                    return Err(Failed::new(format!(
                        "expected no more arguments, 'data_in', 'data_out', 'data_size_out', \
                         'ctx_in', 'ctx_out', 'ctx_size_out' or 'repeat', got: '{word}'?"
                    )));
                }
                _ => {
                    let several = matching.join("' or '");
                    return Err(Failed::new(format!(
                        "ambiguous prefix: '{word}' could be '{several}'"
                    )));
                }
            };
            words.at_least(1)?;
            let value = words.next().unwrap_or_default();
            let size = |noun: &str| {
                let number = number(&value).and_then(|size| usize::try_from(size).ok());
                number.ok_or_else(|| Failed::new(format!("can't parse {value} as {noun}")))
            };
            match what {
                "data_in" => wanted.data_in = Some(value),
                "data_out" => wanted.data_out = Some(value),
                "ctx_in" => wanted.ctx_in = Some(value),
                "ctx_out" => wanted.ctx_out = Some(value),
                "data_size_out" => wanted.data_size = Some(size("output data size")?),
                "ctx_size_out" => wanted.ctx_size = Some(size("output context size")?),
                _ => wanted.repeat = size("repeat number")? as u32,
            }
            if wanted.data_in.as_deref() == Some("-") && wanted.ctx_in.as_deref() == Some("-") {
                return Err(Failed::new("cannot use standard input for both data_in and ctx_in"));
            }
        }
        Ok(wanted)
    }

    /// Bytes of packet and of context that may come back. The kernel refuses what does not fit.
    fn room(&self) -> [usize; 2] {
        const ROOM: usize = 32 << 10;
        let room = |given: &Option<String>, size: Option<usize>| match (given, size) {
            (Some(_), None | Some(0)) => ROOM,
            (Some(_), Some(size)) => size,
            (None, _) => 0,
        };
        [room(&self.data_in, self.data_size), room(&self.ctx_in, self.ctx_size)]
    }

    /// Whether there is to be output where there is no input.
    fn is_one_sided(&self) -> bool {
        let without = |given: &Option<String>, size: Option<usize>| {
            given.is_none() && size.is_some_and(|size| size != 0)
        };
        without(&self.data_in, self.data_size) || without(&self.ctx_in, self.ctx_size)
    }
}

fn read(file: Option<&str>) -> Result<Vec<u8>, Failed> {
    let Some(file) = file else { return Ok(Vec::new()) };
    let mut bytes = Vec::new();
    let read = match file {
        "-" => std::io::stdin().lock().read_to_end(&mut bytes),
        file => std::fs::File::open(file).and_then(|mut file| file.read_to_end(&mut bytes)),
    };
    read.map_err(|error| {
        let reason = meaning(error.raw_os_error().unwrap_or(libc::EIO));
        Failed::new(format!("failed to open {file}: {reason}"))
    })?;
    Ok(bytes)
}

/// Flags that say the same as words.
pub(super) const FLAGS: [(&str, &str); 7] = [
    ("data-in", "data_in"),
    ("data-out", "data_out"),
    ("data-size-out", "data_size_out"),
    ("ctx-in", "ctx_in"),
    ("ctx-out", "ctx_out"),
    ("ctx-size-out", "ctx_size_out"),
    ("repeat", "repeat"),
];

/// The flags of `prog run`.
pub(super) fn arguments() -> Vec<Arg> {
    let flag = |name: &'static str| Arg::new(name).long(name);
    let mut arguments = vec![
        flag("kernel")
            .value_name("KERNEL")
            .value_parser(PossibleValuesParser::new(["linux", "embedded"]))
            .help("Where the program of an object file runs [default: linux where it lets us]"),
        flag("program").value_name("NAME").help("Which program of the object file"),
    ];
    arguments.extend(FLAGS.map(|(name, word)| {
        let value = if word.ends_with("in") || word.ends_with("out") { "FILE" } else { "N" };
        flag(name)
            .value_name(if word.contains("size") { "N" } else { value })
            .value_parser(value_parser!(OsString))
            .help(format!("The same as the word {word}"))
    }));
    arguments
}

/// Whether the first word is an object file, and no loaded program.
pub(super) fn names_file(words: &[OsString], options: &Options) -> bool {
    let Some(first) = words.first().and_then(|word| word.to_str()) else { return false };
    let keyword = ["id", "tag", "name", "pinned"].iter().any(|each| each.starts_with(first));
    options.kernel.is_some()
        || options.program.is_some()
        || (!keyword && first.contains(['.', '/']))
}

/// Runs a program of an object file, on either kernel.
pub(super) fn run_file(options: &Options, mut words: Words) -> Result<Output, Failed> {
    let file = words.expect("an object file")?;
    let wanted = Wanted::parse(&mut words)?;
    let object = load::open(Path::new(&file))
        .map_err(|error| Failed::new(format!("failed to open {file}: {error}")))?;
    let named = |name: &String| object.programs.iter().find(|each| each.name == *name);
    let program = match &options.program {
        Some(name) => named(name).ok_or_else(|| {
            let names: Vec<&str> = object.programs.iter().map(|each| each.name.as_str()).collect();
            Failed::new(format!("no program {name} in {file}; there are: {}", names.join(", ")))
        })?,
        None => object
            .programs
            .first()
            .ok_or_else(|| Failed::new(format!("there is no program in {file}")))?,
    };
    let chosen = host::choose(options.kernel).kernel;
    let kernel: Box<dyn Kernel> = match chosen {
        KernelChoice::Embedded => Box::new(Embedded::default()),
        KernelChoice::Linux => Box::new(Linux::new().map_err(Failed::from)?),
    };
    let mut loader = Loader::new(&object);
    for other in object.programs.iter().filter(|each| each.prog_type != program.prog_type) {
        loader = loader.autoload(&other.name, false);
    }
    let loaded = loader
        .load(&*kernel)
        .map_err(|error| Failed::new(format!("failed to load {file}: {}", explained(&error))))?;
    let Some(handle) = loaded.program(&program.name) else {
        return Err(Failed::new(format!("program {} is not loaded", program.name)));
    };
    let mut test = wanted.test()?;
    // They cannot be repeated, and there is nobody who asked for it.
    if matches!(program.prog_type, ProgType::RawTracepoint | ProgType::RawTracepointWritable)
        && test.repeat == 1
    {
        test.repeat = 0;
    }
    let given = test.data.len();
    // (`bpf_test_init`, `net/bpf/test_run.c`)
    let is_short = takes_packets(program.prog_type) && given < ETHERNET_HEADER;
    let failed = because_of("failed to run program");
    kernel.prog_run(handle, &mut test).map_err(|error| match is_short {
        true => Failed::new(format!(
            "failed to run program: it is for packets, and a packet has {ETHERNET_HEADER} bytes \
             at least (data_in has {given})"
        ))
        .with_errno(error.errno().unwrap_or(libc::EINVAL)),
        false => failed(error),
    })?;
    wanted.show(options.json, &test)
}

/// The error, with the end of what the verifier said.
fn explained(error: &Error) -> String {
    match error {
        Error::Rejected { log, .. } => {
            let last = log.lines().rfind(|line| !line.starts_with("processed "));
            format!("{}: {}", reason(error), last.unwrap_or_default())
        }
        error => error.to_string(),
    }
}

pub(super) fn run(tool: &Tool, mut words: Words) -> Result<Output, Failed> {
    words.at_least(4)?;
    let program = tool.program(&mut words)?;
    let wanted = Wanted::parse(&mut words)?;
    let failed = because_of("failed to run program");
    if wanted.is_one_sided() {
        return Err(failed(Error::os("run a program", libc::EINVAL)));
    }
    let mut test = wanted.test()?;
    tool.linux.run_program(&program, &mut test, wanted.room()).map_err(failed)?;
    wanted.show(tool.options.json, &test)
}

impl Wanted {
    /// What goes in.
    fn test(&self) -> Result<TestRun, Failed> {
        Ok(TestRun {
            data: read(self.data_in.as_deref())?,
            ctx: read(self.ctx_in.as_deref())?,
            repeat: self.repeat,
            ..TestRun::default()
        })
    }

    /// What came out.
    fn show(&self, json: bool, test: &TestRun) -> Result<Output, Failed> {
        let (mut text, mut object) = (String::new(), Map::new());
        let mut unwritten = None;
        let outputs =
            [("data_out", &self.data_out, &test.data), ("ctx_out", &self.ctx_out, &test.ctx)];
        for (name, file, bytes) in outputs {
            match file.as_deref().filter(|_| !bytes.is_empty()) {
                None => {}
                Some("-") => {
                    text += &dump(bytes);
                    object.insert(name.into(), bytes.to_vec().into());
                }
                Some(file) => {
                    if let Err(error) = std::fs::write(file, bytes) {
                        let reason = meaning(error.raw_os_error().unwrap_or(libc::EIO));
                        unwritten = Some(format!("failed to open {file}: {reason}"));
                    }
                }
            }
        }
        object.insert("retval".into(), test.retval.into());
        object.insert("duration".into(), test.duration.into());
        let average = if self.repeat > 1 { " (average)" } else { "" };
        text += &format!("Return value: {}, duration{average}: {}ns\n", test.retval, test.duration);
        let said: Value = if json { object.into() } else { text.into() };
        match (unwritten, said) {
            // What the program gave is said in any case.
            (Some(message), said) => Err(Failed::new(message).after(said)),
            (None, Value::String(text)) => Ok(Output::Text(text)),
            (None, said) => Ok(Output::Json(said)),
        }
    }
}

/// Sixteen bytes a line: offset, pairs of digits, what can be printed.
fn dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (row, line) in bytes.chunks(16).enumerate() {
        text += &format!("{:07x}\t", row * 16);
        for index in 0..16 {
            match line.get(index) {
                Some(byte) => text += &format!("{byte:02x}"),
                None => text += "  ",
            }
            if index % 2 == 1 {
                text.push(' ');
            }
        }
        text += "| ";
        for (index, &byte) in line.iter().enumerate() {
            text.push(if (b' '..=b'~').contains(&byte) { byte.into() } else { '.' });
            if index == 7 {
                text.push(' ');
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_in_rows() {
        assert_eq!(
            dump(b"0123456789abcdef\0x"),
            "0000000\t3031 3233 3435 3637 3839 6162 6364 6566 | 01234567 89abcdef\n\
             0000010\t0078                                    | .x\n"
        );
    }
}
