//! Random filters: the kernel and the check agree on which are valid, and the kernel, an interpreter
//! of classic filters and what the conversion makes of them agree on every verdict.
//!
//! The kernel's part is a socket pair with `SO_ATTACH_FILTER`, which needs no privilege and touches
//! nobody else. `BOMBUS_FILTERS` says how many filters there are (2,000).

mod support;

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use bombus_cbpf::{ConvertError, Extension, Filter, PacketAccess, SockFilter, parse};
use proptest::prelude::*;

/// xorshift64*: the same numbers everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }

    fn below(&mut self, end: u32) -> u32 {
        self.next() % end
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u32) as usize]
    }

    /// A number of the kind that filters have.
    fn number(&mut self) -> u32 {
        match self.below(6) {
            0 => self.next(),
            1 => self.one_of(&[0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX, 31, 32, 0xffff]),
            2 => self.below(256),
            _ => self.below(40),
        }
    }
}

/// All codes that the kernel allows but for returns.
const CODES: &[u16] = &[
    0x20, 0x28, 0x30, 0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x60, 0x00, 0x80, 0xb1, 0x61, 0x01, 0x81,
    0x02, 0x03, 0x04, 0x0c, 0x14, 0x1c, 0x24, 0x2c, 0x34, 0x3c, 0x44, 0x4c, 0x54, 0x5c, 0x64, 0x6c,
    0x74, 0x7c, 0x84, 0x94, 0x9c, 0xa4, 0xac, 0x05, 0x15, 0x1d, 0x25, 0x2d, 0x35, 0x3d, 0x45, 0x4d,
    0x07, 0x87,
];

/// A filter that is valid for the most part.
fn filter(random: &mut Random) -> Vec<SockFilter> {
    let most = if random.below(50) == 0 { 300 } else { 24 };
    let len = 1 + random.below(most);
    let mut insns = Vec::new();
    for at in 0..len {
        let after = len - at - 1;
        let mut insn = SockFilter { code: random.one_of(CODES), ..SockFilter::default() };
        let is_mode = |mode: u16| insn.code & 7 < 2 && insn.code & 0xe0 == mode;
        insn.k = match insn.code {
            _ if is_mode(0x20) && random.below(16) == 0 => -0x1000i32 as u32 + 40,
            0x60 | 0x61 | 2 | 3 => random.below(4),
            0x64 | 0x74 => random.below(32),
            0x34 | 0x94 => random.number().max(1),
            0x05 => random.below(after.max(1)).min(3),
            _ if is_mode(0x20) || is_mode(0xa0) => random.number() & 0x7fff_ffff,
            _ => random.number(),
        };
        if insn.code & 7 == 5 && insn.code != 5 {
            insn.jt = random.below(after.clamp(1, 6)) as u8;
            insn.jf = random.below(after.clamp(1, 6)) as u8;
        }
        if after == 0 || random.below(24) == 0 {
            insn = SockFilter { code: random.one_of(&[0x06, 0x16]), jt: 0, jf: 0, k: 0 };
            insn.k = random.number();
        }
        insns.push(insn);
    }
    // Sometimes something is wrong.
    if random.below(4) == 0 {
        let at = random.below(len) as usize;
        match random.below(4) {
            0 => insns[at].code = random.next() as u16 & 0xff,
            1 => insns[at].code ^= 1 << random.below(16),
            2 => insns[at].k = random.next(),
            _ => insns[at].jf = random.next() as u8,
        }
    }
    insns
}

fn packet(random: &mut Random) -> Vec<u8> {
    let len = random.one_of(&[0, 1, 14, 20, 34, 60, 64, 100, 256]);
    (0..len)
        .map(|_| if random.below(3) == 0 { random.below(8) } else { random.next() } as u8)
        .collect()
}

/// Two sockets, the second with a filter.
struct Pair(OwnedFd, OwnedFd);

impl Pair {
    fn new() -> Pair {
        let mut fds = [0; 2];
        // SAFETY: there is room for two descriptors.
        let result =
            unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_DGRAM, 0, fds.as_mut_ptr()) };
        assert_eq!(result, 0, "a pair of sockets");
        // SAFETY: both are new, and nobody else's.
        unsafe { Pair(OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) }
    }

    /// Whether the kernel takes the filter.
    fn attach(&self, insns: &[SockFilter]) -> bool {
        let bytes: Vec<[u8; 8]> = insns.iter().map(|insn| insn.to_bytes()).collect();
        let filter = libc::sock_fprog {
            len: u16::try_from(bytes.len()).expect("short"),
            filter: bytes.as_ptr().cast_mut().cast(),
        };
        // SAFETY: `filter` and what it points to outlive the call, which only reads them.
        let result = unsafe {
            libc::setsockopt(
                self.1.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ATTACH_FILTER,
                (&raw const filter).cast(),
                size_of::<libc::sock_fprog>() as u32,
            )
        };
        result == 0
    }

    /// How much of a packet the filter lets through; `None`: it is dropped.
    fn send(&self, packet: &[u8]) -> Option<usize> {
        let flags = libc::MSG_DONTWAIT;
        // SAFETY: `packet` outlives the call, which only reads it.
        let sent =
            unsafe { libc::send(self.0.as_raw_fd(), packet.as_ptr().cast(), packet.len(), flags) };
        assert_eq!(sent, packet.len() as isize, "send: {}", std::io::Error::last_os_error());
        let mut buffer = [0u8; 512];
        // SAFETY: `buffer` outlives the call and has the room that it says.
        let got = unsafe {
            libc::recv(self.1.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), flags)
        };
        let error = std::io::Error::last_os_error();
        assert!(got >= 0 || error.raw_os_error() == Some(libc::EAGAIN), "receive: {error}");
        usize::try_from(got).ok()
    }
}

#[test]
fn the_kernel_agrees() {
    let count = std::env::var("BOMBUS_FILTERS").ok().and_then(|count| count.parse().ok());
    let mut random = Random(0x5eed_cbf1);
    let pair = Pair::new();
    let (mut valid, mut verdicts, mut passed) = (0, 0, 0);
    for number in 0..count.unwrap_or(2_000) {
        let insns = filter(&mut random);
        let checked = Filter::new(&insns);
        // What leaves out a field as 0 in the generator may be anything for the kernel.
        let taken = pair.attach(&insns);
        assert_eq!(checked.is_ok(), taken, "filter {number}: {checked:?} {insns:?}");
        let Ok(filter) = checked else { continue };
        let others = |insn: &SockFilter| {
            let other = |each: &Extension| *each != Extension::AluXorX;
            let numbers = Extension::ALL.iter().filter(|each| other(each));
            let mut offsets = numbers.map(|each| (-0x1000i32 as u32).wrapping_add(*each as u32));
            insn.code & 7 == 0 && insn.code & 0xe0 == 0x20 && offsets.any(|offset| offset == insn.k)
        };
        if insns.iter().any(others) {
            continue;
        }
        valid += 1;
        for _ in 0..8 {
            let packet = packet(&mut random);
            let len = packet.len();
            let (verdict, from_header) = support::run_classic(&insns, &packet, len as u32);
            let converted = support::converted(&filter, &packet, len as u32);
            assert_eq!(converted, Ok(verdict), "filter {number}: {insns:?} {packet:?}");
            // These packets have no headers that the kernel knows of.
            if !from_header {
                let kept = (verdict > 0).then_some(len.min(verdict as usize));
                assert_eq!(pair.send(&packet), kept, "filter {number}: {insns:?} {packet:?}");
                passed += usize::from(verdict > 0);
                verdicts += 1;
            }
        }
    }
    // A generator that makes nothing but refused filters would prove nothing.
    assert!(valid * 4 > count.unwrap_or(2_000), "{valid} valid filters");
    assert!(passed * 10 > verdicts && passed < verdicts, "{passed} of {verdicts} passed");
    println!("{valid} filters, {verdicts} verdicts, {passed} packets passed");
}

/// A buffer's program is never harmful either: it has the shape that engines take.
#[test]
fn both_forms_are_programs() {
    let mut random = Random(7);
    for _ in 0..2_000 {
        let insns = filter(&mut random);
        let Ok(filter) = Filter::new(&insns) else { continue };
        match filter.convert(PacketAccess::SocketBuffer) {
            Ok(program) => {
                assert!(bombus_isa::validate(&program).is_ok(), "{insns:?}");
            }
            Err(error) => assert!(matches!(error, ConvertError::NotThere { .. }), "{error}"),
        }
    }
}

#[test]
fn the_longest_filters() {
    let load = |code| SockFilter { code, jt: 0, jf: 0, k: 5 };
    for (code, too_long) in [(0x20, false), (0x40, true)] {
        let mut insns = vec![load(code); bombus_cbpf::MAX_INSNS - 1];
        insns.push(SockFilter { code: 6, jt: 0, jf: 0, k: 1 });
        let filter = Filter::new(&insns).unwrap();
        for access in [PacketAccess::Memory { network_header: 14 }, PacketAccess::SocketBuffer] {
            let converted = filter.convert(access);
            assert_eq!(converted.is_err_and(|error| error == ConvertError::TooLong), too_long);
        }
        insns.push(SockFilter { code: 6, jt: 0, jf: 0, k: 1 });
        assert!(Filter::new(&insns).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in "\\PC*|([0-9a-fx{},; \n]*)") {
        if let Ok(insns) = parse(&text) {
            let _ = Filter::new(&insns);
        }
    }

    #[test]
    fn any_instructions(
        slots in prop::collection::vec(any::<[u8; 8]>(), 0..40),
        packet in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let insns: Vec<SockFilter> = slots.into_iter().map(SockFilter::from_bytes).collect();
        if let Ok(filter) = Filter::new(&insns) {
            let _ = support::converted(&filter, &packet, 1);
        }
    }
}
