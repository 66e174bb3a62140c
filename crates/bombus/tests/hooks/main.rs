//! Hooks that have to be told where, and maps that are more than tables, by the library alone. Each
//! test has a network namespace of its own.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bombus::{
    AttachPoint, AttachType, Error, Kernel, Link, Linux, Loaded, Map, MapSpec, MapType, Object,
    Order, PerfBuffer, PerfRecord, SocketMap, UserRingBuf,
};
use bombus_kernel::Feature;
use bombus_linux::net;
use libtest_mimic::{Arguments, Failed, Trial};

type Outcome = Result<(), Failed>;
/// A test: what it is called and what it does.
type Test = (&'static str, fn() -> Outcome);

fn main() {
    let arguments = Arguments::from_args();
    let missing = skip_reason();
    if let Some(reason) = &missing {
        println!("skipped: hooks: {reason}");
    }
    let tests: [Test; 12] = [
        ("map_of_sockets", map_of_sockets),
        ("socket_lookup", socket_lookup),
        ("flow_dissector", flow_dissector),
        ("netfilter", netfilter),
        ("traffic_control", traffic_control),
        ("netkit", netkit),
        ("user_ring_buffer", user_ring_buffer),
        ("perf_buffer", perf_buffer),
        ("memory_and_freezing", memory_and_freezing),
        ("pinned_links", pinned_links),
        ("maps_that_are_not_created", maps_that_are_not_created),
        ("linked_objects", linked_objects),
    ];
    let trials = tests.into_iter().map(|(name, test)| {
        let alone = move || {
            let thread = std::thread::spawn(move || {
                net::unshare()?;
                net::set_up(net::interface_index("lo")?)?;
                test()
            });
            thread.join().map_err(|_| "the test panicked")?
        };
        Trial::test(name, alone).with_ignored_flag(missing.is_some())
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

fn skip_reason() -> Option<String> {
    if let Err(error) = bombus::can_load_programs() {
        return Some(error.to_string());
    }
    let clang = Command::new("clang-19").arg("--version").output();
    clang.is_err().then(|| "clang-19 is not installed".to_owned())
}

/// The object file of a source beside this one.
fn compiled(name: &str) -> Result<std::path::PathBuf, Failed> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let thread = format!("{:?}", std::thread::current().id()).replace(['(', ')'], "");
    let target = format!("bombus-{}-{thread}-{name}.o", std::process::id());
    let target = std::env::temp_dir().join(target);
    let output = Command::new("clang-19")
        .args(["-g", "-O2", "-mcpu=v3", "-target", "bpf", "-I"])
        .arg(manifest.join("examples"))
        .arg("-c")
        .arg(manifest.join("tests/hooks").join(name).with_extension("bpf.c"))
        .arg("-o")
        .arg(&target)
        .output()?;
    match output.status.success() {
        true => Ok(target),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned().into()),
    }
}

fn object(name: &str) -> Result<Object, Failed> {
    let file = compiled(name)?;
    let object = Object::open(&file);
    std::fs::remove_file(file)?;
    Ok(object?)
}

/// These programs, in the kernel; `None` when it does not have what they need.
fn load<'k>(kernel: &'k Linux, programs: &[&str]) -> Result<Option<Loaded<'k>>, Failed> {
    let mut object = object("hooks")?;
    object.set("only", std::process::id())?;
    for program in programs {
        object.autoload(program, true)?;
    }
    // Not every kernel has a map of this kind, and only one program needs it.
    object.autocreate("requests", programs.contains(&"drain"))?;
    has(object.load(kernel))
}

/// What came out, unless the kernel lacks something: then says so.
fn has<T>(outcome: Result<T, Error>) -> Result<Option<T>, Failed> {
    use bombus_kernel::Error::{Privilege, Unsupported};
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(Error::Kernel(error @ (Unsupported { .. } | Privilege { .. }))) => {
            println!("skipped: {error}");
            Ok(None)
        }
        Err(error) => Err(format!("{error}\n{}", error.verifier_log().unwrap_or_default()).into()),
    }
}

/// Whether the kernel cannot do this; then says so.
fn lacks(kernel: &Linux, feature: Feature) -> bool {
    let lacks = !kernel.supports(feature);
    if lacks {
        println!("skipped: this kernel has no {}", feature.name());
    }
    lacks
}

fn same<T: PartialEq + std::fmt::Debug>(got: T, wanted: T) -> Outcome {
    if got == wanted { Ok(()) } else { Err(format!("got {got:?}, wanted {wanted:?}").into()) }
}

/// A program at a point; what its object counts.
fn attached<'l>(
    loaded: &'l Loaded<'_>,
    program: &str,
    at: &AttachPoint,
) -> Result<Option<Link<'l>>, Failed> {
    has(loaded.program(program)?.attach_to(at))
}

fn count(loaded: &Loaded<'_>) -> Result<u64, Failed> {
    Ok(loaded.variable("count")?)
}

const PACKETS: u64 = 17;

/// Sends packets to a socket of this thread's namespace.
fn send_packets() -> Outcome {
    let (to, from) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    for _ in 0..PACKETS {
        from.send_to(&[1], to.local_addr()?)?;
        to.recv(&mut [0])?;
    }
    Ok(())
}

const HERE: &str = "/proc/thread-self/ns/net";

fn map_of_sockets() -> Outcome {
    let kernel = Linux::new()?;
    let Some(loaded) = load(&kernel, &["on_message"])? else { return Ok(()) };
    let sockets: SocketMap<u32> = loaded.map("sockets")?;
    let (map, attach_type) = (sockets.map().fd(), AttachType::SkMsgVerdict);
    let at = AttachPoint::Sockmap { map, attach_type };
    let Some(link) = attached(&loaded, "on_message", &at)? else { return Ok(()) };
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut near = TcpStream::connect(listener.local_addr()?)?;
    let (mut far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_read_timeout(Some(Duration::from_secs(5)))?;
    sockets.insert(&1, &near)?;
    for _ in 0..PACKETS {
        near.write_all(&[1])?;
        far.read_exact(&mut [0])?;
    }
    same(count(&loaded)?, PACKETS)?;
    same((sockets.remove(&1)?, sockets.remove(&1)?), (true, false))?;
    near.write_all(&[1])?;
    far.read_exact(&mut [0])?;
    same(count(&loaded)?, PACKETS)?;
    Ok(link.detach()?)
}

fn socket_lookup() -> Outcome {
    let kernel = Linux::new()?;
    let Some(loaded) = load(&kernel, &["on_lookup"])? else { return Ok(()) };
    let at = AttachPoint::Netns { path: HERE.into(), attach_type: AttachType::SkLookup };
    let Some(link) = attached(&loaded, "on_lookup", &at)? else { return Ok(()) };
    send_packets()?;
    same(count(&loaded)?, PACKETS)?;
    link.detach()?;
    send_packets()?;
    same(count(&loaded)?, PACKETS)
}

fn flow_dissector() -> Outcome {
    const EEXIST: i32 = 17;
    let kernel = Linux::new()?;
    let Some(loaded) = load(&kernel, &["dissect"])? else { return Ok(()) };
    let at = AttachPoint::Netns { path: HERE.into(), attach_type: AttachType::FlowDissector };
    let program = loaded.program("dissect")?;
    let link = program.attach_to(&at);
    if link.as_ref().is_err_and(|error| error.errno() == Some(EEXIST)) {
        println!("skipped: the machine has a flow dissector");
        return Ok(());
    }
    let Some(link) = has(link)? else { return Ok(()) };
    let again = program.attach_to(&at).unwrap_err().to_string();
    same(again.contains("has such a program already"), true)?;
    link.update(&program)?;
    link.detach()?;
    Ok(program.attach_to(&at)?.detach()?)
}

fn netfilter() -> Outcome {
    const IPV4: u32 = 2;
    const LOCAL_IN: u32 = 1;
    let kernel = Linux::new()?;
    if lacks(&kernel, Feature::NetfilterLink) {
        return Ok(());
    }
    let Some(loaded) = load(&kernel, &["on_input"])? else { return Ok(()) };
    let at = AttachPoint::Netfilter { family: IPV4, hook: LOCAL_IN, priority: -128, defrag: false };
    let Some(link) = attached(&loaded, "on_input", &at)? else { return Ok(()) };
    send_packets()?;
    same(count(&loaded)?, PACKETS)?;
    link.detach()?;
    send_packets()?;
    same(count(&loaded)?, PACKETS)
}

/// Two programs at one hook, one before the other.
fn traffic_control() -> Outcome {
    let kernel = Linux::new()?;
    if lacks(&kernel, Feature::TcxLink) {
        return Ok(());
    }
    let Some(loaded) = load(&kernel, &["on_ingress", "on_ingress_too"])? else { return Ok(()) };
    let ifindex = kernel.interface_index("lo")?;
    let at = |order| AttachPoint::Tcx { ifindex, egress: false, order, revision: 0 };
    let Some(last) = attached(&loaded, "on_ingress", &at(Order::Last))? else { return Ok(()) };
    let id = kernel.program_id(loaded.program("on_ingress")?.fd())?;
    let first = loaded.program("on_ingress_too")?.attach_to(&at(Order::Before(id)))?;
    send_packets()?;
    same((count(&loaded)?, loaded.variable::<u64>("sum")?), (PACKETS, PACKETS))?;
    first.detach()?;
    send_packets()?;
    same((count(&loaded)?, loaded.variable::<u64>("sum")?), (2 * PACKETS, PACKETS))?;
    Ok(last.detach()?)
}

fn netkit() -> Outcome {
    if has(net::netkit_pair("near0", "far0").map_err(Error::Kernel))?.is_none() {
        return Ok(());
    }
    let kernel = Linux::new()?;
    let Some(loaded) = load(&kernel, &["on_netkit"])? else { return Ok(()) };
    let (ifindex, far) = (kernel.interface_index("near0")?, kernel.interface_index("far0")?);
    net::set_up(ifindex)?;
    net::set_up(far)?;
    net::add_address(ifindex, "10.9.8.1".parse()?, 24)?;
    let at = AttachPoint::Netkit { ifindex, peer: false, order: Order::Default, revision: 0 };
    let Some(link) = attached(&loaded, "on_netkit", &at)? else { return Ok(()) };
    // Somebody is asked who has that address.
    UdpSocket::bind("10.9.8.1:0")?.send_to(&[1], "10.9.8.2:9")?;
    same(count(&loaded)? > 0, true)?;
    Ok(link.detach()?)
}

fn user_ring_buffer() -> Outcome {
    let kernel = Linux::new()?;
    let Some(loaded) = load(&kernel, &["drain"])? else { return Ok(()) };
    let requests: UserRingBuf = loaded.map("requests")?;
    for number in 1..=10_u64 {
        requests.submit(&number)?;
    }
    let link = loaded.program("drain")?.attach()?;
    std::fs::metadata("/")?;
    same((count(&loaded)?, loaded.variable::<u64>("sum")?), (10, 55))?;
    Ok(link.detach()?)
}

fn perf_buffer() -> Outcome {
    let kernel = Linux::new()?;
    let Some(loaded) = load(&kernel, &["report"])? else { return Ok(()) };
    let reports: PerfBuffer = loaded.map("reports")?;
    reports.consume(|_| {})?;
    let link = loaded.program("report")?.attach()?;
    for _ in 0..PACKETS {
        std::fs::metadata("/")?;
    }
    same(reports.wait(Duration::from_secs(10))?, true)?;
    let (mut seen, mut lost) = (Vec::new(), 0);
    let mut each = |record: PerfRecord<'_>| match record {
        PerfRecord::Sample { data, .. } => {
            seen.push(u64::from_ne_bytes(data[..8].try_into().unwrap_or_default()));
        }
        PerfRecord::Lost { count, .. } => lost += count,
    };
    reports.consume(&mut each)?;
    link.detach()?;
    reports.consume(&mut each)?;
    same(seen.len() as u64 >= PACKETS, true)?;
    same(lost, 0)
}

fn memory_and_freezing() -> Outcome {
    const MMAPABLE: u32 = 1 << 10;
    const EPERM: i32 = 1;
    let kernel = Linux::new()?;
    let spec = MapSpec {
        name: "bombus_test".into(),
        map_type: MapType::Array,
        key_size: 4,
        value_size: 8,
        max_entries: 2,
        flags: MMAPABLE,
        ..MapSpec::default()
    };
    let Some(map) = has(Map::create(&kernel, spec))? else { return Ok(()) };
    let memory = map.memory()?;
    memory.write(8, &7_u64.to_ne_bytes())?;
    same(memory.fetch_add(8, 5)?, 7)?;
    same(kernel.map_lookup(map.fd(), &1_u32.to_ne_bytes())?, Some(12_u64.to_ne_bytes().to_vec()))?;
    // While it is shared for writing it cannot be frozen.
    same(map.freeze().is_err(), true)?;
    drop(memory);
    map.freeze()?;
    let array: bombus::Array<u64> = map.view()?;
    same(array.set(0, &1).unwrap_err().errno(), Some(EPERM))?;
    same(array.values()?, vec![0, 12])
}

/// A link that is pinned goes on without the one who made it.
fn pinned_links() -> Outcome {
    let path = format!("/sys/fs/bpf/bombus-test-{}", std::process::id());
    let kernel = Linux::new()?;
    let Some(loaded) = load(&kernel, &["on_lookup"])? else { return Ok(()) };
    let at = AttachPoint::Netns { path: HERE.into(), attach_type: AttachType::SkLookup };
    let Some(link) = attached(&loaded, "on_lookup", &at)? else { return Ok(()) };
    if let Err(error) = link.pin(&path) {
        println!("skipped: {error}");
        return Ok(());
    }
    let outcome = || -> Outcome {
        send_packets()?;
        same(count(&loaded)?, PACKETS)?;
        let link = Link::pinned(&kernel, &path)?;
        link.update(&loaded.program("on_lookup")?)?;
        drop(link);
        send_packets()?;
        same(count(&loaded)?, 2 * PACKETS)
    };
    let outcome = outcome();
    std::fs::remove_file(&path)?;
    outcome
}

fn maps_that_are_not_created() -> Outcome {
    let kernel = Linux::new()?;
    let mut object = object("hooks")?;
    object.autoload("on_message", true)?;
    for name in ["requests", "sockets", "reports"] {
        object.autocreate(name, false)?;
    }
    let Some(loaded) = has(object.load(&kernel))? else { return Ok(()) };
    same(loaded.map::<Map<'_>>("sockets").is_err(), true)?;
    drop(loaded);
    same(object.autocreate("nothing", false).is_err(), true)
}

/// One declares what the other defines.
fn linked_objects() -> Outcome {
    let files = [compiled("one")?, compiled("two")?];
    let linked = Object::link(&files);
    let alone = Object::open(&files[0]);
    files.iter().try_for_each(std::fs::remove_file)?;
    same(alone.is_err(), true)?;
    let kernel = Linux::new()?;
    let Some(loaded) = has(linked?.load(&kernel))? else { return Ok(()) };
    same(kernel.prog_test_run(loaded.program("entry")?.fd(), &[])?, 42)?;
    same(loaded.variable::<u64>("calls")?, 16)?;
    same(Object::link(["/no/such/file.o"]).is_err(), true)
}
