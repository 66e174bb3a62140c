//! The firewall of the examples over real packets: of a generated mix it drops, passes and counts
//! exactly those that it has to, as XDP, traffic control and cgroup program; and when it is taken
//! away in the middle of it, no packet is lost, but for those in the queue of native XDP.
//!
//! Passed packets are counted behind the program by sockets that know nothing of it. Everything
//! happens in a network namespace of the test's own. `BOMBUS_PACKETS` says how many packets each
//! test sends (20,000; the full test is a million).

mod capture;
mod hosts;
mod mix;
mod net;

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use bombus_kernel::{AttachPoint, Feature, Kernel, LinkFd, Loaded, MapFd, Order, UpdateFlag, load};
use bombus_linux::Linux;
use bombus_platform::AttachType;
use bombus_spec::ObjectSpec;
use libtest_mimic::{Arguments, Failed, Trial};

use mix::{Fate, Mix, Packet};
use net::{ENDS, Sender, Tap};

const SEED: u64 = 0xb0b0_1234;

/// Packets that are under way at a time: fewer than any queue between the two devices holds.
const BATCH: u64 = 64;

/// How long a packet may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The hooks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hook {
    XdpNative,
    XdpGeneric,
    Tcx,
    Clsact,
    Cgroup,
}

fn main() {
    let mut arguments = Arguments::from_args();
    // A process is in one cgroup at a time.
    arguments.test_threads = Some(1);
    let missing = needs().err();
    if let Some(reason) = &missing {
        println!("packets skipped: {reason}");
    }
    let tcx = Linux::new().is_ok_and(|linux| linux.supports(Feature::TcxLink));
    if missing.is_none() && !tcx {
        println!("tcx skipped: this kernel has no such links");
    }
    let trial = |name: &str, test: fn(Hook) -> Result<(), String>, hook| {
        let name = format!("{name} {hook:?}").to_lowercase();
        // The thread of a test goes into a namespace and never comes back.
        let run = move || match std::thread::spawn(move || test(hook)).join() {
            Ok(outcome) => outcome.map_err(Failed::from),
            Err(_) => Err(Failed::from("the test panicked")),
        };
        Trial::test(name, run).with_ignored_flag(missing.is_some() || hook == Hook::Tcx && !tcx)
    };
    let hooks = [Hook::XdpNative, Hook::XdpGeneric, Hook::Tcx, Hook::Clsact, Hook::Cgroup];
    let mut trials: Vec<Trial> = hooks.map(|hook| trial("verdicts", verdicts, hook)).into();
    trials.extend(hooks.map(|hook| trial("detached under load", detached, hook)));
    for hook in [Hook::XdpNative, Hook::Tcx, Hook::Cgroup] {
        let name = format!("capture {}", hook.program());
        trials.push(Trial::test(name, move || capture::compare(hook).map_err(Failed::from)));
    }
    let no_tap = net::has_taps().err();
    if let Some(reason) = &no_tap {
        println!("three hosts skipped: {reason}");
    }
    trials.extend([Hook::XdpNative, Hook::Tcx].map(|hook| {
        let test = trial("three hosts", hosts::agree, hook);
        let skipped = no_tap.is_some() || missing.is_some() || hook == Hook::Tcx && !tcx;
        test.with_ignored_flag(skipped)
    }));
    libtest_mimic::run(&arguments, trials).exit();
}

fn needs() -> Result<(), String> {
    bombus_linux::can_load_programs().map_err(|error| error.to_string())?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|dir| dir.join("ip").is_file()) {
        return Err("ip is not installed".into());
    }
    let namespace = std::thread::spawn(net::enter).join();
    namespace.unwrap_or_else(|_| Err("no network namespace".into()))
}

fn packets() -> u64 {
    std::env::var("BOMBUS_PACKETS").ok().and_then(|count| count.parse().ok()).unwrap_or(20_000)
}

/// How many packets of a mix a hook has to see, by what becomes of them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Tally {
    passed: u64,
    by_network: u64,
    by_port: [u64; mix::BLOCKED_PORTS.len()],
}

impl Tally {
    fn add(&mut self, fate: Fate) {
        match fate {
            Fate::Pass => self.passed += 1,
            Fate::BlockedByNetwork => self.by_network += 1,
            Fate::BlockedByPort(port) => {
                let index = mix::BLOCKED_PORTS.iter().position(|each| *each == port);
                self.by_port[index.expect("a blocked port")] += 1;
            }
        }
    }

    fn dropped(&self) -> u64 {
        self.by_network + self.by_port.iter().sum::<u64>()
    }

    fn total(&self) -> u64 {
        self.passed + self.dropped()
    }
}

impl Hook {
    /// A cgroup's program sees what is for a socket of the cgroup, the others everything.
    fn sees(self, packet: &Packet) -> bool {
        self != Hook::Cgroup || packet.for_socket
    }

    /// How many packets may be lost when the program is taken away. Of native XDP a veth device gives
    /// up the queue together with the program, with what is in it (`veth_napi_del`).
    fn may_lose(self) -> u64 {
        if self == Hook::XdpNative { 2 * BATCH } else { 0 }
    }

    fn program(self) -> &'static str {
        match self {
            Hook::XdpNative | Hook::XdpGeneric => "on_xdp",
            Hook::Tcx | Hook::Clsact => "on_tc",
            Hook::Cgroup => "on_cgroup",
        }
    }

    fn attach_point(self, ifindex: u32, cgroup: Option<&Cgroup>) -> AttachPoint {
        match (self, cgroup) {
            (Hook::XdpGeneric, _) => AttachPoint::Xdp { ifindex, flags: 1 << 1 },
            (Hook::XdpNative, _) => AttachPoint::Xdp { ifindex, flags: 1 << 2 },
            (Hook::Tcx, _) => {
                AttachPoint::Tcx { ifindex, egress: false, order: Order::Default, revision: 0 }
            }
            (Hook::Clsact | Hook::Cgroup, None) => {
                AttachPoint::TcFilter { ifindex, egress: false, priority: 0, handle: 0 }
            }
            (Hook::Clsact | Hook::Cgroup, Some(cgroup)) => AttachPoint::Cgroup {
                path: cgroup.0.clone(),
                attach_type: AttachType::CgroupInetIngress,
            },
        }
    }
}

/// A cgroup of the test's own.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new() -> Result<Cgroup, String> {
        let root = Path::new("/sys/fs/cgroup");
        let root = [root.to_owned(), root.join("unified")]
            .into_iter()
            .find(|path| path.join("cgroup.controllers").exists())
            .ok_or("cgroup v2 is not mounted")?;
        let path = root.join(format!("bombus-packets-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Cgroup(path))
    }

    /// Does something inside: the sockets made there stay there.
    fn inside<T>(&self, make: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
        let procs = |path: &Path| path.join("cgroup.procs");
        let us = std::process::id().to_string();
        let own = fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or("");
        let home = self.0.parent().unwrap_or(&self.0).join(own);
        fs::write(procs(&self.0), &us).map_err(|error| format!("enter a cgroup: {error}"))?;
        let made = make();
        fs::write(procs(&home), &us).map_err(|error| format!("leave a cgroup: {error}"))?;
        made
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// What counts the packets behind the program.
enum Receivers {
    Taps(Vec<Tap>),
    Sockets { sockets: Vec<UdpSocket>, seen: u64 },
}

impl Receivers {
    fn new(ifindex: u32, cgroup: Option<&Cgroup>) -> Result<Receivers, String> {
        let Some(cgroup) = cgroup else {
            let types = [mix::IPV4, mix::IPV6, mix::ARP, mix::JUNK];
            let taps = types.map(|ether_type| Tap::new(ifindex, ether_type));
            let taps = taps.into_iter().collect::<Result<_, _>>();
            return Ok(Receivers::Taps(taps.map_err(|error| format!("a tap: {error}"))?));
        };
        let socket = |port| {
            let socket = UdpSocket::bind((mix::ADDRESS, port))?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let sockets = || mix::ports().map(socket).collect::<std::io::Result<Vec<_>>>();
        let sockets = cgroup.inside(|| sockets().map_err(|error| format!("a socket: {error}")))?;
        Ok(Receivers::Sockets { sockets, seen: 0 })
    }

    /// How many packets came so far.
    fn count(&mut self) -> Result<u64, String> {
        match self {
            Receivers::Taps(taps) => {
                let counts = taps.iter_mut().map(Tap::count);
                counts.sum::<Result<u64, _>>().map_err(|error| format!("a tap: {error}"))
            }
            Receivers::Sockets { sockets, seen } => {
                let mut buffer = [0; 2048];
                for socket in sockets {
                    while socket.recv(&mut buffer).is_ok() {
                        *seen += 1;
                    }
                }
                Ok(*seen)
            }
        }
    }
}

/// The firewall, attached, with both ends of the wire.
struct Setup {
    kernel: Linux,
    loaded: Loaded,
    link: LinkFd,
    sender: Sender,
    receivers: Receivers,
    _cgroup: Option<Cgroup>,
}

impl Setup {
    fn new(hook: Hook) -> Result<Setup, String> {
        net::enter()?;
        let text = |error: bombus_kernel::Error| error.to_string();
        let kernel = Linux::new().map_err(text)?;
        let loaded = load(&kernel, &firewall()?).map_err(text)?;
        add_rules(&kernel, &loaded)?;

        let from = kernel.interface_index(ENDS.0).map_err(text)?;
        let to = kernel.interface_index(ENDS.1).map_err(text)?;
        let cgroup = (hook == Hook::Cgroup).then(Cgroup::new).transpose()?;
        let receivers = Receivers::new(to, cgroup.as_ref())?;
        let program = loaded.program(hook.program()).ok_or("the program is not loaded")?;
        let link = kernel.attach(program, &hook.attach_point(to, cgroup.as_ref()), 0);
        Ok(Setup {
            link: link.map_err(text)?,
            sender: Sender::new(from).map_err(|error| format!("a sender: {error}"))?,
            receivers,
            loaded,
            kernel,
            _cgroup: cgroup,
        })
    }

    /// What the program says it did: passed and dropped.
    fn verdicts(&self) -> Result<(u64, u64), String> {
        let verdict =
            |index: u32| count(&self.kernel, &self.loaded, "verdicts", &index.to_ne_bytes());
        Ok((verdict(0)?, verdict(1)?))
    }

    /// What the program says it did, rule by rule.
    fn tally(&self) -> Result<Tally, String> {
        tally(&self.kernel, &self.loaded)
    }

    /// Packets that came out, and packets that were dropped.
    fn handled(&mut self) -> Result<(u64, u64), String> {
        Ok((self.receivers.count()?, self.verdicts()?.1))
    }

    /// Waits until so many packets came out or were dropped.
    fn wait(&mut self, wanted: u64) -> Result<(), String> {
        let start = Instant::now();
        loop {
            let (passed, dropped) = self.handled()?;
            if passed + dropped >= wanted {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                return Err(format!("of {wanted} packets {passed} passed, {dropped} were dropped"));
            }
            std::thread::yield_now();
        }
    }
}

/// The firewall's object.
fn firewall() -> Result<ObjectSpec, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bombus/examples/xdp_firewall.bpf.o");
    let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    bombus_object::open(&bytes).map_err(|error| error.to_string())
}

fn add_rules(kernel: &dyn Kernel, loaded: &Loaded) -> Result<(), String> {
    let (address, bits) = mix::BLOCKED_NETWORK;
    let network = [&bits.to_ne_bytes()[..], &address].concat();
    let add = |map: &str, key: &[u8]| {
        let added = kernel.map_update(named(loaded, map)?, key, &[0; 8], UpdateFlag::Any);
        added.map_err(|error| error.to_string())
    };
    add("blocked", &network)?;
    mix::BLOCKED_PORTS.iter().try_for_each(|port| add("blocked_ports", &port.to_be_bytes()))
}

/// The number of an element, of all CPUs together.
fn count(kernel: &dyn Kernel, loaded: &Loaded, map: &str, key: &[u8]) -> Result<u64, String> {
    let value = kernel.map_lookup(named(loaded, map)?, key);
    let value = value.map_err(|error| error.to_string())?.unwrap_or_default();
    let cpus = value.chunks_exact(8);
    Ok(cpus.map(|cpu| u64::from_ne_bytes(cpu.try_into().unwrap_or_default())).sum())
}

/// What the program says it did, rule by rule.
fn tally(kernel: &dyn Kernel, loaded: &Loaded) -> Result<Tally, String> {
    let (address, bits) = mix::BLOCKED_NETWORK;
    let network = [&bits.to_ne_bytes()[..], &address].concat();
    let mut tally = Tally {
        passed: count(kernel, loaded, "verdicts", &0u32.to_ne_bytes())?,
        by_network: count(kernel, loaded, "blocked", &network)?,
        ..Tally::default()
    };
    for (number, port) in tally.by_port.iter_mut().zip(mix::BLOCKED_PORTS) {
        *number = count(kernel, loaded, "blocked_ports", &port.to_be_bytes())?;
    }
    Ok(tally)
}

fn named(loaded: &Loaded, map: &str) -> Result<MapFd, String> {
    loaded.map(map).ok_or_else(|| format!("the object has no map {map}"))
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: &T, expected: &T) -> Result<(), String> {
    if got == expected {
        return Ok(());
    }
    Err(format!("{what}: {got:?}, not {expected:?}"))
}

/// Each packet gets the verdict that it has to get.
fn verdicts(hook: Hook) -> Result<(), String> {
    let mut setup = Setup::new(hook)?;
    let mut mix = Mix::new(SEED);
    let mut expected = Tally::default();
    let mut left = packets();
    while left > 0 {
        let batch: Vec<Packet> = (0..left.min(BATCH)).map(|_| mix.next()).collect();
        left -= batch.len() as u64;
        batch
            .iter()
            .filter(|packet| hook.sees(packet))
            .for_each(|packet| expected.add(packet.fate));
        let frames: Vec<Vec<u8>> = batch.into_iter().map(|packet| packet.frame).collect();
        setup.sender.send(&frames).map_err(|error| format!("send: {error}"))?;
        setup.wait(expected.total())?;
    }
    let (passed, dropped) = setup.handled()?;
    same("packets that came out", &passed, &expected.passed)?;
    same("packets that were dropped", &dropped, &expected.dropped())?;
    same("what the firewall counted", &setup.tally()?, &expected)?;
    // A mix that leaves out a case would prove nothing.
    same("cases without a packet", &expected.by_port.contains(&0), &false)?;
    println!("{hook:?}: {} packets, {passed} passed, {dropped} dropped", packets());
    Ok(())
}

/// What the sender has done so far.
#[derive(Default)]
struct Progress {
    /// Packets of interest that were sent, or are about to be.
    sent: AtomicU64,
    /// Those that came out or were dropped.
    handled: AtomicU64,
    /// The program is attached no more.
    is_detached: AtomicBool,
    /// Somebody gave up.
    failed: AtomicBool,
}

/// Of the packets that were to be dropped: those sent before anybody thought of detaching, and
/// those sent after it was done.
struct Sent {
    total: u64,
    dropped_at_most: u64,
}

/// While packets keep coming the firewall is taken away: each was dropped or came out, or was in a
/// queue that went away, and those that were sent afterwards came out.
fn detached(hook: Hook) -> Result<(), String> {
    let mut setup = Setup::new(hook)?;
    let progress = Progress::default();
    let sender =
        Sender::new(setup.kernel.interface_index(ENDS.0).map_err(|error| error.to_string())?);
    let sender = sender.map_err(|error| format!("a sender: {error}"))?;
    let count = packets();
    let sent = std::thread::scope(|scope| {
        let sending = scope.spawn(|| send_all(hook, &sender, count, &progress));
        let outcome = watch(hook, &mut setup, count, &progress, || sending.is_finished());
        progress.failed.store(outcome.is_err(), SeqCst);
        let sent = sending.join().map_err(|_| "the sender panicked".to_owned())?;
        outcome.and(sent)
    })?;
    setup.wait(sent.total - hook.may_lose())?;
    if hook.may_lose() > 0 {
        std::thread::sleep(Duration::from_millis(200));
    }
    let (passed, dropped) = setup.handled()?;
    let lost = sent.total.checked_sub(passed + dropped);
    if lost.is_none_or(|lost| lost > hook.may_lose()) {
        return Err(format!("of {} packets {passed} passed, {dropped} were dropped", sent.total));
    }
    if dropped == 0 || dropped > sent.dropped_at_most {
        return Err(format!("{dropped} dropped, not 1 to {}", sent.dropped_at_most));
    }
    let lost = lost.unwrap_or(0);
    println!("{hook:?}: {} packets, {passed} passed, {dropped} dropped, {lost} lost", sent.total);
    Ok(())
}

/// Sends, with at most two batches under way.
fn send_all(hook: Hook, sender: &Sender, count: u64, progress: &Progress) -> Result<Sent, String> {
    let mut mix = Mix::new(SEED);
    let mut result = Sent { total: 0, dropped_at_most: 0 };
    let mut left = count;
    while left > 0 {
        let was_detached = progress.is_detached.load(SeqCst);
        let batch: Vec<Packet> = (0..left.min(BATCH)).map(|_| mix.next()).collect();
        left -= batch.len() as u64;
        let seen = || batch.iter().filter(|packet| hook.sees(packet));
        result.total += seen().count() as u64;
        if !was_detached {
            result.dropped_at_most +=
                seen().filter(|packet| packet.fate != Fate::Pass).count() as u64;
        }
        progress.sent.store(result.total, SeqCst);
        let frames: Vec<Vec<u8>> = batch.into_iter().map(|packet| packet.frame).collect();
        sender.send(&frames).map_err(|error| format!("send: {error}"))?;
        let may_lose = || if progress.is_detached.load(SeqCst) { hook.may_lose() } else { 0 };
        while progress.handled.load(SeqCst) + BATCH + may_lose() < result.total {
            if progress.failed.load(SeqCst) {
                return Err("the other side gave up".into());
            }
            std::thread::yield_now();
        }
    }
    Ok(result)
}

/// Keeps telling the sender what came, and detaches in the middle.
fn watch(
    hook: Hook,
    setup: &mut Setup,
    count: u64,
    progress: &Progress,
    is_finished: impl Fn() -> bool,
) -> Result<(), String> {
    // For a cgroup about every third packet counts.
    let middle = if hook == Hook::Cgroup { count / 8 } else { count / 2 };
    let mut last = (0, Instant::now());
    while !is_finished() {
        let (passed, dropped) = setup.handled()?;
        progress.handled.store(passed + dropped, SeqCst);
        let sent = progress.sent.load(SeqCst);
        if sent >= middle && !progress.is_detached.load(SeqCst) {
            setup.kernel.detach(setup.link).map_err(|error| error.to_string())?;
            progress.is_detached.store(true, SeqCst);
        }
        if last.0 != passed + dropped {
            last = (passed + dropped, Instant::now());
        } else if last.1.elapsed() > PATIENCE {
            return Err(format!("of {sent} packets {passed} passed, {dropped} were dropped"));
        }
        std::thread::yield_now();
    }
    if !progress.is_detached.load(SeqCst) {
        return Err("it was over before anything was detached".into());
    }
    Ok(())
}
