//! Maps against simple models, and programs that do whatever comes.

use std::collections::BTreeMap;

use bombus_embedded::{Embedded, Options};
use bombus_isa::{Insn, Reg, Size};
use bombus_kernel::{Kernel, MapFd, ProgFd, ProgLoad, TestRun, UpdateFlag};
use bombus_platform::{AttachType, HELPERS, Helper, MapType, ProgType, may_call};
use bombus_spec::MapSpec;
use proptest::prelude::*;

fn map(kernel: &Embedded, map_type: MapType, sizes: [u32; 3]) -> MapFd {
    let [key_size, value_size, max_entries] = sizes;
    let (name, flags, contents) = ("any".into(), 0, Vec::new());
    let spec = MapSpec {
        name,
        map_type,
        key_size,
        value_size,
        max_entries,
        flags,
        contents,
        ..MapSpec::default()
    };
    kernel.map_create(&spec).unwrap()
}

fn embedded() -> Embedded {
    Embedded::new(Options { seed: Some(7), cpus: Some(3), unproved: true, ..Options::default() })
}

#[derive(Clone, Debug)]
enum Step {
    Update(u16, u64, UpdateFlag),
    Delete(u16),
    Lookup(u16),
}

/// Few keys, so that they meet again.
fn step() -> impl Strategy<Value = Step> {
    let key = || 0u16..200;
    let flag = prop_oneof![
        3 => Just(UpdateFlag::Any),
        1 => Just(UpdateFlag::NoExist),
        1 => Just(UpdateFlag::Exist),
    ];
    prop_oneof![
        3 => (key(), any::<u64>(), flag).prop_map(|(key, value, flag)| Step::Update(key, value, flag)),
        2 => key().prop_map(Step::Delete),
        1 => key().prop_map(Step::Lookup),
    ]
}

/// What an update of a map with room for 100 gives.
fn expected(model: &BTreeMap<u16, u64>, key: u16, flag: UpdateFlag) -> Option<i32> {
    match (model.contains_key(&key), flag) {
        (true, UpdateFlag::NoExist) => Some(libc::EEXIST),
        (false, UpdateFlag::Exist) => Some(libc::ENOENT),
        (false, _) if model.len() == 100 => Some(libc::E2BIG),
        _ => None,
    }
}

/// A map as the walk by `next_key` shows it.
fn walk(kernel: &Embedded, map: MapFd) -> Vec<(u16, u64)> {
    let mut all = Vec::new();
    let mut key = kernel.map_next_key(map, None).unwrap();
    while let Some(current) = key {
        let value = kernel.map_lookup(map, &current).unwrap().unwrap();
        all.push((
            u16::from_le_bytes(current.as_slice().try_into().unwrap()),
            u64::from_le_bytes(value.try_into().unwrap()),
        ));
        key = kernel.map_next_key(map, Some(&current)).unwrap();
    }
    all
}

proptest! {
    #[test]
    fn a_hash_table_is_a_map(steps in prop::collection::vec(step(), 0..600)) {
        let kernel = embedded();
        let table = map(&kernel, MapType::Hash, [2, 8, 100]);
        let mut model = BTreeMap::new();
        for step in steps {
            match step {
                Step::Update(key, value, flag) => {
                    let wanted = expected(&model, key, flag);
                    let got = kernel.map_update(table, &key.to_le_bytes(), &value.to_le_bytes(), flag);
                    prop_assert_eq!(got.err().and_then(|error| error.errno()), wanted);
                    if wanted.is_none() {
                        model.insert(key, value);
                    }
                }
                Step::Delete(key) => {
                    let got = kernel.map_delete(table, &key.to_le_bytes()).unwrap();
                    prop_assert_eq!(got, model.remove(&key).is_some());
                }
                Step::Lookup(key) => {
                    let got = kernel.map_lookup(table, &key.to_le_bytes()).unwrap();
                    let wanted = model.get(&key).map(|value| value.to_le_bytes().to_vec());
                    prop_assert_eq!(got, wanted);
                }
            }
        }
        let mut all = walk(&kernel, table);
        all.sort();
        prop_assert_eq!(all, model.into_iter().collect::<Vec<_>>());
    }

    /// An LRU table of 10 holds the 10 keys that were updated last.
    #[test]
    fn an_lru_table_keeps_what_was_used_last(keys in prop::collection::vec(0u16..30, 0..200)) {
        let kernel = embedded();
        let table = map(&kernel, MapType::LruHash, [2, 8, 10]);
        let mut model: Vec<u16> = Vec::new();
        for key in keys {
            kernel.map_update(table, &key.to_le_bytes(), &[1; 8], UpdateFlag::Any).unwrap();
            model.retain(|other| *other != key);
            model.push(key);
        }
        let mut wanted = model[model.len().saturating_sub(10)..].to_vec();
        wanted.sort();
        let mut all: Vec<u16> = walk(&kernel, table).into_iter().map(|(key, _)| key).collect();
        all.sort();
        prop_assert_eq!(all, wanted);
    }

    /// Records of any size come out as they went in, or are refused when there is no room.
    #[test]
    fn a_ring_buffer_is_a_queue(
        sizes in prop::collection::vec((1u32..1500, any::<bool>()), 0..60),
    ) {
        let kernel = embedded();
        let ring = map(&kernel, MapType::Ringbuf, [0, 0, 4096]);
        let send = map(&kernel, MapType::Array, [4, 1500, 1]);
        let mut waiting: Vec<Vec<u8>> = Vec::new();
        for (number, (size, consume)) in sizes.into_iter().enumerate() {
            let mut value = vec![number as u8; 1500];
            value[0] = 1;
            kernel.map_update(send, &[0; 4], &value, UpdateFlag::Any).unwrap();
            let text = format!(
                "r1 = map[fd:{}]\nr2 = map[fd:{}][0]+0\nr3 = {size}\nr4 = 0\ncall {}\nexit",
                ring.0, send.0, Helper::RingbufOutput.id()
            );
            let sent = run(&kernel, &bombus_isa::asm(&text).unwrap()).unwrap();
            let used: usize = waiting.iter().map(|record| record.len().next_multiple_of(8) + 8).sum();
            let fits = used + (size as usize).next_multiple_of(8) + 8 < 4096;
            prop_assert_eq!(sent as i32, if fits { 0 } else { -libc::EAGAIN });
            if fits {
                waiting.push(value[..size as usize].to_vec());
            }
            if consume {
                let mut got = Vec::new();
                kernel.ringbuf_consume(ring, &mut |record| got.push(record.to_vec())).unwrap();
                prop_assert_eq!(got, std::mem::take(&mut waiting));
            }
        }
    }

    /// Programs that call helpers with whatever is in the registers end, and harm nothing.
    #[test]
    fn any_helper_call_ends(
        calls in prop::collection::vec((0..HELPERS.len(), prop::array::uniform5(argument())), 1..12),
        prog_type in prop::sample::select(vec![
            ProgType::RawTracepoint, ProgType::Xdp, ProgType::SchedCls, ProgType::SocketFilter,
        ]),
        packet in prop::collection::vec(any::<u8>(), 54..100),
    ) {
        let kernel = embedded();
        let maps = [
            map(&kernel, MapType::Hash, [4, 16, 4]),
            map(&kernel, MapType::PercpuArray, [4, 16, 4]),
            map(&kernel, MapType::Ringbuf, [0, 0, 4096]),
            map(&kernel, MapType::ProgArray, [4, 4, 4]),
        ];
        let mut code = Vec::new();
        code.push(Insn::mov(Reg(9), Reg(1)));
        for register in 6..9 {
            code.push(Insn::mov(Reg(register), Reg::FP));
        }
        for (helper, arguments) in calls {
            let helper = HELPERS[helper];
            // A signal would end the test; the others are not on this kernel.
            let left_out = [Helper::SendSignal, Helper::PerfEventOutput, Helper::GetStackid];
            if left_out.contains(&helper) || !may_call(prog_type, helper.id()) {
                continue;
            }
            for (register, argument) in (1u8..).zip(arguments) {
                argument.put(Reg(register), &maps, &mut code);
            }
            code.push(Insn::call_helper(helper.id()));
            code.push(Insn::mov(Reg(6), Reg(0)));
        }
        code.push(Insn::mov_imm(Reg(0), 0));
        code.push(Insn::exit());
        // The callback of those that take one.
        code.push(Insn::mov_imm(Reg(0), 0));
        code.push(Insn::exit());
        let function = code.len() - 2;
        for (slot, insn) in code.iter_mut().enumerate() {
            if insn.is_wide() && insn.src == Reg(bombus_isa::opcode::pseudo::FUNC) {
                insn.imm = (function - slot - 1) as i32;
            }
        }
        let program = load(&kernel, prog_type, &code).unwrap();
        if prog_type == ProgType::RawTracepoint {
            kernel.prog_test_run(program, &[0; 16]).unwrap();
        } else {
            let mut run = TestRun { data: packet, repeat: 3, ..TestRun::default() };
            kernel.prog_run(program, &mut run).unwrap();
        }
    }

    /// A packet may be anything, and so may what comes with it.
    #[test]
    fn any_packet(
        prog_type in prop::sample::select(vec![
            ProgType::Xdp, ProgType::SchedCls, ProgType::SocketFilter, ProgType::CgroupSkb,
        ]),
        data in prop::collection::vec(any::<u8>(), 0..4200),
        ctx in prop::collection::vec(prop_oneof![9 => Just(0u8), 1 => any::<u8>()], 0..200),
    ) {
        let kernel = embedded();
        let code = [Insn::mov_imm(Reg(0), 0), Insn::exit()];
        let program = load(&kernel, prog_type, &code).unwrap();
        let mut run = TestRun { data: data.clone(), ctx, ..TestRun::default() };
        if kernel.prog_run(program, &mut run).is_ok() {
            prop_assert_eq!(run.data.len(), data.len());
            prop_assert_eq!(&run.data[14..], &data[14..]);
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Argument {
    Number(i32),
    Stack(i32),
    Map(usize),
    Function,
    Context,
    /// What is at an offset of the context: of packets, their address.
    Packet(i16),
    LastResult,
}

fn argument() -> impl Strategy<Value = Argument> {
    prop_oneof![
        3 => (0i32..20).prop_map(Argument::Number),
        1 => any::<i32>().prop_map(Argument::Number),
        3 => (-64i32..8).prop_map(Argument::Stack),
        3 => (0usize..4).prop_map(Argument::Map),
        1 => Just(Argument::Function),
        3 => Just(Argument::Context),
        1 => prop::sample::select(vec![0, 4, 76, 80]).prop_map(Argument::Packet),
        2 => Just(Argument::LastResult),
    ]
}

impl Argument {
    fn put(self, register: Reg, maps: &[MapFd], code: &mut Vec<Insn>) {
        use bombus_isa::opcode::{alu, pseudo};
        match self {
            Argument::Number(number) => code.push(Insn::mov_imm(register, number)),
            Argument::Stack(offset) => {
                code.push(Insn::mov(register, Reg::FP));
                code.push(Insn::alu64_imm(alu::ADD, register, offset));
            }
            Argument::Map(map) => {
                code.extend(Insn::ld_imm64(register, pseudo::MAP_FD, maps[map].0.into()));
            }
            Argument::Function => code.extend(Insn::ld_imm64(register, pseudo::FUNC, 0)),
            Argument::Context => code.push(Insn::mov(register, Reg(9))),
            Argument::Packet(offset) => {
                code.push(Insn::load(Size::W, register, Reg(9), offset));
            }
            Argument::LastResult => code.push(Insn::mov(register, Reg(6))),
        }
    }
}

fn run(kernel: &Embedded, insns: &[Insn]) -> bombus_kernel::Result<u32> {
    kernel.prog_test_run(load(kernel, ProgType::RawTracepoint, insns)?, &[0; 16])
}

fn load(kernel: &Embedded, prog_type: ProgType, insns: &[Insn]) -> bombus_kernel::Result<ProgFd> {
    kernel.prog_load(&ProgLoad {
        name: "any",
        prog_type,
        attach_type: AttachType::NONE,
        attach_to: bombus_kernel::AttachTo::Nothing,
        insns,
        license: "GPL",
        btf: None,
        func_info: &[],
        line_info: &[],
        ..ProgLoad::default()
    })
}
