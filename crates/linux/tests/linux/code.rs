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
