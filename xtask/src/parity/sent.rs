//! What a loader sends to the kernel for one object, in a form in which two loaders can be
//! compared: maps by name instead of by descriptor.

use std::collections::BTreeMap;

use bombus_isa::{Insn, disasm};

/// Everything for one object.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// Why the object cannot even be opened.
    pub(super) refused: Option<String>,
    /// Whether all of it loads at once.
    pub(super) loads: bool,
    /// The maps by name; `None` for one that was not created.
    pub(super) maps: BTreeMap<String, Option<Map>>,
    /// The programs by name: what is loaded, or why nothing is.
    pub(super) programs: BTreeMap<String, Result<Program, String>>,
}

/// What `BPF_MAP_CREATE` takes, and what is stored before any program runs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Map {
    pub(super) definition: Definition,
    pub(super) inner: Option<Definition>,
    pub(super) frozen: bool,
    pub(super) pinned: bool,
    /// Keys with the names of maps and programs.
    pub(super) slots: BTreeMap<u32, String>,
    /// The only value of a data section, or of a structure of callbacks, without the zeros at its
    /// end.
    pub(super) data: Vec<u8>,
    /// Where in a structure of callbacks which program is.
    pub(super) functions: BTreeMap<u32, String>,
}

/// The numbers of a map.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Definition {
    pub(super) map_type: u32,
    pub(super) key_size: u32,
    pub(super) value_size: u32,
    pub(super) max_entries: u32,
    pub(super) flags: u32,
    pub(super) extra: u64,
    pub(super) numa_node: u32,
    pub(super) key_type: u32,
    pub(super) value_type: u32,
    pub(super) kernel_type: u32,
}

/// What `BPF_PROG_LOAD` takes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Program {
    pub(super) prog_type: u32,
    pub(super) attach_type: u32,
    pub(super) flags: u32,
    pub(super) attach_btf_id: u32,
    pub(super) license: String,
    /// Slots at which functions start, with their types.
    pub(super) functions: Vec<(u32, u32)>,
    /// Whether it says which lines of source it comes from. (How many differs: libbpf repeats a
    /// line for every record that the compiler made.)
    pub(super) has_lines: bool,
    /// The code, with 0 for every map.
    pub(super) insns: Vec<Insn>,
    /// Slots that load the address of a map, or of its value.
    pub(super) maps: BTreeMap<usize, String>,
}

/// Says in one line how two of them differ first; `None` when they do not.
pub(super) trait Difference {
    /// `self` is ours, `theirs` the oracle's.
    fn difference(&self, theirs: &Self) -> Option<String>;
}

macro_rules! first_difference {
    ($ours:expr, $theirs:expr, $($field:ident),*) => {
        $(if $ours.$field != $theirs.$field {
            let name = stringify!($field);
            return Some(format!("{name}: {:?}, not {:?}", $ours.$field, $theirs.$field));
        })*
    };
}

impl Difference for Program {
    fn difference(&self, theirs: &Program) -> Option<String> {
        first_difference!(self, theirs, prog_type, attach_type, flags, attach_btf_id, license);
        let slots = self.insns.len().max(theirs.insns.len());
        for slot in 0..slots {
            let map = |program: &Program| program.maps.get(&slot).cloned().unwrap_or_default();
            let (our_map, their_map) = (map(self), map(theirs));
            let (ours, theirs) = (self.insns.get(slot), theirs.insns.get(slot));
            if ours != theirs || our_map != their_map {
                let (ours, theirs) = (text(ours), text(theirs));
                return Some(format!("slot {slot}: {ours} {our_map}, not {theirs} {their_map}"));
            }
        }
        first_difference!(self, theirs, functions, has_lines);
        None
    }
}

impl Difference for Map {
    fn difference(&self, theirs: &Map) -> Option<String> {
        let numbers = |ours: &Definition, theirs: &Definition| {
            first_difference!(
                ours,
                theirs,
                map_type,
                key_size,
                value_size,
                max_entries,
                flags,
                extra,
                numa_node,
                key_type,
                value_type,
                kernel_type
            );
            None
        };
        if let Some(difference) = numbers(&self.definition, &theirs.definition) {
            return Some(difference);
        }
        match (&self.inner, &theirs.inner) {
            (Some(ours), Some(theirs)) => {
                if let Some(difference) = numbers(ours, theirs) {
                    return Some(format!("inner map: {difference}"));
                }
            }
            (ours, theirs) if ours != theirs => return Some("only one has an inner map".into()),
            _ => {}
        }
        first_difference!(self, theirs, frozen, pinned, slots, functions);
        if self.data != theirs.data {
            let at = self.data.iter().zip(&theirs.data).take_while(|(a, b)| a == b).count();
            let (ours, theirs) = (self.data.get(at), theirs.data.get(at));
            return Some(format!("data: byte {at} is {ours:?}, not {theirs:?}"));
        }
        None
    }
}

/// An instruction as the kernel shows it; a slot that is none by itself as hexadecimal digits.
fn text(insn: Option<&Insn>) -> String {
    let Some(insn) = insn else { return "the end".into() };
    if insn.is_wide() || insn.code == 0 {
        let bytes = insn.to_bytes();
        return bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    }
    let line = disasm(&[*insn], &());
    line.trim().split_once(") ").map_or(line.trim(), |(_, text)| text).to_owned()
}

/// Without the zeros at its end.
pub(super) fn trimmed(mut data: Vec<u8>) -> Vec<u8> {
    let end = data.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    data.truncate(end);
    data
}

#[cfg(test)]
mod tests {
    use bombus_isa::{Insn, Reg};

    use super::*;

    #[test]
    fn first_difference() {
        let ours =
            Program { insns: vec![Insn::mov_imm(Reg(0), 1), Insn::exit()], ..Program::default() };
        assert_eq!(ours.difference(&ours), None);
        let mut theirs = ours.clone();
        theirs.insns[0].imm = 2;
        assert_eq!(ours.difference(&theirs).unwrap(), "slot 0: r0 = 1 , not r0 = 2 ");
        theirs.insns.remove(0);
        theirs.flags = 1;
        assert_eq!(ours.difference(&theirs).unwrap(), "flags: 0, not 1");
        theirs = ours.clone();
        theirs.maps.insert(1, "counts".into());
        assert_eq!(ours.difference(&theirs).unwrap(), "slot 1: exit , not exit counts");
    }

    #[test]
    fn zeros_at_the_end() {
        assert_eq!(trimmed(vec![0, 1, 0, 0]), [0, 1]);
        assert!(trimmed(vec![0; 3]).is_empty());
    }
}
