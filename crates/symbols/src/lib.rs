//! User programs and libraries: which file a name means, and where its functions and static probes
//! are.
//!
//! Nothing is read before it is asked for, and of a file only the headers and symbol tables.
#![forbid(unsafe_code)]

mod elf;
mod ldcache;
mod process;
mod resolve;
mod static_probes;

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bombus_kernel::catalog::{Binaries, StaticProbe, Symbol};

/// The files of this machine, as [`Binaries`].
#[derive(Default)]
pub struct Files {
    /// What was read already: several probes often name one file.
    read: RefCell<HashMap<PathBuf, Rc<Vec<Symbol>>>>,
}

impl Files {
    /// No file is read yet.
    pub fn new() -> Files {
        Files::default()
    }
}

impl Binaries for Files {
    /// A name with a slash is a path; one without is a file here or a program in `PATH`; one that
    /// begins with `lib` is a library first. No name means the program that the process runs. With
    /// a process that sees other files than we do (a container), they are its files, and the path
    /// is one by which we can open them.
    fn resolve(&self, name: &str, pid: Option<u32>) -> Option<PathBuf> {
        resolve::resolve(name, pid)
    }

    /// The functions of `.symtab` and `.dynsym`, and of the file with the debug symbols where the
    /// first is missing. Of several with one name the one that programs link against is given: the
    /// default version rather than an old one, a global function rather than a static one.
    fn functions(&self, path: &Path) -> Result<Vec<Symbol>, String> {
        if let Some(symbols) = self.read.borrow().get(path) {
            return Ok(symbols.to_vec());
        }
        let symbols = elf::functions(path)?;
        self.read.borrow_mut().insert(path.to_owned(), Rc::new(symbols.clone()));
        Ok(symbols)
    }

    /// By the file's program headers: only what is loaded to be run is code.
    fn file_offset(&self, path: &Path, address: u64) -> Option<u64> {
        elf::code_offset(path, address)
    }

    /// By the notes that `<sys/sdt.h>` leaves in the file.
    fn static_probes(
        &self,
        path: &Path,
        provider: &str,
        name: &str,
    ) -> Result<Vec<StaticProbe>, String> {
        static_probes::find(path, provider, name)
    }
}
