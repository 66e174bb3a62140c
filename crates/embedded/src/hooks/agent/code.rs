//! The agent's machine code, and where its parts are.
//!
//! `syscall` leaves nothing in `rcx` and `r11` (Intel SDM, volume 2, SYSCALL), and the comparison
//! that follows every replaced instruction overwrites the flags: those the trampoline may use. It
//! uses no stack, so that `vfork` and stacks of any kind are no concern of it.

use std::arch::global_asm;

use super::{CONTROL, GATE, GATE_SIZE, RINGS, TABLE, TABLE_SIZE, ring};

/// Bytes between trampolines.
pub(super) const TRAMPOLINE_STRIDE: usize = 128;
/// Bytes between gates.
const GATE_STRIDE: u64 = 32;
/// Where the gates begin; the code that prepares a process is before.
const FIRST_GATE: u64 = GATE + 0x400;
/// Trampolines that there is room for.
pub(super) const TRAMPOLINES: usize = 512;
/// Bytes of all trampolines.
pub(super) const NEAR_SIZE: u64 = (TRAMPOLINES * TRAMPOLINE_STRIDE) as u64;
const _: () = assert!(FIRST_GATE + TRAMPOLINES as u64 * GATE_STRIDE <= GATE + GATE_SIZE);

/// Where the prepared process leaves what it got, in the control page.
pub(super) const RESULTS: usize = 8;

/// Longest instructions that are replaced: `syscall; cmp rax, NUMBER`.
pub(super) const MAX_SITE: usize = 8;

/// The length of the instructions at the start of `code` if they can be replaced: `syscall` and a
/// comparison of `rax` or `eax` with a number.
pub(super) fn site_length(code: &[u8]) -> Option<usize> {
    match code {
        [0x0f, 0x05, 0x48, 0x3d, _, _, _, _, ..] => Some(8),
        [0x0f, 0x05, 0x3d, _, _, _, _, ..] => Some(7),
        _ => None,
    }
}

global_asm!(
    ".pushsection .rodata.bombus_agent, \"a\", @progbits",
    ".globl bombus_agent_trampoline", ".hidden bombus_agent_trampoline",
    ".globl bombus_agent_pass", ".hidden bombus_agent_pass",
    ".globl bombus_agent_slow", ".hidden bombus_agent_slow",
    ".globl bombus_agent_trampoline_end", ".hidden bombus_agent_trampoline_end",
    ".globl bombus_agent_gate", ".hidden bombus_agent_gate",
    ".globl bombus_agent_gate_end", ".hidden bombus_agent_gate_end",
    ".globl bombus_agent_prepare", ".hidden bombus_agent_prepare",
    ".globl bombus_agent_prepare_number", ".hidden bombus_agent_prepare_number",
    ".globl bombus_agent_back", ".hidden bombus_agent_back",
    ".globl bombus_agent_path", ".hidden bombus_agent_path",
    ".globl bombus_agent_prepare_end", ".hidden bombus_agent_prepare_end",
    // What to do with the call?
    "bombus_agent_trampoline:",
    "mov r11d, {control}",
    "cmp eax, {table_size}",
    "jae bombus_agent_slow",
    "mov ecx, eax",
    "movzx ecx, byte ptr [r11 + rcx + {table}]",
    "cmp ecx, 1",
    "jb bombus_agent_slow",
    "ja bombus_agent_pass",
    // Take it down. Complete once the length is stored; until then it can begin anew.
    "mov r11, [r11]",
    "mov rcx, [r11]",
    "cmp rcx, {ring_size}",
    "jae bombus_agent_slow",
    "mov [r11 + rcx], rax",
    "mov [r11 + rcx + 8], rdi",
    "mov [r11 + rcx + 16], rsi",
    "mov [r11 + rcx + 24], rdx",
    "mov [r11 + rcx + 32], r10",
    "mov [r11 + rcx + 40], r8",
    "mov [r11 + rcx + 48], r9",
    "add rcx, {record_size}",
    "mov [r11], rcx",
    "bombus_agent_pass:",
    // To its gate, whose address is filled in.
    "mov r11d, {gate}",
    "jmp r11",
    "bombus_agent_slow:",
    // The instructions that were replaced; these two stand for them.
    "syscall",
    "cmp rax, -4096",
    // Back, the distance is filled in.
    ".byte 0xe9, 0, 0, 0, 0",
    "bombus_agent_trampoline_end:",
    // The gate of one trampoline.
    "bombus_agent_gate:",
    "syscall",
    "cmp rax, -4096",
    "jmp qword ptr [rip]",
    // Here follows the address behind the replaced instruction.
    "bombus_agent_gate_end:",
    // Prepares the process: maps the control page, the trampolines and the rings.
    "bombus_agent_prepare:",
    "mov eax, {mmap}",
    "mov edi, {control}",
    "mov esi, 4096",
    "mov edx, {read_write}",
    "mov r10d, {fixed}",
    "mov r8, -1",
    "xor r9d, r9d",
    "syscall",
    "cmp rax, {control}",
    "jne 9f",
    "mov ebx, {control}",
    "mov eax, {madvise}",
    "mov edi, {control}",
    "mov esi, 4096",
    "mov edx, {wipe_on_fork}",
    "syscall",
    "test rax, rax",
    "jnz 9f",
    "mov eax, {mmap}",
    "xor edi, edi",
    "mov esi, {near_size}",
    "mov edx, {read_execute}",
    "mov r10d, {anywhere}",
    "mov r8, -1",
    "xor r9d, r9d",
    "syscall",
    "mov [rbx + {results}], rax",
    "mov eax, {openat}",
    "mov edi, -100",
    "lea rsi, [rip + bombus_agent_path]",
    "mov edx, {open_flags}",
    "xor r10d, r10d",
    "syscall",
    "mov rbp, rax",
    "test rax, rax",
    "js 9f",
    "mov eax, {mmap}",
    "mov edi, {rings}",
    "mov esi, {rings_size}",
    "mov edx, {read_write}",
    "mov r10d, {fixed_shared}",
    "mov r8, rbp",
    "xor r9d, r9d",
    "syscall",
    "mov [rbx + {results} + 8], rax",
    "mov eax, {close}",
    "mov rdi, rbp",
    "syscall",
    "9:",
    // The call that was interrupted, for the filter to stop: its number and its instruction's
    // address are filled in.
    "bombus_agent_prepare_number:",
    ".byte 0xb8, 0, 0, 0, 0",
    "jmp qword ptr [rip + bombus_agent_back]",
    "bombus_agent_back:",
    ".quad 0",
    "bombus_agent_path:",
    "bombus_agent_prepare_end:",
    ".popsection",
    control = const CONTROL,
    table = const TABLE,
    table_size = const TABLE_SIZE,
    ring_size = const ring::SIZE,
    record_size = const ring::RECORD,
    // A number that needs all of its four bytes.
    gate = const GATE,
    mmap = const libc::SYS_mmap,
    madvise = const libc::SYS_madvise,
    openat = const libc::SYS_openat,
    close = const libc::SYS_close,
    read_write = const libc::PROT_READ | libc::PROT_WRITE,
    read_execute = const libc::PROT_READ | libc::PROT_EXEC,
    fixed = const libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE,
    anywhere = const libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    fixed_shared = const libc::MAP_SHARED | libc::MAP_FIXED_NOREPLACE,
    wipe_on_fork = const libc::MADV_WIPEONFORK,
    near_size = const NEAR_SIZE,
    open_flags = const libc::O_RDWR | libc::O_CLOEXEC,
    results = const RESULTS,
    rings = const RINGS,
    rings_size = const ring::SIZE * ring::COUNT,
);

unsafe extern "C" {
    safe static bombus_agent_trampoline: u8;
    safe static bombus_agent_pass: u8;
    safe static bombus_agent_slow: u8;
    safe static bombus_agent_trampoline_end: u8;
    safe static bombus_agent_gate: u8;
    safe static bombus_agent_gate_end: u8;
    safe static bombus_agent_prepare: u8;
    safe static bombus_agent_prepare_number: u8;
    safe static bombus_agent_back: u8;
    safe static bombus_agent_prepare_end: u8;
}

/// Bytes from one label to another.
fn distance(from: &'static u8, to: &'static u8) -> usize {
    (&raw const *to).addr() - (&raw const *from).addr()
}

/// The code between two labels.
fn between(from: &'static u8, to: &'static u8) -> Vec<u8> {
    // SAFETY: both labels are in one section of this program's read-only data, in this order.
    unsafe { std::slice::from_raw_parts(from, distance(from, to)) }.to_vec()
}

/// The instruction of a `syscall` is this long.
pub(super) const SYSCALL_LENGTH: u64 = 2;

/// The code that prepares a process and then makes the call `nr` at `site`; `path` is the file with
/// the rings.
pub(super) fn prepare(nr: u32, site: u64, path: &str) -> Vec<u8> {
    let start = &bombus_agent_prepare;
    let mut code = between(start, &bombus_agent_prepare_end);
    let number = distance(start, &bombus_agent_prepare_number) + 1;
    code[number..number + 4].copy_from_slice(&nr.to_le_bytes());
    let back = distance(start, &bombus_agent_back);
    code[back..back + 8].copy_from_slice(&site.to_le_bytes());
    code.extend(path.as_bytes());
    code.push(0);
    code
}

/// What replaces an instruction.
#[derive(Debug)]
pub(super) struct Replacement {
    /// Address and code of the trampoline.
    pub(super) trampoline: (u64, Vec<u8>),
    /// Address and code of its gate.
    pub(super) gate: (u64, Vec<u8>),
    /// What comes in place of the instructions.
    pub(super) jump: Vec<u8>,
}

fn gate_address(index: usize) -> u64 {
    FIRST_GATE + index as u64 * GATE_STRIDE
}

/// The code for the instructions `replaced` at `site`, with the trampoline number `index`. `None`:
/// too far.
pub(super) fn replacement(
    site: u64,
    replaced: &[u8],
    near: u64,
    index: usize,
) -> Option<Replacement> {
    const NOP: u8 = 0x90;
    const INT3: u8 = 0xcc;
    let address = near + (index * TRAMPOLINE_STRIDE) as u64;
    let after = site + replaced.len() as u64;
    let mut copy = [NOP; MAX_SITE];
    copy[..replaced.len()].copy_from_slice(replaced);
    let relative = |from: u64, to: u64| i32::try_from(to.wrapping_sub(from) as i64).ok();
    let start = &bombus_agent_trampoline;
    let mut trampoline = between(start, &bombus_agent_trampoline_end);
    let gate_operand = distance(start, &bombus_agent_pass) + 2;
    let gate = gate_address(index);
    trampoline[gate_operand..gate_operand + 4].copy_from_slice(&(gate as u32).to_le_bytes());
    let slow = distance(start, &bombus_agent_slow);
    trampoline[slow..slow + MAX_SITE].copy_from_slice(&copy);
    let end = trampoline.len();
    let back = relative(address + end as u64, after)?;
    trampoline[end - 4..].copy_from_slice(&back.to_le_bytes());
    let mut through = between(&bombus_agent_gate, &bombus_agent_gate_end);
    through[..MAX_SITE].copy_from_slice(&copy);
    through.extend(after.to_le_bytes());
    let mut jump = vec![INT3; replaced.len()];
    jump[0] = 0xe9;
    jump[1..5].copy_from_slice(&relative(site + 5, address)?.to_le_bytes());
    Some(Replacement { trampoline: (address, trampoline), gate: (gate, through), jump })
}

/// Where a task has to go on that was stopped at `rip` by chance.
pub(super) fn way_out(rip: u64, near: u64) -> Option<u64> {
    let slow = distance(&bombus_agent_trampoline, &bombus_agent_slow) as u64;
    if let Some(offset) = rip.checked_sub(FIRST_GATE).filter(|_| rip < GATE + GATE_SIZE) {
        // Behind the gate's call: as if made by the slow way, where a restart is seen.
        let trampoline = near + offset / GATE_STRIDE * TRAMPOLINE_STRIDE as u64;
        return (offset % GATE_STRIDE == SYSCALL_LENGTH)
            .then_some(trampoline + slow + SYSCALL_LENGTH);
    }
    let offset = rip.checked_sub(near).filter(|&offset| offset < NEAR_SIZE)?;
    let inside = offset % TRAMPOLINE_STRIDE as u64;
    let pass = distance(&bombus_agent_trampoline, &bombus_agent_pass) as u64;
    (inside > 0 && inside < pass).then_some(rip - inside)
}

/// Whether an address is in the agent's own code.
pub(super) fn is_ours(rip: u64, near: u64) -> bool {
    (GATE..GATE + GATE_SIZE).contains(&rip) || (near..near + NEAR_SIZE).contains(&rip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_fit_their_places() {
        let site = 0x7fff_1000_0123;
        let near = 0x7fff_0fff_0000;
        let replaced = [0x0f, 0x05, 0x3d, 0, 0xf0, 0xff, 0xff];
        assert_eq!(site_length(&replaced), Some(replaced.len()));
        let made = replacement(site, &replaced, near, 3).unwrap();
        assert_eq!(made.jump.len(), replaced.len());
        assert!(made.trampoline.1.windows(8).any(|code| code[..7] == replaced && code[7] == 0x90));
        assert!(made.trampoline.1.len() <= TRAMPOLINE_STRIDE);
        assert!(made.gate.1.len() as u64 <= GATE_STRIDE);
        assert_eq!(made.trampoline.0, near + 3 * 128);
        let target = i32::from_le_bytes(made.jump[1..5].try_into().unwrap());
        assert_eq!((site + 5).wrapping_add_signed(target.into()), made.trampoline.0);
        assert!(replacement(site, &replaced, near - (3 << 30), 0).is_none());
        let prepared = prepare(257, site, "/proc/4194304/fd/1023");
        assert!(prepared.len() as u64 <= FIRST_GATE - GATE);
    }

    #[test]
    fn ways_out() {
        let near = 0x7fff_0fff_0000;
        let slow = distance(&bombus_agent_trampoline, &bombus_agent_slow) as u64;
        let pass = distance(&bombus_agent_trampoline, &bombus_agent_pass) as u64;
        let second = near + TRAMPOLINE_STRIDE as u64;
        assert_eq!(way_out(second, near), None);
        assert_eq!(way_out(second + 6, near), Some(second));
        assert_eq!(way_out(second + pass, near), None);
        assert_eq!(way_out(second + slow + 2, near), None);
        assert_eq!(way_out(gate_address(1), near), None);
        assert_eq!(way_out(gate_address(1) + 2, near), Some(second + slow + 2));
        assert_eq!(way_out(near + NEAR_SIZE + 6, near), None);
    }
}
