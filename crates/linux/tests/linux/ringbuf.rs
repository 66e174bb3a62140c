//! Ring buffers, filled by test runs.

use bombus_kernel::{Kernel, Tracer, Wake};
use bombus_linux::Linux;
use bombus_platform::{MapType, ProgType};
use libtest_mimic::Failed;

use crate::{Test, code, ensure, load, map_spec, same};

pub(crate) const TESTS: &[Test] =
    &[("ringbuf::order_and_wrap", order_and_wrap), ("ringbuf::wait", wait)];

const SIZE: u32 = 4096;

fn pair(number: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_ne_bytes());
    bytes[8..].copy_from_slice(&(!number).to_ne_bytes());
    bytes
}

/// Records of a size that does not divide the buffer's go around it many times; discarded ones in
/// between are not seen, and a full buffer loses the newest.
fn order_and_wrap() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let ring = linux.map_create(&map_spec(MapType::Ringbuf, 0, 0, SIZE))?;
    let send = load(&linux, ProgType::RawTracepoint, None, &code::send_arguments(ring, 13))?;
    let discard = load(&linux, ProgType::RawTracepoint, None, &code::reserve_and_discard(ring))?;
    let mut next = 0u64;
    let mut seen = Vec::new();
    for round in 0..200 {
        for _ in 0..7 {
            same(linux.prog_test_run(send, &pair(next))?, 0)?;
            next += 1;
            if round % 3 == 0 {
                linux.prog_test_run(discard, &[])?;
            }
        }
        let count = linux.ringbuf_consume(ring, &mut |record| seen.push(record.to_vec()))?;
        same(count, 7)?;
    }
    let wanted: Vec<Vec<u8>> = (0..next).map(|number| pair(number)[..13].to_vec()).collect();
    ensure(seen == wanted, || "records differ from what was sent".into())?;
    // 8 bytes of header and 16 of data each.
    let mut fitted = 0;
    while linux.prog_test_run(send, &pair(fitted))? == 0 {
        fitted += 1;
    }
    let mut count = 0;
    linux.ringbuf_consume(ring, &mut |record| {
        count += u64::from(record == &pair(count)[..13]);
    })?;
    same(count, fitted)?;
    ensure((160..=SIZE as u64 / 24).contains(&fitted), || format!("{fitted} records fitted"))
}

fn wait() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let ring = linux.map_create(&map_spec(MapType::Ringbuf, 0, 0, SIZE))?;
    let send = load(&linux, ProgType::RawTracepoint, None, &code::send_arguments(ring, 16))?;
    let soon = || Some(std::time::Instant::now() + std::time::Duration::from_millis(30));
    same(linux.wait(&[ring], soon())?, Wake::Deadline)?;
    linux.prog_test_run(send, &pair(1))?;
    same(linux.wait(&[ring], soon())?, Wake::Records)?;
    same(linux.ringbuf_consume(ring, &mut |_| ())?, 1)?;
    same(linux.wait(&[ring], soon())?, Wake::Deadline)?;
    // Not wanted, not waited for.
    linux.prog_test_run(send, &pair(2))?;
    same(linux.wait(&[], soon())?, Wake::Deadline)?;
    same(linux.wait(&[ring], soon())?, Wake::Records)
}
