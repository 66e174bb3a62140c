//! What the program says of its functions and source lines (`kernel/bpf/check_btf.c`).

use bombus_btf::{Btf, Int, Kind, Type, TypeId};

use super::Function;
use crate::{Program, Rejection};

/// Checks the records of functions by themselves, before the functions are known
/// (`prepare_btf_func`).
pub(super) fn check_records(program: &Program<'_>) -> Result<(), Rejection> {
    if program.functions.is_empty() && program.lines.is_empty() {
        return Ok(());
    }
    let Some(btf) = program.btf else { return Err(super::refuse(9, None, "")) };
    let mut previous = None;
    for info in program.functions {
        let message = match previous {
            None if info.insn != 0 => {
                Some(format!("nonzero insn_off {} for the first func info record", info.insn))
            }
            Some(previous) if info.insn <= previous => Some(format!(
                "same or smaller insn offset ({}) than previous func info record ({previous})",
                info.insn
            )),
            _ if btf.kind(info.func) != Some(Kind::Func) => {
                Some(format!("invalid type id {} in func info", info.func.0 as i32))
            }
            _ => None,
        };
        if let Some(message) = message {
            return Err(Rejection::invalid(None, message));
        }
        previous = Some(info.insn);
    }
    Ok(())
}

/// Checks both kinds of records against the functions that there are, and keeps what they say of
/// these.
pub(super) fn apply(program: &Program<'_>, functions: &mut [Function]) -> Result<(), Rejection> {
    match program.btf {
        Some(btf) if !program.functions.is_empty() => apply_functions(program, btf, functions)?,
        _ => check_abnormal_returns(functions)?,
    }
    match program.btf {
        Some(btf) if !program.lines.is_empty() => apply_lines(program, btf, functions),
        _ => Ok(()),
    }
}

/// A tail call or packet load returns from its function with a number: only the entry is known to
/// return one when the types say nothing.
fn check_abnormal_returns(functions: &[Function]) -> Result<(), Rejection> {
    for function in functions.iter().skip(1) {
        if function.has_packet_load {
            let message = "LD_ABS is not allowed in subprogs without BTF";
            return Err(Rejection::invalid(None, message));
        }
        if function.has_tail_call {
            let message = "tail_call is not allowed in subprogs without BTF";
            return Err(Rejection::invalid(None, message));
        }
    }
    Ok(())
}

fn apply_functions(
    program: &Program<'_>,
    btf: &Btf,
    functions: &mut [Function],
) -> Result<(), Rejection> {
    let invalid = |message: &str| Err(Rejection::invalid(None, message));
    if program.functions.len() != functions.len() {
        return invalid("number of funcs in func_info doesn't match number of subprogs");
    }
    for (index, (function, info)) in functions.iter_mut().zip(program.functions).enumerate() {
        if function.start != info.insn {
            return invalid("func_info BTF section doesn't match subprog layout in BPF program");
        }
        let Some(Type::Func { name, proto, linkage }) = btf.ty(info.func) else {
            return invalid("");
        };
        if index > 0
            && (function.has_packet_load || function.has_tail_call)
            && !returns_number(btf, proto)
        {
            let what = if function.has_packet_load { "LD_ABS" } else { "tail_call" };
            return invalid(&format!("{what} is only allowed in functions that return 'int'."));
        }
        function.name = name.to_owned();
        function.func = Some(info.func);
        function.linkage = Some(linkage);
    }
    Ok(())
}

/// Whether a function returns an integer of a usual size, or an enumeration.
fn returns_number(btf: &Btf, proto: TypeId) -> bool {
    let Some(Type::FuncProto { ret, .. }) = btf.ty(proto) else { return false };
    match btf.resolved(ret) {
        Some(Type::Int(Int { size, bits, bit_offset, .. })) => {
            matches!(size, 1 | 2 | 4 | 8) && u32::from(bits) == size * 8 && bit_offset == 0
        }
        Some(Type::Enum(_) | Type::Enum64(_)) => true,
        _ => false,
    }
}

fn apply_lines(
    program: &Program<'_>,
    btf: &Btf,
    functions: &mut [Function],
) -> Result<(), Rejection> {
    let len = program.insns.len();
    let mut previous = 0;
    let mut next = 0;
    for (index, line) in program.lines.iter().enumerate() {
        let message = if index > 0 && line.insn <= previous || line.insn as usize >= len {
            Some(format!(
                "Invalid line_info[{index}].insn_off:{} (prev_offset:{previous} prog->len:{len})",
                line.insn
            ))
        } else if program.insns[line.insn as usize].code == 0 {
            Some(format!("Invalid insn code at line_info[{index}].insn_off"))
        } else if btf.string(line.text).is_none() || btf.string(line.file).is_none() {
            Some(format!("Invalid line_info[{index}].line_off or .file_name_off"))
        } else {
            match functions.get_mut(next) {
                Some(function) if function.start == line.insn => {
                    function.line = Some(index);
                    next += 1;
                    None
                }
                Some(function) if function.start < line.insn => {
                    Some(format!("missing bpf_line_info for func#{next}"))
                }
                _ => None,
            }
        };
        if let Some(message) = message {
            return Err(Rejection::invalid(None, message));
        }
        previous = line.insn;
    }
    if next < functions.len() {
        let missing = functions.len() - next;
        let message =
            format!("missing bpf_line_info for {missing} funcs starting from func#{next}");
        return Err(Rejection::invalid(None, message));
    }
    Ok(())
}
