//! Every form of the x86-64 encoder, with every register, read back by an independent decoder.

use bombus_isa::{Size, Width};
use bombus_vm::jit::x64::encode::{Arith, Assembler, Branch, Cc, Gpr, Mem, Shift, Unary};
use iced_x86::{Decoder, DecoderOptions, Formatter, NasmFormatter};

const WIDTHS: [Width; 2] = [Width::W32, Width::W64];
const SIZES: [Size; 4] = [Size::B, Size::H, Size::W, Size::Dw];

fn registers() -> impl Iterator<Item = Gpr> + Clone {
    (0..16).map(Gpr)
}

fn pairs() -> impl Iterator<Item = (Gpr, Gpr)> {
    registers().flat_map(|a| registers().map(move |b| (a, b)))
}

/// The register's name in an operand of this size.
fn name(reg: Gpr, size: Size) -> String {
    const OLD: [&str; 8] = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"];
    let old = |reg: Gpr| OLD[usize::from(reg.0)];
    match (reg.0, size) {
        (8.., Size::Dw) => format!("r{}", reg.0),
        (8.., Size::W) => format!("r{}d", reg.0),
        (8.., Size::H) => format!("r{}w", reg.0),
        (8.., Size::B) => format!("r{}b", reg.0),
        (_, Size::Dw) => format!("r{}", old(reg)),
        (_, Size::W) => format!("e{}", old(reg)),
        (_, Size::H) => old(reg).into(),
        (0..4, Size::B) => format!("{}l", &old(reg)[..1]),
        (_, Size::B) => format!("{}l", old(reg)),
    }
}

fn sized(reg: Gpr, width: Width) -> String {
    name(reg, if width == Width::W64 { Size::Dw } else { Size::W })
}

/// The text of the single instruction that `emit` makes.
fn text(emit: impl FnOnce(&mut Assembler)) -> String {
    let mut asm = Assembler::default();
    emit(&mut asm);
    let bytes = asm.finish();
    let mut decoder = Decoder::with_ip(64, &bytes, 0, DecoderOptions::NONE);
    let instruction = decoder.decode();
    let mut text = String::new();
    let mut formatter = NasmFormatter::new();
    let options = formatter.options_mut();
    options.set_hex_prefix("0x");
    options.set_hex_suffix("");
    options.set_uppercase_hex(false);
    options.set_space_after_operand_separator(true);
    options.set_small_hex_numbers_in_decimal(false);
    options.set_show_branch_size(false);
    options.set_branch_leading_zeros(false);
    options.set_signed_immediate_operands(true);
    formatter.format(&instruction, &mut text);
    assert_eq!(instruction.len(), bytes.len(), "{text} and rubbish: {bytes:02x?}");
    text
}

#[track_caller]
fn expect(expected: impl AsRef<str>, emit: impl FnOnce(&mut Assembler)) {
    assert_eq!(text(emit), expected.as_ref());
}

fn mnemonic(debug: impl std::fmt::Debug) -> String {
    format!("{debug:?}").to_lowercase()
}

const ARITH: [Arith; 6] = [Arith::Add, Arith::Or, Arith::And, Arith::Sub, Arith::Xor, Arith::Cmp];

#[test]
fn two_registers() {
    for ((a, b), width) in pairs().flat_map(|pair| WIDTHS.map(|width| (pair, width))) {
        let (dst, src) = (sized(a, width), sized(b, width));
        for op in ARITH {
            expect(format!("{} {dst}, {src}", mnemonic(op)), |asm| asm.arith(op, width, a, b));
        }
        expect(format!("mov {dst}, {src}"), |asm| asm.mov(width, a, b));
        expect(format!("test {dst}, {src}"), |asm| asm.test(width, a, b));
        expect(format!("imul {dst}, {src}"), |asm| asm.imul(width, a, b));
        // The same register twice is written once.
        let factors = if a == b { dst.clone() } else { format!("{dst}, {src}") };
        expect(format!("imul {factors}, 0x7f"), |asm| asm.imul_imm(width, a, b, 127));
        expect(format!("imul {factors}, 0x80"), |asm| asm.imul_imm(width, a, b, 128));
        expect(format!("rorx {dst}, {src}, 0x11"), |asm| asm.rorx(width, a, b, 17));
        for cc in [Cc::B, Cc::Ae, Cc::E, Cc::Ne, Cc::Be, Cc::A, Cc::L, Cc::Ge, Cc::Le, Cc::G] {
            expect(format!("cmov{} {dst}, {src}", mnemonic(cc)), |asm| asm.cmov(cc, width, a, b));
        }
        for c in [Gpr::RAX, Gpr::R9, Gpr::R15] {
            let distance = sized(c, width);
            for (op, name) in [(Shift::Shl, "shlx"), (Shift::Shr, "shrx"), (Shift::Sar, "sarx")] {
                expect(format!("{name} {dst}, {src}, {distance}"), |asm| {
                    asm.shift_reg(op, width, a, b, c);
                });
            }
        }
        for from in [Size::B, Size::H] {
            let src = name(b, from);
            expect(format!("movsx {dst}, {src}"), |asm| asm.extend(from, true, width, a, b));
            let low = name(a, Size::W);
            expect(format!("movzx {low}, {src}"), |asm| asm.extend(from, false, width, a, b));
        }
        let src = name(b, Size::W);
        if width == Width::W64 {
            expect(format!("movsxd {dst}, {src}"), |asm| asm.extend(Size::W, true, width, a, b));
        }
    }
}

#[test]
fn one_register() {
    for (a, width) in registers().flat_map(|a| WIDTHS.map(|width| (a, width))) {
        let dst = sized(a, width);
        for op in ARITH {
            for (imm, text) in
                [(5, "0x5"), (-128, "-0x80"), (300, "0x12c"), (i32::MIN, "-0x80000000")]
            {
                expect(format!("{} {dst}, {text}", mnemonic(op)), |asm| {
                    asm.arith_imm(op, width, a, imm);
                });
            }
        }
        for op in [Unary::Not, Unary::Neg, Unary::Mul, Unary::Div, Unary::Idiv] {
            expect(format!("{} {dst}", mnemonic(op)), |asm| asm.unary(op, width, a));
        }
        for op in [Shift::Rol, Shift::Ror, Shift::Shl, Shift::Shr, Shift::Sar] {
            for distance in [1, 17] {
                expect(format!("{} {dst}, 0x{distance:x}", mnemonic(op)), |asm| {
                    asm.shift_imm(op, width, a, distance);
                });
            }
            expect(format!("{} {dst}, cl", mnemonic(op)), |asm| asm.shift_cl(op, width, a));
        }
        expect(format!("bswap {dst}"), |asm| asm.bswap(width, a));
        expect(format!("test {dst}, 0x12345678"), |asm| asm.test_imm(width, a, 0x1234_5678));
        expect(format!("test {dst}, -0x1"), |asm| asm.test_imm(width, a, -1));
        expect(format!("test {}, 0x7f", name(a, Size::B)), |asm| asm.test_imm(width, a, 0x7f));
    }
    for a in registers() {
        let (whole, low) = (name(a, Size::Dw), name(a, Size::W));
        expect(format!("ror {}, 0x8", name(a, Size::H)), |asm| asm.swap16(a));
        expect(format!("xor {low}, {low}"), |asm| asm.clear(a));
        expect(format!("mov {low}, -0x1"), |asm| asm.mov_imm(a, 0xffff_ffff));
        expect(format!("mov {low}, 0x0"), |asm| asm.mov_imm(a, 0));
        expect(format!("mov {whole}, -0x1"), |asm| asm.mov_imm(a, u64::MAX));
        expect(format!("mov {whole}, 0x1122334455667788"), |asm| {
            asm.mov_imm(a, 0x1122_3344_5566_7788);
        });
        expect(format!("push {whole}"), |asm| asm.push(a));
        expect(format!("pop {whole}"), |asm| asm.pop(a));
        expect(format!("call {whole}"), |asm| asm.call_reg(a));
        expect(format!("jmp {whole}"), |asm| asm.jmp_reg(a));
        expect(format!("lea {whole}, [rel 0x10]"), |asm| {
            let at = asm.lea_relative(a);
            asm.patch(at, 16);
        });
    }
}

/// Addresses with their text.
fn addresses() -> Vec<(Mem, String)> {
    let mut all = Vec::new();
    for base in registers() {
        let base_name = name(base, Size::Dw);
        for (disp, text) in
            [(0, ""), (127, "+0x7f"), (-128, "-0x80"), (128, "+0x80"), (-70000, "-0x11170")]
        {
            all.push((Mem::new(base, disp), format!("[{base_name}{text}]")));
            for index in registers().filter(|index| *index != Gpr::RSP) {
                for scale in [0u8, 3] {
                    let times = if scale == 0 { String::new() } else { format!("*{}", 1 << scale) };
                    let index_name = name(index, Size::Dw);
                    let text = format!("[{base_name}+{index_name}{times}{text}]");
                    all.push((Mem { base, index: Some((index, scale)), disp }, text));
                }
            }
        }
    }
    all
}

#[test]
fn memory() {
    for (mem, address) in addresses() {
        for reg in [Gpr::RAX, Gpr::RSI, Gpr::R9, Gpr::R15] {
            for size in SIZES {
                let value = name(reg, size);
                expect(format!("mov {address}, {value}"), |asm| asm.store(size, mem, reg));
                let unit =
                    ["byte", "word", "dword", "qword"][size.bytes().trailing_zeros() as usize];
                expect(format!("mov {unit} {address}, -0x2"), |asm| asm.store_imm(size, mem, -2));
                let (whole, low) = (name(reg, Size::Dw), name(reg, Size::W));
                let (plain, signed) = match size {
                    Size::B | Size::H => (
                        format!("movzx {low}, {unit} {address}"),
                        format!("movsx {whole}, {unit} {address}"),
                    ),
                    Size::W => {
                        (format!("mov {low}, {address}"), format!("movsxd {whole}, {address}"))
                    }
                    Size::Dw => {
                        (format!("mov {whole}, {address}"), format!("mov {whole}, {address}"))
                    }
                };
                expect(plain, |asm| asm.load(size, false, reg, mem));
                expect(signed, |asm| asm.load(size, true, reg, mem));
                if size != Size::B {
                    expect(format!("movbe {value}, {address}"), |asm| asm.movbe(size, reg, mem));
                }
            }
            for width in WIDTHS {
                let value = sized(reg, width);
                for op in ARITH {
                    expect(format!("{} {value}, {address}", mnemonic(op)), |asm| {
                        asm.arith_mem(op, width, reg, mem);
                    });
                    if op != Arith::Cmp {
                        expect(format!("lock {} {address}, {value}", mnemonic(op)), |asm| {
                            asm.lock_arith(op, width, mem, reg);
                        });
                    }
                }
                expect(format!("imul {value}, {address}"), |asm| asm.imul(width, reg, mem));
                expect(format!("lock xadd {address}, {value}"), |asm| {
                    asm.lock_xadd(width, mem, reg);
                });
                expect(format!("lock cmpxchg {address}, {value}"), |asm| {
                    asm.lock_cmpxchg(width, mem, reg);
                });
                expect(format!("xchg {value}, {address}"), |asm| asm.xchg(width, mem, reg));
                expect(format!("lea {value}, {address}"), |asm| asm.lea(width, reg, mem));
            }
        }
    }
}

#[test]
fn the_rest() {
    expect("cdq", |asm| asm.sign_into_rdx(Width::W32));
    expect("cqo", |asm| asm.sign_into_rdx(Width::W64));
    expect("leave", Assembler::leave);
    expect("ret", Assembler::ret);
    for cc in [Cc::B, Cc::Ae, Cc::E, Cc::Ne, Cc::Be, Cc::A, Cc::L, Cc::Ge, Cc::Le, Cc::G] {
        expect(format!("j{} 0x1234", mnemonic(cc)), |asm| {
            asm.branch_to(Branch::Jcc(cc), 0x1234);
        });
        expect(format!("j{} 0x5", mnemonic(cc)), |asm| asm.branch_to(Branch::Jcc(cc), 5));
        assert_eq!(cc.negated().negated(), cc);
        assert_eq!(cc.negated() as u8, cc as u8 ^ 1);
    }
    expect("jmp 0x1234", |asm| asm.branch_to(Branch::Jmp, 0x1234));
    expect("jmp 0x70", |asm| asm.branch_to(Branch::Jmp, 0x70));
    expect("call 0x70", |asm| asm.branch_to(Branch::Call, 0x70));
    for to in [2, 3, 4, 5, 6, 7, 8] {
        let mut asm = Assembler::default();
        asm.ret();
        asm.align(to);
        let bytes = asm.finish();
        assert_eq!(bytes.len(), to);
        let mut decoder = Decoder::with_ip(64, &bytes[1..], 0, DecoderOptions::NONE);
        let nop = decoder.decode();
        assert!(nop.mnemonic() == iced_x86::Mnemonic::Nop && nop.len() == to - 1);
    }
}
