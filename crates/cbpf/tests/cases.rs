//! Filters with packets and verdicts (`tests/cases`), on the checked interpreter and on one of
//! classic filters. What stands in the files was put there by hand; `tcpdump -ddd` made the filters.
//!
//! A file: comments, the filter as `tcpdump -ddd` prints it, then one packet a line: its bytes in
//! hexadecimal (blanks are skipped; `..N` repeats the byte before N times), `=`, the verdict. Or `!`
//! and why the filter is refused.

mod support;

use std::fs;
use std::path::Path;

use bombus_cbpf::{Filter, parse};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut trials = Vec::new();
    for entry in fs::read_dir(directory).expect("the directory of cases").flatten() {
        let path = entry.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        trials.push(Trial::test(name, move || case(&path).map_err(Failed::from)));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn case(path: &Path) -> Result<(), String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let is_filter = |line: &&str| !line.starts_with('#') && !line.contains(['=', '!']);
    let filter: String = text.lines().filter(is_filter).map(|line| format!("{line}\n")).collect();
    let insns = parse(&filter).map_err(|error| error.to_string())?;
    let refused = text.lines().find_map(|line| line.strip_prefix("! "));
    let filter = match (Filter::new(&insns), refused) {
        (Ok(filter), None) => filter,
        (Err(invalid), Some(reason)) if invalid.to_string() == reason => return Ok(()),
        (Err(invalid), _) => return Err(format!("refused: {invalid}")),
        (Ok(_), Some(reason)) => return Err(format!("not refused: {reason}")),
    };
    let mut packets = 0;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((packet, verdict)) = line.split_once('=') else { continue };
        let packet = bytes(packet).ok_or_else(|| format!("no bytes: {packet}"))?;
        let verdict: u32 = verdict.trim().parse().map_err(|_| format!("no verdict: {verdict}"))?;
        let len = packet.len() as u32;
        let (new, old) = (
            support::converted(&filter, &packet, len)?,
            support::interpreted(&insns, &packet, len),
        );
        if (new, old) != (verdict, verdict) {
            return Err(format!("{line}: converted {new}, classic {old}"));
        }
        packets += 1;
    }
    if packets == 0 { Err("no packets".to_owned()) } else { Ok(()) }
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    let mut bytes: Vec<u8> = Vec::new();
    for word in text.split_whitespace() {
        match word.strip_prefix("..") {
            Some(count) => {
                let last = *bytes.last()?;
                bytes.resize(bytes.len() + count.parse::<usize>().ok()?, last);
            }
            None => {
                for at in (0..word.len()).step_by(2) {
                    bytes.push(u8::from_str_radix(word.get(at..at + 2)?, 16).ok()?);
                }
            }
        }
    }
    Some(bytes)
}
