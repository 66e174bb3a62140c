//! Programs, put together from instructions.

use bombus_isa::opcode::{alu, atomic, jmp, pseudo};
use bombus_isa::{Insn, Reg, Size};
use bombus_kernel::MapFd;

const MAP_LOOKUP_ELEM: i32 = 1;
const GET_CURRENT_PID_TGID: i32 = 14;
const RINGBUF_OUTPUT: i32 = 130;
const GET_ATTACH_COOKIE: i32 = 174;

/// `dst = map`.
fn map(dst: Reg, map: MapFd) -> [Insn; 2] {
    Insn::ld_imm64(dst, pseudo::MAP_FD, map.0.into())
}

/// A program whose body runs for one process only: the body may use `r6` for the context, and
/// falls through to the end.
pub(crate) fn for_process(pid: u32, body: &[Insn]) -> Vec<Insn> {
    let mut code = vec![
        Insn::mov(Reg(6), Reg::R1),
        Insn::call_helper(GET_CURRENT_PID_TGID),
        Insn::alu64_imm(alu::RSH, Reg::R0, 32),
        Insn::jmp_imm(jmp::JNE, Reg::R0, pid as i32, body.len() as i16),
    ];
    code.extend(body);
    code.extend([Insn::mov_imm(Reg::R0, 0), Insn::exit()]);
    code
}

/// `*cell += r7`.
fn add_to(cell: MapFd) -> Vec<Insn> {
    let mut code = vec![Insn::store_imm(Size::W, Reg::FP, -4, 0)];
    code.extend(map(Reg::R1, cell));
    code.extend([
        Insn::mov(Reg::R2, Reg::FP),
        Insn::alu64_imm(alu::ADD, Reg::R2, -4),
        Insn::call_helper(MAP_LOOKUP_ELEM),
        Insn::jmp_imm(jmp::JEQ, Reg::R0, 0, 1),
        Insn::atomic(Size::Dw, atomic::ADD, Reg::R0, 0, Reg(7)),
    ]);
    code
}

/// Counts in a cell.
pub(crate) fn count(cell: MapFd) -> Vec<Insn> {
    [vec![Insn::mov_imm(Reg(7), 1)], add_to(cell)].concat()
}

/// Adds the attachment's cookie to a cell.
pub(crate) fn add_cookie(cell: MapFd) -> Vec<Insn> {
    let cookie = vec![
        Insn::mov(Reg::R1, Reg(6)),
        Insn::call_helper(GET_ATTACH_COOKIE),
        Insn::mov(Reg(7), Reg::R0),
    ];
    [cookie, add_to(cell)].concat()
}

/// Does the body when the second argument of the raw tracepoint (`sys_enter`: the number of the
/// system call) is this.
pub(crate) fn if_second_argument(number: i32, body: Vec<Insn>) -> Vec<Insn> {
    let mut code = vec![
        Insn::load(Size::Dw, Reg::R0, Reg(6), 8),
        Insn::jmp_imm(jmp::JNE, Reg::R0, number, body.len() as i16),
    ];
    code.extend(body);
    code
}

/// Sends the raw tracepoint's second argument to a ring buffer if the thread is in this map.
pub(crate) fn send_if_followed(tree: MapFd, ring: MapFd) -> Vec<Insn> {
    let mut send = vec![
        Insn::load(Size::Dw, Reg::R0, Reg(6), 8),
        Insn::store(Size::Dw, Reg::FP, -16, Reg::R0),
    ];
    send.extend(output(ring, 8));
    let mut code = vec![
        Insn::mov(Reg(6), Reg::R1),
        Insn::call_helper(GET_CURRENT_PID_TGID),
        Insn::store(Size::W, Reg::FP, -4, Reg::R0),
    ];
    code.extend(map(Reg::R1, tree));
    code.extend([
        Insn::mov(Reg::R2, Reg::FP),
        Insn::alu64_imm(alu::ADD, Reg::R2, -4),
        Insn::call_helper(MAP_LOOKUP_ELEM),
        Insn::jmp_imm(jmp::JEQ, Reg::R0, 0, send.len() as i16),
    ]);
    code.extend(send);
    code.extend([Insn::mov_imm(Reg::R0, 0), Insn::exit()]);
    code
}

/// `r0 = bpf_ringbuf_output(ring, fp - 16, size, 0)`.
fn output(ring: MapFd, size: i32) -> Vec<Insn> {
    let mut code = map(Reg::R1, ring).to_vec();
    code.extend([
        Insn::mov(Reg::R2, Reg::FP),
        Insn::alu64_imm(alu::ADD, Reg::R2, -16),
        Insn::mov_imm(Reg::R3, size),
        Insn::mov_imm(Reg::R4, 0),
        Insn::call_helper(RINGBUF_OUTPUT),
    ]);
    code
}

/// Sends the first `size` bytes (8 to 16) of its two arguments to a ring buffer; gives 1 when that
/// did not work.
pub(crate) fn send_arguments(ring: MapFd, size: i32) -> Vec<Insn> {
    let mut code = vec![
        Insn::load(Size::Dw, Reg::R0, Reg::R1, 0),
        Insn::store(Size::Dw, Reg::FP, -16, Reg::R0),
        Insn::load(Size::Dw, Reg::R0, Reg::R1, 8),
        Insn::store(Size::Dw, Reg::FP, -8, Reg::R0),
    ];
    code.extend(output(ring, size));
    code.extend([Insn::alu64_imm(alu::RSH, Reg::R0, 63), Insn::exit()]);
    code
}

/// Reserves a record and gives it up again.
pub(crate) fn reserve_and_discard(ring: MapFd) -> Vec<Insn> {
    const RINGBUF_RESERVE: i32 = 131;
    const RINGBUF_DISCARD: i32 = 133;
    let mut code = map(Reg::R1, ring).to_vec();
    code.extend([
        Insn::mov_imm(Reg::R2, 24),
        Insn::mov_imm(Reg::R3, 0),
        Insn::call_helper(RINGBUF_RESERVE),
        Insn::jmp_imm(jmp::JEQ, Reg::R0, 0, 3),
        Insn::mov(Reg::R1, Reg::R0),
        Insn::mov_imm(Reg::R2, 0),
        Insn::call_helper(RINGBUF_DISCARD),
        Insn::mov_imm(Reg::R0, 0),
        Insn::exit(),
    ]);
    code
}

/// A program that always runs its body, with the context in `r6`, and then gives this verdict.
pub(crate) fn always(body: &[Insn], verdict: i32) -> Vec<Insn> {
    let mut code = vec![Insn::mov(Reg(6), Reg::R1)];
    code.extend(body);
    code.extend([Insn::mov_imm(Reg::R0, verdict), Insn::exit()]);
    code
}

/// Does the body for packets of this many bytes, by the length in a `__sk_buff`.
pub(crate) fn if_length(length: i32, body: Vec<Insn>) -> Vec<Insn> {
    let mut code = vec![
        Insn::load(Size::W, Reg::R0, Reg(6), 0),
        Insn::jmp_imm(jmp::JNE, Reg::R0, length, body.len() as i16),
    ];
    code.extend(body);
    code
}

/// The same for an `xdp_md`, which has pointers to start and end instead.
pub(crate) fn if_xdp_length(length: i32, body: Vec<Insn>) -> Vec<Insn> {
    let mut code = vec![
        Insn::load(Size::W, Reg::R1, Reg(6), 0),
        Insn::load(Size::W, Reg::R0, Reg(6), 4),
        Insn::alu64_reg(alu::SUB, Reg::R0, Reg::R1),
        Insn::jmp_imm(jmp::JNE, Reg::R0, length, body.len() as i16),
    ];
    code.extend(body);
    code
}

/// Writes a digit behind those that a cell has: who ran first stands first.
pub(crate) fn digit(cell: MapFd, digit: i32) -> Vec<Insn> {
    let mut code = vec![Insn::store_imm(Size::W, Reg::FP, -4, 0)];
    code.extend(map(Reg::R1, cell));
    code.extend([
        Insn::mov(Reg::R2, Reg::FP),
        Insn::alu64_imm(alu::ADD, Reg::R2, -4),
        Insn::call_helper(MAP_LOOKUP_ELEM),
        Insn::jmp_imm(jmp::JEQ, Reg::R0, 0, 4),
        Insn::load(Size::Dw, Reg::R1, Reg::R0, 0),
        Insn::alu64_imm(alu::MUL, Reg::R1, 10),
        Insn::alu64_imm(alu::ADD, Reg::R1, digit),
        Insn::store(Size::Dw, Reg::R0, 0, Reg::R1),
    ]);
    code
}

/// Writes a line with one letter to what reads an iterator.
pub(crate) fn iterator_line() -> Vec<Insn> {
    const SEQ_WRITE: i32 = 127;
    vec![
        Insn::store_imm(Size::H, Reg::FP, -8, i32::from(u16::from_le_bytes(*b"x\n"))),
        // The context's metadata, and in it the file.
        Insn::load(Size::Dw, Reg::R1, Reg::R1, 0),
        Insn::load(Size::Dw, Reg::R1, Reg::R1, 0),
        Insn::mov(Reg::R2, Reg::FP),
        Insn::alu64_imm(alu::ADD, Reg::R2, -8),
        Insn::mov_imm(Reg::R3, 2),
        Insn::call_helper(SEQ_WRITE),
        Insn::mov_imm(Reg::R0, 0),
        Insn::exit(),
    ]
}

/// Sends `size` bytes of zeros, but for its first argument at their start, to a perf event array.
pub(crate) fn send_perf(events: MapFd, size: i32) -> Vec<Insn> {
    const PERF_EVENT_OUTPUT: i32 = 25;
    let mut code = vec![Insn::mov(Reg(6), Reg::R1), Insn::load(Size::Dw, Reg(7), Reg::R1, 0)];
    code.extend((8..=size).step_by(8).map(|at| Insn::store_imm(Size::Dw, Reg::FP, -at as i16, 0)));
    code.push(Insn::store(Size::Dw, Reg::FP, -size as i16, Reg(7)));
    code.push(Insn::mov(Reg::R1, Reg(6)));
    code.extend(map(Reg::R2, events));
    // The buffer of this CPU.
    code.extend(Insn::ld_imm64(Reg::R3, 0, 0xffff_ffff));
    code.extend([
        Insn::mov(Reg::R4, Reg::FP),
        Insn::alu64_imm(alu::ADD, Reg::R4, -size),
        Insn::mov_imm(Reg::R5, size),
        Insn::call_helper(PERF_EVENT_OUTPUT),
        Insn::exit(),
    ]);
    code
}
