//! `bombus map event_pipe`.

use std::time::Duration;

use bombus_inspect::hex;
use bombus_inspect::notation::Node;
use bombus_kernel::inspect::Inspect;
use bombus_linux::{Event, EventPipe, Place, Signals};
use bombus_platform::MapType;
use serde_json::{Value, json};

use super::Tool;
use super::output::{Failed, Output, because};
use super::words::{Words, number};

/// How long to wait for events before looking for signals.
const WAIT: Duration = Duration::from_millis(200);

/// Signals that end it.
pub(super) const ENDING: [i32; 3] = [libc::SIGINT, libc::SIGHUP, libc::SIGTERM];

/// Which CPU's events, in which element of the map; `None`: all.
fn place(words: &mut Words) -> Result<Option<Place>, Failed> {
    let (mut cpu, mut index) = (None, None);
    while !words.is_empty() {
        let is_cpu = words.is("cpu");
        if words.len() < 2 || !is_cpu && !words.is("index") {
            words.end()?;
        }
        words.next();
        let word = words.next().unwrap_or_default();
        let parsed = number(&word).map(|number| number as u32);
        let noun = if is_cpu { "CPU ID" } else { "index" };
        let parsed = parsed.ok_or_else(|| Failed::new(format!("can't parse {word} as {noun}")))?;
        *(if is_cpu { &mut cpu } else { &mut index }) = Some(parsed);
    }
    match (cpu, index) {
        (None, None) => Ok(None),
        (Some(cpu), Some(index)) => Ok(Some(Place { cpu, index })),
        _ => Err(Failed::new("cpu and index must be specified together")),
    }
}

fn text(place: Place, event: Event<'_>) -> String {
    match event {
        Event::Sample { time, data } => {
            let (seconds, nanoseconds) = (time / 1_000_000_000, time % 1_000_000_000);
            let Place { cpu, index } = place;
            let bytes = hex(data, " ");
            format!("== @{seconds}.{nanoseconds:09} CPU: {cpu} index: {index} =====\n{bytes}\n")
        }
        Event::Lost { count, .. } => format!("lost {count} events\n"),
        Event::Other { kind, size } => format!("unknown event type={kind} size={size}\n"),
    }
}

fn value(place: Place, event: Event<'_>) -> Value {
    let mut value = json!({ "type": event.kind(), "cpu": place.cpu, "index": place.index });
    match event {
        Event::Sample { time, data } => {
            value["timestamp"] = time.into();
            value["data"] = data.into();
        }
        Event::Lost { id, count } => value["lost"] = json!({ "id": id, "count": count }),
        Event::Other { .. } => {}
    }
    value
}

/// Prints events until a signal comes.
pub(super) fn pipe(tool: &Tool, mut words: Words) -> Result<Output, Failed> {
    let map = tool.map(&mut words)?;
    let info = tool.linux.map_info(&map).map_err(because("can't get map info"))?;
    if info.map_type() != Some(MapType::PerfEventArray) {
        return Err(Failed::new("map is not a perf event array"));
    }
    let place = place(&mut words)?;
    let signals = Signals::block(&ENDING)?;
    let failed = because("failed to create perf buffer");
    let mut pipe = EventPipe::new(&tool.linux, &map, place).map_err(failed)?;
    let mut list = Streamed::new(tool);
    loop {
        pipe.wait(WAIT, &mut |place, event| {
            list.add(|| text(place, event), || value(place, event));
        })
        .map_err(because("perf buffer polling failed"))?;
        if signals.take().is_some() {
            tool.say("Stopping...");
            return Ok(list.end());
        }
    }
}

/// Output that is printed as it comes: in JSON, a list.
pub(super) struct Streamed<'a> {
    tool: &'a Tool,
    any: bool,
}

impl<'a> Streamed<'a> {
    pub(super) fn new(tool: &'a Tool) -> Streamed<'a> {
        if tool.options.json {
            crate::print("[");
        }
        Streamed { tool, any: false }
    }

    pub(super) fn add(&mut self, text: impl FnOnce() -> String, value: impl FnOnce() -> Value) {
        let comma = if std::mem::replace(&mut self.any, true) { "," } else { "" };
        match self.tool.options.json {
            true => crate::print(&format!("{comma}{}", Node::from(&value()).compact())),
            false => crate::print(&text()),
        }
    }

    pub(super) fn end(self) -> Output {
        Output::Text(if self.tool.options.json { "]\n".into() } else { String::new() })
    }
}
