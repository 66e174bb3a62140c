//! The types that registers may point to: which BTF they are in, and what they are called.

use bombus_btf::{Btf, Type, TypeId};

use crate::state::TypeRef;

/// Every BTF that a program's proof looks into, by number.
#[derive(Debug)]
pub(crate) struct Types<'a> {
    all: Vec<&'a Btf>,
    kernel: Option<u8>,
    program: Option<u8>,
    /// How many of the first are the kernel's and its modules'.
    of_kernel: usize,
}

impl<'a> Types<'a> {
    /// The kernel's, its modules', and the program's own.
    pub(crate) fn new(
        kernel: Option<&'a Btf>,
        modules: &[&'a Btf],
        program: Option<&'a Btf>,
    ) -> Types<'a> {
        let mut all: Vec<&Btf> = kernel.into_iter().collect();
        all.extend(modules);
        let of_kernel = all.len();
        let mut types = Types { all, kernel: kernel.map(|_| 0), program: None, of_kernel };
        types.program = program.map(|program| types.number(program));
        types
    }

    /// The number of a BTF, which is put in if it is new.
    pub(crate) fn number(&mut self, btf: &'a Btf) -> u8 {
        let same = |each: &&Btf| std::ptr::eq(*each, btf) || each.bytes() == btf.bytes();
        let place = self.all.iter().position(same).unwrap_or_else(|| {
            self.all.push(btf);
            self.all.len() - 1
        });
        place.min(u8::MAX.into()) as u8
    }

    /// The kernel's, by number.
    pub(crate) fn kernel(&self) -> Option<(u8, &'a Btf)> {
        self.kernel.map(|number| (number, self.all[usize::from(number)]))
    }

    /// The program's own, by number.
    pub(crate) fn program(&self) -> Option<(u8, &'a Btf)> {
        self.program.map(|number| (number, self.all[usize::from(number)]))
    }

    /// One of them.
    pub(crate) fn btf(&self, number: u8) -> Option<&'a Btf> {
        self.all.get(usize::from(number)).copied()
    }

    /// Whether it is the kernel's, or a module's.
    pub(crate) fn is_kernel(&self, number: u8) -> bool {
        usize::from(number) < self.of_kernel
    }

    /// A type, as it is.
    pub(crate) fn get(&self, of: TypeRef) -> Option<Type<'a>> {
        self.btf(of.btf)?.ty(TypeId(of.id))
    }

    /// A type without modifiers and typedefs, and its number.
    pub(crate) fn resolved(&self, of: TypeRef) -> Option<(TypeRef, Type<'a>)> {
        let btf = self.btf(of.btf)?;
        let id = btf.resolve(TypeId(of.id))?;
        Some((TypeRef { btf: of.btf, id: id.0 }, btf.ty(id)?))
    }

    /// A type's name; empty when it has none.
    pub(crate) fn name(&self, of: TypeRef) -> &'a str {
        self.get(of).map_or("", |found| found.name())
    }

    /// A structure of the kernel's, by its name.
    pub(crate) fn kernel_struct(&self, name: &str) -> Option<TypeRef> {
        let (btf, types) = self.kernel()?;
        let id = types.find(bombus_btf::Kind::Struct, name)?;
        Some(TypeRef { btf, id: id.0 })
    }

    /// The size of a type in bytes.
    pub(crate) fn size(&self, of: TypeRef) -> Option<u32> {
        self.btf(of.btf)?.size_of(TypeId(of.id))
    }
}
