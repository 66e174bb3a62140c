//! `bombus prog tracelog`.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use bombus_kernel::inspect::Inspect;
use bombus_linux::{Signals, Tracefs};

use super::Tool;
use super::events::{ENDING, Streamed};
use super::output::{Failed, Output, because, meaning};
use super::words::Words;

/// How long to wait before looking for more: the file cannot be waited for on every kernel.
const WAIT: Duration = Duration::from_millis(20);

pub(super) fn run(tool: &Tool, words: Words) -> Result<Output, Failed> {
    if words.is_empty() { trace_pipe(tool) } else { stream(tool, words) }
}

/// Prints the trace buffer until a signal comes.
fn trace_pipe(tool: &Tool) -> Result<Output, Failed> {
    let failed = |what: &str, error: std::io::Error| {
        Failed::new(format!("{what}: {}", meaning(error.raw_os_error().unwrap_or(libc::EIO))))
    };
    let tracefs = Tracefs::find().ok_or_else(|| Failed::new("could not find tracefs"))?;
    let pipe = tracefs.root().join("trace_pipe");
    let mut options = OpenOptions::new();
    let pipe = options.read(true).custom_flags(libc::O_NONBLOCK).open(pipe);
    let mut pipe = pipe.map_err(|error| failed("could not open trace pipe", error))?;
    let signals = Signals::block(&ENDING)?;
    let mut list = Streamed::new(tool);
    let (mut buffer, mut rest) = ([0; 4096], Vec::new());
    while signals.take().is_none() {
        let read = match pipe.read(&mut buffer) {
            Ok(0) => 0,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed("failed to read content from trace pipe", error)),
        };
        if read == 0 {
            std::thread::sleep(WAIT);
            continue;
        }
        rest.extend_from_slice(&buffer[..read]);
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            list.add(|| line.clone().into_owned(), || line.as_ref().into());
        }
    }
    Ok(list.end())
}

/// Prints what a program has written to a stream of its own (`bpf_stream_printk`), as it is.
fn stream(tool: &Tool, mut words: Words) -> Result<Output, Failed> {
    let errors = words.is("stderr") && !words.is("stdout");
    if !errors && !words.is("stdout") {
        let word = words.next().unwrap_or_default();
        return Err(Failed::new(format!("expected 'stdout' or 'stderr', got: '{word}'?")));
    }
    words.next();
    words.at_least(2)?;
    let program = tool.program(&mut words)?;
    let mut bytes = Vec::new();
    tool.linux
        .read_stream(&program, errors, &mut |read| bytes.extend_from_slice(read))
        .map_err(because("failed to read what the program wrote"))?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if errors && !tool.options.json {
        eprint!("{text}");
        return Ok(Output::Nothing);
    }
    Ok(tool.either(|| text.clone(), || text.clone().into()))
}
