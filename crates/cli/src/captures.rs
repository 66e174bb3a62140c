//! Capture files on the command line: opened, created, and how far a run through one has come.

use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bombus_capture::{CaptureError, Format, LinkType, Reader, Resolution, Writer};

use crate::failure::Failure;

/// How often the progress bar changes.
const FRAME: Duration = Duration::from_millis(100);

/// Characters of the bar.
const WIDTH: usize = 30;

/// A capture to read: a file, or `-` for standard input.
pub(crate) struct Input {
    pub(crate) reader: Reader<Box<dyn Read>>,
    pub(crate) progress: Progress,
    path: PathBuf,
}

/// What is wrong with a capture.
fn failure(action: &str, path: &Path, error: &CaptureError) -> Failure {
    match error {
        CaptureError::Io(error) => Failure::file(action, path, error),
        error => Failure::new(format!("{}: {error}", path.display())),
    }
}

/// Opens a capture.
pub(crate) fn open(path: &Path) -> Result<Input, Failure> {
    let (from, size): (Box<dyn Read>, u64) = if path.as_os_str() == "-" {
        (Box::new(std::io::stdin().lock()), 0)
    } else {
        let file = File::open(path).map_err(|error| Failure::file("read", path, &error))?;
        let size = file.metadata().map_or(0, |data| if data.is_file() { data.len() } else { 0 });
        (Box::new(file), size)
    };
    let reader = Reader::new(from).map_err(|error| failure("read", path, &error))?;
    Ok(Input { reader, progress: Progress::new(size), path: path.to_owned() })
}

impl Input {
    /// An error of the reader, with the file's name.
    pub(crate) fn failure(&self, error: &CaptureError) -> Failure {
        failure("read", &self.path, error)
    }
}

/// A capture to write.
pub(crate) struct Output {
    writer: Writer<Box<dyn Write>>,
    path: PathBuf,
}

impl Output {
    /// Creates a capture for packets like those of the input: pcapng when the name ends so, else
    /// pcap; `-` is standard output.
    pub(crate) fn create(path: &Path, input: &Input, link: LinkType) -> Result<Output, Failure> {
        let to: Box<dyn Write> = if path.as_os_str() == "-" {
            Box::new(std::io::stdout())
        } else {
            Box::new(File::create(path).map_err(|error| Failure::file("write", path, &error))?)
        };
        let format = match path.extension() {
            Some(extension) if extension == "pcapng" => Format::Pcapng,
            _ => Format::Pcap,
        };
        let (snaplen, resolution): (u32, Resolution) =
            (input.reader.snaplen(), input.reader.resolution());
        let snaplen = if snaplen == 0 { 262_144 } else { snaplen };
        let writer = Writer::new(to, format, link, snaplen, resolution)
            .map_err(|error| failure("write", path, &error))?;
        Ok(Output { writer, path: path.to_owned() })
    }

    /// Adds a packet.
    pub(crate) fn write(&mut self, packet: &bombus_capture::Packet<'_>) -> Result<(), Failure> {
        let result = self.writer.write(packet);
        result.map_err(|error| failure("write", &self.path, &error))
    }

    /// Ends the file.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        let path = self.path;
        self.writer.finish().map_err(|error| failure("write", &path, &error))
    }
}

/// A bar on standard error, when that is a terminal.
pub(crate) struct Progress {
    size: u64,
    started: Instant,
    drawn: Option<Instant>,
    is_shown: bool,
}

impl Progress {
    fn new(size: u64) -> Progress {
        let is_shown = std::io::stderr().is_terminal();
        Progress { size, started: Instant::now(), drawn: None, is_shown }
    }

    /// Tells how far the run is; to be called now and then.
    pub(crate) fn at(&mut self, offset: u64, packets: u64) {
        let now = Instant::now();
        let last = self.drawn.unwrap_or(self.started);
        if !self.is_shown || now - last < FRAME {
            return;
        }
        self.drawn = Some(now);
        let line = line(self.size, offset, packets, now - self.started);
        let mut err = std::io::stderr().lock();
        let _ = write!(err, "\r{line}\x1b[K").and_then(|()| err.flush());
    }

    /// Removes the bar.
    pub(crate) fn clear(&mut self) {
        if self.drawn.take().is_some() {
            let mut err = std::io::stderr().lock();
            let _ = write!(err, "\r\x1b[K").and_then(|()| err.flush());
        }
    }
}

/// How long so many packets took.
pub(crate) fn speed(packets: u64, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let rate = short(packets as f64 / seconds.max(1e-9));
    format!("{packets} packets in {seconds:.3} s, {rate} packets/s")
}

fn line(size: u64, offset: u64, packets: u64, elapsed: Duration) -> String {
    let rate = packets as f64 / elapsed.as_secs_f64().max(1e-9);
    let counts = format!("{} packets, {}/s", short(packets as f64), short(rate));
    if size == 0 {
        return counts;
    }
    let done = (offset as f64 / size as f64).min(1.0);
    let full = (done * WIDTH as f64) as usize;
    let (bar, rest) = ("#".repeat(full), " ".repeat(WIDTH - full));
    format!("[{bar}{rest}] {:3.0} %  {counts}", done * 100.0)
}

/// A number in three or four characters and a letter.
fn short(number: f64) -> String {
    match number {
        1e9.. => format!("{:.2} G", number / 1e9),
        1e6.. => format!("{:.2} M", number / 1e6),
        1e4.. => format!("{:.1} k", number / 1e3),
        _ => format!("{number:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar() {
        let second = Duration::from_secs(2);
        assert_eq!(
            line(1000, 500, 3_000_000, second),
            "[###############               ]  50 %  3.00 M packets, 1.50 M/s"
        );
        assert_eq!(line(0, 500, 30, second), "30 packets, 15/s");
        let text = "3000000 packets in 2.000 s, 1.50 M packets/s";
        assert_eq!(speed(3_000_000, second), text);
    }
}
