//! What user space and programs share: mapped arrays, perf buffers, user ring buffers; and the
//! commands over many elements.

use std::time::{Duration, Instant};

use bombus_btf::{Builder, Linkage, TypeId};
use bombus_isa::opcode::{alu, pseudo};
use bombus_isa::{Insn, Reg, Size};
use bombus_kernel::{
    AttachTo, Kernel, MapTypes, PerfRecord, ProgLoad, TestRun, Tracer, UpdateFlag, Wake,
};
use bombus_linux::Linux;
use bombus_platform::{AttachType, MapType, ProgType};
use bombus_spec::MapSpec;
use libtest_mimic::Failed;

use crate::{Test, cell, code, ensure, load_for, map_spec, read_cell, same};

pub(crate) const TESTS: &[Test] = &[
    ("shared::mapped_values", mapped_values),
    ("shared::arenas", arenas),
    ("shared::frozen", frozen),
    ("shared::perf_buffer", perf_buffer),
    ("shared::user_ring_buffer", user_ring_buffer),
    ("shared::batches", batches),
    ("shared::take", take),
    ("shared::typed_maps", typed_maps),
    ("shared::packets", packets),
];

/// `BPF_F_MMAPABLE`.
const MMAPABLE: u32 = 1 << 10;

fn mapped_values() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let spec = MapSpec { flags: MMAPABLE, ..map_spec(MapType::Array, 4, 12, 3) };
    let map = linux.map_create(&spec)?;
    let memory = linux.map_mmap(map)?;
    same((memory.size() % 4096, memory.is_writable()), (0, true))?;
    // The second value, rounded up to 16 bytes from the first.
    memory.write(16, b"hello world!")?;
    same(linux.map_lookup(map, &1u32.to_ne_bytes())?, Some(b"hello world!".to_vec()))?;
    linux.map_update(map, &2u32.to_ne_bytes(), b"how are you?", UpdateFlag::Any)?;
    let mut text = [0; 11];
    memory.read(33, &mut text)?;
    same(&text, b"ow are you?")?;
    same(memory.fetch_add(0, 5)?, 0)?;
    same(memory.fetch_add(0, 1)?, 5)?;
    let size = memory.size();
    same(memory.read(size - 1, &mut [0; 2]).unwrap_err().errno(), Some(libc::EFAULT))?;
    same(memory.write(usize::MAX, &[0; 2]).unwrap_err().errno(), Some(libc::EFAULT))?;
    same(memory.fetch_add(4, 1).unwrap_err().errno(), Some(libc::EINVAL))?;
    // It outlives the kernel, and the map lives with it.
    drop(linux);
    memory.read(16, &mut text)?;
    same(&text, b"hello world")?;
    let linux = Linux::new()?;
    let plain = cell(&linux)?;
    ensure(linux.map_mmap(plain).is_err(), || "mapped what cannot be".into())
}

/// An arena has one address, whoever chose it.
fn arenas() -> Result<(), Failed> {
    let linux = Linux::new()?;
    for extra in [1 << 44, 0] {
        let spec = map_spec(MapType::Arena, 0, 0, 4);
        let map = match linux.map_create(&MapSpec { flags: MMAPABLE, extra, ..spec }) {
            Ok(map) => map,
            Err(error) if error.errno() == Some(libc::EINVAL) => {
                println!("skipped: this kernel has no arenas");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        linux.map_mmap(map)?.write(4096, b"hello world!")?;
        let memory = linux.map_mmap(map)?;
        let mut text = [0; 5];
        memory.read(4102, &mut text)?;
        same((memory.size(), &text), (4 * 4096, b"world"))?;
    }
    Ok(())
}

fn frozen() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let spec = MapSpec { flags: MMAPABLE, ..map_spec(MapType::Array, 4, 8, 1) };
    let map = linux.map_create(&spec)?;
    linux.map_update(map, &[0; 4], &[7; 8], UpdateFlag::Any)?;
    linux.map_freeze(map)?;
    let write = linux.map_update(map, &[0; 4], &[8; 8], UpdateFlag::Any);
    same(write.unwrap_err().errno(), Some(libc::EPERM))?;
    let memory = linux.map_mmap(map)?;
    let mut value = [0; 8];
    memory.read(0, &mut value)?;
    same((memory.is_writable(), value), (false, [7; 8]))?;
    same(memory.write(0, &[1]).unwrap_err().errno(), Some(libc::EPERM))
}

fn perf_buffer() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let cpus = linux.features().possible_cpus;
    let map = linux.map_create(&map_spec(MapType::PerfEventArray, 4, 4, cpus))?;
    let code = code::send_perf(map, 400);
    let program =
        load_for(&linux, ProgType::RawTracepoint, AttachType::NONE, AttachTo::Nothing, &code)?;
    let send = |number: u64| linux.prog_test_run(program, &number.to_ne_bytes());
    same(linux.perf_buffer_consume(map, &mut |_| ())?, 0)?;
    let soon = Some(Instant::now() + Duration::from_millis(50));
    same(linux.wait(&[map], soon)?, Wake::Deadline)?;
    for number in 0..100 {
        same(send(number)?, 0)?;
    }
    same(linux.wait(&[map], None)?, Wake::Records)?;
    let mut seen = Vec::new();
    let count = linux.perf_buffer_consume(map, &mut |record| match record {
        PerfRecord::Sample { data, .. } => {
            seen.push((data[..8].to_vec(), data.len() >= 400));
        }
        PerfRecord::Lost { count, .. } => seen.push((vec![count as u8], false)),
    })?;
    same(count, 100)?;
    // By CPU, so in no order when the scheduler moved us.
    seen.sort();
    let mut wanted: Vec<_> =
        (0..100u64).map(|number| (number.to_ne_bytes().to_vec(), true)).collect();
    wanted.sort();
    same(seen, wanted)?;
    // More than there is room for, whichever CPUs they come from.
    let total = 1000 * u64::from(cpus);
    let full =
        (0..total).filter(|&number| send(number).is_ok_and(|value| value != 0)).count() as u64;
    ensure(full > 0, || "everything found room".into())?;
    let (mut samples, mut lost) = (0, 0);
    for _ in 0..2 {
        linux.perf_buffer_consume(map, &mut |record| match record {
            PerfRecord::Sample { .. } => samples += 1,
            PerfRecord::Lost { count, .. } => lost += count,
        })?;
        // With the next record that finds room the kernel says how many did not, on this CPU.
        for number in 0..64 {
            send(number)?;
        }
    }
    ensure(samples >= total - full, || format!("{samples} of {total}, {full} lost"))?;
    ensure(lost > 0 && lost <= full, || format!("{lost} of {full} lost"))
}

/// A program that takes everything out of a user ring buffer and adds up what it finds.
fn user_ring_buffer() -> Result<(), Failed> {
    const DRAIN: i32 = 209;
    const DYNPTR_READ: i32 = 201;
    let linux = Linux::new()?;
    if !bombus_linux::probe::map_type(&linux, MapType::UserRingbuf)? {
        println!("skipped: this kernel has no user ring buffers");
        return Ok(());
    }
    let ring = linux.map_create(&map_spec(MapType::UserRingbuf, 0, 0, 4096))?;
    let sum = cell(&linux)?;
    let mut types = Builder::new();
    let long = types.int("long", 8, true);
    let any = types.ptr(TypeId::VOID);
    let main = types.func_proto(long, &[("ctx", any)]);
    let main = types.func("main", main, Linkage::Global);
    let each = types.func_proto(long, &[("record", any), ("sum", any)]);
    let each = types.func("each", each, Linkage::Static);
    let btf = linux.btf_load(&types.finish())?;
    let [ring_low, ring_high] = Insn::ld_imm64(Reg::R1, pseudo::MAP_FD, ring.0.into());
    let [sum_low, sum_high] = Insn::ld_imm64(Reg::R2, pseudo::MAP_VALUE, sum.0.into());
    let [each_low, each_high] = Insn::ld_imm64(Reg::R2, pseudo::FUNC, 6);
    let code = [
        // drain(ring, each, 0, 0)
        ring_low,
        ring_high,
        each_low,
        each_high,
        Insn::mov_imm(Reg::R3, 0),
        Insn::mov_imm(Reg::R4, 0),
        Insn::call_helper(DRAIN),
        Insn::mov_imm(Reg::R0, 0),
        Insn::exit(),
        // each: dynptr_read(fp - 8, 8, record, 0, 0); *sum += *(fp - 8)
        Insn::store_imm(Size::Dw, Reg::FP, -8, 0),
        Insn::mov(Reg::R3, Reg::R1),
        Insn::mov(Reg::R1, Reg::FP),
        Insn::alu64_imm(alu::ADD, Reg::R1, -8),
        Insn::mov_imm(Reg::R2, 8),
        Insn::mov_imm(Reg::R4, 0),
        Insn::mov_imm(Reg::R5, 0),
        Insn::call_helper(DYNPTR_READ),
        Insn::load(Size::Dw, Reg::R1, Reg::FP, -8),
        sum_low,
        sum_high,
        Insn::atomic(Size::Dw, bombus_isa::opcode::atomic::ADD, Reg::R2, 0, Reg::R1),
        Insn::mov_imm(Reg::R0, 0),
        Insn::exit(),
    ];
    let words = [0, main.0, 9, each.0];
    let program = linux.prog_load(&ProgLoad {
        name: "bombus_test",
        prog_type: ProgType::RawTracepoint,
        insns: &code,
        license: "GPL",
        btf: Some(btf),
        func_info: &words.into_iter().flat_map(u32::to_ne_bytes).collect::<Vec<u8>>(),
        ..ProgLoad::default()
    })?;
    // Several times around.
    let mut wanted = 0;
    for round in 0..100u64 {
        for number in 0..50 {
            linux.user_ringbuf_submit(ring, &(round * number).to_ne_bytes())?;
            wanted += round * number;
        }
        linux.prog_test_run(program, &[])?;
        same(read_cell(&linux, sum)?, wanted)?;
    }
    // 4096 bytes have room for 256 records of 16.
    let stored = (0..).take_while(|_| linux.user_ringbuf_submit(ring, &[0; 8]).is_ok()).count();
    same(stored, 256)?;
    let full = linux.user_ringbuf_submit(ring, &[0; 8]).unwrap_err();
    same(full.errno(), Some(libc::ENOSPC))?;
    let large = linux.user_ringbuf_submit(ring, &[0; 4096]).unwrap_err();
    same(large.errno(), Some(libc::E2BIG))
}

fn batches() -> Result<(), Failed> {
    let linux = Linux::new()?;
    for map_type in [MapType::Hash, MapType::Array] {
        // More than one batch holds.
        let count = 50_000u32;
        let map = linux.map_create(&map_spec(map_type, 4, 32, count))?;
        let elements: Vec<_> = (0..count)
            .map(|number| (number.to_ne_bytes().to_vec(), [number as u8; 32].to_vec()))
            .collect();
        same(linux.map_update_batch(map, &elements, UpdateFlag::Any)?, count as usize)?;
        let mut found = linux.map_elements(map)?;
        found.sort();
        let mut wanted = elements.clone();
        wanted.sort();
        ensure(found == wanted, || "other elements".into())?;
        if map_type == MapType::Hash {
            let again = linux.map_update_batch(map, &elements[..2], UpdateFlag::NoExist);
            same(again.unwrap_err().errno(), Some(libc::EEXIST))?;
            // Every second one, twice, and one that never was.
            let mut keys: Vec<Vec<u8>> =
                elements.iter().step_by(2).map(|(key, _)| key.clone()).collect();
            keys.extend(keys.clone());
            keys.push(u32::MAX.to_ne_bytes().to_vec());
            same(linux.map_delete_batch(map, &keys)?, count as usize / 2)?;
            same(linux.map_elements(map)?.len(), count as usize / 2)?;
        }
    }
    // A type without batches, and elements of the wrong size.
    let spec = MapSpec { flags: 1, ..map_spec(MapType::LpmTrie, 8, 4, 10) };
    let trie = linux.map_create(&spec)?;
    let key = [16, 0, 0, 0, 10, 1, 0, 0].to_vec();
    same(linux.map_update_batch(trie, &[(key.clone(), vec![9; 4])], UpdateFlag::Any)?, 1)?;
    same(linux.map_delete_batch(trie, &[key.clone(), key])?, 1)?;
    let odd = [(vec![0; 7], vec![0; 4]), (vec![0; 9], vec![0; 4])];
    let odd = linux.map_update_batch(trie, &odd, UpdateFlag::Any);
    same(odd.unwrap_err().errno(), Some(libc::EINVAL))
}

fn take() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let queue = linux.map_create(&map_spec(MapType::Queue, 0, 4, 3))?;
    for number in 0..3u32 {
        linux.map_update(queue, &[], &number.to_ne_bytes(), UpdateFlag::Any)?;
    }
    for number in 0..3u32 {
        same(linux.map_take(queue, &[])?, Some(number.to_ne_bytes().to_vec()))?;
    }
    same(linux.map_take(queue, &[])?, None)?;
    let hash = linux.map_create(&map_spec(MapType::Hash, 4, 4, 3))?;
    linux.map_update(hash, &[1; 4], &[2; 4], UpdateFlag::Any)?;
    same(linux.map_take(hash, &[1; 4])?, Some(vec![2; 4]))?;
    same(linux.map_take(hash, &[1; 4])?, None)
}

fn typed_maps() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let mut types = Builder::new();
    let int = types.int("int", 4, true);
    let btf = Some(linux.btf_load(&types.finish())?);
    let typed = MapSpec {
        key_type: int.0,
        value_type: int.0,
        numa_node: Some(0),
        ..map_spec(MapType::Hash, 4, 4, 1)
    };
    linux.map_create_typed(&typed, MapTypes { btf, ..MapTypes::default() })?;
    // Types that do not fit are left out.
    let odd = MapSpec { value_size: 16, ..typed.clone() };
    linux.map_create_typed(&odd, MapTypes { btf, ..MapTypes::default() })?;
    // What cannot do without them says so.
    let storage = MapSpec { flags: 1, max_entries: 0, ..map_spec(MapType::SkStorage, 4, 4, 0) };
    ensure(linux.map_create(&storage).is_err(), || "storage without types".into())?;
    let storage = MapSpec { key_type: int.0, value_type: int.0, ..storage };
    linux.map_create_typed(&storage, MapTypes { btf, ..MapTypes::default() })?;
    // Maps in maps.
    let inner = linux.map_create(&map_spec(MapType::Array, 4, 8, 2))?;
    let outer = MapSpec { inner: None, ..map_spec(MapType::HashOfMaps, 4, 4, 2) };
    let types = MapTypes { inner: Some(inner), ..MapTypes::default() };
    let outer = linux.map_create_typed(&outer, types)?;
    linux.map_update(outer, &[1; 4], &inner.0.to_ne_bytes(), UpdateFlag::Any)?;
    ensure(linux.map_lookup(outer, &[1; 4])?.is_some(), || "no map in the map".into())
}

/// A test run gives back what became of packet and context.
fn packets() -> Result<(), Failed> {
    let linux = Linux::new()?;
    // skb->mark = 7, and 100 bytes more in front: skb_change_head.
    const CHANGE_HEAD: i32 = 43;
    let code = [
        Insn::mov(Reg(6), Reg::R1),
        Insn::mov_imm(Reg::R2, 100),
        Insn::mov_imm(Reg::R3, 0),
        Insn::call_helper(CHANGE_HEAD),
        Insn::mov_imm(Reg::R1, 7),
        Insn::store(Size::W, Reg(6), 8, Reg::R1),
        Insn::exit(),
    ];
    let program = load_for(&linux, ProgType::SchedCls, AttachType::NONE, AttachTo::Nothing, &code)?;
    let mut run = TestRun { data: vec![1; 64], ctx: vec![0; 192], repeat: 1, ..TestRun::default() };
    linux.prog_run(program, &mut run)?;
    same((run.retval, run.data.len(), run.ctx[8]), (0, 164, 7))?;
    same(&run.data[150..], &[1; 14][..])?;
    // A program of type syscall leaves something in its context.
    let code = [
        Insn::mov_imm(Reg::R2, 42),
        Insn::store(Size::W, Reg::R1, 4, Reg::R2),
        Insn::mov_imm(Reg::R0, 3),
        Insn::exit(),
    ];
    let program = linux.prog_load(&ProgLoad {
        name: "bombus_test",
        prog_type: ProgType::Syscall,
        insns: &code,
        license: "GPL",
        // BPF_F_SLEEPABLE
        flags: 1 << 4,
        ..ProgLoad::default()
    })?;
    let mut run = TestRun { ctx: vec![0; 8], ..TestRun::default() };
    linux.prog_run(program, &mut run)?;
    same((run.retval, run.ctx[4]), (3, 42))
}
