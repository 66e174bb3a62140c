//! Reads what `libbpf-oracle` wrote (`xtask/oracle`): one line of JSON for the object, for each map
//! and for each program.

use std::collections::BTreeMap;
use std::path::Path;

use bombus_isa::Insn;
use serde_json::Value;

use super::sent::{Definition, Map, Program, Sent};

/// libbpf opens objects of the other byte order, but loads none (`LIBBPF_ERRNO__ENDIAN`).
const NOT_NATIVE: i32 = -4003;

/// The oracle's word on one object.
pub(super) fn read(path: &Path) -> Result<Sent, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path:?}: {error}"))?;
    parse(&text).map_err(|error| format!("{path:?}:{error}"))
}

/// What such lines say.
pub(super) fn parse(text: &str) -> Result<Sent, String> {
    let mut sent = Sent::default();
    for (number, line) in text.lines().enumerate() {
        let value: Value =
            serde_json::from_str(line).map_err(|error| format!("{}: {error}", number + 1))?;
        let line = Line(&value);
        match line.text("kind") {
            "object" if value["opened"] == false || value["result"] == NOT_NATIVE => {
                sent.refused = Some(line.reason());
            }
            "object" => sent.loads = value["result"] == 0,
            "program" => {
                let program = if value["result"] == 0 {
                    Ok(line.program().ok_or(format!("{}: no program", number + 1))?)
                } else {
                    Err(line.reason())
                };
                sent.programs.insert(line.text("name").to_owned(), program);
            }
            "map" => {
                let map = value.get("map_type").map(|_| line.map());
                sent.maps.insert(line.text("name").to_owned(), map);
            }
            _ => {}
        }
    }
    Ok(sent)
}

struct Line<'a>(&'a Value);

impl Line<'_> {
    fn text(&self, key: &str) -> &str {
        self.0[key].as_str().unwrap_or_default()
    }

    fn number(&self, key: &str) -> u32 {
        self.0[key].as_u64().unwrap_or_default() as u32
    }

    /// The complaint with which libbpf began: what follows comes of it.
    fn reason(&self) -> String {
        let mut lines = self.text("log").lines().map(|line| line.trim_start_matches("libbpf: "));
        let first = lines.find(|line| line.contains(' ')).unwrap_or_default();
        format!("{first} ({})", self.0["result"])
    }

    fn bytes(&self, key: &str) -> Vec<u8> {
        let digits = self.text(key);
        let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
        (0..digits.len()).step_by(2).map_while(byte).collect()
    }

    /// Pairs of a number and a name.
    fn names(&self, key: &str) -> BTreeMap<u32, String> {
        let pair = |pair: &Value| Some((pair[0].as_u64()? as u32, pair[1].as_str()?.to_owned()));
        self.0[key].as_array().into_iter().flatten().filter_map(pair).collect()
    }

    fn program(&self) -> Option<Program> {
        let insns = self.bytes("insns");
        let function = |pair: &Value| Some((pair[0].as_u64()? as u32, pair[1].as_u64()? as u32));
        Some(Program {
            prog_type: self.number("prog_type"),
            attach_type: self.number("expected_attach_type"),
            flags: self.number("flags"),
            attach_btf_id: self.number("attach_btf_id"),
            license: self.text("license").to_owned(),
            functions: self.0["functions"].as_array()?.iter().filter_map(function).collect(),
            has_lines: self.number("lines") != 0,
            insns: insns
                .chunks_exact(8)
                .filter_map(|slot| Some(Insn::from_bytes(slot.try_into().ok()?)))
                .collect(),
            maps: self.names("maps").into_iter().map(|(slot, map)| (slot as usize, map)).collect(),
        })
    }

    fn definition(&self) -> Definition {
        Definition {
            map_type: self.number("map_type"),
            key_size: self.number("key_size"),
            value_size: self.number("value_size"),
            max_entries: self.number("max_entries"),
            flags: self.number("flags"),
            extra: self.0["extra"].as_u64().unwrap_or_default(),
            numa_node: self.number("numa_node"),
            key_type: self.number("key_type"),
            value_type: self.number("value_type"),
            kernel_type: self.number("kernel_type"),
        }
    }

    fn map(&self) -> Map {
        Map {
            definition: self.definition(),
            inner: self.0.get("inner").map(|inner| Line(inner).definition()),
            frozen: self.0["frozen"] == true,
            pinned: self.0.get("pin").is_some(),
            slots: self.names("slots"),
            data: self.bytes("data"),
            functions: self.names("functions"),
        }
    }
}
