//! How a helper's prototype is found in the tables of [`sets`](super::sets).

use super::sets::set;
use super::{Caller, Capability, Proto};
use crate::{AttachType, ProgType};

/// Under which circumstances a program has the helpers of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum When {
    /// Always.
    Always,
    /// Never, although the table behind has them.
    Never,
    /// If it may sleep.
    Sleepable,
    /// With one of these attach types.
    At(&'static [AttachType]),
    /// With none of these attach types.
    NotAt(&'static [AttachType]),
    /// With this attach type, at one of these functions.
    On(AttachType, &'static [&'static str]),
    /// In a member of this structure of kernel callbacks that is not this one.
    MemberNot(&'static str),
}

impl When {
    fn holds(self, caller: &Caller) -> bool {
        match self {
            When::Always => true,
            When::Never => false,
            When::Sleepable => caller.sleepable,
            When::At(types) => types.contains(&caller.attach_type),
            When::NotAt(types) => !types.contains(&caller.attach_type),
            When::On(attach_type, functions) => {
                caller.attach_type == attach_type
                    && caller.target.is_some_and(|target| functions.contains(&target))
            }
            When::MemberNot(member) => caller.target != Some(member),
        }
    }

    /// Whether it may hold for a program of this type.
    fn may_hold(self, prog_type: ProgType) -> bool {
        let attach_types = prog_type.attach_types();
        match self {
            When::Never => false,
            When::At(types) => attach_types.iter().any(|each| types.contains(each)),
            When::NotAt(types) => attach_types.iter().any(|each| !types.contains(each)),
            When::On(attach_type, _) => attach_types.contains(&attach_type),
            When::Always | When::Sleepable | When::MemberNot(_) => true,
        }
    }
}

/// Helpers that a program has under the same circumstances.
pub(super) struct Row {
    pub(super) when: When,
    pub(super) needs: Capability,
    pub(super) protos: &'static [&'static Proto],
}

/// What a type of program has: the first row that has the helper and whose circumstances are met;
/// a helper that is in no row is looked for in the table behind.
pub(super) struct Set {
    pub(super) rows: &'static [Row],
    pub(super) behind: Option<&'static Set>,
}

/// The row for a helper, and its prototype.
fn find(
    mut set: &'static Set,
    helper: i32,
    holds: impl Fn(When) -> bool,
) -> Option<(&'static Row, &'static Proto)> {
    loop {
        let rows = set.rows.iter().filter_map(|row| {
            let proto =
                row.protos.iter().find(|proto| i64::from(proto.helper) == i64::from(helper))?;
            Some((row, *proto))
        });
        let mut is_known = false;
        for found in rows {
            if holds(found.0.when) {
                return Some(found);
            }
            is_known = true;
        }
        match set.behind {
            Some(behind) if !is_known => set = behind,
            _ => return None,
        }
    }
}

/// The prototype of the helper with this number as `caller` has it; `None` when it has not.
pub fn proto_for(caller: &Caller, helper: i32) -> Option<&'static Proto> {
    let set = set(caller.prog_type, caller.target)?;
    let (row, proto) = find(set, helper, |when| when.holds(caller))?;
    caller.capabilities.has(row.needs).then_some(proto)
}

/// The prototype of the helper with this number as programs of this type have it that are loaded
/// with every privilege, do not sleep and attach to nothing in particular.
pub fn proto(prog_type: ProgType, attach_type: AttachType, helper: i32) -> Option<&'static Proto> {
    proto_for(&Caller::new(prog_type, attach_type), helper)
}

/// The privilege that a program of `caller`'s kind must be loaded with to have the helper; `None`
/// when it does not have it with any.
pub fn needs(caller: &Caller, helper: i32) -> Option<Capability> {
    let set = set(caller.prog_type, caller.target)?;
    Some(find(set, helper, |when| when.holds(caller))?.0.needs)
}

/// Whether programs of a type may call the helper with this number, at one place or another.
/// Programs that replace a function ([`ProgType::Ext`]) may call whatever the program may whose
/// function it is: for them the answer is yes.
pub(crate) fn may_call(prog_type: ProgType, helper: i32) -> bool {
    match set(prog_type, None) {
        Some(set) => find(set, helper, |when| when.may_hold(prog_type)).is_some(),
        None => super::protos().any(|proto| i64::from(proto.helper) == i64::from(helper)),
    }
}
