//! What the tests run filters with: the checked interpreter, and an interpreter of classic filters.

use std::cell::Cell;

use bombus_cbpf::{Filter, PacketAccess, SockFilter};
use bombus_vm::{Context, Execution, Nothing, Program, Stack, address};

/// The verdict of a filter that was converted, for a packet in memory with an Ethernet header.
pub(crate) fn converted(filter: &Filter, packet: &[u8], wire_len: u32) -> Result<u32, String> {
    let access = PacketAccess::Memory { network_header: 14 };
    let insns = filter.convert(access).map_err(|error| error.to_string())?;
    let program = Program::new(&insns, 0, &mut |_| None).map_err(|error| error.to_string())?;
    let mut stack = Stack::default();
    let mut execution = Execution::new(&mut stack, Context::ReadOnly(packet));
    let args = [address::pack(address::CTX, 0), packet.len() as u64, wire_len.into()];
    let value = execution.run_with(&program, &args, &mut Nothing);
    value.map(|value| value as u32).map_err(|trap| trap.to_string())
}

/// The verdict of a valid filter, instruction by instruction, written from the manual (`bpf(4)` of
/// the BSDs) and independent of the crate but for the type.
#[allow(dead_code, reason = "not every test wants it")]
pub(crate) fn interpreted(insns: &[SockFilter], packet: &[u8], wire_len: u32) -> u32 {
    run_classic(insns, packet, wire_len).0
}

/// The verdict, and whether anything was read at an offset that counts from a header.
#[allow(dead_code, reason = "not every test wants it")]
pub(crate) fn run_classic(insns: &[SockFilter], packet: &[u8], wire_len: u32) -> (u32, bool) {
    let from_header = Cell::new(false);
    let verdict = classic(insns, packet, wire_len, &from_header);
    (verdict, from_header.get())
}

fn classic(insns: &[SockFilter], packet: &[u8], wire_len: u32, from_header: &Cell<bool>) -> u32 {
    let (mut a, mut x, mut m, mut pc) = (0u32, 0u32, [0u32; 16], 0usize);
    let fetch = |offset: u32, size: usize| -> Option<u32> {
        from_header.set(from_header.get() || (offset as i32) < 0);
        let offset = match offset as i32 {
            0.. => offset,
            -0x10_0000.. => offset.wrapping_add(0x10_0000) + 14,
            -0x20_0000.. => offset.wrapping_add(0x20_0000),
            _ => return None,
        } as usize;
        let bytes = packet.get(offset..offset + size)?;
        Some(bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    };
    loop {
        let SockFilter { code, jt, jf, k } = insns[pc];
        pc += 1;
        let size = match code & 0x18 {
            0x00 => 4,
            0x08 => 2,
            _ => 1,
        };
        let operand = if code & 8 != 0 { x } else { k };
        match (code & 7, code) {
            (0, _) => {
                a = match code & 0xe0 {
                    0x00 => k,
                    0x20 if k == -0x1000i32 as u32 + 40 => a ^ x,
                    0x20 => match fetch(k, size) {
                        Some(value) => value,
                        None => return 0,
                    },
                    0x40 => match fetch(x.wrapping_add(k), size) {
                        Some(value) => value,
                        None => return 0,
                    },
                    0x60 => m[k as usize],
                    _ => wire_len,
                }
            }
            (1, _) => {
                x = match code & 0xe0 {
                    0x00 => k,
                    0x60 => m[k as usize],
                    0x80 => wire_len,
                    _ => match fetch(k, 1) {
                        Some(byte) => 4 * (byte & 15),
                        None => return 0,
                    },
                }
            }
            (2, _) => m[k as usize] = a,
            (3, _) => m[k as usize] = x,
            (4, _) => {
                a = match code & 0xf0 {
                    0x00 => a.wrapping_add(operand),
                    0x10 => a.wrapping_sub(operand),
                    0x20 => a.wrapping_mul(operand),
                    0x30 if operand == 0 => return 0,
                    0x30 => a / operand,
                    0x40 => a | operand,
                    0x50 => a & operand,
                    0x60 => a.wrapping_shl(operand),
                    0x70 => a.wrapping_shr(operand),
                    0x80 => a.wrapping_neg(),
                    0x90 if operand == 0 => return 0,
                    0x90 => a % operand,
                    _ => a ^ operand,
                }
            }
            (5, 5) => pc += k as usize,
            (5, _) => {
                let holds = match code & 0xf0 {
                    0x10 => a == operand,
                    0x20 => a > operand,
                    0x30 => a >= operand,
                    _ => a & operand != 0,
                };
                pc += usize::from(if holds { jt } else { jf });
            }
            (6, 0x06) => return k,
            (6, _) => return a,
            (_, 0x07) => x = a,
            _ => a = x,
        }
    }
}
