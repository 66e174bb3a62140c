//! CO-RE: what depends on the layout of the target's types.

use std::cell::OnceCell;

use bombus_btf::relocate::{Relocation, Resolution, Resolver, Targets};
use bombus_btf::{Btf, Kind, TypeId, essential};
use bombus_isa::Insn;
use bombus_spec::{CoreRelocation, ProgramSpec};

use super::code::{Missing, line_at};
use super::target::Target;
use crate::{Error, Result};

/// The types that relocations of one object are answered by.
pub(super) struct Types<'a> {
    local: Option<&'a Btf>,
    target: &'a Target<'a>,
    /// The kernel alone, which nearly always is enough.
    kernel: OnceCell<Targets>,
    /// The kernel and its modules, for what it does not have itself.
    all: OnceCell<Targets>,
}

impl<'a> Types<'a> {
    pub(super) fn new(local: Option<&'a Btf>, target: &'a Target<'a>) -> Types<'a> {
        Types { local, target, kernel: OnceCell::new(), all: OnceCell::new() }
    }

    fn kernel(&self) -> Result<&Targets> {
        if let Some(targets) = self.kernel.get() {
            return Ok(targets);
        }
        let targets = Targets::new(self.target.name(), self.target.types()?.clone());
        Ok(self.kernel.get_or_init(|| targets))
    }

    fn all(&self) -> Result<&Targets> {
        if let Some(targets) = self.all.get() {
            return Ok(targets);
        }
        let mut targets = self.kernel()?.clone();
        for module in self.target.modules()? {
            targets.add_module(&module.name, module.types.clone());
        }
        Ok(self.all.get_or_init(|| targets))
    }
}

/// Answers the relocations of one object, program by program.
pub(super) struct Relocator<'a> {
    types: &'a Types<'a>,
    kernel: Option<Resolver<'a>>,
    all: Option<Resolver<'a>>,
}

impl<'a> Relocator<'a> {
    pub(super) fn new(types: &'a Types<'a>) -> Relocator<'a> {
        Relocator { types, kernel: None, all: None }
    }

    /// Patches every instruction that a relocation of the program names. Gives what the target does
    /// not have, by slot.
    pub(super) fn apply(
        &mut self,
        program: &ProgramSpec,
        insns: &mut [Insn],
    ) -> Result<Vec<(u32, Missing)>> {
        let mut missing = Vec::new();
        for relocation in &program.core_relocations {
            let resolution = self.resolve(program, relocation)?;
            if let Some(what) = &resolution.poison {
                missing.push((relocation.slot, Missing::InKernel(what.what.clone())));
            }
            resolution
                .apply(insns, relocation.slot as usize)
                .map_err(|error| wrong(program, relocation, &error))?;
        }
        Ok(missing)
    }

    fn resolve(
        &mut self,
        program: &ProgramSpec,
        relocation: &CoreRelocation,
    ) -> Result<Resolution> {
        let types = self.types;
        let local = types.local.ok_or_else(|| wrong(program, relocation, &"there are no types"))?;
        let question = Relocation {
            insn_offset: relocation.slot.saturating_mul(8),
            type_id: TypeId(relocation.type_id),
            access: relocation.access.clone(),
            kind: relocation.kind,
        };
        if self.kernel.is_none() {
            self.kernel = Some(Resolver::new(local, types.kernel()?));
        }
        let ask = |resolver: &mut Option<Resolver<'a>>| {
            let answer = resolver.as_mut().map(|resolver| resolver.resolve(&question));
            let answer = answer.ok_or_else(|| Error::invalid("there are no types"))?;
            answer.map_err(|error| wrong(program, relocation, &error))
        };
        let resolution = ask(&mut self.kernel)?;
        if resolution.target.is_some() || is_in_kernel(local, question.type_id, types)? {
            return Ok(resolution);
        }
        if self.all.is_none() {
            self.all = Some(Resolver::new(local, types.all()?));
        }
        ask(&mut self.all)
    }
}

/// Whether the kernel itself has a type of the name, so that modules are not asked.
fn is_in_kernel(local: &Btf, id: TypeId, types: &Types<'_>) -> Result<bool> {
    let (Some(kind), name) = (local.kind(id), essential(local.name(id))) else { return Ok(true) };
    let kernel = types.target.types()?;
    let alike = match kind {
        Kind::Enum => Kind::Enum64,
        Kind::Enum64 => Kind::Enum,
        kind => kind,
    };
    Ok(name.is_empty() || [kind, alike].iter().any(|&kind| kernel.find(kind, name).is_some()))
}

/// A relocation that cannot be: the object is malformed, or the kernel has several answers.
fn wrong(program: &ProgramSpec, relocation: &CoreRelocation, why: &dyn std::fmt::Display) -> Error {
    let place = line_at(program, relocation.slot as usize)
        .map(|line| format!(" ({}:{}: {})", line.file, line.line, line.text.trim()))
        .unwrap_or_default();
    Error::invalid(format!("program {}: {why}{place}", program.name))
}
