//! Random programs, valid and not: nothing panics, and what is said of a program agrees with itself.
//!
//! `BOMBUS_PROGRAMS` says how many there are (3,000).

use std::sync::Arc;

use bombus_isa::{Insn, Op, Reg};
use bombus_platform::proto::Caller as Who;
use bombus_platform::{AttachType, MapType, ProgType};
use bombus_verifier::code::{Caller, Code, FrameUse, Instruction, Tables, check_depth};
use bombus_verifier::explain::{explain, states};
use bombus_verifier::{AttachTarget, Map, Options, Privileges, Program, Target, verify};

/// xorshift64*: the same numbers everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }

    fn below(&mut self, end: u32) -> u32 {
        self.next() % end.max(1)
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u32) as usize]
    }
}

/// Opcodes of all classes, those that make pointers to the stack and use them more often.
const CODES: &[u8] = &[
    0xbf, 0xbf, 0xbf, 0x07, 0x07, 0x0f, 0xb7, 0xb7, 0x17, 0x57, 0x5f, 0xb4, 0xbc, 0x87, 0xdc, 0xd7,
    0x79, 0x79, 0x79, 0x61, 0x69, 0x71, 0x91, 0x7b, 0x7b, 0x7b, 0x63, 0x73, 0x7a, 0x7a, 0x62, 0xdb,
    0xc3, 0x15, 0x1d, 0x25, 0x55, 0x65, 0x16, 0x1e, 0x05, 0x06, 0xe5, 0x0d, 0x85, 0x85, 0x85, 0x18,
    0x18, 0x20, 0x40, 0x95, 0x95,
];

fn insn(random: &mut Random, slot: u32, len: u32) -> Insn {
    let code = if random.below(200) == 0 { random.next() as u8 } else { random.one_of(CODES) };
    let reg = |random: &mut Random| match random.below(12) {
        0..3 => Reg::FP,
        3 if random.below(20) == 0 => Reg(random.below(16) as u8),
        other => Reg(other as u8 % 10),
    };
    let to = |random: &mut Random| random.below(len) as i32 - slot as i32 - 1;
    let mut insn = Insn { code, dst: reg(random), src: reg(random), off: 0, imm: 0 };
    match code & 7 {
        5 | 6 if code == 0x85 => {
            insn.dst = Reg::R0;
            insn.src = Reg(random.one_of(&[0, 0, 1, 1, 2]));
            insn.imm = match insn.src.0 {
                0 => random.one_of(&[1, 2, 3, 5, 6, 8, 12, 26, 113, 164, 181, 181, 1000]),
                1 => to(random),
                _ => random.below(20) as i32,
            };
        }
        5 | 6 => {
            insn.off = if code == 0x06 { 0 } else { to(random) as i16 };
            insn.imm = match code {
                0x06 => to(random),
                0x0d | 0x1d | 0x1e | 0x05 | 0xe5 | 0x95 => 0,
                _ => random.below(4) as i32,
            };
            if !matches!(code, 0x1d | 0x1e) {
                insn.src = Reg::R0;
            }
            if matches!(code, 0x05 | 0x06 | 0xe5 | 0x95) {
                insn.dst = Reg::R0;
            }
            if matches!(code, 0x95 | 0x0d) {
                insn.off = 0;
            }
        }
        0..=3 => {
            insn.off = random.one_of(&[0, -4, -8, -8, -16, -16, -24, -512, 8, 3, i16::MIN]);
            if code & 7 == 2 {
                insn.src = Reg::R0;
            }
            if code & 0xe7 == 0xc3 {
                insn.imm = random.one_of(&[0, 1, 0x40, 0xe1, 0xf1, 0x100, 0x110, 7]);
            }
            if matches!(code, 0x18 | 0x20 | 0x40) {
                insn.off = 0;
            }
            if matches!(code, 0x20 | 0x40) {
                (insn.dst, insn.src) = (Reg::R0, Reg::R0);
            }
        }
        _ => {
            insn.imm = if code & 8 != 0 { 0 } else { random.one_of(&[0, 1, -8, -16, 8, 16, 32]) };
            if code & 8 == 0 || code & 0xf0 == 0xd0 {
                insn.src = Reg::R0;
            }
            if code & 0xf0 == 0xd0 {
                insn.imm = 16;
            }
            if code & 0xf0 == 0x80 {
                insn.imm = 0;
            }
        }
    }
    insn
}

/// A program that is of valid form more often than not.
fn program(random: &mut Random) -> Vec<Insn> {
    let len = 2 + random.below(40);
    let mut insns: Vec<Insn> = Vec::new();
    while (insns.len() as u32) < len - 1 {
        let slot = insns.len() as u32;
        let mut next = insn(random, slot, len);
        if next.code == 0x18 && random.below(30) != 0 {
            if slot + 2 >= len {
                continue;
            }
            next.src = Reg(random.one_of(&[0, 0, 1, 2, 4, 4]));
            next.imm = match next.src.0 {
                4 => random.below(len) as i32 - slot as i32 - 1,
                1 | 2 => random.below(2) as i32,
                _ => random.next() as i32,
            };
            let high = if next.src.0 == 0 { random.next() as i32 } else { 0 };
            insns.extend([next, Insn { imm: high, ..Insn::default() }]);
        } else {
            insns.push(next);
        }
    }
    insns.push(Insn { code: 0x95, ..Insn::default() });
    insns
}

fn map(map_type: MapType, places: &[u32]) -> Arc<Map> {
    let held = places.iter().flat_map(|place| {
        let mut value = [0; 16];
        value[..4].copy_from_slice(&place.to_le_bytes());
        value
    });
    Arc::new(Map {
        name: String::new(),
        map_type,
        key_size: 4,
        value_size: 16,
        max_entries: places.len().max(1) as u32,
        flags: 0,
        extra: 0,
        types: None,
        inner: None,
        constant: Some(held.collect()),
    })
}

#[test]
fn random_programs() {
    let count = std::env::var("BOMBUS_PROGRAMS").ok().and_then(|count| count.parse().ok());
    let count: u32 = count.unwrap_or(3_000);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut accepted = 0;
    for number in 0..count {
        let insns = program(&mut random);
        let len = insns.len() as u32;
        let maps = [
            map(MapType::Array, &[7]),
            map(MapType::InsnArray, &[random.below(len), random.below(len)]),
        ];
        let program = Program {
            name: "any",
            insns: &insns,
            prog_type: ProgType::SchedCls,
            attach_type: AttachType::CgroupInetIngress,
            attach_to: AttachTarget::Nothing,
            flags: 0,
            gpl_compatible: true,
            maps: &maps,
            btf: None,
            functions: &[],
            lines: &[],
        };
        let privileges = if random.below(4) == 0 { Privileges::NONE } else { Privileges::ALL };
        let options = Options { privileges, log_level: number % 3, ..Options::default() };
        let target = Target { version: (7, 3), btf: None, modules: &[] };
        // Whatever is refused can be explained, and what is known shown.
        if number % 4 == 0 {
            let options = Options { max_walked: 2_000, ..options };
            let refused = verify(&program, &target, &options).result.is_err();
            assert_eq!(explain(&program, &target, &options, &[]).is_some(), refused);
            assert!(states(&program, &target, &options).rows.len() <= insns.len());
        }
        let tables = Tables(Who::new(program.prog_type, program.attach_type));
        if let Ok(code) = Code::new(&program, &target, &options, &tables) {
            accepted += 1;
            check(&code, &program);
            // With a log nothing is left out for being of no account.
            let options = Options { log_level: 2 - number % 3, ..options };
            let again = Code::new(&program, &target, &options, &tables).expect("the same");
            agree(&code, &again);
        }
    }
    assert!(accepted > count / 20, "only {accepted} of {count} have the right form");
}

fn agree(code: &Code, other: &Code) {
    for slot in 0..code.len() {
        let chain = [Caller { function: code.function_of(slot), callsite: 0 }];
        let live = |code: &Code| code.stack_at(chain, slot).of(0);
        assert_eq!(live(code), live(other), "slot {slot} of {}{}", code.log(), other.log());
        assert_eq!(code.live_registers(slot), other.live_registers(slot));
    }
}

fn check(code: &Code, program: &Program<'_>) {
    for slot in 0..code.len() {
        let instruction = code.instruction(slot);
        let to = code.successors(slot);
        assert!(to.iter().all(|&to| (to as usize) < code.len()), "{slot}");
        let function = code.function_of(slot);
        assert!(code.functions()[function].has(slot));
        // What does not touch memory changes nothing of what is live on the stack.
        let is_plain = matches!(
            instruction,
            Instruction::Op(Op::Alu { .. } | Op::JumpIf { .. } | Op::Goto { .. })
        );
        if is_plain && is_reached(code, slot) {
            let chain = [Caller { function, callsite: 0 }];
            let live = |slot: usize| code.stack_at(chain, slot).of(0).0;
            let after = to.iter().fold(0, |live_after, &to| live_after | live(to as usize));
            assert_eq!(live(slot), after, "slot {slot} of\n{}", code.log());
        }
        // What is read is live.
        if let Instruction::Op(Op::JumpIf { dst, .. }) = instruction
            && is_reached(code, slot)
        {
            assert!(code.live_registers(slot) >> dst.0 & 1 != 0, "slot {slot}");
        }
    }
    let mut seen = vec![false; code.functions().len()];
    for &function in code.order() {
        assert!(!std::mem::replace(&mut seen[usize::from(function)], true));
    }
    assert!(seen.into_iter().all(|seen| seen));
    let uses: Vec<FrameUse> = (0..code.functions().len())
        .map(|index| FrameUse { depth: 24 * index as u16, ..FrameUse::default() })
        .collect();
    let _ = check_depth(code, program, &uses, false);
}

/// Whether control can get to a slot from its function's start.
fn is_reached(code: &Code, slot: usize) -> bool {
    let start = code.functions()[code.function_of(slot)].start;
    let mut seen = vec![false; code.len()];
    let mut stack = vec![start];
    while let Some(next) = stack.pop() {
        if !std::mem::replace(&mut seen[next as usize], true) {
            stack.extend_from_slice(code.successors(next as usize));
        }
    }
    seen[slot]
}
