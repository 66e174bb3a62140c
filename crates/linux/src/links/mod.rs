//! Attaching programs, and letting go of them.

mod callbacks;
mod cgroups;
mod devices;
mod multi;
mod perf_events;
mod probes;
mod sockets;
mod tc;
mod tracing;

pub(crate) use devices::set_xdp;

use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use bombus_kernel::{AttachPoint, Error, LinkFd, ProgFd, Result};

use crate::Linux;
use crate::caps::Wants;
use crate::error::{errno_of, privileged};
use crate::maps::OpenMap;
use crate::programs::{self, Program};
use crate::sys::{Errno, fork, hook, link, perf};

/// Everything that is attached.
#[derive(Default)]
pub(crate) struct Links {
    /// How many there have been: handles are numbers of attachments, not descriptors, because one
    /// attachment can have several.
    count: u32,
    open: BTreeMap<u32, Attached>,
}

/// One attachment.
#[derive(Default)]
struct Attached {
    links: Vec<OwnedFd>,
    events: Vec<OwnedFd>,
    /// What was attached without a link: only this takes it off.
    undo: Option<Undo>,
    /// Closing the links costs no grace period.
    quick: bool,
    /// It goes on after its descriptors are closed.
    pinned: bool,
}

/// How to take off what has no link.
enum Undo {
    /// `BPF_PROG_DETACH`.
    Program { program: OwnedFd, target: OwnedFd, attach_type: u32 },
    /// XDP before Linux 5.9.
    Xdp(devices::XdpProgram),
    /// A filter of the classic traffic control.
    Filter(tc::Filter),
    /// A socket's option.
    Socket(sockets::Filtered),
    /// A structure of callbacks that is in use because its map has it.
    Callbacks(Rc<OpenMap>),
}

impl Attached {
    /// A link whose closing waits for nobody.
    fn quick(link: OwnedFd) -> Attached {
        Attached { links: vec![link], quick: true, ..Attached::default() }
    }

    /// A link on code of the kernel's or of a user program's.
    fn tracing(link: OwnedFd) -> Attached {
        Attached { links: vec![link], ..Attached::default() }
    }

    /// What was attached without a link.
    fn without_link(undo: Undo) -> Attached {
        Attached { undo: Some(undo), quick: true, ..Attached::default() }
    }

    fn add(&mut self, other: Attached) {
        self.links.extend(other.links);
        self.events.extend(other.events);
    }
}

/// Attaches a program.
pub(crate) fn attach(
    linux: &Linux,
    program: ProgFd,
    at: &AttachPoint,
    cookie: u64,
) -> Result<LinkFd> {
    let attached = match at {
        // The program does not matter.
        AttachPoint::StructOps { map } => callbacks::attach(linux, *map)?,
        at => programs::with(linux, program, |program| one(linux, program, at, cookie))?,
    };
    Ok(register(linux, attached))
}

fn one(linux: &Linux, program: &Program, at: &AttachPoint, cookie: u64) -> Result<Attached> {
    match at {
        AttachPoint::Tracepoint { category, name } => {
            tracing::tracepoint(linux, program, category, name, cookie)
        }
        AttachPoint::RawTracepoint { name } => {
            tracing::raw_tracepoint(linux, program, name, cookie)
        }
        AttachPoint::Loaded => tracing::loaded(linux, program, cookie),
        AttachPoint::Replace { target, function } => {
            tracing::replace(linux, program, *target, function, cookie)
        }
        AttachPoint::Iter(target) => tracing::iterator(linux, program, target),
        AttachPoint::Uprobe { path, offset, on_return, pid } => {
            let place = probes::Place { path, offset: *offset, semaphore: 0 };
            probes::uprobe(linux, program, &place, *on_return, *pid, cookie)
        }
        AttachPoint::Usdt { path, place, pid } => {
            multi::uprobes(linux, program, path, &[*place], (false, false), *pid, cookie)
        }
        AttachPoint::Kprobe { symbol, offset, on_return } => {
            probes::kprobe(linux, program, symbol, *offset, *on_return, cookie)
        }
        AttachPoint::KprobeMulti { symbols, on_return, session } => {
            multi::kprobes(linux, program, symbols, (*on_return, *session), cookie)
        }
        AttachPoint::UprobeMulti { path, places, on_return, session, pid } => {
            multi::uprobes(linux, program, path, places, (*on_return, *session), *pid, cookie)
        }
        AttachPoint::PerfEvent { event_type, config, period, pid, cpu } => {
            let event = perf_events::Event { event_type: *event_type, config: *config };
            perf_events::event(linux, program, event, *period, (*pid, *cpu), cookie)
        }
        AttachPoint::Timer { period, every_cpu } => {
            perf_events::timer(linux, program, *period, *every_cpu, cookie)
        }
        AttachPoint::Xdp { ifindex, flags } => devices::xdp(linux, program, *ifindex, *flags),
        AttachPoint::TcFilter { ifindex, egress, priority, handle } => {
            tc::attach(program, *ifindex, *egress, *priority, *handle)
        }
        AttachPoint::Tcx { ifindex, egress, order, revision } => {
            devices::tcx(program, *ifindex, *egress, *order, *revision)
        }
        AttachPoint::Netkit { ifindex, peer, order, revision } => {
            devices::netkit(program, *ifindex, *peer, *order, *revision)
        }
        AttachPoint::Netfilter { family, hook, priority, defrag } => {
            devices::netfilter(program, *family, *hook, *priority, *defrag)
        }
        AttachPoint::Cgroup { path, attach_type } => cgroups::cgroup(program, path, *attach_type),
        AttachPoint::Netns { path, attach_type } => cgroups::netns(program, path, *attach_type),
        AttachPoint::Lirc { path } => cgroups::lirc(program, path),
        AttachPoint::Sockmap { map, attach_type } => {
            sockets::sockmap(linux, program, *map, *attach_type)
        }
        AttachPoint::Socket { fd, reuseport } => sockets::socket(program, *fd, *reuseport),
        AttachPoint::StructOps { map } => callbacks::attach(linux, *map),
    }
}

fn register(linux: &Linux, attached: Attached) -> LinkFd {
    let mut all = linux.links.borrow_mut();
    all.count += 1;
    let number = all.count;
    all.open.insert(number, attached);
    LinkFd(number)
}

/// A link that somebody else has made: closing it does not take it off.
pub(crate) fn open(linux: &Linux, link: OwnedFd) -> LinkFd {
    register(linux, Attached { pinned: true, ..Attached::quick(link) })
}

/// Does something with an attachment.
fn with<T>(
    linux: &Linux,
    link: LinkFd,
    action: impl FnOnce(&mut Attached) -> Result<T>,
) -> Result<T> {
    let mut all = linux.links.borrow_mut();
    let attached = all.open.get_mut(&link.0);
    action(attached.ok_or_else(|| Error::os(format!("use link {}", link.0), libc::EBADF))?)
}

/// Does something with the only descriptor of an attachment that is a link.
fn with_link<T>(
    linux: &Linux,
    link: LinkFd,
    doing: &str,
    action: impl FnOnce(&OwnedFd) -> std::result::Result<T, Errno>,
) -> Result<T> {
    with(linux, link, |attached| match attached.links.as_slice() {
        [link] => action(link).map_err(|errno| match errno {
            libc::EINVAL | libc::EOPNOTSUPP => Error::Unsupported {
                what: format!("could not {doing}: this kernel cannot do it with such links"),
                help: None,
            },
            errno => privileged(doing, errno, Wants::Bpf),
        }),
        _ => Err(Error::Unsupported {
            what: format!("could not {doing}: this kernel attached it without a link"),
            help: None,
        }),
    })
}

/// `BPF_LINK_UPDATE`.
pub(crate) fn update(linux: &Linux, at: LinkFd, program: ProgFd) -> Result<()> {
    programs::with(linux, program, |program| {
        let doing = format!("put program {} in another's place", program.name);
        with_link(linux, at, &doing, |at| link::update(at.as_fd(), program.fd()))
    })
}

/// `BPF_LINK_UPDATE` of a structure of callbacks.
pub(crate) fn update_map(linux: &Linux, at: LinkFd, map: &OpenMap) -> Result<()> {
    let doing = "put other callbacks in their place";
    with_link(linux, at, doing, |at| link::update(at.as_fd(), map.fd()))
}

/// The kernel's id of an attachment that is one link.
pub(crate) fn id(linux: &Linux, link: LinkFd) -> Result<u32> {
    with_link(linux, link, "ask for the id of a link", |link| {
        crate::sys::object::link_id(link.as_fd())
    })
}

/// `BPF_OBJ_PIN` of a link.
pub(crate) fn pin(linux: &Linux, at: LinkFd, path: &std::ffi::CStr) -> Result<()> {
    let doing = format!("pin a link to {}", path.to_string_lossy());
    with(linux, at, |attached| match attached.links.as_slice() {
        [link] => {
            crate::sys::object::pin(link.as_fd(), path)
                .map_err(|errno| privileged(doing, errno, Wants::Bpf))?;
            attached.pinned = true;
            Ok(())
        }
        _ => Err(Error::Unsupported {
            what: format!("could not {doing}: it is not one link"),
            help: None,
        }),
    })
}

/// What an iterator says.
pub(crate) fn iterate(linux: &Linux, at: LinkFd) -> Result<Vec<u8>> {
    let file = with_link(linux, at, "start an iterator", |at| link::iterate(at.as_fd()))?;
    let mut file = std::fs::File::from(file);
    let mut text = Vec::new();
    let mut part = [0; 16 << 10];
    loop {
        match file.read(&mut part) {
            Ok(0) => return Ok(text),
            Ok(count) => text.extend_from_slice(&part[..count]),
            // It had nothing to say for a long while (`bpf_seq_read`): it goes on.
            Err(error) if matches!(errno_of(&error), libc::EINTR | libc::EAGAIN) => {}
            Err(error) => return Err(Error::os("read from an iterator", errno_of(&error))),
        }
    }
}

/// Lets go of one attachment. Where no perf event is in between, its program is gone from there when
/// this returns: a raw tracepoint refuses the same program while it is there.
pub(crate) fn detach(linux: &Linux, at: LinkFd) -> Result<()> {
    let attached = linux.links.borrow_mut().open.remove(&at.0);
    let attached =
        attached.ok_or_else(|| Error::os(format!("detach link {}", at.0), libc::EBADF))?;
    let closing = if attached.events.is_empty() { Closing::Now } else { Closing::Soon };
    release(vec![attached], closing)
}

/// Stops everything that is attached from firing, without waiting for the kernel's grace periods.
///
/// What is at devices, sockets and cgroups comes off at once, and so do timers. Programs on
/// tracepoints and functions come off within a millisecond or so on a machine that is not
/// overloaded, see [`fork::close_in_background`]; one that runs right then runs to its end. What
/// is read from maps afterwards is final but for such stragglers. What is pinned goes on.
pub(crate) fn detach_all(linux: &Linux) {
    let all = std::mem::take(&mut linux.links.borrow_mut().open);
    // What could not be taken off has been tried; there is nobody to tell.
    let _ = release(all.into_values().collect(), Closing::Soon);
}

/// How the last descriptors of links are closed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Closing {
    /// By us, with the grace periods that this may take.
    Now,
    /// In the background.
    Soon,
}

/// How long [`release`] waits for the kernel to begin with the last link.
const PATIENCE: Duration = Duration::from_millis(20);

fn release(all: Vec<Attached>, closing: Closing) -> Result<()> {
    let (mut links, mut events) = (Vec::new(), Vec::new());
    let mut outcome = Ok(());
    for attached in all {
        if attached.pinned {
            continue;
        }
        if let Some(undo) = attached.undo {
            outcome = outcome.and(undo.perform());
        }
        if attached.quick {
            for link in &attached.links {
                // Iterators are nowhere to be taken off from.
                let _ = link::detach(link.as_fd());
            }
            continue;
        }
        links.extend(attached.links);
        events.extend(attached.events);
    }
    for event in &events {
        // A failure leaves it to the close.
        let _ = perf::disable(event.as_fd());
    }
    if links.is_empty() {
        // Without links, closing the event is what takes the program off.
        links = std::mem::take(&mut events);
    }
    if !links.is_empty() && closing == Closing::Soon {
        // Without a child, the descriptors have been closed here: slower, and as thorough.
        let _ = fork::close_in_background(links, events, PATIENCE);
    }
    outcome
}

impl Undo {
    fn perform(self) -> Result<()> {
        match self {
            Undo::Program { program, target, attach_type } => {
                let target = link::Target::Fd(target.as_fd());
                match hook::detach(Some(program.as_fd()), target, attach_type) {
                    // Somebody else was quicker.
                    Ok(()) | Err(libc::ENOENT) => Ok(()),
                    Err(errno) => Err(privileged("detach a program", errno, Wants::Network)),
                }
            }
            Undo::Xdp(program) => program.detach(),
            Undo::Filter(filter) => filter.remove(),
            Undo::Socket(socket) => socket.detach(),
            Undo::Callbacks(map) => map.delete(&[0; 4]).map(drop),
        }
    }
}
