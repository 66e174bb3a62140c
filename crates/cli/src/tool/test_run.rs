//! `bombus prog run` and `bombus prog tracelog`.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use bombus_kernel::TestRun;
use bombus_kernel::inspect::Inspect;
use serde_json::{Map, Value};

use super::Tool;
use super::output::{Failed, Output, because, meaning};
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
            let mut matching = WORDS.iter().filter(|each| each.starts_with(&word));
            let (Some(&what), None) = (matching.next(), matching.next()) else {
                return Err(Failed::new(format!(
                    "expected no more arguments, 'data_in', 'data_out', 'data_size_out', \
                     'ctx_in', 'ctx_out', 'ctx_size_out' or 'repeat', got: '{word}'?"
                )));
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
        }
        if wanted.data_in.as_deref() == Some("-") && wanted.ctx_in.as_deref() == Some("-") {
            return Err(Failed::new("cannot use standard input for both data_in and ctx_in"));
        }
        Ok(wanted)
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
    let mut test = TestRun {
        data: read(wanted.data_in.as_deref())?,
        ctx: read(wanted.ctx_in.as_deref())?,
        repeat: wanted.repeat,
        ..TestRun::default()
    };
    tool.linux.run_program(&program, &mut test).map_err(because("failed to run program"))?;
    test.data.truncate(wanted.data_size.unwrap_or(usize::MAX));
    test.ctx.truncate(wanted.ctx_size.unwrap_or(usize::MAX));
    let (mut text, mut object) = (String::new(), Map::new());
    let outputs =
        [("data_out", &wanted.data_out, &test.data), ("ctx_out", &wanted.ctx_out, &test.ctx)];
    for (name, file, bytes) in outputs {
        match file.as_deref().filter(|_| !bytes.is_empty()) {
            None => {}
            Some("-") => {
                text += &dump(bytes);
                object.insert(name.into(), bytes.to_vec().into());
            }
            Some(file) => std::fs::write(file, bytes).map_err(|error| {
                let reason = meaning(error.raw_os_error().unwrap_or(libc::EIO));
                Failed::new(format!("failed to open {file}: {reason}"))
            })?,
        }
    }
    object.insert("retval".into(), test.retval.into());
    object.insert("duration".into(), test.duration.into());
    let average = if wanted.repeat > 1 { " (average)" } else { "" };
    text += &format!("Return value: {}, duration{average}: {}ns\n", test.retval, test.duration);
    Ok(tool.either(|| text, || Value::Object(object)))
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

/// Prints the trace buffer until somebody ends it.
pub(super) fn tracelog(tool: &Tool, words: Words) -> Result<Output, Failed> {
    words.end()?;
    let directories = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
    let pipe = directories.iter().map(|directory| Path::new(directory).join("trace_pipe"));
    let pipe = pipe.into_iter().find(|pipe| pipe.exists());
    let pipe = pipe.ok_or_else(|| Failed::new("could not find tracefs"))?;
    let failed = |what: &str, error: std::io::Error| {
        Failed::new(format!("{what}: {}", meaning(error.raw_os_error().unwrap_or(libc::EIO))))
    };
    let pipe =
        std::fs::File::open(pipe).map_err(|error| failed("could not open trace pipe", error))?;
    for line in BufReader::new(pipe).split(b'\n') {
        let line = line.map_err(|error| failed("failed to read content from trace pipe", error))?;
        let line = String::from_utf8_lossy(&line);
        match tool.options.json {
            // A value a line: nobody knows which is the last.
            true => crate::print(&format!("{}\n", Value::from(format!("{line}\n")))),
            false => crate::print(&format!("{line}\n")),
        }
    }
    Ok(Output::Text(String::new()))
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
