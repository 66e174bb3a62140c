//! Round trips: slots to [`Op`] and back, text to slots and back.

use bombus_isa::{Insn, Op, Reg, asm, disasm, ops, validate};
use proptest::prelude::*;

/// Every opcode with every combination of fields that means something, and some that do not.
fn candidates() -> impl Iterator<Item = Insn> {
    const REGISTERS: [u8; 8] = [0, 1, 2, 3, 6, 10, 11, 15];
    const OFFSETS: [i16; 8] = [0, 1, -1, 8, 16, 32, i16::MAX, i16::MIN];
    const IMMEDIATES: [i32; 17] =
        [0, 1, 2, -1, 16, 32, 64, 0x40, 0x41, 0x50, 0xa1, 0xe0, 0xe1, 0xf1, 0x100, 0x110, 0x1_0000];
    (0..=u8::MAX).flat_map(|code| {
        REGISTERS.into_iter().flat_map(move |dst| {
            REGISTERS.into_iter().flat_map(move |src| {
                OFFSETS.into_iter().flat_map(move |off| {
                    IMMEDIATES.into_iter().map(move |imm| Insn {
                        code,
                        dst: Reg(dst),
                        src: Reg(src),
                        off,
                        imm,
                    })
                })
            })
        })
    })
}

#[test]
fn what_decodes_encodes_to_the_same() {
    let next = Insn { imm: 0x1234, ..Insn::default() };
    let mut valid = 0;
    for insn in candidates() {
        for next in [next, Insn::default()] {
            let Ok(op) = insn.decode(Some(next)) else { continue };
            valid += 1;
            let (first, second) = op.encode();
            assert_eq!(first, insn, "{op}");
            assert_eq!(second, (op.slots() == 2).then_some(next), "{op}");
        }
    }
    assert!(valid > 50_000, "only {valid} of the candidates are valid");
}

#[test]
fn text_assembles_to_what_it_came_from() {
    // A step that has no common factor with the lengths above thins them out evenly.
    for insn in candidates().step_by(11) {
        let Ok(op) = insn.decode(Some(Insn::default())) else { continue };
        let (first, second) = op.encode();
        let slots: Vec<Insn> = [Some(first), second].into_iter().flatten().collect();
        assert_eq!(asm(&op.to_string()).as_ref(), Ok(&slots), "{op}");
    }
}

#[test]
fn a_listing_assembles_to_its_program() {
    let program = asm("
        loop:   r1 += 1
                r2 = 0x123456789
                if r1 != 0x5 goto loop      ; back
                call twice
                r3 = subprog[twice]
                exit
        twice:  w0 <<= 1
                exit
    ")
    .unwrap();
    let listing = disasm(&program, &());
    let expected = [
        "   0: (07) r1 += 1",
        "   1: (18) r2 = 0x123456789",
        "   3: (55) if r1 != 0x5 goto pc-4",
        "   4: (85) call pc+3",
        "   5: (18) r3 = subprog[+2]",
        "   7: (95) exit",
        "   8: (64) w0 <<= 1",
        "   9: (95) exit",
    ];
    assert_eq!(listing.lines().collect::<Vec<_>>(), expected);
    assert_eq!(asm(&listing), Ok(program));
}

#[test]
fn what_is_not_valid_is_named() {
    let cases: [(&[u8], &str); 12] = [
        (&[0xff, 0, 0, 0, 0, 0, 0, 0], "unknown opcode ff"),
        (&[0xe7, 0, 0, 0, 0, 0, 0, 0], "unknown opcode e7"),
        (&[0x07, 0x0b, 0, 0, 1, 0, 0, 0], "R11 is invalid"),
        (&[0x07, 0x20, 0, 0, 1, 0, 0, 0], "a reserved field is not zero"),
        (&[0x0f, 0x21, 0, 0, 1, 0, 0, 0], "a reserved field is not zero"),
        (&[0x37, 0x01, 2, 0, 1, 0, 0, 0], "unknown variant 0x2"),
        (&[0xbf, 0x21, 64, 0, 0, 0, 0, 0], "unknown variant 0x40"),
        (&[0xd4, 0x01, 0, 0, 8, 0, 0, 0], "unknown variant 0x8"),
        (&[0xdb, 0x21, 0, 0, 0x10, 0, 0, 0], "unknown variant 0x10"),
        (&[0x85, 0x30, 0, 0, 1, 0, 0, 0], "unknown kind 3 of operand"),
        (&[0x18, 0x01, 0, 0, 1, 0, 0, 0], "invalid second half of ld_imm64"),
        (&[0x95, 0x00, 0, 0, 1, 0, 0, 0], "a reserved field is not zero"),
    ];
    for (bytes, message) in cases {
        let slot = Insn::from_bytes(bytes.try_into().unwrap());
        let error = validate(&[Insn::exit(), slot]).unwrap_err();
        assert_eq!((error.slot, error.error.to_string().as_str()), (1, message), "{bytes:x?}");
    }
}

proptest! {
    #[test]
    fn bytes_survive(bytes: [u8; 8]) {
        prop_assert_eq!(Insn::from_bytes(bytes).to_bytes(), bytes);
    }

    #[test]
    fn any_valid_slot_survives_text(bytes: [u8; 8], high: i32, clear in 0_u8..8) {
        // Most slots are invalid because a reserved field is not zero.
        let mut insn = Insn::from_bytes(bytes);
        if clear & 1 != 0 { insn.off = 0; }
        if clear & 2 != 0 { insn.imm = 0; }
        if clear & 4 != 0 { insn.src = Reg(0); }
        let next = Insn { imm: high, ..Insn::default() };
        if let Ok(op) = insn.decode(Some(next)) {
            let slots = if op.slots() == 2 { vec![insn, next] } else { vec![insn] };
            prop_assert_eq!(asm(&op.to_string()), Ok(slots));
        }
    }

    #[test]
    fn any_program_can_be_listed(slots: Vec<[u8; 8]>) {
        let insns: Vec<Insn> = slots.into_iter().map(Insn::from_bytes).collect();
        let listed: usize = ops(&insns).map(|(_, op)| op.map_or(1, Op::slots)).sum();
        prop_assert_eq!(listed, insns.len());
        disasm(&insns, &());
    }

    #[test]
    fn any_text_is_read_or_refused(
        text in "((r1|w2|r10|if|goto|call|lock|map|\\*|u32|\\(|\\)|\\[|\\]|[-+=#:;&<>0-9xs ]|\\PC)+\n?)*",
    ) {
        let _ = asm(&text);
    }
}
