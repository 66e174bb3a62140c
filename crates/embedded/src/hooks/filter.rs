//! The seccomp filter: which system calls stop.
//!
//! The filter's data word carries the number of the system call, so that the tracer need not ask
//! for it. Numbers that do not stop are let through by tests on number and architecture alone:
//! Linux 5.11 finds those out beforehand and then skips the filter for them
//! (`seccomp_cache_prepare`, `kernel/seccomp.c`).

use super::SyscallSet;

/// `AUDIT_ARCH_X86_64` (`include/uapi/linux/audit.h`).
pub(super) const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;

const RET_ALLOW: u32 = 0x7fff_0000;
const RET_TRACE: u32 = 0x7ff0_0000;

/// Set in the data word for another calling convention.
const COMPAT: u32 = 0x8000;
/// In the data word: the number is too large for it.
const LARGE: u32 = 0x7fff;

const NR: u32 = 0;
const ARCH: u32 = 4;
const INSTRUCTION_POINTER: u32 = 8;
/// Low half of an argument (`struct seccomp_data`, little endian).
const fn arg(index: u32) -> u32 {
    16 + 8 * index
}

/// One instruction of classic BPF (`struct sock_filter`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub(super) struct Insn {
    pub(super) code: u16,
    pub(super) jump_true: u8,
    pub(super) jump_false: u8,
    pub(super) k: u32,
}

const fn load(offset: u32) -> Insn {
    Insn { code: 0x20, jump_true: 0, jump_false: 0, k: offset }
}
const fn jump(code: u16, k: u32, jump_true: u8, jump_false: u8) -> Insn {
    Insn { code: 0x05 | code, jump_true, jump_false, k }
}
const fn alu(code: u16, k: u32) -> Insn {
    Insn { code: 0x04 | code, jump_true: 0, jump_false: 0, k }
}
const fn ret(value: u32) -> Insn {
    Insn { code: 0x06, jump_true: 0, jump_false: 0, k: value }
}
const RET_A: Insn = Insn { code: 0x16, jump_true: 0, jump_false: 0, k: 0 };
const JEQ: u16 = 0x10;
const JGT: u16 = 0x20;
const JGE: u16 = 0x30;
const JSET: u16 = 0x40;
const OR: u16 = 0x40;
const AND: u16 = 0x50;

/// When a system call that the engine needs for itself stops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Condition {
    /// An argument has any of these bits.
    AnyBit(u32, u32),
    /// An argument is this.
    Equals(u32, u32),
}

/// Addresses: this high half, and this low half where the mask has ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Region {
    pub(super) high: u32,
    pub(super) low: u32,
    pub(super) mask: u32,
}

impl Region {
    /// Lets calls through that are made there. The number is loaded afterwards.
    fn pass(self) -> [Insn; 7] {
        [
            load(INSTRUCTION_POINTER + 4),
            jump(JEQ, self.high, 0, 4),
            load(INSTRUCTION_POINTER),
            alu(AND, self.mask),
            jump(JEQ, self.low, 0, 1),
            ret(RET_ALLOW),
            load(NR),
        ]
    }
}

/// Makes the filter for the numbers in `traced`, and for those with a condition besides. What is
/// called from `gate` does not stop.
pub(super) fn compile(
    traced: &SyscallSet,
    conditions: &[(u32, Condition)],
    gate: Option<Region>,
) -> Vec<Insn> {
    let pass: Vec<Insn> = gate.into_iter().flat_map(Region::pass).collect();
    let mut code =
        vec![load(ARCH), jump(JEQ, AUDIT_ARCH_X86_64, if traced.is_all() { 4 } else { 1 }, 0)];
    if traced.is_all() {
        code.extend([load(NR), alu(AND, LARGE), alu(OR, RET_TRACE | COMPAT), RET_A]);
    } else {
        code.push(ret(RET_ALLOW));
    }
    code.push(load(NR));
    if traced.is_all() {
        let large = [jump(JGE, LARGE, 0, 1), ret(RET_TRACE | LARGE)];
        code.extend(large);
        code.extend(&pass);
        code.extend([alu(OR, RET_TRACE), RET_A]);
        return code;
    }
    for (first, last) in ranges(traced) {
        let over = 2 + pass.len() as u8;
        code.extend([jump(JGE, first, 0, over + 1), jump(JGT, last, over, 0)]);
        code.extend(&pass);
        code.extend([alu(OR, RET_TRACE), RET_A]);
    }
    for &(nr, condition) in conditions.iter().filter(|(nr, _)| !traced.contains(*nr)) {
        let (index, test) = match condition {
            Condition::AnyBit(index, bits) => (index, jump(JSET, bits, 0, 1)),
            Condition::Equals(index, value) => (index, jump(JEQ, value, 0, 1)),
        };
        let trace = [load(arg(index)), test, ret(RET_TRACE | nr), ret(RET_ALLOW)];
        code.push(jump(JEQ, nr, 0, trace.len() as u8));
        code.extend(trace);
    }
    code.push(ret(RET_ALLOW));
    code
}

/// The number in a stop's data word. `None`: too large, ask `PTRACE_GET_SYSCALL_INFO`.
pub(super) fn number(data: u64) -> Option<(u32, bool)> {
    let (nr, compat) = (data as u32 & LARGE, data as u32 & COMPAT != 0);
    (nr != LARGE).then_some((nr, compat))
}

/// Neighbouring numbers as pairs (first, last).
fn ranges(set: &SyscallSet) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for nr in (0..SyscallSet::LIMIT).filter(|&nr| set.contains(nr)) {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == nr => *last = nr,
            _ => ranges.push((nr, nr)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a filter as `bpf_prog_run` would.
    fn run(code: &[Insn], nr: u32, arch: u32, args: [u32; 6]) -> u32 {
        run_at(code, nr, arch, args, 0x7fff_0000_1234)
    }

    fn run_at(code: &[Insn], nr: u32, arch: u32, args: [u32; 6], ip: u64) -> u32 {
        let (mut pc, mut a) = (0, 0);
        loop {
            let insn = code[pc];
            pc += 1;
            let taken =
                |test: bool| usize::from(if test { insn.jump_true } else { insn.jump_false });
            match insn.code {
                0x20 => {
                    a = match insn.k {
                        NR => nr,
                        ARCH => arch,
                        INSTRUCTION_POINTER => ip as u32,
                        12 => (ip >> 32) as u32,
                        offset => args[(offset as usize - 16) / 8],
                    }
                }
                0x06 => return insn.k,
                0x16 => return a,
                0x15 => pc += taken(a == insn.k),
                0x25 => pc += taken(a > insn.k),
                0x35 => pc += taken(a >= insn.k),
                0x45 => pc += taken(a & insn.k != 0),
                0x44 => a |= insn.k,
                0x54 => a &= insn.k,
                code => panic!("instruction {code:#x}"),
            }
        }
    }

    #[test]
    fn chosen_numbers_stop_and_carry_their_number() {
        for numbers in [vec![], vec![0], vec![0, 1, 2, 257], (0..1024).step_by(2).collect()] {
            let set: SyscallSet = numbers.iter().copied().collect();
            let code = compile(&set, &[], None);
            assert!(code.len() < 4096);
            for nr in (0..2000).chain([0x4000_0001, u32::MAX]) {
                let value = run(&code, nr, AUDIT_ARCH_X86_64, [0; 6]);
                if numbers.contains(&nr) {
                    assert_eq!(value, RET_TRACE | nr);
                    assert_eq!(number(value.into()), Some((nr, false)));
                } else {
                    assert_eq!(value, RET_ALLOW, "{nr}");
                }
                assert_eq!(run(&code, nr, 0x4000_0003, [0; 6]), RET_ALLOW);
            }
        }
    }

    #[test]
    fn all_means_every_number_and_convention() {
        let code = compile(&SyscallSet::ALL, &[], None);
        for nr in [0, 59, 469, 9999] {
            let value = run(&code, nr, AUDIT_ARCH_X86_64, [0; 6]);
            assert_eq!(value & 0xffff_0000, RET_TRACE);
            assert_eq!(number(value.into()), Some((nr, false)));
            let value = run(&code, nr, 0x4000_0003, [0; 6]);
            assert_eq!(value & 0xffff_0000, RET_TRACE);
            assert_eq!(number(value.into()), Some((nr, true)));
        }
        for nr in [0x7fff, 0x4000_0000, u32::MAX] {
            let value = run(&code, nr, AUDIT_ARCH_X86_64, [0; 6]);
            assert_eq!((value & 0xffff_0000, number(value.into())), (RET_TRACE, None));
        }
    }

    #[test]
    fn conditions_look_at_arguments() {
        let conditions = [(9, Condition::AnyBit(2, 4)), (157, Condition::Equals(0, 15))];
        let code = compile(&[257].into_iter().collect(), &conditions, None);
        let native = |nr, args| run(&code, nr, AUDIT_ARCH_X86_64, args);
        assert_eq!(native(9, [0, 0, 5, 0, 0, 0]), RET_TRACE | 9);
        assert_eq!(native(9, [4, 4, 3, 4, 4, 4]), RET_ALLOW);
        assert_eq!(native(157, [15, 0, 0, 0, 0, 0]), RET_TRACE | 157);
        assert_eq!(native(157, [16, 0, 0, 0, 0, 0]), RET_ALLOW);
        assert_eq!(native(257, [0; 6]), RET_TRACE | 257);
        assert_eq!(native(1, [0; 6]), RET_ALLOW);
    }

    #[test]
    fn the_gate_is_open() {
        let gate = Region { high: 0, low: 0x7000_0000, mask: !0xffff };
        let some: SyscallSet = [0, 1, 2, 257].into_iter().collect();
        for (set, nr) in [(SyscallSet::ALL, 39), (some, 1), (some, 257)] {
            let code = compile(&set, &[], Some(gate));
            let at = |ip| run_at(&code, nr, AUDIT_ARCH_X86_64, [0; 6], ip);
            assert_eq!(at(0x7000_0002), RET_ALLOW);
            assert_eq!(at(0x7000_ffff), RET_ALLOW);
            for outside in [0x7001_0000, 0x6fff_ffff, 0x1_7000_0002, 0x7fff_f000_0002] {
                assert_eq!(at(outside), RET_TRACE | nr);
            }
        }
        let code = compile(&some, &[], Some(gate));
        assert_eq!(run_at(&code, 3, AUDIT_ARCH_X86_64, [0; 6], 0x7000_0002), RET_ALLOW);
    }
}
