//! CO-RE: code compiled against one layout of the kernel's types, made to fit another.
//!
//! A relocation names a type and a way into it, in the types that the program was compiled with,
//! and asks for something: the offset of the field, whether it exists, the value of an enumerator.
//! The answer is looked for in the target's types of the same name, and patched into the
//! instruction. All this is a pure function; what it finds is what libbpf finds
//! (`src/relo_core.c` of libbpf 1.7), to the byte.

mod apply;
mod compat;
mod error;
mod spec;
mod values;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use crate::{Btf, Kind, RelocationKind, TypeId, essential};

pub use apply::{ApplyError, POISON};
pub use error::{CoreError, Missing};
use spec::{Spec, Unmatched};
use values::Values;

/// How many types of the target may be kept for each type of the program, on average, and for any
/// program. A kernel has up to some hundred types of one name, and most have a name of their own.
const CANDIDATES: (usize, usize) = (4, 1 << 14);

/// A record of `.BTF.ext`: one slot that depends on the target's types.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Relocation {
    /// Bytes from the start of the section to the instruction.
    pub insn_offset: u32,
    /// The type that it starts from, in the program's own types.
    pub type_id: TypeId,
    /// The way from there: `0:1:2` is member 2 of what member 1 of the first element is. Of an
    /// enumeration, the enumerator's place; for questions about whole types `0`.
    pub access: String,
    /// What is asked.
    pub kind: RelocationKind,
}

/// The types that a program is to run with: the kernel's and those of its modules.
#[derive(Clone, Debug)]
pub struct Targets {
    label: String,
    kernel: Arc<Btf>,
    modules: Vec<(String, Arc<Btf>)>,
}

impl Targets {
    /// The types of a kernel. `label` says in messages which one: `vmlinux`, `Linux 6.1`, a path.
    pub fn new(label: impl Into<String>, kernel: Arc<Btf>) -> Targets {
        Targets { label: label.into(), kernel, modules: Vec::new() }
    }

    /// Adds the types of a module, which go on from the kernel's. Modules are only looked into for
    /// what the kernel does not have.
    pub fn add_module(&mut self, name: impl Into<String>, types: Arc<Btf>) {
        self.modules.push((name.into(), types));
    }

    /// Which kernel this is.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The types of one of them.
    pub fn btf(&self, owner: Owner) -> Option<&Arc<Btf>> {
        match owner {
            Owner::Kernel => Some(&self.kernel),
            Owner::Module(index) => Some(&self.modules.get(index)?.1),
        }
    }

    /// The types that may be meant by a type of the program: those of the same name without
    /// flavors, and of the same kind. `None`: there are more than `max`.
    fn candidates(&self, local: &Btf, id: TypeId, max: usize) -> Option<Vec<Candidate>> {
        let Some(kind) = local.kind(id) else { return Some(Vec::new()) };
        let name = essential(local.name(id));
        let mut found = Vec::new();
        let mut add = |owner, btf: &Btf| {
            let types = btf.flavors(name, kind == Kind::Func);
            let own = types.filter(|&id| id >= btf.first_id());
            let same = own.filter(|&id| btf.kind(id).is_some_and(|o| compat::kinds(kind, o)));
            found.extend(same.map(|id| Candidate { owner, id }).take(max + 1 - found.len()));
            !found.is_empty()
        };
        if !add(Owner::Kernel, &self.kernel) {
            for (index, (_, btf)) in self.modules.iter().enumerate() {
                add(Owner::Module(index), btf);
            }
        }
        (found.len() <= max).then_some(found)
    }
}

/// Whose type it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// The kernel's.
    Kernel,
    /// Of the module with this index, in the order of [`Targets::add_module`].
    Module(usize),
}

/// A type of the target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// Whose it is.
    pub owner: Owner,
    /// Its number there.
    pub id: TypeId,
}

/// What becomes of an instruction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resolution {
    /// What the compiler put into the instruction, by the program's own types.
    pub original: u64,
    /// What belongs there.
    pub value: u64,
    /// Whether the instruction has to hold [`Resolution::original`]; otherwise something is wrong
    /// with the object.
    pub validate: bool,
    /// What it means for the width of a load or store.
    pub width: Width,
    /// The type of the target that answered, if any did.
    pub target: Option<Candidate>,
    /// Why there is no answer. The instruction becomes one that the verifier refuses, which does no
    /// harm in code that is never reached.
    pub poison: Option<Missing>,
}

/// How wide a load or store of the field has to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Width {
    /// As it is.
    Same,
    /// Of other width, in bytes. Only unsigned integers and pointers can be read that way.
    Changed {
        /// What the instruction has to have.
        from: u32,
        /// What it gets.
        to: u32,
    },
    /// The field has another size here, and reading it with another width would give something else:
    /// the load or store is poisoned.
    Impossible,
}

/// Answers relocations of one program's types; types of the target are looked up once for each of
/// the program's types.
///
/// Where several types have the name, those that answered the first question about a type are the
/// only ones that are asked the next, as libbpf does it: so the order matters, which is that of
/// the records.
#[derive(Debug)]
pub struct Resolver<'a> {
    local: &'a Btf,
    targets: &'a Targets,
    candidates: HashMap<TypeId, Box<[Candidate]>>,
    /// How many more may be kept.
    candidates_left: usize,
}

impl<'a> Resolver<'a> {
    /// For a program with these types.
    pub fn new(local: &'a Btf, targets: &'a Targets) -> Resolver<'a> {
        let candidates_left = CANDIDATES.0 * local.ids().len() + CANDIDATES.1;
        Resolver { local, targets, candidates: HashMap::new(), candidates_left }
    }

    /// Answers one relocation. An error says that the relocation is malformed or that several types
    /// of the target answer differently; that none answers is not an error but a
    /// [`Resolution::poison`].
    pub fn resolve(&mut self, relocation: &Relocation) -> Result<Resolution, CoreError> {
        let local = Spec::parse(self.local, relocation)?;
        if relocation.kind == RelocationKind::TypeIdLocal {
            let id = u64::from(relocation.type_id.0);
            return Ok(Resolution {
                original: id,
                value: id,
                validate: false,
                width: Width::Same,
                target: None,
                poison: None,
            });
        }
        if self.local.name(relocation.type_id).is_empty() {
            return Err(CoreError::Anonymous { id: relocation.type_id, kind: relocation.kind });
        }
        let candidates = match self.candidates.entry(relocation.type_id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let (id, max) = (relocation.type_id, self.candidates_left);
                let found = self.targets.candidates(self.local, id, max);
                let Some(found) = found else {
                    // Nobody goes on from here; whoever does is not to look for as many again.
                    self.candidates_left = 0;
                    return Err(CoreError::Crowded { what: local.to_string() });
                };
                self.candidates_left -= found.len();
                new.insert(found.into())
            }
        };
        let mut first: Option<(Candidate, u32, Values)> = None;
        let mut answered = Vec::new();
        let mut best = Unmatched::Type;
        for &candidate in candidates.iter() {
            let Some(btf) = self.targets.btf(candidate.owner) else { continue };
            let spec = match local.find_in(btf, candidate.id)? {
                Ok(spec) => spec,
                Err(unmatched) => {
                    best = best.max(unmatched);
                    continue;
                }
            };
            let values = Values::new(&local, Some(&spec))?;
            answered.push(candidate);
            let Some((first, first_offset, first_values)) = &first else {
                first = Some((candidate, spec.bit_offset, values));
                continue;
            };
            if spec.bit_offset != *first_offset || !values.agree(first_values) {
                return Err(CoreError::Ambiguous {
                    what: local.to_string(),
                    ids: [first.id, candidate.id],
                    values: [first_values.value, values.value],
                    label: self.targets.label.clone(),
                });
            }
        }
        let Some((first, _, values)) = first else {
            let none = candidates.is_empty();
            let missing = Missing::new(&local, relocation, best, none, &self.targets.label);
            return Ok(Values::new(&local, None)?.resolution(None, missing));
        };
        let resolution = values.resolution(
            Some(first),
            Missing::new(&local, relocation, best, false, &self.targets.label),
        );
        if answered.len() < candidates.len() {
            *candidates = answered.into();
        }
        Ok(resolution)
    }
}

/// Answers one relocation on its own; for those of a whole program see [`Resolver`].
pub fn resolve(
    local: &Btf,
    relocation: &Relocation,
    targets: &Targets,
) -> Result<Resolution, CoreError> {
    Resolver::new(local, targets).resolve(relocation)
}

/// Whether a type of the program's stands for one of the target's, as CO-RE asks it for whole types:
/// the kinds agree, and for functions number and types of the arguments. Types nested too deep do
/// not.
pub fn compatible(local: &Btf, local_id: TypeId, target: &Btf, target_id: TypeId) -> bool {
    compat::Comparison::new(local, target).types(local_id, target_id).unwrap_or(false)
}
