//! A process without any rights of its own, in a user namespace, that uses those which a BPF file
//! system passes on to it.

use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Command, Stdio};

use bombus_kernel::{AttachTo, Error, Feature, Kernel};
use bombus_linux::Linux;
use bombus_platform::{AttachType, MapType, ProgType};
use libtest_mimic::Failed;

use crate::{Test, code, ensure, load_for, map_spec, workload};

pub(crate) const TESTS: &[Test] = &[("token::rights", rights)];

const FSCONFIG_SET_STRING: u32 = 1;
const FSCONFIG_CMD_CREATE: u32 = 6;

fn rights() -> Result<(), Failed> {
    if !Linux::new()?.supports(Feature::Token) {
        println!("skipped: this kernel has no BPF tokens");
        return Ok(());
    }
    let argv = workload::argv("token", 0)?;
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let mut output = BufReader::new(child.stdout.take().ok_or("no output")?);
    let mut line = String::new();
    output.read_line(&mut line)?;
    let passed_on = match line.trim().parse() {
        Ok(number) => pass_on(child.id(), number),
        Err(_) => {
            println!("skipped: no user namespaces: {}", line.trim());
            return Ok(child.wait().map(drop)?);
        }
    };
    drop(child.stdin.take());
    line.clear();
    output.read_to_string(&mut line)?;
    child.wait()?;
    passed_on?;
    ensure(line == "done\n", || line.clone())
}

fn check(value: libc::c_long) -> std::io::Result<libc::c_long> {
    if value < 0 { Err(std::io::Error::last_os_error()) } else { Ok(value) }
}

/// As the machine's root: has the file system that another process has under construction pass
/// on everything.
fn pass_on(pid: u32, number: i32) -> Result<(), Failed> {
    // SAFETY: numbers only; the descriptors are new and ours alone.
    let file_system = unsafe {
        let process = check(libc::syscall(libc::SYS_pidfd_open, pid, 0))?;
        let process = OwnedFd::from_raw_fd(process as i32);
        let fd = check(libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0))?;
        OwnedFd::from_raw_fd(fd as i32)
    };
    let fd = file_system.as_raw_fd();
    for key in [c"delegate_cmds", c"delegate_maps", c"delegate_progs", c"delegate_attachs"] {
        let (key, any) = (key.as_ptr(), c"any".as_ptr());
        // SAFETY: both are C strings.
        check(unsafe { libc::syscall(libc::SYS_fsconfig, fd, FSCONFIG_SET_STRING, key, any, 0) })?;
    }
    let (create, null) = (FSCONFIG_CMD_CREATE, std::ptr::null::<u8>());
    // SAFETY: this command takes no key and no value.
    check(unsafe { libc::syscall(libc::SYS_fsconfig, fd, create, null, null, 0) })?;
    Ok(())
}

/// In the other process: what becomes of it, in words.
pub(crate) fn use_token() -> Result<(), Failed> {
    // SAFETY: numbers and a C string; this process has one thread.
    let file_system = unsafe {
        check(libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS).into())?;
        check(libc::syscall(libc::SYS_fsopen, c"bpf".as_ptr(), 0))?
    };
    println!("{file_system}");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    // SAFETY: numbers only; the descriptor is new and ours alone.
    let mount = unsafe {
        OwnedFd::from_raw_fd(check(libc::syscall(libc::SYS_fsmount, file_system, 0, 0))? as i32)
    };
    let linux = Linux::new()?;
    let trie = bombus_spec::MapSpec { flags: 1, ..map_spec(MapType::LpmTrie, 8, 4, 10) };
    match linux.map_create(&trie) {
        Err(Error::Privilege { .. }) => {}
        other => return Err(format!("without a token: {other:?}").into()),
    }
    // What was tried in vain is not tried again by this one.
    let linux = Linux::new()?;
    linux.use_token(format!("/proc/self/fd/{}", mount.as_raw_fd()).as_ref())?;
    linux.map_create(&trie)?;
    let pass = code::always(&[], 2);
    load_for(&linux, ProgType::Xdp, AttachType::Xdp, AttachTo::Nothing, &pass)?;
    ensure(linux.use_token("/".as_ref()).is_err(), || "a token of no BPF file system".into())?;
    println!("done");
    Ok(())
}
