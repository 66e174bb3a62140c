//! This process and its children: capabilities, limits, version, exit statuses.

use super::{Errno, check};

/// The words of `capget(2)`'s answer.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapabilityWords {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// `_LINUX_CAPABILITY_VERSION_3`.
const VERSION_3: u32 = 0x2008_0522;

/// The effective capabilities of this thread, one bit each.
pub(crate) fn effective_capabilities() -> Result<u64, Errno> {
    let mut header = [VERSION_3, 0];
    let mut words = [CapabilityWords::default(); 2];
    // SAFETY: version 3 reads a header of two words and writes two structures.
    check(unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), words.as_mut_ptr()) })?;
    Ok(u64::from(words[0].effective) | u64::from(words[1].effective) << 32)
}

/// Takes capabilities from the effective ones of this thread, one bit each. They stay permitted.
pub(crate) fn drop_effective(bits: u64) -> Result<(), Errno> {
    let mut header = [VERSION_3, 0];
    let mut words = [CapabilityWords::default(); 2];
    // SAFETY: version 3 reads a header of two words and writes two structures.
    check(unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), words.as_mut_ptr()) })?;
    words[0].effective &= !(bits as u32);
    words[1].effective &= !((bits >> 32) as u32);
    // SAFETY: as above, but the structures are read.
    check(unsafe { libc::syscall(libc::SYS_capset, header.as_mut_ptr(), words.as_ptr()) }).map(drop)
}

/// Hands all capabilities of this thread on to the programs that it becomes or starts: they would
/// lose them, not being root's (`capabilities(7)`, ambient).
pub(crate) fn hand_on_capabilities() -> Result<(), Errno> {
    let mut header = [VERSION_3, 0];
    let mut words = [CapabilityWords::default(); 2];
    // SAFETY: version 3 reads a header of two words and writes two structures.
    check(unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), words.as_mut_ptr()) })?;
    for word in &mut words {
        word.inheritable = word.permitted;
    }
    // SAFETY: as above, but the structures are read.
    check(unsafe { libc::syscall(libc::SYS_capset, header.as_mut_ptr(), words.as_ptr()) })?;
    let permitted = u64::from(words[0].permitted) | u64::from(words[1].permitted) << 32;
    for capability in (0..64).filter(|bit| permitted >> bit & 1 == 1) {
        let raise = libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong;
        // SAFETY: only numbers are passed.
        check(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, raise, capability, 0, 0) }.into())?;
    }
    Ok(())
}

/// Lifts the limit on locked memory, against which kernels before 5.11 count maps.
pub(crate) fn lift_memlock_limit() -> Result<(), Errno> {
    let unlimited = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: `unlimited` outlives the call.
    check(unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &unlimited) }.into()).map(drop)
}

/// The kernel's release, for example `6.18.44-amd64`.
pub(crate) fn release() -> Result<String, Errno> {
    // SAFETY: `struct utsname` is plain characters.
    let mut names: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: `names` outlives the call.
    check(unsafe { libc::uname(&mut names) }.into())?;
    let bytes = names.release.iter().map(|&byte| byte as u8).take_while(|&byte| byte != 0);
    Ok(String::from_utf8_lossy(&bytes.collect::<Vec<u8>>()).into_owned())
}

/// Collects a child that has ended: its wait status, or `None` when it has not.
pub(crate) fn try_wait(pid: u32) -> Result<Option<i32>, Errno> {
    wait(pid, libc::WNOHANG)
}

/// Waits for a child to end.
pub(crate) fn wait_for(pid: u32) -> Result<Option<i32>, Errno> {
    wait(pid, 0)
}

fn wait(pid: u32, options: i32) -> Result<Option<i32>, Errno> {
    let pid = i32::try_from(pid).map_err(|_| libc::ECHILD)?;
    let mut status = 0;
    loop {
        // SAFETY: `status` outlives the call.
        match check(unsafe { libc::waitpid(pid, &mut status, options) }.into()) {
            Ok(0) => return Ok(None),
            Ok(_) => return Ok(Some(status)),
            Err(libc::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}
