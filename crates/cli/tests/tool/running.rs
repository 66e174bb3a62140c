//! Programs that are run, and what they print and send.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fixture::{Files, Pins};
use crate::oracle::{Within, bombus, bpftool, needs, run, said_by, same, same_text};
use crate::{Outcome, Test, Unmet};

pub(crate) const TESTS: &[Test] = &[
    ("prog::run", test_runs),
    ("prog::tracelog", trace),
    ("prog::tracelog_stream", stream),
    ("map::event_pipe", events),
    ("batch", batch),
];

const SOURCE: &str = r#"
    struct __sk_buff { u32 len; u32 pkt_type; u32 mark; };
    struct {
        __uint(type, 4); __uint(key_size, 4); __uint(value_size, 4); __uint(max_entries, 64);
    } events SEC(".maps");
    SEC("tc") int mark(struct __sk_buff *ctx) { ctx->mark = ctx->len; return 3; }
    SEC("tc") int send(struct __sk_buff *ctx) {
        u64 data[3] = { 1, 2, 0x0102030405060708 };
        event_output(ctx, &events, 0xffffffff, data, sizeof(data) - 4);
        return 0;
    }
    SEC("tc") int print(struct __sk_buff *ctx) {
        static const char text[] = "bombus %d \"quoted\"\n";
        printk(text, sizeof(text), ctx->len);
        return 0;
    }
"#;

/// Text without the numbers after these words, and those between a word and its blank.
fn masked(text: &str, words: &[&str]) -> String {
    let mut text = text.to_owned();
    for word in words {
        let mut rest = std::mem::take(&mut text);
        while let Some(at) = rest.find(word) {
            let end = at + word.len();
            let number = rest[end..].find(|c: char| !c.is_ascii_digit() && c != '.');
            text += &rest[..end];
            text += "N";
            rest = rest[number.map_or(rest.len(), |number| end + number)..].to_owned();
        }
        text += &rest;
    }
    text
}

/// Loads the programs; where they are.
fn loaded(files: &Files, pins: &Pins) -> Result<(), Unmet> {
    pins.map("first", "array", [4, 4, 1], &[])?;
    let object = files.object("running", SOURCE)?;
    run(&["prog", "loadall", &object, &pins.path("p"), "pinmaps", &pins.path("m")])?;
    Ok(())
}

fn test_runs() -> Outcome {
    let (files, pins) = (Files::new()?, Pins::new()?);
    loaded(&files, &pins)?;
    let packet = files.write("packet", (0..100).collect::<Vec<u8>>())?;
    let context = files.write("context", [0; 192])?;
    let (data_out, ctx_out) = (files.path("data_out"), files.path("ctx_out"));
    let program = pins.path("p/mark");
    let start = ["prog", "run", "pinned", &program];
    let of = |more: &[&str]| -> Vec<String> {
        start.iter().chain(more).map(|word| (*word).to_owned()).collect()
    };
    let compare = |more: &[&str]| -> Result<(), String> {
        let args = of(more);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        for json in [false, true] {
            let form: &[&str] = if json { &["-j"] } else { &[] };
            let said = |tool: Command| {
                let text = said_by(tool, &[&args[..], form].concat())?;
                Ok::<_, String>(masked(&text, &["duration: ", "(average): ", "\"duration\":"]))
            };
            let (ours, theirs) = (said(bombus())?, said(bpftool_before(form))?);
            if ours != theirs {
                return Err(format!("{}\nbombus: {ours}\nbpftool: {theirs}", args.join(" ")));
            }
        }
        Ok(())
    };
    let data_in = ["data_in", &packet];
    compare(&data_in)?;
    compare(&[&data_in[..], &["data_out", "-"]].concat())?;
    compare(&[&data_in[..], &["repeat", "3"]].concat())?;
    compare(&[&data_in[..], &["ctx_in", &context, "ctx_out", "-"]].concat())?;
    compare(&[&data_in[..], &["data_out", "-", "data_size_out", "10"]].concat())?;
    compare(&[&data_in[..], &["data_out", "-", "data_size_out", "1000"]].concat())?;
    compare(&[&data_in[..], &["data_size_out", "x"]].concat())?;
    compare(&[&data_in[..], &["repeat", "x"]].concat())?;
    compare(&[&data_in[..], &["what", "x"]].concat())?;
    compare(&[&data_in[..], &["data", "x"]].concat())?;
    compare(&[&data_in[..], &["ctx_", "x"]].concat())?;
    compare(&["data_in", "-", "ctx_in", "-"])?;
    compare(&["ctx_in", &context, "data_size_out", "10"])?;
    compare(&["data_in", "/nowhere"])?;
    let mut written = Vec::new();
    for tool in [bombus(), bpftool()] {
        let more =
            ["data_out", &data_out, "ctx_in", &context, "ctx_out", &ctx_out, "ctx_size_out", "192"];
        let args = of(&[&data_in[..], &more].concat());
        said_by(tool, &args.iter().map(String::as_str).collect::<Vec<_>>())?;
        written.push([&data_out, &ctx_out].map(|file| std::fs::read(file).unwrap_or_default()));
        let _ = std::fs::remove_file(&data_out);
        let _ = std::fs::remove_file(&ctx_out);
    }
    if written[0] != written[1] || written[0][0].len() != 100 || written[0][1][8] == 0 {
        return Err(format!("{written:?}").into());
    }
    Ok(())
}

/// bpftool with words that have to stand before the command.
fn bpftool_before(form: &[&str]) -> Command {
    let mut command = bpftool();
    command.args(form);
    command
}

/// Runs a tool that prints until it is told to stop, and a program again and again until it has
/// printed something; gives what it printed.
fn until_printed(
    mut tool: Command,
    args: &[&str],
    files: &Files,
    program: &str,
    wanted: &str,
) -> Result<String, String> {
    let output = files.path("printed");
    let file = std::fs::File::create(&output).map_err(|error| error.to_string())?;
    let mut child = tool
        .args(args)
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let packet = files.write("packet", [7; 64])?;
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut printed = String::new();
    while !printed.contains(wanted) && Instant::now() < deadline {
        run(&["prog", "run", "pinned", program, "data_in", &packet])?;
        std::thread::sleep(Duration::from_millis(50));
        printed = std::fs::read_to_string(&output).unwrap_or_default();
    }
    // A tool within others is a grandchild only where they do not make way for it.
    let _ = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    while child.try_wait().map_err(|error| error.to_string())?.is_none() {
        if Instant::now() > deadline + Duration::from_secs(10) {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("{} does not stop", args.join(" ")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut printed = String::new();
    std::fs::File::open(&output)
        .and_then(|mut file| file.read_to_string(&mut printed))
        .map_err(|error| error.to_string())?;
    Ok(printed)
}

/// The first event of each: all are the same but for when and where.
fn events() -> Outcome {
    let (files, pins) = (Files::new()?, Pins::new()?);
    loaded(&files, &pins)?;
    let (program, map) = (pins.path("p/send"), pins.path("m/events"));
    let pipe = ["map", "event_pipe", "pinned", &map];
    let text = |tool| {
        let text = until_printed(tool, &pipe, &files, &program, "\n")?;
        let first: Vec<&str> = text.lines().take(3).collect();
        Ok::<_, String>(masked(&first.join("\n"), &["@", "CPU: ", "index: "]))
    };
    let (ours, theirs) = (text(bombus())?, text(bpftool())?);
    if ours != theirs || !ours.starts_with("== @N CPU: N index: N =====\n01 00") {
        return Err(format!("bombus: {ours}\nbpftool: {theirs}").into());
    }
    let json = |tool: Command, args: &[&str]| {
        let text = until_printed(tool, args, &files, &program, "}")?;
        let value: Value =
            serde_json::from_str(&text).map_err(|error| format!("{error} in {text}"))?;
        let mut first = value[0].clone();
        for place in ["cpu", "index", "timestamp"] {
            first[place] = Value::from(first[place].is_u64());
        }
        Ok::<_, String>(first)
    };
    let (ours, theirs) =
        (json(bombus(), &[&pipe[..], &["-j"]].concat())?, json(bpftool_before(&["-j"]), &pipe)?);
    if ours != theirs {
        return Err(format!("bombus: {ours}\nbpftool: {theirs}").into());
    }
    same(&["map", "event_pipe", "pinned", &map, "cpu", "0"])?;
    same(&["map", "event_pipe", "pinned", &map, "cpu", "x", "index", "0"])?;
    same(&["map", "event_pipe", "pinned", &map, "cpu", "0", "index", "x"])?;
    same(&["map", "event_pipe", "pinned", &map, "cpu"])?;
    same(&["map", "event_pipe", "pinned", &map, "what", "0"])?;
    same(&["map", "event_pipe", "pinned", &pins.path("first")])?;
    Ok(())
}

/// A trace buffer of the test's own, which stands where the machine's is for those who look.
struct TraceBuffer(String);

impl TraceBuffer {
    fn new() -> Result<TraceBuffer, Unmet> {
        let path = format!("/sys/kernel/tracing/instances/bombus-tool-{}", std::process::id());
        std::fs::create_dir(&path)
            .map_err(|error| Unmet::Skipped(format!("no trace buffer can be made: {error}")))?;
        let buffer = TraceBuffer(path);
        let event = format!("{}/events/bpf_trace/bpf_trace_printk/enable", buffer.0);
        std::fs::write(event, "1").map_err(|error| Unmet::Skipped(error.to_string()))?;
        Ok(buffer)
    }
}

impl Drop for TraceBuffer {
    fn drop(&mut self) {
        for _ in 0..20 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            // Its readers are on their way out.
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn trace() -> Outcome {
    let (files, pins) = (Files::new()?, Pins::new()?);
    loaded(&files, &pins)?;
    let buffer = TraceBuffer::new()?;
    let program = pins.path("p/print");
    let mount = format!("mount --bind {} /sys/kernel/tracing && exec \"$@\"", buffer.0);
    let before = ["unshare", "-m", "sh", "-c", &mount, "sh"];
    let said = |ours: bool, args: &[&str]| {
        let within = Within::new(&before);
        let tool = if ours { bombus() } else { bpftool() };
        drop(within);
        until_printed(tool, args, &files, &program, "quoted")
    };
    let message = |text: &str| {
        let line = text.lines().find(|line| line.contains("quoted")).unwrap_or_default().to_owned();
        line.split_once("bpf_trace_printk: ").map(|(_, message)| message.to_owned())
    };
    let tracelog = ["prog", "tracelog"];
    let (ours, theirs) = (said(true, &tracelog)?, said(false, &tracelog)?);
    if message(&ours).as_deref() != Some("bombus 64 \"quoted\"")
        || message(&ours) != message(&theirs)
    {
        return Err(format!("bombus: {ours}\nbpftool: {theirs}").into());
    }
    let first = |text: &str| {
        let value: Value =
            serde_json::from_str(text).map_err(|error| format!("{error} in {text}"))?;
        let line = value[0].as_str().unwrap_or_default().to_owned();
        Ok::<_, String>(line.split_once("bpf_trace_printk: ").map(|(_, text)| text.to_owned()))
    };
    let ours = first(&said(true, &["prog", "tracelog", "-j"])?)?;
    let theirs = first(&said(false, &["-j", "prog", "tracelog"])?)?;
    match ours == theirs && ours.is_some() {
        true => Ok(()),
        false => Err(format!("bombus: {ours:?}\nbpftool: {theirs:?}").into()),
    }
}

const STREAM: &str = r#"
    extern int bpf_stream_vprintk_impl(int stream, const char *format, const void *args, u32 size,
        void *aux) __attribute__((section(".ksyms")));
    SEC("tc") int say(void *ctx) {
        static const char text[] = "it says %d\n";
        u64 number = 5;
        return bpf_stream_vprintk_impl(1, text, &number, sizeof(number), (void *)0);
    }
"#;

/// What a program writes to a stream of its own is read once.
fn stream() -> Outcome {
    needs(7, 8, "reads no streams")?;
    let (files, pins) = (Files::new()?, Pins::new()?);
    pins.map("first", "array", [4, 4, 1], &[])?;
    let object = files.object("stream", STREAM)?;
    let program = pins.path("say");
    run(&["prog", "load", &object, &program])
        .map_err(|error| Unmet::Skipped(format!("programs have no streams here: {error}")))?;
    let packet = files.write("packet", [7; 64])?;
    let mut said = Vec::new();
    for tool in [bombus(), bpftool()] {
        let ran = run(&["prog", "run", "pinned", &program, "data_in", &packet])?;
        if ran.starts_with("Return value: 4") {
            // A negative error number.
            return Err(Unmet::Skipped(format!("programs cannot write to their streams: {ran}")));
        }
        said.push(said_by(tool, &["prog", "tracelog", "stdout", "pinned", &program])?);
    }
    if said[0] != said[1] || !said[0].starts_with("it says 5\n") {
        return Err(format!("{said:?}").into());
    }
    same_text(&["prog", "tracelog", "stderr", "pinned", &program])?;
    Ok(())
}

fn batch() -> Outcome {
    let (files, pins) = (Files::new()?, Pins::new()?);
    let map = pins.map("batched", "hash", [4, 4, 4], &[])?;
    let good = format!(
        "# of the test's own map\nmap update pinned {map} key 1 0 0 0 value 2 0 0 0\n\
         map sh pinned {map}   # shortened\n\nmap lookup \\\npinned {map} key 1 0 0 0\n\
         map dump pinned '{map}'\n"
    );
    let good = files.write("good", good)?;
    same(&["batch", "file", &good])?;
    let bad =
        files.write("bad", format!("map dump pinned {map}\nmap show id 4000000000\nmap\n"))?;
    same(&["batch", "file", &bad])?;
    same(&["batch", "file", "/nowhere"])?;
    Ok(())
}
