//! Runs the code in the running kernel, by `BPF_PROG_TEST_RUN` of a program of type `syscall`,
//! whose context is plain memory.

use std::ffi::c_void;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use bombus_btf::{Builder, Linkage};
use bombus_compiler::Compiled;
use bombus_spec::MapSpec;

use super::Outcome;
use super::vm::with_map_numbers;

const BPF_MAP_CREATE: i32 = 0;
const BPF_PROG_LOAD: i32 = 5;
const BPF_PROG_TEST_RUN: i32 = 10;
const BPF_BTF_LOAD: i32 = 18;
const BPF_PROG_TYPE_SYSCALL: u32 = 31;
const BPF_F_SLEEPABLE: u32 = 1 << 4;

/// The attributes of a command, filled field by field.
struct Attr([u8; 128]);

impl Attr {
    fn new() -> Attr {
        Attr([0; 128])
    }

    fn u32(mut self, at: usize, value: u32) -> Attr {
        self.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        self
    }

    fn address(mut self, at: usize, address: *const c_void) -> Attr {
        self.0[at..at + 8].copy_from_slice(&(address as u64).to_ne_bytes());
        self
    }

    fn get_u32(&self, at: usize) -> u32 {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&self.0[at..at + 4]);
        u32::from_ne_bytes(bytes)
    }

    fn call(&mut self, command: i32) -> std::io::Result<i32> {
        // SAFETY: the attributes are as long as we say, and the buffers that they point to are
        // alive in the caller for the length of the call.
        let result =
            unsafe { libc::syscall(libc::SYS_bpf, command, self.0.as_mut_ptr(), self.0.len()) };
        if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(result as i32) }
    }
}

fn owned(fd: i32) -> OwnedFd {
    // SAFETY: the kernel has just given it to us.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Why this machine cannot run programs, if it cannot.
pub(crate) fn unavailable() -> Option<String> {
    let mut attr = Attr::new().u32(0, 2).u32(4, 4).u32(8, 8).u32(12, 1);
    match attr.call(BPF_MAP_CREATE) {
        Ok(fd) => {
            drop(owned(fd));
            None
        }
        Err(error) => Some(format!("bpf(2): {error}")),
    }
}

fn create(map: &MapSpec) -> std::io::Result<OwnedFd> {
    let mut attr = Attr::new()
        .u32(0, map.map_type as u32)
        .u32(4, map.key_size)
        .u32(8, map.value_size)
        .u32(12, map.max_entries);
    attr.call(BPF_MAP_CREATE).map(owned)
}

/// Types and records of the functions: the kernel wants them where there are callbacks.
fn functions(compiled: &Compiled) -> (Vec<u8>, Vec<u8>) {
    let mut btf = Builder::new();
    let mut records = Vec::new();
    for (i, func) in compiled.functions.iter().enumerate() {
        let long = btf.int("long", 8, true);
        let names = ["a", "b", "c", "d", "e"];
        let args: Vec<_> =
            names.iter().take(func.args as usize).map(|&name| (name, long)).collect();
        let proto = btf.func_proto(long, &args);
        let linkage = if i == 0 { Linkage::Global } else { Linkage::Static };
        let id = btf.func(&func.name, proto, linkage);
        records.extend(func.start.to_ne_bytes());
        records.extend(id.0.to_ne_bytes());
    }
    (btf.finish(), records)
}

fn load_btf(btf: &[u8]) -> std::io::Result<OwnedFd> {
    let mut attr = Attr::new().address(0, btf.as_ptr().cast()).u32(16, btf.len() as u32);
    attr.call(BPF_BTF_LOAD).map(owned)
}

/// Loads and runs the program over a context. An error has the kernel verifier's log.
pub(crate) fn run(
    compiled: &Compiled,
    context: &[u8],
    maps: &[MapSpec],
) -> Result<Outcome, String> {
    let fds: Vec<OwnedFd> =
        maps.iter().map(create).collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    let numbers: Vec<i32> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let code: Vec<u8> =
        with_map_numbers(compiled, &numbers).iter().flat_map(|insn| insn.to_bytes()).collect();
    let (btf, functions) = functions(compiled);
    let btf = load_btf(&btf).map_err(|error| format!("BTF: {error}"))?;
    let mut log = vec![0_u8; 1 << 20];
    let mut load = Attr::new()
        .u32(0, BPF_PROG_TYPE_SYSCALL)
        .u32(4, (code.len() / 8) as u32)
        .address(8, code.as_ptr().cast())
        .address(16, c"GPL".as_ptr().cast())
        .u32(24, 1)
        .u32(28, log.len() as u32)
        .address(32, log.as_mut_ptr().cast())
        .u32(44, BPF_F_SLEEPABLE)
        .u32(72, btf.as_raw_fd() as u32)
        .u32(76, 8)
        .address(80, functions.as_ptr().cast())
        .u32(88, compiled.functions.len() as u32);
    let program = load.call(BPF_PROG_LOAD).map(owned).map_err(|error| {
        let end = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
        format!("{error}\n{}", String::from_utf8_lossy(&log[..end]))
    })?;
    let mut context = context.to_vec();
    let mut run = Attr::new()
        .u32(0, program.as_raw_fd() as u32)
        .u32(40, context.len() as u32)
        .address(48, context.as_mut_ptr().cast());
    run.call(BPF_PROG_TEST_RUN).map_err(|error| format!("test run: {error}"))?;
    Ok((u64::from(run.get_u32(4)), context))
}
