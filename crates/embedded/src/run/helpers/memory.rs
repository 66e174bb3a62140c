//! Reading memory that is not the program's own (`kernel/trace/bpf_trace.c`).
//!
//! "User" is the memory of the traced task. "Kernel" is what the embedded kernel gives programs
//! addresses of: the task's registers, and maps. Addresses of the real kernel are not readable.

use bombus_vm::TrapKind;

use super::{Context, failure};

/// The addresses of user space on x86-64 (`TASK_SIZE_MAX`, with four-level page tables).
pub(in crate::run) const USER_END: u64 = 1 << 47;
/// Bytes to read at a time when looking for the end of a string.
const CHUNK: usize = 256;

/// The kernel's word for an address that is not in the space asked for (`copy_from_kernel_nofault`,
/// `mm/maccess.c`): the kernel's helpers pass it on.
const OUT_OF_SPACE: i32 = libc::ERANGE;

/// Whose memory.
#[derive(Clone, Copy)]
enum Space {
    User,
    Kernel,
    /// The old helpers: wherever the address is.
    Either,
}

impl Context<'_, '_, '_> {
    /// Reads up to `buffer.len()` bytes; how many there were.
    fn fetch(&mut self, space: Space, address: u64, buffer: &mut [u8]) -> usize {
        let user = address < USER_END;
        match space {
            Space::User | Space::Either if user => {
                let room = usize::try_from(USER_END - address).unwrap_or(usize::MAX);
                let len = buffer.len().min(room);
                self.run.task.read_memory(address, &mut buffer[..len])
            }
            Space::Kernel | Space::Either if !user => self.fetch_kernel(address, buffer),
            _ => 0,
        }
    }

    /// The error for what could not be read.
    fn fault(space: Space, address: u64) -> u64 {
        let out_of_space = matches!(space, Space::Kernel) && address < USER_END;
        failure(if out_of_space { OUT_OF_SPACE } else { libc::EFAULT })
    }

    /// As much as there is: strings end before their buffers do, and so may what they lie in.
    fn fetch_kernel(&mut self, address: u64, buffer: &mut [u8]) -> usize {
        if let Ok(bytes) = self.vm.read(self.run, address, buffer.len()) {
            buffer.copy_from_slice(bytes);
            return buffer.len();
        }
        let byte = |(index, to): (usize, &mut u8)| {
            let from = self.vm.read(self.run, address.wrapping_add(index as u64), 1).ok()?;
            *to = from[0];
            Some(())
        };
        buffer.iter_mut().enumerate().map_while(byte).count()
    }

    /// `(dst, size, src)`: all or nothing; what cannot be read becomes zeros.
    fn read_to(&mut self, space: Space) -> Result<u64, TrapKind> {
        let (to, size, from) = (self.arg(0), self.size(1)?, self.arg(2));
        let mut buffer = std::mem::take(&mut self.run.buffers.value);
        buffer.clear();
        // The destination bounds the buffer before memory is taken for it.
        self.vm.write(self.run, to, size)?;
        buffer.resize(size, 0);
        let complete = self.fetch(space, from, &mut buffer) == size;
        if !complete {
            buffer.fill(0);
        }
        self.vm.write(self.run, to, size)?.copy_from_slice(&buffer);
        self.run.buffers.value = buffer;
        Ok(if complete { 0 } else { Self::fault(space, from) })
    }

    /// `(dst, size, src)`: a string with its zero, cut off to fit; gives its length with the zero.
    fn read_string(&mut self, space: Space) -> Result<u64, TrapKind> {
        let (to, size, from) = (self.arg(0), self.size(1)?, self.arg(2));
        self.vm.write(self.run, to, size)?;
        let mut buffer = std::mem::take(&mut self.run.buffers.value);
        buffer.clear();
        let mut end = None;
        let mut faulted = false;
        while end.is_none() && !faulted && buffer.len() < size {
            let start = buffer.len();
            let chunk = CHUNK.min(size - start);
            buffer.resize(start + chunk, 0);
            let address = from.wrapping_add(start as u64);
            let got = self.fetch(space, address, &mut buffer[start..]);
            faulted = got < chunk;
            end = buffer[start..start + got].iter().position(|&byte| byte == 0);
            end = end.map(|position| start + position);
        }
        let result = match end {
            Some(zero) => {
                buffer.truncate(zero + 1);
                zero as u64 + 1
            }
            None if faulted => {
                buffer.clear();
                buffer.resize(size, 0);
                Self::fault(space, from)
            }
            None => {
                if let Some(last) = buffer.last_mut() {
                    *last = 0;
                }
                size as u64
            }
        };
        self.vm.write(self.run, to, buffer.len())?.copy_from_slice(&buffer);
        self.run.buffers.value = buffer;
        Ok(result)
    }
}

/// `probe_read(dst, size, src)`.
pub(super) fn probe_read(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    context.read_to(Space::Either)
}

/// `probe_read_user(dst, size, src)`.
pub(super) fn probe_read_user(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    context.read_to(Space::User)
}

/// `probe_read_kernel(dst, size, src)`.
pub(super) fn probe_read_kernel(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    context.read_to(Space::Kernel)
}

/// `probe_read_str(dst, size, src)`.
pub(super) fn probe_read_str(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    context.read_string(Space::Either)
}

/// `probe_read_user_str(dst, size, src)`.
pub(super) fn probe_read_user_str(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    context.read_string(Space::User)
}

/// `probe_read_kernel_str(dst, size, src)`.
pub(super) fn probe_read_kernel_str(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    context.read_string(Space::Kernel)
}

/// `strncmp(s1, size, s2)`: the difference of the first bytes that differ.
pub(super) fn strncmp(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let (first, size, second) = (context.arg(0), context.size(1)?, context.arg(2));
    for index in 0..size as u64 {
        let a = context.vm.read(context.run, first.wrapping_add(index), 1)?[0];
        let b = context.vm.read(context.run, second.wrapping_add(index), 1)?[0];
        if a != b || a == 0 {
            return Ok((i64::from(a) - i64::from(b)) as u64);
        }
    }
    Ok(0)
}
