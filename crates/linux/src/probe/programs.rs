//! Types of programs, and the helpers that they may call.

use std::os::fd::OwnedFd;

use bombus_isa::{Insn, Reg};
use bombus_kernel::{Error, Result};
use bombus_platform::{AttachType, ProgType};

use crate::Linux;
use crate::error::privileged;
use crate::programs::{version_code, wanted};
use crate::sys::prog::{self, ProgAttr};
use crate::sys::{ENOTSUPP, Errno};

/// Room for what the verifier says about a program of two instructions.
const LOG: usize = 4096;

/// What the verifier says of a helper that it does not know, or not for a type of programs.
pub(super) const REFUSALS: [&str; 3] =
    ["invalid func ", "unknown func ", "program of this type cannot use helper"];

/// `BPF_F_SLEEPABLE`.
const SLEEPABLE: u32 = 1 << 4;

/// What a program of a type has to say of itself to be looked at.
fn attributes(linux: &Linux, prog_type: ProgType) -> ProgAttr<'static> {
    let attach_type = match prog_type {
        ProgType::CgroupSockAddr => AttachType::CgroupInet4Connect,
        ProgType::CgroupSockopt => AttachType::CgroupGetsockopt,
        ProgType::SkLookup => AttachType::SkLookup,
        ProgType::LircMode2 => AttachType::LircMode2,
        ProgType::Netfilter => AttachType::Netfilter,
        ProgType::Tracing => AttachType::TraceFentry,
        ProgType::Lsm => AttachType::LsmMac,
        _ => AttachType::NONE,
    };
    // These have to be for some type of the kernel's. The first is none that they could be for:
    // that they are told so shows that the kernel knows what they are.
    let by_type = matches!(prog_type, ProgType::Tracing | ProgType::Lsm | ProgType::Ext);
    ProgAttr {
        prog_type: prog_type as u32,
        expected_attach_type: attach_type as u32,
        attach_btf_id: by_type.into(),
        flags: if prog_type == ProgType::Syscall { SLEEPABLE } else { 0 },
        kern_version: if prog_type == ProgType::Kprobe { version_code(linux) } else { 0 },
        ..ProgAttr::default()
    }
}

/// Loads these instructions; with room for it, the verifier says what it did.
pub(super) fn try_load(
    linux: &Linux,
    attr: &ProgAttr<'_>,
    insns: &[Insn],
    log: &mut [u8],
) -> std::result::Result<OwnedFd, Errno> {
    let insns: Vec<[u8; 8]> = insns.iter().map(|insn| insn.to_bytes()).collect();
    linux.permitted(|token| prog::prog_load(&ProgAttr { insns: &insns, token, ..*attr }, log))
}

/// The same; gives what the verifier said when it refused.
pub(super) fn explained(
    linux: &Linux,
    attr: &ProgAttr<'_>,
    insns: &[Insn],
) -> std::result::Result<OwnedFd, (Errno, String)> {
    let mut log = vec![0; LOG];
    try_load(linux, attr, insns, &mut log).map_err(|errno| {
        let end = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
        (errno, String::from_utf8_lossy(&log[..end]).into_owned())
    })
}

/// Loads these instructions as a program of this type.
pub(super) fn load(
    linux: &Linux,
    prog_type: ProgType,
    attach_type: AttachType,
    insns: &[Insn],
) -> std::result::Result<OwnedFd, Errno> {
    let attr =
        ProgAttr { expected_attach_type: attach_type as u32, ..attributes(linux, prog_type) };
    try_load(linux, &attr, insns, &mut [])
}

/// A program that does nothing.
pub(super) const NOTHING: [Insn; 2] = [Insn::mov_imm(Reg::R0, 0), Insn::exit()];

fn refused(what: String, prog_type: ProgType, errno: Errno) -> Error {
    privileged(format!("find out about {what}"), errno, wanted(prog_type))
}

pub(super) fn prog_type(linux: &Linux, prog_type: ProgType) -> Result<bool> {
    match explained(linux, &attributes(linux, prog_type), &NOTHING) {
        Ok(_) => Ok(true),
        Err((errno @ (libc::EPERM | libc::EACCES), _)) => {
            Err(refused(format!("programs of type {}", prog_type.name()), prog_type, errno))
        }
        // Its members come with types that do not exist.
        Err((ENOTSUPP, _)) => Ok(prog_type == ProgType::StructOps),
        Err((libc::EINVAL, log)) => Ok(match prog_type {
            ProgType::Tracing | ProgType::Lsm => log.contains("attach_btf_id 1 is not a function"),
            ProgType::Ext => log.contains("Cannot replace kernel functions"),
            // It has to return one of its own verdicts, of which nothing is none.
            _ => log.contains("At program exit"),
        }),
        Err(_) => Ok(false),
    }
}

pub(super) fn helper(linux: &Linux, prog_type: ProgType, id: u32) -> Result<bool> {
    let what = || format!("helper {id} in programs of type {}", prog_type.name());
    if matches!(prog_type, ProgType::Tracing | ProgType::Ext | ProgType::Lsm | ProgType::StructOps)
    {
        return Err(Error::Unsupported {
            what: format!("cannot find out about {}", what()),
            help: Some("it depends on what they attach to".into()),
        });
    }
    let call = [Insn::call_helper(id as i32), Insn::exit()];
    match explained(linux, &attributes(linux, prog_type), &call) {
        Ok(_) => Ok(true),
        Err((errno @ (libc::EPERM | libc::EACCES), log)) if log.is_empty() => {
            Err(refused(what(), prog_type, errno))
        }
        // The kernel does not know the type.
        Err((_, log)) if log.is_empty() => Ok(false),
        // It does not know the helper, or not for this type. All else is about arguments.
        Err((_, log)) => Ok(!REFUSALS.iter().any(|refusal| log.contains(refusal))),
    }
}
