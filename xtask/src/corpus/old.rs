//! The older tests of `test_verifier`: instructions as C macros make them, with maps beside them.
//!
//! They are compiled with a libbpf that only takes them down (`old_tests.c`), into rows of JSON.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bombus_btf::{Kind, TypeId};
use bombus_isa::Insn;
use bombus_isa::opcode::{call, class, jmp};
use bombus_kernel::{AttachTo, BtfFd, Described, Error, Kernel, MapFd, MapTypes, ProgLoad, Prover};
use bombus_platform::{AttachType, MapType, ProgType};
use bombus_spec::MapSpec;
use bombus_verifier::{Options, Privileges};
use serde_json::Value;

use super::case::{Case, Mode};
use super::pattern::Pattern;
use super::runner::{Outcome, Said};

/// Handles in the rows start here.
const FIRST_HANDLE: i64 = 100_000;
/// Numbers that stand for kernel functions start here.
const FIRST_FUNCTION: i64 = 0x6000_0000;

/// Every test with what became of it, by its name.
pub(super) fn run(
    rows: &Path,
    machine: &Arc<Described>,
    only: Option<&str>,
) -> Result<Vec<(Case, Outcome)>, String> {
    let text = std::fs::read_to_string(rows).map_err(|error| format!("{rows:?}: {error}"))?;
    let mut outcomes = Vec::new();
    for line in text.lines() {
        let row: Value =
            serde_json::from_str(line).map_err(|error| format!("{rows:?}: {error}"))?;
        let case = case(&row)?;
        if only.is_none_or(|only| case.name().contains(only)) {
            let outcome = super::runner::guarded(|| {
                prove(&row, machine).unwrap_or_else(|error| Outcome::NotReached(error.to_string()))
            });
            outcomes.push((case, outcome));
        }
    }
    Ok(outcomes)
}

fn case(row: &Value) -> Result<Case, String> {
    let text = |key: &str| row[key].as_str().unwrap_or_default();
    let expected = text("message").split('\t').filter(|part| !part.is_empty());
    let messages = expected.map(Pattern::verbatim).collect::<Result<Vec<_>, String>>()?;
    let is_shown =
        !row["accepted"].as_bool().unwrap_or(false) || row["verbose"].as_bool().unwrap_or(false);
    Ok(Case {
        object: "test_verifier".into(),
        program: text("name").to_owned(),
        mode: Mode::Privileged,
        accepted: row["accepted"].as_bool().unwrap_or(false),
        messages: if is_shown { messages } else { Vec::new() },
        retval: None,
        linear: 0,
        log_level: 4,
        flags: 0,
        capabilities: 0,
        companions: Vec::new(),
        elsewhere: false,
    })
}

fn prove(row: &Value, machine: &Described) -> Result<Outcome, Error> {
    let number = |key: &str| row[key].as_i64().unwrap_or_default();
    let options = Options {
        privileges: Privileges { sys_admin: false, ..Privileges::ALL },
        // `BPF_LOG_STATS`, and for some every instruction.
        log_level: if row["verbose"].as_bool().unwrap_or(false) { 2 | 4 } else { 4 },
        ..Options::default()
    };
    let prover = Prover::new(machine, options);
    let mut types = Vec::new();
    for blob in list(&row["btfs"]) {
        types.push(prover.btf_load(&bytes(blob))?);
    }
    let types = |handle: i64| -> Option<BtfFd> {
        types.get(usize::try_from(handle - FIRST_HANDLE).ok()?).copied()
    };
    let mut maps = Vec::new();
    for map in list(&row["maps"]) {
        maps.push(create(&prover, map, &maps, &types)?);
    }
    let functions: Vec<Option<TypeId>> = list(&row["functions"])
        .map(|name| machine.types.as_ref()?.find(Kind::Func, name.as_str().unwrap_or_default()))
        .collect();
    if functions.iter().any(Option::is_none) {
        return Ok(Outcome::NotReached("the kernel has no such function".into()));
    }
    let code = bytes(&row["insns"]);
    let mut insns: Vec<Insn> = code
        .chunks_exact(8)
        .filter_map(|slot| Some(Insn::from_bytes(slot.try_into().ok()?)))
        .collect();
    for insn in &mut insns {
        let imm = i64::from(insn.imm);
        if let Some(map) = usize::try_from(imm - FIRST_HANDLE).ok().and_then(|at| maps.get(at)) {
            insn.imm = map.0 as i32;
        }
        let function = usize::try_from(imm - FIRST_FUNCTION).ok().and_then(|at| functions.get(at));
        if let Some(Some(function)) = function
            && insn.code == class::JMP | jmp::CALL
            && insn.src.0 == call::KFUNC
        {
            insn.imm = function.0 as i32;
        }
    }
    let target = row["target"].as_str().unwrap_or_default();
    let func_info = bytes(&row["func_info"]);
    let load = ProgLoad {
        name: "test",
        prog_type: ProgType::from_number(number("type") as u32).unwrap_or(ProgType::Unspecified),
        attach_type: AttachType::from_number(number("attach_type") as u32)
            .unwrap_or(AttachType::NONE),
        attach_to: if target.is_empty() { AttachTo::Nothing } else { AttachTo::Kernel(target) },
        insns: &insns,
        license: "GPL",
        flags: number("flags") as u32,
        btf: types(number("btf")),
        func_info: &func_info,
        ..ProgLoad::default()
    };
    let before = Instant::now();
    let outcome = prover.prog_load(&load);
    let seconds = before.elapsed().as_secs_f64();
    let proved = prover.proved();
    let Some(proved) = proved.first() else {
        outcome?;
        return Ok(Outcome::NotReached("it was not loaded".into()));
    };
    let verdict = &proved.verdict;
    let message = verdict.result.as_ref().err().map(|rejection| rejection.message.clone());
    Ok(Outcome::Verdict(Said {
        accepted: verdict.result.is_ok(),
        message: message.unwrap_or_default(),
        log: verdict.log.clone(),
        processed: verdict.stats.processed,
        returned: None,
        seconds,
    }))
}

/// A map from its row: type, sizes, flags, inner map, types.
fn create(
    prover: &Prover<'_>,
    row: &Value,
    maps: &[MapFd],
    types: &dyn Fn(i64) -> Option<BtfFd>,
) -> Result<MapFd, Error> {
    let number = |index: usize| row[index].as_i64().unwrap_or_default();
    let size = |index: usize| number(index) as u32;
    let spec = MapSpec {
        name: "test_map".into(),
        map_type: MapType::from_number(size(0)).unwrap_or(MapType::Hash),
        key_size: size(1),
        value_size: size(2),
        max_entries: size(3),
        flags: size(4),
        key_type: size(7),
        value_type: size(8),
        ..MapSpec::default()
    };
    let inner = usize::try_from(number(5) - FIRST_HANDLE).ok().and_then(|at| maps.get(at));
    let with = MapTypes { btf: types(number(6)), inner: inner.copied(), ..MapTypes::default() };
    prover.map_create_typed(&spec, with)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// What hexadecimal digits stand for.
fn bytes(value: &Value) -> Vec<u8> {
    let digits = value.as_str().unwrap_or_default().as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0) as u8;
    digits.chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}
