//! What programs run in: maps, a packet and a context of random contents, helpers that give anything
//! that they may give, and a close look at every step.

use std::sync::Arc;

use bombus_btf::{Btf, Builder, FuncInfo, Linkage, TypeId};
use bombus_isa::{Imm64, Size};
use bombus_platform::{Helper, MapType, ProgType};
use bombus_verifier::Map;
use bombus_vm::{Call, Execution, Host, Return, Step, TrapKind, address};

use super::embed::States;
use crate::fuzz::random::Random;

/// Bytes of the maps' values, and elements.
pub(super) const ARRAY_VALUE: usize = 48;
pub(super) const HASH_VALUE: usize = 24;
pub(super) const DATA_VALUE: usize = 64;
pub(super) const ENTRIES: usize = 4;
/// Bytes of a context: twice those of `struct __sk_buff`'s part that programs use.
const CONTEXT: usize = 192;

/// The maps, as the code names them.
pub(super) struct CodeMaps {
    pub(super) array: i32,
    pub(super) hash: i32,
    pub(super) ring: i32,
    pub(super) data: i32,
}

/// The maps, as the code names them.
pub(super) const CODE_MAPS: CodeMaps = CodeMaps { array: 0, hash: 1, ring: 2, data: 3 };
const MAPS: usize = 4;

/// What the verifier is told of the surroundings.
pub(super) struct Surroundings {
    pub(super) maps: Vec<Arc<Map>>,
    pub(super) types: Btf,
    functions: [TypeId; 2],
}

impl Surroundings {
    pub(super) fn new() -> Result<Surroundings, String> {
        let map = |map_type, key_size, value_size: usize, max_entries: usize| {
            Arc::new(Map {
                name: String::new(),
                map_type,
                key_size,
                value_size: value_size as u32,
                max_entries: max_entries as u32,
                flags: 0,
                extra: 0,
                types: None,
                inner: None,
                constant: None,
            })
        };
        let maps = vec![
            map(MapType::Array, 4, ARRAY_VALUE, ENTRIES),
            map(MapType::Hash, 8, HASH_VALUE, ENTRIES),
            map(MapType::Ringbuf, 0, 0, 4096),
            map(MapType::Array, 4, DATA_VALUE, 1),
        ];
        let mut types = Builder::new();
        let word = types.int("long", 8, true);
        let proto = types.func_proto(word, &[("a", word), ("b", word)]);
        let main = types.func("main", proto, Linkage::Global);
        let functions = [main, types.func("function", proto, Linkage::Static)];
        let types = Btf::parse(types.finish()).map_err(|error| error.to_string())?;
        Ok(Surroundings { maps, types, functions })
    }

    /// The functions' types.
    pub(super) fn functions(&self, entries: &[u32]) -> Vec<FuncInfo> {
        let of = |(number, &insn): (usize, &u32)| FuncInfo {
            insn,
            func: self.functions[usize::from(number > 0)],
        };
        entries.iter().enumerate().map(of).collect()
    }
}

/// Guest addresses. Things lie far apart, so that a pointer tells what it came from even when it is
/// out of bounds.
pub(super) mod guest {
    use bombus_vm::address::{FIRST_HOST_REGION, offset, pack, region};

    pub(in super::super) const MAPS: u32 = FIRST_HOST_REGION;
    pub(in super::super) const PACKET: u32 = FIRST_HOST_REGION + 1;
    pub(in super::super) const RING: u32 = FIRST_HOST_REGION + 2;
    pub(in super::super) const KEYS: u32 = FIRST_HOST_REGION + 3;
    /// Values of the first map; those of the others follow.
    pub(in super::super) const VALUES: u32 = FIRST_HOST_REGION + 4;

    const STRIDE: u64 = 1 << 30;

    /// The start of the thing with this number.
    pub(in super::super) const fn start(region: u32, number: usize) -> u64 {
        pack(region, (number as u64 + 1) * STRIDE)
    }

    /// Which thing a pointer belongs to, and how far it is from its start.
    pub(in super::super) const fn place(pointer: u64) -> (u32, usize, i64) {
        let from_start = offset(pointer) + STRIDE / 2;
        let number = from_start / STRIDE;
        let number = if number == 0 { usize::MAX } else { number as usize - 1 };
        (region(pointer), number, (from_start % STRIDE) as i64 - (STRIDE / 2) as i64)
    }
}

/// The surroundings of a run.
pub(super) struct World {
    random: Random,
    /// Numbers that the program has in its code.
    pub(super) constants: Vec<u64>,
    /// The values of each map; those of a hash are there or not.
    values: [Vec<Option<Vec<u8>>>; MAPS],
    /// The packet, and how many times its start was moved.
    packet: Vec<u8>,
    moves: usize,
    records: Vec<Option<Vec<u8>>>,
    context: Vec<u8>,
    prog_type: ProgType,
    /// What is known of each step.
    pub(super) states: States,
}

impl World {
    pub(super) fn new() -> World {
        World {
            random: Random::new(0),
            constants: Vec::new(),
            values: Default::default(),
            packet: Vec::new(),
            moves: 0,
            records: Vec::new(),
            context: Vec::new(),
            prog_type: ProgType::Xdp,
            states: States::default(),
        }
    }

    /// Anything, near to the program's own numbers more often than not.
    fn any(&mut self) -> u64 {
        let near = (self.random.below(5) as u64).wrapping_sub(2);
        match self.random.below(8) {
            0..=2 if !self.constants.is_empty() => {
                let at = self.random.below(self.constants.len());
                self.constants[at].wrapping_add(near)
            }
            3 => self.random.below(70) as u64,
            4 => (1u64 << self.random.below(64)).wrapping_add(near),
            5 => near,
            6 => u64::from(self.random.next() as u32),
            _ => self.random.next(),
        }
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let number = self.any().to_le_bytes();
            chunk.copy_from_slice(&number[..chunk.len()]);
        }
    }

    /// Makes everything anew; gives the context.
    pub(super) fn start(&mut self, seed: u64, prog_type: ProgType) -> Vec<u8> {
        self.random = Random::new(seed);
        self.prog_type = prog_type;
        for (map, size, entries) in
            [(0, ARRAY_VALUE, ENTRIES), (1, HASH_VALUE, ENTRIES), (3, DATA_VALUE, 1)]
        {
            let mut values = std::mem::take(&mut self.values[map]);
            values.resize_with(entries, || None);
            for value in &mut values {
                let mut bytes = value.take().unwrap_or_else(|| vec![0; size]);
                self.fill(&mut bytes);
                *value = (map != 1 || !self.random.once_in(3)).then_some(bytes);
            }
            self.values[map] = values;
        }
        let mut packet = std::mem::take(&mut self.packet);
        let long = self.random.once_in(6);
        packet.resize(self.random.below(if long { 400 } else { 90 }), 0);
        self.fill(&mut packet);
        self.packet = packet;
        self.moves = 0;
        self.records.clear();
        let mut context = std::mem::take(&mut self.context);
        context.resize(CONTEXT, 0);
        self.fill(&mut context);
        self.point_to_packet(&mut context);
        context
    }

    /// Takes the context back.
    pub(super) fn end(&mut self, context: Vec<u8>) {
        self.context = context;
    }

    /// Records that were not given back.
    pub(super) fn records_left(&self) -> usize {
        self.records.iter().flatten().count()
    }

    fn point_to_packet(&self, context: &mut [u8]) {
        let at = match self.prog_type {
            ProgType::Xdp => 0,
            ProgType::SchedCls => 2 * 76,
            _ => return,
        };
        let data = guest::start(guest::PACKET, self.moves);
        context[at..at + 8].copy_from_slice(&data.to_le_bytes());
        let end = data + self.packet.len() as u64;
        context[at + 8..at + 16].copy_from_slice(&end.to_le_bytes());
    }

    /// What a `ld_imm64` loads.
    pub(super) fn resolve(imm: Imm64) -> Option<u64> {
        match imm {
            Imm64::MapFd(map) => Some(address::pack(guest::MAPS, map as u64)),
            Imm64::MapValue { fd, offset } => {
                Some(guest::start(guest::VALUES + fd as u32, 0) + u64::from(offset))
            }
            _ => None,
        }
    }

    fn write(&mut self, vm: &mut Execution<'_>, to: u64, len: u64) -> Result<(), TrapKind> {
        let mut bytes = vec![0; (len as usize).min(1 << 16)];
        self.fill(&mut bytes);
        if len > 0 {
            vm.write(self, to, len as usize)?.copy_from_slice(&bytes);
        }
        Ok(())
    }

    /// The number of an element.
    fn element(
        &mut self,
        vm: &Execution<'_>,
        map: u64,
        key: u64,
    ) -> Result<Option<usize>, TrapKind> {
        let size = if map == CODE_MAPS.hash as u64 { 8 } else { 4 };
        let bytes = vm.read(self, key, size)?;
        let mut number = [0; 8];
        number[..size].copy_from_slice(bytes);
        let number = u64::from_le_bytes(number);
        Ok((number < ENTRIES as u64).then_some(number as usize))
    }
}

const EFAULT: u64 = -14i64 as u64;
const EINVAL: u64 = -22i64 as u64;

impl Host for World {
    fn call(&mut self, vm: &mut Execution<'_>, call: &Call<'_>) -> Result<Return, TrapKind> {
        let [a, b, c, d, _] = call.args;
        let map = address::offset(a);
        let value = match Helper::from_id(call.helper) {
            Some(Helper::MapLookupElem) => match self.element(vm, map, b)? {
                Some(at) if self.values[map as usize][at].is_some() => {
                    guest::start(guest::VALUES + map as u32, at)
                }
                _ => 0,
            },
            Some(Helper::MapUpdateElem) => {
                let size = if map == CODE_MAPS.hash as u64 { HASH_VALUE } else { ARRAY_VALUE };
                let bytes = vm.read(self, c, size)?.to_vec();
                match self.element(vm, map, b)? {
                    Some(at) => {
                        self.values[map as usize][at] = Some(bytes);
                        0
                    }
                    None => -7i64 as u64,
                }
            }
            Some(Helper::KtimeGetNs) => self.any(),
            Some(Helper::GetPrandomU32 | Helper::GetSmpProcessorId) => {
                let bound = if call.helper == Helper::GetSmpProcessorId.id() { 8 } else { 1 << 32 };
                self.any() % bound
            }
            Some(Helper::Loop) => {
                let mut round = 0;
                while round < a & 0xffff_ffff {
                    round += 1;
                    if vm.callback(call.program, b, &[round - 1, c], self)? != 0 {
                        break;
                    }
                }
                round
            }
            Some(Helper::ForEachMapElem) => {
                let mut done = 0;
                for at in 0..ENTRIES {
                    let key = guest::start(guest::KEYS, at);
                    let value = guest::start(guest::VALUES + map as u32, at);
                    done += 1;
                    if vm.callback(call.program, b, &[a, key, value, c], self)? != 0 {
                        break;
                    }
                }
                done
            }
            Some(Helper::RingbufReserve) => {
                if self.random.once_in(5) || b > 4096 {
                    0
                } else {
                    let mut record = vec![0; b as usize];
                    self.fill(&mut record);
                    self.records.push(Some(record));
                    guest::start(guest::RING, self.records.len() - 1)
                }
            }
            Some(Helper::RingbufSubmit | Helper::RingbufDiscard) => {
                let (region, number, off) = guest::place(a);
                let record = self.records.get_mut(number).and_then(Option::take);
                if region != guest::RING || off != 0 || record.is_none() {
                    return Err(TrapKind::BadArgument {
                        helper: "ringbuf_submit",
                        argument: 1,
                        reason: "is no record",
                    });
                }
                self.any()
            }
            Some(Helper::RingbufOutput) => {
                vm.read(self, b, c as usize)?;
                [0, -11i64 as u64][self.random.below(2)]
            }
            Some(Helper::SkbLoadBytes) => {
                self.write(vm, c, d & 0xffff_ffff)?;
                [0, EFAULT][self.random.below(2)]
            }
            Some(Helper::ProbeReadKernel) => {
                self.write(vm, a, b & 0xffff_ffff)?;
                [0, EFAULT][self.random.below(2)]
            }
            Some(Helper::ProbeReadKernelStr) => {
                let size = b & 0xffff_ffff;
                self.write(vm, a, size)?;
                match self.random.once_in(4) {
                    true => EFAULT,
                    false => self.any() % (size + 1),
                }
            }
            Some(Helper::XdpAdjustHead) => {
                let by = b as i32 as i64;
                if by < 0 || by > self.packet.len() as i64 - 14 {
                    EINVAL
                } else {
                    self.packet.drain(..by as usize);
                    self.moves += 1;
                    let mut context = match vm.write(self, a, 16) {
                        Ok(bytes) => bytes.to_vec(),
                        Err(trap) => return Err(trap),
                    };
                    self.point_to_packet(&mut context);
                    vm.write(self, a, 16)?.copy_from_slice(&context);
                    0
                }
            }
            _ => return Err(TrapKind::UnknownHelper(call.helper)),
        };
        Ok(Return::Value(value))
    }

    fn follow(&mut self, step: &Step<'_>) {
        self.states.check(step);
    }

    fn memory(&mut self, address: u64, len: usize) -> Option<&[u8]> {
        let (region, number, at) = guest::place(address);
        if region == guest::KEYS {
            const KEYS: [[u8; 4]; ENTRIES] =
                [[0, 0, 0, 0], [1, 0, 0, 0], [2, 0, 0, 0], [3, 0, 0, 0]];
            let at = usize::try_from(at).ok()?;
            return KEYS.get(number)?.get(at..at.checked_add(len)?);
        }
        self.memory_mut(address, len).map(|bytes| &*bytes)
    }

    fn memory_mut(&mut self, address: u64, len: usize) -> Option<&mut [u8]> {
        let (region, number, at) = guest::place(address);
        let memory: &mut [u8] = match region {
            guest::PACKET if number == self.moves => &mut self.packet,
            guest::RING => self.records.get_mut(number)?.as_mut()?,
            _ => {
                let map = region.checked_sub(guest::VALUES)? as usize;
                self.values.get_mut(map)?.get_mut(number)?.as_mut()?
            }
        };
        let at = usize::try_from(at).ok()?;
        memory.get_mut(at..at.checked_add(len)?)
    }

    fn load_packet(
        &mut self,
        _: &Execution<'_>,
        _: u64,
        _: i32,
        _: Size,
    ) -> Result<Option<u32>, TrapKind> {
        Ok((!self.random.once_in(4)).then(|| self.any() as u32))
    }
}
