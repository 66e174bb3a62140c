//! Helpers that older kernels have under another number.

use bombus_isa::Insn;
use bombus_isa::opcode::{call, class, jmp};
use bombus_platform::Helper;

use crate::{Feature, Kernel};

/// Calls `probe_read` where the kernel does not have the helpers that say which memory they read:
/// it reads both (as libbpf does, `bpf_object__sanitize_prog`).
pub(super) fn replace_missing(insns: &mut [Insn], kernel: &dyn Kernel) {
    let is_call = |insn: &Insn| {
        insn.code == class::JMP | jmp::CALL && insn.src.0 == call::HELPER && insn.dst.0 == 0
    };
    let replaced = insns.iter_mut().filter(|insn| is_call(insn)).filter_map(|insn| {
        let older = match Helper::from_id(insn.imm)? {
            Helper::ProbeReadKernel | Helper::ProbeReadUser => Helper::ProbeRead,
            Helper::ProbeReadKernelStr | Helper::ProbeReadUserStr => Helper::ProbeReadStr,
            _ => return None,
        };
        Some((insn, older))
    });
    let mut replaced = replaced.peekable();
    // Asking may take a system call.
    if replaced.peek().is_some() && !kernel.supports(Feature::ProbeReadKernel) {
        replaced.for_each(|(insn, older)| insn.imm = older as i32);
    }
}
