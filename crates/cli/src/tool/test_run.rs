//! `bombus prog run`.

use std::io::Read;

use bombus_kernel::inspect::Inspect;
use bombus_kernel::{Error, TestRun};
use serde_json::{Map, Value};

use super::Tool;
use super::output::{Failed, Output, because_of, meaning};
use super::words::{Words, number};

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

pub(super) fn run(tool: &Tool, mut words: Words) -> Result<Output, Failed> {
    words.at_least(4)?;
    let program = tool.program(&mut words)?;
    let wanted = Wanted::parse(&mut words)?;
    let failed = because_of("failed to run program");
    if wanted.is_one_sided() {
        return Err(failed(Error::os("run a program", libc::EINVAL)));
    }
    let mut test = TestRun {
        data: read(wanted.data_in.as_deref())?,
        ctx: read(wanted.ctx_in.as_deref())?,
        repeat: wanted.repeat,
        ..TestRun::default()
    };
    tool.linux.run_program(&program, &mut test, wanted.room()).map_err(failed)?;
    let (mut text, mut object) = (String::new(), Map::new());
    let mut unwritten = None;
    let outputs =
        [("data_out", &wanted.data_out, &test.data), ("ctx_out", &wanted.ctx_out, &test.ctx)];
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
    let average = if wanted.repeat > 1 { " (average)" } else { "" };
    text += &format!("Return value: {}, duration{average}: {}ns\n", test.retval, test.duration);
    match unwritten {
        None => Ok(tool.either(|| text, || Value::Object(object))),
        // What the program gave is said in any case.
        Some(message) => {
            let said = if tool.options.json { object.into() } else { text.into() };
            Err(Failed::new(message).after(said))
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
