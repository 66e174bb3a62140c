//! The types of a file that is written.

use std::sync::Arc;

use bombus_btf::{Btf, Builder, Kind, Linkage, SectionVar, Type, TypeId};
use bombus_spec::Extern;

use crate::error::{Error, Result};
use crate::externs::{KCONFIG, KSYMS};

/// What there was, and what it becomes.
pub(super) struct Types {
    given: Option<Btf>,
    pub(super) builder: Builder,
}

impl Types {
    pub(super) fn new(blob: Option<Arc<[u8]>>) -> Result<Types> {
        let wrong = |error: bombus_btf::ParseError| Error::new(error.to_string()).at("types");
        let given = blob.map(Btf::parse).transpose().map_err(wrong)?;
        let builder = given.as_ref().map_or_else(Builder::new, Builder::from_btf);
        Ok(Types { given, builder })
    }

    /// `int`.
    pub(super) fn int(&mut self) -> TypeId {
        self.builder.int("int", 4, true)
    }

    /// Bytes of which nothing is known.
    pub(super) fn bytes(&mut self, size: u32) -> TypeId {
        let byte = self.builder.int("unsigned char", 1, false);
        let index = self.int();
        self.builder.array(byte, index, size)
    }

    /// The section of this name, as it was.
    pub(super) fn given_section(&self, name: &str) -> Option<(&Btf, Vec<SectionVar>)> {
        let btf = self.given.as_ref()?;
        match btf.ty(btf.find(Kind::Datasec, name)?)? {
            Type::Datasec { vars, .. } => Some((btf, vars.collect())),
            _ => None,
        }
    }

    /// Variable of this name in a section, as it was.
    pub(super) fn given_variable(&self, section: &str, name: &str) -> Option<SectionVar> {
        let (btf, vars) = self.given_section(section)?;
        vars.into_iter().find(|var| btf.name(var.ty) == name)
    }

    /// A variable of this type and linkage: the one that was in the section, or a new one.
    pub(super) fn variable(
        &mut self,
        section: &str,
        name: &str,
        ty: TypeId,
        linkage: Linkage,
    ) -> TypeId {
        match self.given_variable(section, name) {
            Some(var) => {
                self.builder.set_type(var.ty, ty);
                self.builder.set_linkage(var.ty, linkage);
                var.ty
            }
            None => self.builder.var(name, ty, linkage),
        }
    }

    /// The section with these variables, in place of what was there of its name.
    pub(super) fn section(&mut self, name: &str, size: u32, vars: &[SectionVar]) {
        match self.given.as_ref().and_then(|btf| btf.find(Kind::Datasec, name)) {
            Some(id) => self.builder.replace_section(id, size, vars),
            None => {
                self.builder.datasec(name, size, vars);
            }
        }
    }

    /// Declares what the code takes from the kernel, as a compiler does.
    pub(super) fn externs(&mut self, externs: &[Extern]) {
        let (mut options, mut symbols) = (Vec::new(), Vec::new());
        for each in externs {
            let in_section = |ty, size| SectionVar { ty, offset: 0, size };
            match each {
                Extern::Kconfig { name, type_id, size, .. } => {
                    let ty = TypeId(*type_id);
                    let var = self.variable(KCONFIG, name, ty, Linkage::Extern);
                    options.push(in_section(var, *size));
                }
                Extern::Ksym { name, type_id, .. } => {
                    let ty = TypeId(*type_id);
                    let var = self.variable(KSYMS, name, ty, Linkage::Extern);
                    symbols.push(in_section(var, 0));
                }
                Extern::Kfunc { name, type_id, .. } => {
                    let proto = TypeId(*type_id);
                    let given =
                        self.given.as_ref().and_then(|btf| btf.find(Kind::Func, name.as_str()));
                    let function = match given {
                        Some(function) => {
                            self.builder.set_type(function, proto);
                            self.builder.set_linkage(function, Linkage::Extern);
                            function
                        }
                        None => self.builder.func(name, proto, Linkage::Extern),
                    };
                    symbols.push(in_section(function, 0));
                }
            }
        }
        for (name, vars) in [(KCONFIG, options), (KSYMS, symbols)] {
            if !vars.is_empty() || self.given_section(name).is_some() {
                self.section(name, 0, &vars);
            }
        }
    }

    /// Takes the variables out of sections that are not there any more.
    pub(super) fn forget_sections(&mut self, is_there: impl Fn(&str) -> bool) {
        let Some(btf) = &self.given else { return };
        for id in btf.ids().filter(|&id| btf.kind(id) == Some(Kind::Datasec)) {
            let name = btf.name(id);
            if !is_there(name) && ![KCONFIG, KSYMS].contains(&name) {
                // A section without bytes is none.
                self.builder.replace_section(id, 1, &[]);
            }
        }
    }

    /// Who can see a function; static when nobody knows.
    pub(super) fn linkage(&self, function: u32) -> Linkage {
        match self.given.as_ref().and_then(|btf| btf.ty(TypeId(function))) {
            Some(Type::Func { linkage, .. }) => linkage,
            _ => Linkage::Static,
        }
    }

    /// The blob, if there is any type.
    pub(super) fn finish(&self) -> Option<Vec<u8>> {
        (self.builder.next_id() != TypeId(1)).then(|| self.builder.finish())
    }
}
