//! Kinds of links. Each is asked for with a target that does not exist: who has them says so, who
//! has not says that the request makes no sense.

use std::os::fd::AsFd;

use bombus_isa::{Insn, Reg};
use bombus_kernel::Feature;
use bombus_platform::{AttachType, ProgType};

use super::programs::{self, NOTHING};
use crate::Linux;
use crate::sys::link::{self, LinkOptions, Target};
use crate::sys::{Errno, object};

/// The network device that nobody has.
const NO_DEVICE: Target<'_> = Target::Device(i32::MAX as u32);

pub(super) fn ask(linux: &Linux, feature: Feature) -> Option<bool> {
    let allow = [Insn::mov_imm(Reg::R0, 1), Insn::exit()];
    let no_functions = [c"bombus no such function".to_owned()];
    let many_functions =
        LinkOptions::Kprobes { on_return: false, symbols: &no_functions, cookies: &[0] };
    let directory = LinkOptions::Uprobes {
        on_return: false,
        path: c"/",
        offsets: &[0],
        semaphores: &[0],
        cookies: &[0],
        pid: 0,
    };
    let among = LinkOptions::Among { relative: 0, revision: 0 };
    let plain = LinkOptions::Plain;
    // A protocol family without hooks.
    let no_family = LinkOptions::Netfilter { family: 255, hook: 0, priority: 0, flags: 0 };
    let (prog_type, attach_type, target, options, wanted) = match feature {
        Feature::PerfLink => {
            (ProgType::Tracepoint, AttachType::PerfEvent, Target::NoFd, plain, libc::EBADF)
        }
        Feature::CgroupLink => {
            (ProgType::CgroupSkb, AttachType::CgroupInetIngress, Target::NoFd, plain, libc::EBADF)
        }
        Feature::NetnsLink => {
            (ProgType::FlowDissector, AttachType::FlowDissector, Target::NoFd, plain, libc::EBADF)
        }
        Feature::SockmapLink => {
            (ProgType::SkSkb, AttachType::SkSkbVerdict, Target::NoFd, plain, libc::EBADF)
        }
        Feature::TcxLink => {
            (ProgType::SchedCls, AttachType::TcxIngress, NO_DEVICE, among, libc::ENODEV)
        }
        Feature::NetkitLink => {
            (ProgType::SchedCls, AttachType::NetkitPrimary, NO_DEVICE, among, libc::ENODEV)
        }
        Feature::NetfilterLink => (
            ProgType::Netfilter,
            AttachType::Netfilter,
            Target::Nothing,
            no_family,
            libc::EAFNOSUPPORT,
        ),
        Feature::KprobeMultiLink => {
            let attach_type = AttachType::TraceKprobeMulti;
            (ProgType::Kprobe, attach_type, Target::Nothing, many_functions, libc::ESRCH)
        }
        Feature::UprobeMultiLink => {
            let attach_type = AttachType::TraceUprobeMulti;
            (ProgType::Kprobe, attach_type, Target::Nothing, directory, libc::EBADF)
        }
        // Not a link, but asked the same way.
        Feature::Token => return Some(object::no_token() == libc::EBADF),
        _ => return None,
    };
    // What is expected when it is loaded, where that matters.
    let expected = match attach_type {
        AttachType::PerfEvent => AttachType::NONE,
        attach_type => attach_type,
    };
    let code = if prog_type == ProgType::CgroupSkb { allow } else { NOTHING };
    let link = || -> Result<_, Errno> {
        let program = programs::load(linux, prog_type, expected, &code)?;
        link::create(program.as_fd(), target, attach_type as u32, 0, &options)
    };
    match link() {
        Err(libc::EPERM | libc::EACCES) => None,
        Err(errno) => Some(errno == wanted),
        Ok(_) => None,
    }
}
