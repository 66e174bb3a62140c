//! One raw tracepoint in place of many system call tracepoints: a table says which numbers are
//! wanted. Attaching and letting go of one takes milliseconds where hundreds take seconds.

use bombus_compiler::ir::{BinaryOp, Cond, LoadWidth, MapRef};
use bombus_kernel::AttachPoint;
use bombus_platform::{MapType, syscall_by_event};
use bombus_spec::MapSpec;

use super::Assembly;
use super::context::{Identity, ProgramContext};
use super::function::Lower;
use crate::check::tree::{Action, Event, Target};

/// System call numbers that the table has room for; x86-64 has fewer than 500.
const NUMBERS: u32 = 512;

/// Which raw tracepoint stands in for a target, and the number that it looks for.
fn syscall(target: &Target) -> Option<(bool, u32)> {
    let Event::Attach(AttachPoint::Tracepoint { category, name }) = &target.event else {
        return None;
    };
    let (enter, event) = match (name.strip_prefix("sys_enter_"), name.strip_prefix("sys_exit_")) {
        _ if category != "syscalls" => return None,
        (Some(event), _) => (true, event),
        (_, Some(event)) => (false, event),
        _ => return None,
    };
    let number = syscall_by_event(event)?.number;
    (number < NUMBERS).then_some((enter, number))
}

/// How many targets of all actions could be dispatched.
pub(super) fn candidates(actions: &[Action]) -> usize {
    actions.iter().flat_map(|action| &action.targets).filter(|t| syscall(t).is_some()).count()
}

/// Targets that one program serves.
pub(super) struct Share<'a> {
    pub(super) targets: Vec<&'a Target>,
    /// Served by the raw tracepoint `sys_enter` (or else `sys_exit`).
    pub(super) dispatched: Option<bool>,
}

/// Divides an action's targets into those of one program each.
pub(super) fn shares(action: &Action, dispatch: bool) -> Vec<Share<'_>> {
    let mut shares: Vec<Share<'_>> = Vec::new();
    for target in &action.targets {
        let dispatched = syscall(target).filter(|_| dispatch).map(|(enter, _)| enter);
        match shares.iter_mut().find(|share| share.dispatched == dispatched) {
            Some(share) => share.targets.push(target),
            None => shares.push(Share { targets: vec![target], dispatched }),
        }
    }
    shares
}

/// The map with the table: for each number the target's position, from 1, in two bytes.
pub(super) fn table(assembly: &mut Assembly<'_>, targets: &[&Target]) -> u32 {
    let mut bytes = vec![0; NUMBERS as usize * 2];
    for (position, target) in targets.iter().enumerate() {
        if let Some((_, number)) = syscall(target) {
            let at = number as usize * 2;
            bytes[at..at + 2].copy_from_slice(&(position as u16 + 1).to_le_bytes());
        }
    }
    assembly.plan.object.maps.push(MapSpec {
        name: "syscalls".to_string(),
        map_type: MapType::Array,
        key_size: 4,
        value_size: NUMBERS * 2,
        max_entries: 1,
        flags: 0,
        contents: vec![(0u32.to_le_bytes().to_vec(), bytes)],
        ..MapSpec::default()
    });
    assembly.plan.object.maps.len() as u32 - 1
}

impl Lower<'_, '_> {
    /// Ends the program unless the system call is in the table. `first_name` is the index of the
    /// first target's name.
    pub(super) fn dispatch(&mut self, table: u32, first_name: usize) {
        let ProgramContext::Syscall { enter, direct } = self.context else { return };
        let number = self.syscall_number(enter, direct);
        let unknown = self.b.compare_imm(Cond::Uge, number, i64::from(NUMBERS));
        self.return_when(unknown);
        let table = self.b.map_value_addr(MapRef(table), 0);
        let offset = self.b.binary_imm(BinaryOp::Shl, number, 1);
        let entry = self.b.binary(BinaryOp::Add, table, offset);
        let position = self.b.load(LoadWidth::U16, entry, 0);
        let unwanted = self.b.compare_imm(Cond::Eq, position, 0);
        self.return_when(unwanted);
        let name = self.b.binary_imm(BinaryOp::Add, position, first_name as i64 - 1);
        self.identity = Identity::Dispatched(name);
    }
}
