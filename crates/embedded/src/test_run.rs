//! Test runs (`BPF_PROG_TEST_RUN`, `net/bpf/test_run.c`).

use std::time::Instant;

use bombus_kernel::TestRun;
use bombus_platform::{ETHERNET_HEADER, ProgType, SK_BUFF_SIZE, XDP_MD_SIZE, takes_packets};
use bombus_vm::Context;

use crate::core::Core;
use crate::links::Attached;
use crate::maps::{ENOTSUPP, Errno};
use crate::packet::{Packet, TAILROOM};
use crate::run::SOCKET;
use crate::this_task::ThisTask;

/// The loopback device, where packets of test runs come from.
const LOOPBACK: u32 = 1;

/// A packet takes one page with what the kernel keeps around it: `XDP_PACKET_HEADROOM` or
/// `NET_SKB_PAD` before it, [`TAILROOM`] behind.
const MAX_XDP: usize = 4096 - 256 - TAILROOM;
const MAX_SKB: usize = 4096 - 64 - TAILROOM;

/// Arguments that a raw tracepoint may have, in bytes.
const MAX_ARGUMENTS: usize = 12 * 8;

/// `BPF_F_TEST_RUN_ON_CPU`.
const ON_CPU: u32 = 1;

/// Instructions that a test run may take, which keeps nobody from anything.
pub(crate) const FUEL: u64 = 1 << 28;

/// Runs a program.
pub(crate) fn run(core: &mut Core, program: usize, run: &mut TestRun) -> Result<(), Errno> {
    let fuel = std::mem::replace(&mut core.fuel, FUEL);
    let result = run_as_its_type(core, program, run);
    core.fuel = fuel;
    result
}

fn run_as_its_type(core: &mut Core, program: usize, run: &mut TestRun) -> Result<(), Errno> {
    match core.programs[program].prog_type {
        ProgType::Xdp => run_xdp(core, program, run),
        prog_type if takes_packets(prog_type) => run_skb(core, program, prog_type, run),
        // (`bpf_prog_test_run_tracing`) It calls functions of the kernel's that are there to be traced;
        // here are none, so nothing is at them, and the program does not run.
        ProgType::Tracing => {
            run.retval = 0;
            Ok(())
        }
        ProgType::RawTracepoint | ProgType::RawTracepointWritable => {
            if run.ctx.len() > MAX_ARGUMENTS || run.repeat != 0 || !run.data.is_empty() {
                return Err(libc::EINVAL);
            }
            if run.flags & !ON_CPU != 0 {
                return Err(libc::EINVAL);
            }
            let attached = Attached { program: program as u32, cookie: 0 };
            let value = core.run(attached, Context::ReadOnly(&run.ctx), &mut ThisTask, 0);
            run.retval = value.unwrap_or(0) as u32;
            Ok(())
        }
        _ => Err(ENOTSUPP),
    }
}

/// Runs it over the packet as often as is asked for, each time as the run before left it.
fn repeat(core: &mut Core, program: usize, packet: &mut Packet, run: &mut TestRun) {
    let count = run.repeat.max(1);
    let start = Instant::now();
    let mut task = ThisTask;
    for _ in 0..count {
        run.retval = core.run_packet(program, packet, &mut task).unwrap_or(0) as u32;
    }
    run.duration =
        u32::try_from(start.elapsed().as_nanos() / u128::from(count)).unwrap_or(u32::MAX);
}

fn run_xdp(core: &mut Core, program: usize, run: &mut TestRun) -> Result<(), Errno> {
    let word = |context: &[u8], at: usize| -> u32 {
        let bytes = context.get(at..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| u32::from_ne_bytes(*bytes))
    };
    if run.flags != 0 || !(ETHERNET_HEADER..=MAX_XDP).contains(&run.data.len()) {
        return Err(libc::EINVAL);
    }
    let (mut meta, mut ifindex, mut queue) = (0, LOOPBACK, 0);
    if !run.ctx.is_empty() {
        if run.ctx.get(XDP_MD_SIZE..).is_some_and(|rest| rest.iter().any(|byte| *byte != 0)) {
            return Err(libc::E2BIG);
        }
        let context = &run.ctx;
        let (data, end) = (word(context, 0), word(context, 4));
        let (data_meta, egress) = (word(context, 8), word(context, 20));
        // (`xdp_convert_md_to_buff`: only devices that there are, and their queues.)
        if data_meta != 0 || egress != 0 || data > end || end as usize > run.data.len() {
            return Err(libc::EINVAL);
        }
        (ifindex, queue) = match (word(context, 12), word(context, 16)) {
            (0, 0) => (LOOPBACK, 0),
            (0, _) => return Err(libc::EINVAL),
            (device, queue) => (device, queue),
        };
        meta = data as usize;
    }
    let mut packet = Packet::new()?;
    packet.receive_xdp(&run.data, meta, ifindex, queue)?;
    repeat(core, program, &mut packet, run);
    run.data = packet.with_meta().to_vec();
    if !run.ctx.is_empty() {
        let given = run.ctx.get(12..XDP_MD_SIZE).map(<[u8]>::to_vec).unwrap_or_default();
        run.ctx = packet.xdp_context(&given);
    }
    Ok(())
}

fn run_skb(
    core: &mut Core,
    program: usize,
    prog_type: ProgType,
    run: &mut TestRun,
) -> Result<(), Errno> {
    if run.flags != 0 || !(ETHERNET_HEADER..=MAX_SKB).contains(&run.data.len()) {
        return Err(libc::EINVAL);
    }
    if run.ctx.get(SK_BUFF_SIZE..).is_some_and(|rest| rest.iter().any(|byte| *byte != 0)) {
        return Err(libc::E2BIG);
    }
    let mut context = std::mem::take(&mut run.ctx);
    let linear = linear_bytes(prog_type, run.data.len(), &mut context)?;
    run.ctx = context.clone();
    let mut packet = Packet::new()?;
    packet.receive_skb(prog_type, &run.data, &context)?;
    packet.set_socket(SOCKET);
    if linear < run.data.len() {
        packet.set_linear(linear);
    }
    if !packet.has_network_header() {
        return Err(libc::EINVAL);
    }
    repeat(core, program, &mut packet, run);
    let data = packet.with_link_layer();
    let hidden = data.len() - packet.len();
    // Test runs give zeros for a header that the program does not see.
    run.data = vec![0; hidden];
    run.data.extend_from_slice(packet.data());
    if !run.ctx.is_empty() {
        run.ctx = packet.skb_context();
    }
    Ok(())
}

/// How many bytes of a packet are in one piece, which the context says by its `data_end`: that is taken
/// out of it.
fn linear_bytes(prog_type: ProgType, len: usize, context: &mut [u8]) -> Result<usize, Errno> {
    /// Where it is in `struct __sk_buff`.
    const DATA_END: std::ops::Range<usize> = 80..84;
    let Some(end) = context.get_mut(DATA_END).and_then(|end| end.first_chunk_mut::<4>()) else {
        return Ok(len);
    };
    let linear = u32::from_ne_bytes(std::mem::take(end)) as usize;
    let is_lwt = matches!(prog_type, ProgType::LwtIn | ProgType::LwtOut | ProgType::LwtXmit);
    match linear {
        0 => Ok(len),
        _ if linear > len => Err(libc::EINVAL),
        _ if is_lwt => Err(ENOTSUPP),
        _ => Ok(linear.max(ETHERNET_HEADER)),
    }
}
