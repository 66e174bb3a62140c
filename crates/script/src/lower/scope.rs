//! Following a process and everything that it starts, on a kernel that sees the whole machine: a
//! map of thread ids, kept up to date by programs on fork, exec and exit.

use bombus_compiler::ir::{Builder, Cond, LoadWidth, MapRef, Module, Value};
use bombus_kernel::AttachPoint;
use bombus_platform::{AttachType, Helper, MapType, ProgType};
use bombus_spec::MapSpec;

use super::Assembly;
use crate::plan::{Probe, Trigger};

/// Threads that can be followed at the same time.
const MAX_THREADS: u32 = 65_536;

/// The map of followed threads.
pub(super) fn threads_map() -> MapSpec {
    MapSpec {
        name: "followed".to_string(),
        map_type: MapType::Hash,
        key_size: 4,
        value_size: 1,
        max_entries: MAX_THREADS,
        flags: 0,
        contents: Vec::new(),
        ..MapSpec::default()
    }
}

/// The events that change the map, with the fields that they are about.
const EVENTS: [(&str, &str, &[&str]); 3] = [
    ("fork", "sched_process_fork", &["parent_pid", "child_pid"]),
    ("exec", "sched_process_exec", &["pid", "old_pid"]),
    ("exit", "sched_process_exit", &["pid"]),
];

/// Adds the programs that keep the map up to date. `Err` says what the kernel does not have.
pub(super) fn add_programs(assembly: &mut Assembly<'_>, map: u32) -> Result<(), String> {
    for (short, event, fields) in EVENTS {
        let format = assembly
            .env
            .catalog
            .tracepoint_format("sched", event)
            .ok_or_else(|| format!("tracepoint sched:{event}, which following a tree needs"))?;
        let offsets: Option<Vec<i32>> = fields
            .iter()
            .map(|wanted| {
                let field = format.fields.iter().find(|field| field.name == *wanted);
                field.map(|field| field.offset as i32)
            })
            .collect();
        let offsets = offsets.ok_or_else(|| format!("the fields of tracepoint sched:{event}"))?;
        let module = module(short, map, &offsets);
        let name = format!("tree_{short}");
        let program = assembly
            .add_program(name, module, ProgType::Tracepoint, AttachType::NONE, None)
            .map_err(|error| error.to_string())?;
        assembly.plan.probes.push(Probe {
            name: format!("tree:{short}"),
            program,
            trigger: Trigger::Attach(AttachPoint::Tracepoint {
                category: "sched".to_string(),
                name: event.to_string(),
            }),
            cookie: 0,
        });
    }
    Ok(())
}

fn module(short: &str, map: u32, offsets: &[i32]) -> Module {
    let mut b = Builder::new(format!("tree_{short}"), 1);
    let ctx = b.arg(0);
    let slot = b.slot(16);
    let memory = b.slot_addr(slot);
    let map = b.map_addr(MapRef(map));
    let key = |b: &mut Builder, at: i32, offset: i32| {
        let id = b.load(LoadWidth::U32, ctx, offset);
        b.store(4, id, memory, at);
        id
    };
    match *offsets {
        // Of a fork by a thread that is followed, the child is followed as well.
        [parent, child] if short == "fork" => {
            key(&mut b, 0, parent);
            let found = b.call_helper(Helper::MapLookupElem, &[map, memory]);
            key(&mut b, 0, child);
            when(&mut b, found, |b| follow(b, map, memory));
        }
        // A thread that is not the first takes over the first one's id.
        [now, before] => {
            let own = key(&mut b, 0, before);
            let found = b.call_helper(Helper::MapLookupElem, &[map, memory]);
            when(&mut b, found, |b| {
                let new = b.load(LoadWidth::U32, ctx, now);
                let changed = b.compare(Cond::Ne, new, own);
                when(b, changed, |b| {
                    b.call_helper(Helper::MapDeleteElem, &[map, memory]);
                    b.store(4, new, memory, 0);
                    follow(b, map, memory);
                });
            });
        }
        [gone] => {
            key(&mut b, 0, gone);
            b.call_helper(Helper::MapDeleteElem, &[map, memory]);
        }
        _ => {}
    }
    let zero = b.iconst(0);
    b.ret(zero);
    Module { functions: vec![b.finish()], lines: Vec::new() }
}

/// Adds the thread whose id lies at the memory's start.
fn follow(b: &mut Builder, map: Value, memory: Value) {
    let one = b.iconst(1);
    b.store(1, one, memory, 8);
    let value = b.binary_imm(bombus_compiler::ir::BinaryOp::Add, memory, 8);
    let any = b.iconst(0);
    b.call_helper(Helper::MapUpdateElem, &[map, memory, value, any]);
}

fn when(b: &mut Builder, test: Value, build: impl FnOnce(&mut Builder)) {
    let (then, after) = (b.block(0), b.block(0));
    let test = b.compare_imm(Cond::Ne, test, 0);
    b.branch(test, then, after);
    b.switch_to(then);
    build(b);
    b.jump(after, &[]);
    b.switch_to(after);
}
