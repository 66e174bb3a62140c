//! What the code takes from the kernel: `extern ... __kconfig` and `extern ... __ksym`.
//!
//! Order and layout are libbpf's: options of the kernel's configuration first, by falling
//! alignment, rising size and name, one after the other in the map `.kconfig`; then symbols by name.

use std::collections::HashMap;

use bombus_btf::{Btf, Kind, Linkage, Type, TypeId};

use crate::code::MAX_NAME;
use crate::elf::Elf;
use crate::error::{Error, Result};

/// The section of options of the kernel's configuration.
pub(crate) const KCONFIG: &str = ".kconfig";
/// The section of the kernel's symbols.
pub(crate) const KSYMS: &str = ".ksyms";

/// An extern.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Extern {
    pub(crate) name: String,
    /// Index of its symbol.
    pub(crate) symbol: usize,
    /// It may be missing.
    pub(crate) weak: bool,
    /// Its [`Kind::Var`] or [`Kind::Func`].
    pub(crate) declaration: TypeId,
    /// What it is.
    pub(crate) what: What,
}

/// What an extern is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum What {
    /// An option of the kernel's configuration.
    Kconfig {
        /// Its type.
        ty: TypeId,
        align: u32,
        size: u32,
        /// Bytes from the start of the map's value.
        offset: u32,
    },
    /// A variable or symbol; its type without modifiers.
    Ksym(TypeId),
    /// A function; its prototype.
    Kfunc(TypeId),
}

/// All externs of an object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Externs {
    pub(crate) all: Vec<Extern>,
    /// Places in `all`, by symbol.
    by_symbol: HashMap<usize, u32>,
    /// Bytes of all options of the configuration together; 0: there are none.
    pub(crate) kconfig_size: u32,
}

impl Externs {
    pub(crate) fn collect(elf: &Elf<'_>, btf: Option<&Btf>) -> Result<Externs> {
        let is_extern =
            |symbol: &&crate::elf::Symbol<'_>| symbol.is_extern() && !symbol.name.is_empty();
        let mut symbols = elf.symbols.iter().filter(is_extern).peekable();
        let Some(first) = symbols.peek() else { return Ok(Externs::default()) };
        let Some(btf) = btf else {
            return Err(Error::new(
                "is not defined in this file, and without BTF nothing is known of it",
            )
            .at(first.name)
            .help("compile with `-g`"));
        };
        let declarations = Declarations::new(btf);
        let mut all = Vec::new();
        for (index, symbol) in elf.symbols.iter().enumerate() {
            if !is_extern(&symbol) {
                continue;
            }
            let (declaration, what) =
                declarations.what(symbol.name).map_err(|error| error.at(symbol.name))?;
            let name = symbol.name.to_owned();
            all.push(Extern { name, symbol: index, weak: symbol.weak, declaration, what });
        }
        all.sort_by(|a, b| a.what.rank().cmp(&b.what.rank()).then_with(|| a.name.cmp(&b.name)));
        let kconfig_size = lay_out(&mut all)?;
        let by_symbol = all.iter().zip(0..).map(|(each, place)| (each.symbol, place)).collect();
        Ok(Externs { all, by_symbol, kconfig_size })
    }

    /// The place of the extern with this symbol.
    pub(crate) fn by_symbol(&self, symbol: usize) -> Option<u32> {
        self.by_symbol.get(&symbol).copied()
    }
}

impl What {
    /// What libbpf sorts by, before the name.
    fn rank(&self) -> (bool, std::cmp::Reverse<u32>, u32) {
        match *self {
            What::Kconfig { align, size, .. } => (false, std::cmp::Reverse(align), size),
            What::Ksym(_) | What::Kfunc(_) => (true, std::cmp::Reverse(0), 0),
        }
    }
}

/// Gives each option of the configuration its place; their size together.
fn lay_out(externs: &mut [Extern]) -> Result<u32> {
    let mut end: u32 = 0;
    for each in externs {
        if let What::Kconfig { align, size, offset, .. } = &mut each.what {
            let place = end.checked_next_multiple_of(*align);
            let next = place.and_then(|place| Some((place, place.checked_add(*size)?)));
            (*offset, end) = next.ok_or_else(|| Error::new("is too large").at(&each.name))?;
        }
    }
    Ok(end)
}

/// What BTF says about names that are not defined.
struct Declarations<'a> {
    btf: &'a Btf,
    /// The first variable or function of each name.
    by_name: HashMap<&'a str, TypeId>,
    /// The section that a variable or function stands in.
    section_of: HashMap<TypeId, &'a str>,
}

impl<'a> Declarations<'a> {
    fn new(btf: &'a Btf) -> Declarations<'a> {
        let (mut by_name, mut section_of) = (HashMap::new(), HashMap::new());
        for id in btf.ids() {
            match btf.kind(id) {
                Some(Kind::Var | Kind::Func) => {
                    by_name.entry(btf.name(id)).or_insert(id);
                }
                Some(Kind::Datasec) => {
                    let Some(Type::Datasec { name, vars, .. }) = btf.ty(id) else { continue };
                    for var in vars {
                        section_of.entry(var.ty).or_insert(name);
                    }
                }
                _ => {}
            }
        }
        Declarations { btf, by_name, section_of }
    }

    fn what(&self, name: &str) -> Result<(TypeId, What)> {
        let undefined = || {
            Error::new("is neither defined nor declared as something of the kernel's").help(
                "define it, link the object that does, or declare it `extern ... __ksym` or \
                 `__kconfig`",
            )
        };
        if name.len() > MAX_NAME {
            return Err(Error::new("the name is longer than any in the kernel"));
        }
        let id = *self.by_name.get(name).ok_or_else(undefined)?;
        let section = self.section_of.get(&id).copied().unwrap_or_default();
        let what = match (section, self.btf.ty(id)) {
            (KCONFIG, Some(Type::Var { ty, linkage: Linkage::Extern, .. })) => self.kconfig(ty)?,
            (KCONFIG, Some(Type::Func { .. })) => {
                return Err(Error::new("a function cannot be part of the kernel's configuration")
                    .help("declare it `__ksym`"));
            }
            (KSYMS, Some(Type::Var { ty, linkage: Linkage::Extern, .. })) => {
                What::Ksym(self.btf.resolve(ty).ok_or_else(|| Error::new("has no type"))?)
            }
            (KSYMS, Some(Type::Func { proto, linkage: Linkage::Extern, .. })) => What::Kfunc(proto),
            _ => return Err(undefined()),
        };
        Ok((id, what))
    }

    fn kconfig(&self, ty: TypeId) -> Result<What> {
        let unfit = || {
            Error::new("this type cannot hold a value of the kernel's configuration")
                .help("use an integer, bool, char, `enum libbpf_tristate` or an array of char")
        };
        if !self.holds_kconfig(ty) {
            return Err(unfit());
        }
        let size = self.btf.size_of(ty).filter(|&size| size != 0).ok_or_else(unfit)?;
        let align = self.btf.align_of(ty).ok_or_else(unfit)?;
        Ok(What::Kconfig { ty, align, size, offset: 0 })
    }

    fn holds_kconfig(&self, ty: TypeId) -> bool {
        let is_char = |ty| match self.btf.resolved(ty) {
            Some(Type::Int(int)) => int.size == 1 && !int.is_bool(),
            _ => false,
        };
        match self.btf.resolved(ty) {
            Some(Type::Int(int)) if int.is_bool() => int.size == 1,
            Some(Type::Int(int)) => matches!(int.size, 1 | 2 | 4 | 8),
            Some(Type::Enum(values)) => values.size == 4 && values.name == "libbpf_tristate",
            Some(Type::Enum64(values)) => values.name == "libbpf_tristate",
            Some(Type::Array { element, len, .. }) => len != 0 && is_char(element),
            _ => false,
        }
    }
}
