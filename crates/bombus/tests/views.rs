//! Typed views of maps, and links as values, in the running kernel.

use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use bombus::{
    Array, Error, HashMap, Linux, LpmTrie, Map, MapOfMaps, MapSpec, MapType, Object, PerCpuArray,
    PerCpuHashMap, Prefix, ProgArray, Queue, RingBuf, Stack,
};
use libtest_mimic::{Arguments, Failed, Trial};

type Outcome = Result<(), Failed>;
/// A test: what it is called and what it does.
type Test = (&'static str, fn() -> Outcome);

fn main() {
    let arguments = Arguments::from_args();
    let missing = bombus::can_load_programs().err();
    if let Some(reason) = &missing {
        println!("skipped: views of maps: {reason}");
    }
    let tests: [Test; 8] = [
        ("hash", hash),
        ("array", array),
        ("per_cpu", per_cpu),
        ("queue_and_stack", queue_and_stack),
        ("trie", trie),
        ("nested", nested),
        ("ring_buffer", ring_buffer),
        ("links", links),
    ];
    let trials =
        tests.map(|(name, test)| Trial::test(name, test).with_ignored_flag(missing.is_some()));
    libtest_mimic::run(&arguments, trials.into()).exit();
}

fn create(kernel: &Linux, map_type: MapType, sizes: [u32; 3]) -> Result<Map<'_>, Error> {
    let [key_size, value_size, max_entries] = sizes;
    // Tries are only made without preallocation (BPF_F_NO_PREALLOC).
    let flags = u32::from(map_type == MapType::LpmTrie);
    let name = "bombus_test".into();
    let spec =
        MapSpec { name, map_type, key_size, value_size, max_entries, flags, ..MapSpec::default() };
    Map::create(kernel, spec)
}

fn ensure(holds: bool, words: impl ToString) -> Outcome {
    if holds { Ok(()) } else { Err(words.to_string().into()) }
}

fn same<T: PartialEq + std::fmt::Debug>(got: T, wanted: T) -> Outcome {
    ensure(got == wanted, format!("got {got:?}, wanted {wanted:?}"))
}

fn hash() -> Outcome {
    const EEXIST: i32 = 17;
    const ENOENT: i32 = 2;
    let kernel = Linux::new()?;
    let wrong = create(&kernel, MapType::Hash, [4, 8, 16])?.view::<HashMap<u64, u64>>();
    ensure(
        wrong
            .is_err_and(|error| error.to_string().contains("keys of map bombus_test have 4 bytes")),
        "a view with keys of another size",
    )?;
    let wrong = create(&kernel, MapType::Array, [4, 8, 16])?.view::<HashMap<u32, u64>>();
    ensure(wrong.is_err(), "a hash table's view of an array")?;

    let map: HashMap<u32, u64> = create(&kernel, MapType::Hash, [4, 8, 16])?.view()?;
    same(map.get(&1)?, None)?;
    map.insert(&1, &10)?;
    same(map.insert_new(&1, &11).unwrap_err().errno(), Some(EEXIST))?;
    same(map.replace(&2, &11).unwrap_err().errno(), Some(ENOENT))?;
    map.replace(&1, &12)?;
    same(map.get(&1)?, Some(12))?;
    same(map.extend([(&2, &20), (&3, &30)])?, 2)?;
    let mut entries = map.entries()?;
    entries.sort();
    same(entries, vec![(1, 12), (2, 20), (3, 30)])?;
    same((map.remove(&1)?, map.remove(&1)?), (true, false))?;
    same(map.clear()?, 2)?;
    same(map.entries()?, vec![])
}

fn array() -> Outcome {
    const E2BIG: i32 = 7;
    let kernel = Linux::new()?;
    let map: Array<[u16; 2]> = create(&kernel, MapType::Array, [4, 4, 3])?.view()?;
    map.set(1, &[5, 6])?;
    same(map.values()?, vec![[0, 0], [5, 6], [0, 0]])?;
    same(map.get(3)?, None)?;
    same(map.set(3, &[0, 0]).unwrap_err().errno(), Some(E2BIG))
}

fn per_cpu() -> Outcome {
    let kernel = Linux::new()?;
    let cpus = bombus::Kernel::features(&kernel).possible_cpus;
    let values: Vec<u32> = (0..cpus).map(|cpu| cpu + 7).collect();
    let array: PerCpuArray<u32> = create(&kernel, MapType::PercpuArray, [4, 4, 2])?.view()?;
    array.set(1, &values)?;
    same(array.get(1)?, Some(values.clone()))?;
    ensure(array.set(1, &values[1..]).is_err(), "fewer values than CPUs")?;
    let hash: PerCpuHashMap<u16, u32> = create(&kernel, MapType::PercpuHash, [2, 4, 8])?.view()?;
    hash.insert(&3, &values)?;
    same(hash.entries()?, vec![(3, values)])?;
    same((hash.remove(&3)?, hash.get(&3)?), (true, None))
}

fn queue_and_stack() -> Outcome {
    let kernel = Linux::new()?;
    let queue: Queue<u64> = create(&kernel, MapType::Queue, [0, 8, 4])?.view()?;
    let stack: Stack<u64> = create(&kernel, MapType::Stack, [0, 8, 4])?.view()?;
    for value in 1..=3 {
        queue.push(&value)?;
        stack.push(&value)?;
    }
    same(queue.peek()?, Some(1))?;
    same(
        (queue.pop()?, queue.pop()?, queue.pop()?, queue.pop()?),
        (Some(1), Some(2), Some(3), None),
    )?;
    same((stack.pop()?, stack.peek()?), (Some(3), Some(2)))
}

fn trie() -> Outcome {
    let kernel = Linux::new()?;
    let map: LpmTrie<[u8; 4], u32> = create(&kernel, MapType::LpmTrie, [8, 4, 8])?.view()?;
    map.insert(&Prefix { bits: 8, data: [10, 0, 0, 0] }, &1)?;
    map.insert(&Prefix { bits: 16, data: [10, 1, 0, 0] }, &2)?;
    same(map.matching([10, 1, 2, 3])?, Some(2))?;
    same(map.matching([10, 2, 2, 3])?, Some(1))?;
    same(map.matching([11, 1, 2, 3])?, None)?;
    same(map.entries()?.len(), 2)?;
    ensure(map.remove(&Prefix { bits: 16, data: [10, 1, 0, 0] })?, "the longer prefix")?;
    same(map.matching([10, 1, 2, 3])?, Some(1))
}

fn nested() -> Outcome {
    let kernel = Linux::new()?;
    let inner = create(&kernel, MapType::Array, [4, 4, 1])?;
    let spec = MapSpec {
        inner: Some(Box::new(inner.spec().clone())),
        ..create(&kernel, MapType::Array, [4, 4, 2])?.spec().clone()
    };
    let spec = MapSpec { map_type: MapType::ArrayOfMaps, ..spec };
    let object = bombus::ObjectSpec { maps: vec![spec], ..Default::default() };
    let loaded = Object::from_spec(object).load(&kernel)?;
    let outer: MapOfMaps<u32> = loaded.map("bombus_test")?;
    outer.insert(&1, &inner)?;
    same((outer.remove(&1)?, outer.remove(&1)?), (true, false))?;
    let table: ProgArray = create(&kernel, MapType::ProgArray, [4, 4, 1])?.view()?;
    let tcp = tcp_logger()?.load(&kernel)?;
    table.set(0, &tcp.program("on_change")?)?;
    same((table.clear(0)?, table.clear(0)?), (true, false))
}

fn tcp_logger() -> Result<Object, Error> {
    Object::open(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/tcp_logger.bpf.o"))
}

/// A connection of this process with itself is heard of.
fn ring_buffer() -> Outcome {
    let kernel = Linux::new()?;
    let loaded = tcp_logger()?.load(&kernel)?;
    let link = loaded.attach_all()?;
    let ring: RingBuf = loaded.map("events")?;
    let ring = ring.watched()?;
    ensure(ring.as_raw_fd() >= 0, "a descriptor")?;
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.local_addr()?.port()
    };
    ensure(ring.wait(Duration::from_secs(10))?, "nothing was heard of")?;
    let mut ports = Vec::new();
    // The port is in the third word of the record.
    ring.consume(|record| ports.push(u16::from_ne_bytes([record[16], record[17]])))?;
    ensure(ports.contains(&port), format!("{port} is not among {ports:?}"))?;
    link.detach()?;
    // What is detached may go on for some milliseconds, on a busy machine for longer.
    let start = Instant::now();
    loop {
        ring.consume(|_| {})?;
        drop(std::net::TcpListener::bind("127.0.0.1:0")?);
        if ring.consume(|_| {})? == 0 {
            return Ok(());
        }
        ensure(start.elapsed() < Duration::from_secs(10), "still attached after ten seconds")?;
    }
}

/// Dropping a link detaches, forgetting it does not; it outlives what it came from.
fn links() -> Outcome {
    let kernel = Linux::new()?;
    let open = || {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/latency_histogram.bpf.o");
        let mut object = Object::open(path)?;
        object.set("only", std::process::id())?;
        object.load(&kernel)
    };
    let counted = |loaded: &bombus::Loaded<'_>| -> Result<u64, Error> {
        let histogram: Array<u64> = loaded.map("histogram")?;
        let before: u64 = histogram.values()?.iter().sum();
        let _ = std::fs::metadata("/");
        Ok(histogram.values()?.iter().sum::<u64>() - before)
    };
    let loaded = open()?;
    same(counted(&loaded)?, 0)?;
    let link = loaded.attach_all()?;
    ensure(counted(&loaded)? > 0, "attached, and nothing was counted")?;
    drop(link);
    // An overloaded machine takes its time.
    let end = Instant::now() + Duration::from_secs(10);
    while counted(&loaded)? > 0 {
        ensure(Instant::now() < end, "detached, and still counted")?;
    }
    loaded.program("on_enter")?.attach()?.forget();
    loaded.program("on_exit")?.attach()?.forget();
    ensure(counted(&loaded)? > 0, "forgotten, and nothing was counted")?;
    let other = open()?;
    let link = other.attach_all()?;
    drop(other);
    Ok(link.detach()?)
}
