//! What the running kernel can do, by asking it: each question is a program, map or type that is
//! loaded and let go of at once, or a link whose target does not exist. Nothing is attached, and
//! nothing changes. The same questions as those of libbpf and of `bpftool feature probe`.
//!
//! Answers are kept for as long as the [`Linux`] that was asked.

mod code;
pub mod device;
mod links;
mod maps;
mod programs;
mod types;

use std::cell::RefCell;
use std::collections::HashMap;

use bombus_kernel::{Feature, Kernel, Result};
use bombus_platform::{MapType, ProgType};

use crate::sys::{Errno, object};
use crate::{KernelBtf, Linux};

/// What has been answered.
#[derive(Default)]
pub(crate) struct Answers(RefCell<HashMap<Question, bool>>);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Question {
    Feature(Feature),
    ProgType(ProgType),
    MapType(MapType),
    Helper(ProgType, u32),
}

/// An answer that was found out before, or now.
fn cached(linux: &Linux, question: Question, ask: impl FnOnce() -> Result<bool>) -> Result<bool> {
    if let Some(&answer) = linux.answers.0.borrow().get(&question) {
        return Ok(answer);
    }
    let answer = ask()?;
    linux.answers.0.borrow_mut().insert(question, answer);
    Ok(answer)
}

/// Whether the kernel has `bpf(2)`, allowed to this process or not.
pub fn system_call() -> bool {
    // Asking for a program that there is not fails one way or another.
    !matches!(object::by_id(object::Kind::Program, 0, 0), Err(libc::ENOSYS))
}

/// Whether the kernel has programs of this type. Fails when this process may not load them.
pub fn prog_type(linux: &Linux, prog_type: ProgType) -> Result<bool> {
    cached(linux, Question::ProgType(prog_type), || programs::prog_type(linux, prog_type))
}

/// Whether the kernel has maps of this type. Fails when this process may not create them.
pub fn map_type(linux: &Linux, map_type: MapType) -> Result<bool> {
    cached(linux, Question::MapType(map_type), || maps::map_type(linux, map_type))
}

/// Whether programs of this type may call the helper with this id. Fails when this process may not
/// load them, and for types whose helpers depend on what they attach to, which cannot be asked:
/// tracing by BTF, security hooks, replacements, callbacks.
pub fn helper(linux: &Linux, prog_type: ProgType, id: u32) -> Result<bool> {
    cached(linux, Question::Helper(prog_type, id), || programs::helper(linux, prog_type, id))
}

/// Whether the kernel can do this. What cannot be asked without changing something, or by this
/// process, its version decides.
pub fn feature(linux: &Linux, feature: Feature) -> bool {
    let answer = cached(linux, Question::Feature(feature), || {
        let by_version = linux.features.version >= feature.since();
        Ok(ask(linux, feature).unwrap_or(by_version))
    });
    // The question as it is put here does not fail.
    answer.unwrap_or(false)
}

fn ask(linux: &Linux, feature: Feature) -> Option<bool> {
    use bombus_kernel::Feature as F;
    match feature {
        F::ObjectNames
        | F::ExpectedAttachType
        | F::ArgCtxTag
        | F::GlobalData
        | F::ProgBindMap
        | F::ProbeReadKernel
        | F::LargePrograms
        | F::BoundedLoops
        | F::IsaV2
        | F::IsaV3
        | F::IsaV4
        | F::MemcgAccounting
        | F::AttachCookie => code::ask(linux, feature),
        F::Btf
        | F::BtfFunc
        | F::BtfFuncGlobal
        | F::BtfDatasec
        | F::BtfQuestionMark
        | F::BtfFloat
        | F::BtfDeclTag
        | F::BtfTypeTag
        | F::BtfEnum64
        | F::ModuleBtf => types::ask(linux, feature),
        F::MmapableArrays | F::MapFreeze | F::MapBatch => maps::ask(linux, feature),
        F::KernelBtf => Some(KernelBtf::exists()),
        F::SyscallWrapper => linux.resources.has_symbol("__x64_sys_bpf"),
        F::PerfLink
        | F::CgroupLink
        | F::NetnsLink
        | F::KprobeMultiLink
        | F::NetfilterLink
        | F::UprobeMultiLink
        | F::TcxLink
        | F::NetkitLink
        | F::SockmapLink
        | F::Token => links::ask(linux, feature),
        // An XDP link to no device fails as no XDP links do; the others would take effect.
        _ => None,
    }
}

/// Yes when it worked, no when it did not; nothing when that was for want of permission.
fn allowed<T>(outcome: std::result::Result<T, Errno>) -> Option<bool> {
    match outcome {
        Ok(_) => Some(true),
        Err(libc::EPERM | libc::EACCES | libc::ENOMEM) => None,
        Err(_) => Some(false),
    }
}

/// As [`Kernel::supports`], for all there is: for listings.
pub fn features(linux: &Linux) -> Vec<(Feature, bool)> {
    Feature::ALL.iter().map(|&feature| (feature, linux.supports(feature))).collect()
}
