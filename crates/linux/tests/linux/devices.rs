//! Programs at network devices, each test in a network namespace of its own: two veth devices, and
//! packets of one peculiar length that go out at one and come in at the other.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use bombus_kernel::{AttachPoint, AttachTo, Kernel, MapFd, Order, ProgFd};
use bombus_linux::{Linux, net};
use bombus_platform::{AttachType, ProgType};
use libtest_mimic::Failed;

use crate::{Test, cell, code, ensure, lacking, limit, load_for, read_cell, same};

pub(crate) const TESTS: &[Test] = &[
    ("devices::xdp", xdp),
    ("devices::tc_filter", tc_filter),
    ("devices::tcx_order", tcx_order),
    ("devices::netkit", netkit),
    ("devices::netfilter", netfilter),
    ("devices::errors", errors),
];

const PACKETS: u64 = 57;
const PAYLOAD: usize = 77;
/// With the headers of Ethernet, IPv4 and UDP.
const LENGTH: i32 = 14 + 20 + 8 + PAYLOAD as i32;

/// Two devices at the ends of one cable.
struct Cable {
    near: u32,
    far: u32,
}

/// Does something in a network namespace that nobody else is in.
pub(crate) fn in_namespace(
    action: impl FnOnce() -> Result<(), Failed> + Send + 'static,
) -> Result<(), Failed> {
    let thread = std::thread::spawn(move || {
        net::unshare()?;
        net::set_up(net::interface_index("lo")?)?;
        action()
    });
    thread.join().map_err(|_| "the test panicked")?
}

fn with_cable(
    make: fn(&str, &str) -> bombus_kernel::Result<()>,
    action: impl FnOnce(&Linux, Cable) -> Result<(), Failed> + Send + 'static,
) -> Result<(), Failed> {
    in_namespace(move || {
        let made = make("near0", "far0");
        if lacking(&made) {
            return Ok(());
        }
        made?;
        let linux = Linux::new()?;
        let cable =
            Cable { near: linux.interface_index("near0")?, far: linux.interface_index("far0")? };
        net::set_up(cable.near)?;
        net::set_up(cable.far)?;
        net::add_address(cable.near, IpAddr::V4(Ipv4Addr::new(10, 88, 0, 1)), 24)?;
        wait_for_carrier()?;
        action(&linux, cable)
    })
}

/// A device that has just been switched on drops packets for a while, until a work queue has seen
/// that there is a cable.
fn wait_for_carrier() -> Result<(), Failed> {
    let received = || {
        let devices = std::fs::read_to_string("/proc/thread-self/net/dev")?;
        let far = devices.lines().find_map(|line| line.trim().strip_prefix("far0:"));
        let packets = far.and_then(|counts| counts.split_whitespace().nth(1)?.parse::<u64>().ok());
        packets.ok_or_else(|| Failed::from("far0 has no counters"))
    };
    let (before, until) = (received()?, Instant::now() + limit(Duration::from_secs(5)));
    let socket = UdpSocket::bind("10.88.0.1:0")?;
    socket.set_broadcast(true)?;
    while received()? == before {
        socket.send_to(&[0], "10.88.0.255:4789")?;
        std::thread::sleep(Duration::from_millis(1));
        ensure(Instant::now() < until, || "nothing goes through the cable".into())?;
    }
    Ok(())
}

/// Sends packets to everybody on the cable, which needs no answer.
fn send(count: u64) -> Result<(), Failed> {
    let socket = UdpSocket::bind("10.88.0.1:0")?;
    socket.set_broadcast(true)?;
    for _ in 0..count {
        socket.send_to(&[0x5a; PAYLOAD], "10.88.0.255:4789")?;
    }
    Ok(())
}

fn load(
    linux: &Linux,
    attach_type: AttachType,
    code: &[bombus_isa::Insn],
) -> Result<ProgFd, Failed> {
    let prog_type = match attach_type {
        AttachType::Xdp => ProgType::Xdp,
        AttachType::Netfilter => ProgType::Netfilter,
        _ => ProgType::SchedCls,
    };
    Ok(load_for(linux, prog_type, attach_type, AttachTo::Nothing, code)?)
}

/// `XDP_FLAGS_SKB_MODE`.
const GENERIC: u32 = 2;
const XDP_PASS: i32 = 2;

fn xdp() -> Result<(), Failed> {
    with_cable(net::veth_pair, |linux, cable| {
        let (first, second) = (cell(linux)?, cell(linux)?);
        let count =
            |cell: MapFd| code::always(&code::if_xdp_length(LENGTH, code::count(cell)), XDP_PASS);
        let program = load(linux, AttachType::Xdp, &count(first))?;
        let at = AttachPoint::Xdp { ifindex: cable.far, flags: GENERIC };
        let link = linux.attach(program, &at, 0)?;
        send(PACKETS)?;
        same(read_cell(linux, first)?, PACKETS)?;
        // The device has one already.
        let again = linux.attach(program, &at, 0).unwrap_err().to_string();
        ensure(again.contains("has an XDP program already"), || again.clone())?;
        // Another one in its place.
        linux.link_update(link, load(linux, AttachType::Xdp, &count(second))?)?;
        send(PACKETS)?;
        same((read_cell(linux, first)?, read_cell(linux, second)?), (PACKETS, PACKETS))?;
        linux.detach(link)?;
        send(PACKETS)?;
        same(read_cell(linux, second)?, PACKETS)?;
        // Dropping the kernel takes off what is left.
        let other = Linux::new()?;
        let program = load(&other, AttachType::Xdp, &code::always(&[], XDP_PASS))?;
        other.attach(program, &at, 0)?;
        drop(other);
        linux.attach(load(linux, AttachType::Xdp, &count(second))?, &at, 0)?;
        Ok(())
    })
}

/// Goes on with the next filter (`TC_ACT_UNSPEC`, `TCX_NEXT`).
const NEXT: i32 = -1;

fn count_skb(cell: MapFd) -> Vec<bombus_isa::Insn> {
    code::always(&code::if_length(LENGTH, code::count(cell)), NEXT)
}

fn tc_filter() -> Result<(), Failed> {
    with_cable(net::veth_pair, |linux, cable| {
        let (out, into) = (cell(linux)?, cell(linux)?);
        let filter = |ifindex, egress, priority| AttachPoint::TcFilter {
            ifindex,
            egress,
            priority,
            handle: 0,
        };
        let program = load(linux, AttachType::NONE, &count_skb(out))?;
        let link = linux.attach(program, &filter(cable.near, true, 0), 0);
        if lacking(&link) {
            return Ok(());
        }
        let link = link?;
        let program = load(linux, AttachType::NONE, &count_skb(into))?;
        let first = linux.attach(program, &filter(cable.far, false, 7), 0)?;
        let second = linux.attach(program, &filter(cable.far, false, 8), 0)?;
        send(PACKETS)?;
        same((read_cell(linux, out)?, read_cell(linux, into)?), (PACKETS, 2 * PACKETS))?;
        // Each takes off its own.
        linux.detach(first)?;
        send(PACKETS)?;
        same((read_cell(linux, out)?, read_cell(linux, into)?), (2 * PACKETS, 3 * PACKETS))?;
        linux.detach(second)?;
        linux.detach(link)?;
        send(PACKETS)?;
        same((read_cell(linux, out)?, read_cell(linux, into)?), (2 * PACKETS, 3 * PACKETS))
    })
}

fn tcx_order() -> Result<(), Failed> {
    with_cable(net::veth_pair, |linux, cable| {
        let cell = cell(linux)?;
        let attach = |digit: i32, order: Order, revision: u64| {
            let body = code::if_length(LENGTH, code::digit(cell, digit));
            let program = load(linux, AttachType::TcxIngress, &code::always(&body, NEXT))?;
            let (ifindex, egress) = (cable.far, false);
            let at = AttachPoint::Tcx { ifindex, egress, order, revision };
            Ok::<_, Failed>((linux.program_id(program)?, linux.attach(program, &at, 0)))
        };
        let (id, link) = attach(1, Order::Default, 0)?;
        if link.as_ref().is_err_and(|error| error.to_string().contains("6.6")) {
            println!("skipped: tcx needs Linux 6.6");
            return Ok(());
        }
        link?;
        attach(2, Order::First, 0)?.1?;
        attach(3, Order::Before(id), 0)?.1?;
        attach(4, Order::After(id), 0)?.1?;
        attach(5, Order::Last, 0)?.1?;
        send(1)?;
        same(read_cell(linux, cell)?, 23145)?;
        let stale = attach(6, Order::Default, 1)?.1.unwrap_err().to_string();
        ensure(stale.contains("somebody else has changed"), || stale.clone())?;
        linux.detach_all();
        send(1)?;
        same(read_cell(linux, cell)?, 23145)
    })
}

fn netkit() -> Result<(), Failed> {
    with_cable(net::netkit_pair, |linux, cable| {
        let cell = cell(linux)?;
        let program = load(linux, AttachType::NetkitPrimary, &count_skb(cell))?;
        let (ifindex, order, revision) = (cable.near, Order::Default, 0);
        let at = AttachPoint::Netkit { ifindex, peer: false, order, revision };
        linux.attach(program, &at, 0)?;
        send(PACKETS)?;
        same(read_cell(linux, cell)?, PACKETS)?;
        linux.detach_all();
        send(PACKETS)?;
        same(read_cell(linux, cell)?, PACKETS)
    })
}

fn netfilter() -> Result<(), Failed> {
    in_namespace(|| {
        const IPV4: u32 = 2;
        const LOCAL_OUT: u32 = 3;
        const ACCEPT: i32 = 1;
        let linux = Linux::new()?;
        if !linux.supports(bombus_kernel::Feature::NetfilterLink) {
            println!("skipped: this kernel has no netfilter links");
            return Ok(());
        }
        let cell = cell(&linux)?;
        let program =
            load(&linux, AttachType::Netfilter, &code::always(&code::count(cell), ACCEPT))?;
        let at = |priority| AttachPoint::Netfilter {
            family: IPV4,
            hook: LOCAL_OUT,
            priority,
            defrag: false,
        };
        linux.attach(program, &at(7), 0)?;
        let (to, from) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
        for _ in 0..PACKETS {
            from.send_to(&[1], to.local_addr()?)?;
        }
        same(read_cell(&linux, cell)?, PACKETS)?;
        let first = linux.attach(program, &at(i32::MIN), 0).unwrap_err().to_string();
        ensure(first.contains("priority"), || first.clone())?;
        linux.detach_all();
        from.send_to(&[1], to.local_addr()?)?;
        same(read_cell(&linux, cell)?, PACKETS)
    })
}

fn errors() -> Result<(), Failed> {
    with_cable(net::veth_pair, |linux, cable| {
        let nothing = code::always(&[], NEXT);
        let program = load(linux, AttachType::NONE, &nothing)?;
        let at = AttachPoint::TcFilter { ifindex: 4711, egress: false, priority: 0, handle: 0 };
        let error = linux.attach(program, &at, 0).unwrap_err();
        same(error.errno(), Some(libc::ENODEV))?;
        ensure(linux.interface_index("no such one").is_err(), || "found".into())?;
        ensure(net::veth_pair("near0", "x").is_err(), || "two of one name".into())?;
        net::remove(cable.near)?;
        ensure(linux.interface_index("far0").is_err(), || "one end is left".into())
    })
}
