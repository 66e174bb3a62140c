//! The commands of `bpf(2)`.

use std::sync::Arc;

use bombus_btf::Btf;
use bombus_kernel::{
    AttachPoint, BtfFd, Error, Features, Kernel, LinkFd, MapFd, MapMemory, MapTypes, PerfRecord,
    ProgFd, ProgLoad, Result, TestRun, UpdateFlag,
};
use bombus_platform::{MapType, takes_packets};
use bombus_spec::MapSpec;
use bombus_vm::Context;

use crate::Embedded;
use crate::links::Attached;
use crate::maps::{ENOTSUPP, Errno, Keyless, Map, Storage, Table, ringbuf, shown};
use crate::network::{Entry, interface_index};
use crate::proof;
use crate::run::MAX_MAPS;
use crate::shared::Shared;
use crate::this_task::ThisTask;

/// Handles count from 1, so that an immediate that nobody filled in names nothing.
fn handle(index: usize) -> u32 {
    index as u32 + 1
}

/// The position that a handle stands for.
pub(crate) fn index(handle: u32) -> Option<usize> {
    (handle as usize).checked_sub(1)
}

impl Embedded {
    /// Does something with a map. Errors name the map and what was tried.
    fn with_map<R>(
        &self,
        fd: MapFd,
        doing: &str,
        with: impl FnOnce(&mut Map) -> std::result::Result<R, Errno>,
    ) -> Result<R> {
        let core = &mut *self.core.borrow_mut();
        core.run_deferred();
        let map = index(fd.0).and_then(|index| core.maps.get_mut(index));
        let map = map.ok_or_else(|| Error::os(format!("{doing} a map"), libc::EBADF))?;
        let result = with(map);
        let gone = map.table_mut().map(Table::take_forgotten).unwrap_or_default();
        gone.into_iter().for_each(|number| core.workspace.deferred.remove(number));
        result.map_err(|errno| Error::os(format!("{doing} map {}", map.name), errno))
    }
}

/// That a key or value has the size that the map says.
fn check(bytes: &[u8], size: usize) -> std::result::Result<(), Errno> {
    if bytes.len() == size { Ok(()) } else { Err(libc::EINVAL) }
}

impl Kernel for Embedded {
    fn features(&self) -> &Features {
        &self.features
    }

    fn map_create(&self, spec: &MapSpec) -> Result<MapFd> {
        self.map_create_typed(spec, MapTypes::default())
    }

    fn map_create_typed(&self, spec: &MapSpec, types: MapTypes) -> Result<MapFd> {
        let mut core = self.core.borrow_mut();
        let doing = || format!("create {} map {}", spec.map_type.name(), spec.name);
        if core.maps.len() == MAX_MAPS {
            return Err(Error::os(doing(), libc::ENFILE));
        }
        let btf = types.btf.and_then(|fd| core.types(fd)).cloned();
        let inner = types.inner.and_then(|fd| bombus_kernel::Handles::map(&*core, fd));
        let number = core.maps.len();
        let mut map =
            Map::new(spec, btf, inner, core.cpus, number).map_err(|errno| match errno {
                libc::EOPNOTSUPP => Error::Unsupported {
                    what: format!(
                        "the embedded kernel has no maps of type {}",
                        spec.map_type.name()
                    ),
                    help: None,
                },
                errno => Error::os(doing(), errno),
            })?;
        if let Some(types) = self.types.borrow().as_deref() {
            map.shown = shown(&map, number, spec, types).unwrap_or_default();
        }
        core.maps.push(map);
        Ok(MapFd(handle(core.maps.len() - 1)))
    }

    fn map_lookup(&self, map: MapFd, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.with_map(map, "read", |map| {
            check(key, map.key_size)?;
            match &map.storage {
                Storage::Table(table) => Ok(table.lookup_all(key)),
                Storage::Programs(programs) => Ok(program_index(key)
                    .and_then(|index| programs.get(index).copied().flatten())
                    .map(|program| handle(program as usize).to_ne_bytes().to_vec())),
                Storage::Keyless(Keyless(map)) => match map.user_lookup(key, 0) {
                    Ok(value) => Ok(Some(value)),
                    Err(libc::ENOENT) => Ok(None),
                    Err(errno) => Err(errno),
                },
                Storage::Places(places) => {
                    Ok(program_index(key).and_then(|index| places.lookup(index)))
                }
                Storage::Maps(table) => Ok(table.lookup_all(key)),
                _ => Err(ENOTSUPP),
            }
        })
    }

    /// Of maps without keys.
    fn map_take(&self, map: MapFd, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.with_map(map, "take from", |map| {
            check(key, map.key_size)?;
            map.check_thawed()?;
            match map.keyless().ok_or(ENOTSUPP)?.user_take(key, 0) {
                Ok(value) => Ok(Some(value)),
                Err(libc::ENOENT) => Ok(None),
                Err(errno) => Err(errno),
            }
        })
    }

    fn map_update(&self, map: MapFd, key: &[u8], value: &[u8], flag: UpdateFlag) -> Result<()> {
        let (programs, maps) = {
            let core = self.core.borrow();
            (core.programs.len(), core.maps.len())
        };
        self.with_map(map, "update", |map| {
            check(key, map.key_size)?;
            check(value, map.user_value_size)?;
            map.check_thawed()?;
            map.check_device(key, value)?;
            match &mut map.storage {
                Storage::Table(table) => table.update_all(key, value, flag as u64),
                Storage::Programs(slots) => {
                    if flag != UpdateFlag::Any {
                        return Err(libc::EINVAL);
                    }
                    let slot = program_index(key).and_then(|index| slots.get_mut(index));
                    let slot = slot.ok_or(libc::E2BIG)?;
                    let fd = value.try_into().map_or(0, u32::from_ne_bytes);
                    let program = index(fd).filter(|&index| index < programs);
                    *slot = Some(program.ok_or(libc::EBADF)? as u32);
                    Ok(())
                }
                Storage::Keyless(Keyless(map)) => map.user_update(key, value, flag as u64),
                Storage::Places(places) => {
                    places.update(program_index(key).unwrap_or(usize::MAX), value)
                }
                Storage::Maps(table) => {
                    let fd = value.try_into().map_or(0, u32::from_ne_bytes);
                    let is_map = index(fd).is_some_and(|index| index < maps);
                    if is_map {
                        table.update_all(key, value, flag as u64)
                    } else {
                        Err(libc::EBADF)
                    }
                }
                _ => Err(ENOTSUPP),
            }
        })
    }

    fn map_delete(&self, map: MapFd, key: &[u8]) -> Result<bool> {
        self.with_map(map, "delete from", |map| {
            check(key, map.key_size)?;
            map.check_thawed()?;
            let map_type = map.map_type();
            match &mut map.storage {
                Storage::Table(table) => table.delete(key),
                Storage::Programs(slots) => {
                    let slot = program_index(key).and_then(|index| slots.get_mut(index));
                    Ok(slot.ok_or(libc::E2BIG)?.take().is_some())
                }
                Storage::Keyless(Keyless(map)) => map.user_delete(key).map(|()| true),
                // (An array of maps has places for them, which may be empty.)
                Storage::Maps(table) if map_type == MapType::ArrayOfMaps => {
                    table.update_all(key, &[0; 4], UpdateFlag::Any as u64).map(|()| true)
                }
                Storage::Maps(table) => table.delete(key),
                _ => Err(ENOTSUPP),
            }
        })
    }

    fn map_freeze(&self, map: MapFd) -> Result<()> {
        self.with_map(map, "freeze", Map::freeze)
    }

    fn map_next_key(&self, map: MapFd, key: Option<&[u8]>) -> Result<Option<Vec<u8>>> {
        self.with_map(map, "walk", |map| {
            key.map_or(Ok(()), |key| check(key, map.key_size))?;
            match &map.storage {
                Storage::Table(table) => Ok(table.after(key).map(|element| table.key(element))),
                Storage::Programs(slots) => {
                    let at = key.and_then(program_index).filter(|&index| index < slots.len());
                    let next = at.map_or(0, |index| index + 1);
                    Ok((next < slots.len()).then(|| (next as u32).to_ne_bytes().to_vec()))
                }
                Storage::Keyless(Keyless(map)) => map.user_next_key(key).map(Some),
                Storage::Places(places) => {
                    let at = key.and_then(program_index).filter(|&index| index < places.count());
                    let next = at.map_or(0, |index| index + 1);
                    Ok((next < places.count()).then(|| (next as u32).to_ne_bytes().to_vec()))
                }
                Storage::Maps(table) => Ok(table.after(key).map(|element| table.key(element))),
                _ => Err(ENOTSUPP),
            }
        })
    }

    fn map_elements(&self, map: MapFd) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.with_map(map, "walk", |map| {
            let table = map.table().ok_or(ENOTSUPP)?;
            let mut elements = Vec::new();
            let mut next = table.used_from(0);
            while let Some(element) = next {
                elements.push((table.key(element), table.element_values(element)));
                next = table.used_from(element + 1);
            }
            Ok(elements)
        })
    }

    fn map_mmap(&self, map: MapFd) -> Result<Box<dyn MapMemory>> {
        let index = self.with_map(map, "map", |map| match &map.storage {
            Storage::Arena(_) => Ok(()),
            _ => Err(ENOTSUPP),
        });
        index.map(|()| Box::new(Shared { core: self.core.clone(), map }) as Box<dyn MapMemory>)
    }

    fn user_ringbuf_submit(&self, map: MapFd, record: &[u8]) -> Result<()> {
        self.with_map(map, "write to", |map| {
            let ring = map.keyless().and_then(|map| map.user_ringbuf());
            ring.ok_or(libc::EINVAL)?.push(record)
        })
    }

    fn kernel_btf(&self) -> Result<Option<Arc<[u8]>>> {
        Ok(self.types.borrow().as_ref().map(|types| types.bytes().into()))
    }

    fn kernel_types(&self) -> Result<Option<Arc<Btf>>> {
        Ok(self.types.borrow().clone())
    }

    fn perf_buffer_consume(
        &self,
        map: MapFd,
        each: &mut dyn FnMut(PerfRecord<'_>),
    ) -> Result<usize> {
        let cpus = self.features.possible_cpus;
        // Copied out first, as those of ring buffers.
        let taken = self.with_map(map, "read", |map| {
            let array = map.perf_mut().ok_or(libc::EINVAL)?;
            array.open(cpus);
            Ok(array.take())
        })?;
        let mut count = 0;
        for (cpu, records, lost) in taken {
            for data in &records {
                each(PerfRecord::Sample { cpu, data });
            }
            if lost > 0 {
                each(PerfRecord::Lost { cpu, count: lost });
            }
            count += records.len();
        }
        Ok(count)
    }

    fn ringbuf_consume(&self, map: MapFd, each: &mut dyn FnMut(&[u8])) -> Result<usize> {
        // The records are copied out first: what looks at them may want to look at maps, too.
        let mut taken = self.taken.take();
        let ring =
            |map: &mut Map| map.ringbuf_mut().ok_or(libc::EINVAL).map(|ring| ring.take(&mut taken));
        self.with_map(map, "read", ring)?;
        let count = ringbuf::records(&taken).map(each).count();
        self.taken.replace(taken);
        Ok(count)
    }

    fn btf_load(&self, btf: &[u8]) -> Result<BtfFd> {
        let types = Btf::parse(btf.to_vec());
        let types = types.map_err(|_| Error::os("load type information", libc::EINVAL))?;
        let btfs = &mut self.core.borrow_mut().btfs;
        btfs.push(Arc::new(types));
        Ok(BtfFd(handle(btfs.len() - 1)))
    }

    fn prog_load(&self, program: &ProgLoad<'_>) -> Result<ProgFd> {
        let mut core = self.core.borrow_mut();
        let bad_btf = || Error::os(format!("load program {}", program.name), libc::EBADF);
        let btf = program.btf.map(|fd| core.types(fd).ok_or_else(bad_btf)).transpose()?;
        proof::check_helpers(program.insns)?;
        let types = self.types.borrow();
        let known = match self.unproved {
            true => Vec::new(),
            false => proof::prove(program, &core, types.as_deref())?,
        };
        let id = core.programs.len() as u32;
        let loaded = crate::programs::load(program, id, &core.maps, btf, types.as_deref(), known)?;
        core.add_program(loaded);
        Ok(ProgFd(handle(core.programs.len() - 1)))
    }

    /// A program that does what it must not gives 0; it is counted, see `Tracer::summary`.
    fn prog_test_run(&self, program: ProgFd, ctx: &[u8]) -> Result<u32> {
        let mut core = self.core.borrow_mut();
        core.run_deferred();
        let index = index(program.0).filter(|&index| index < core.programs.len());
        let index = index.ok_or_else(|| Error::os("run a program", libc::EBADF))?;
        if takes_packets(core.programs[index].prog_type) {
            drop(core);
            let mut run = TestRun { ctx: ctx.to_vec(), ..TestRun::default() };
            return self.prog_run(program, &mut run).map(|()| run.retval);
        }
        let attached = Attached { program: index as u32, cookie: 0 };
        let fuel = std::mem::replace(&mut core.fuel, crate::test_run::FUEL);
        let value = core.run(attached, Context::ReadOnly(ctx), &mut ThisTask, 0);
        core.fuel = fuel;
        Ok(value.unwrap_or(0) as u32)
    }

    fn prog_run(&self, program: ProgFd, run: &mut TestRun) -> Result<()> {
        let core = &mut *self.core.borrow_mut();
        core.run_deferred();
        let index = index(program.0).filter(|&index| index < core.programs.len());
        let index = index.ok_or_else(|| Error::os("run a program", libc::EBADF))?;
        crate::test_run::run(core, index, run)
            .map_err(|errno| Error::os(format!("run program {}", core.programs[index].name), errno))
    }

    fn attach(&self, program: ProgFd, at: &AttachPoint, cookie: u64) -> Result<LinkFd> {
        let core = self.core.borrow();
        let found = index(program.0).and_then(|index| Some((index, core.programs.get(index)?)));
        let (index, loaded) = found.ok_or_else(|| Error::os("attach a program", libc::EBADF))?;
        let link = self.attached.get() + 1;
        let entry = Entry { link, program: index as u32 };
        match self.network.borrow_mut().attach(loaded, at, entry) {
            Some(attached) => attached?,
            None => {
                let attached = Attached { program: index as u32, cookie };
                self.links.borrow_mut().attach(loaded, at, attached)?;
                if let AttachPoint::Timer { period, every_cpu } = at {
                    self.timers.borrow_mut().add(*period, *every_cpu, attached)?;
                }
            }
        }
        self.attached.set(link);
        Ok(LinkFd(link))
    }

    /// Of programs at network devices.
    fn detach(&self, link: LinkFd) -> Result<()> {
        if self.network.borrow_mut().detach(link.0) { Ok(()) } else { Err(only_at_devices()) }
    }

    /// Of programs at network devices.
    fn link_update(&self, link: LinkFd, program: ProgFd) -> Result<()> {
        let error = |errno| Error::os("put a program in another's place", errno);
        let core = self.core.borrow();
        let index = index(program.0).filter(|&index| index < core.programs.len());
        let index = index.ok_or_else(|| error(libc::EBADF))?;
        let mut network = self.network.borrow_mut();
        let before = network.program(link.0).ok_or_else(only_at_devices)?;
        let prog_type = |index: usize| core.programs.get(index).map(|loaded| loaded.prog_type);
        if prog_type(before as usize) != prog_type(index) {
            return Err(error(libc::EINVAL));
        }
        network.update(link.0, index as u32);
        Ok(())
    }

    fn interface_index(&self, name: &str) -> Result<u32> {
        interface_index(name)
            .map_err(|errno| Error::os(format!("find network device {name}"), errno))
    }

    fn detach_all(&self) {
        self.links.take();
        self.timers.take();
        self.core.borrow_mut().workspace.deferred.stop_all();
        self.network.borrow_mut().detach_all();
        self.engine.borrow_mut().detach_all();
    }
}

fn only_at_devices() -> Error {
    Error::Unsupported {
        what: "the embedded kernel changes single links of programs at network devices only".into(),
        help: None,
    }
}

fn program_index(key: &[u8]) -> Option<usize> {
    key.try_into().ok().map(|bytes| u32::from_ne_bytes(bytes) as usize)
}
