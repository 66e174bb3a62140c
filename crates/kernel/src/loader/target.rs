//! What programs are fitted to: the types, symbols and configuration of one kernel.
//!
//! A target is the kernel that loads the programs, or a description of another one: nothing here
//! needs that kernel to be there. Everything is read when it is first asked for.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::Arc;

use bombus_btf::{Btf, Kind, TypeId};

use crate::{BtfFd, Error, Feature, Kernel, KernelVersion, Result};

/// The types, symbols and configuration of one kernel.
pub struct Target<'a> {
    name: String,
    version: KernelVersion,
    source: Source<'a>,
    types: OnceCell<Option<Arc<Btf>>>,
    modules: OnceCell<Vec<Module>>,
    config: OnceCell<Arc<HashMap<String, String>>>,
}

enum Source<'a> {
    /// This kernel.
    Kernel(&'a dyn Kernel),
    /// A description: what is not in it is not there.
    Description,
}

/// A kernel module's types.
#[derive(Clone, Debug)]
pub struct Module {
    /// Its name.
    pub name: String,
    /// Its types, which go on from the kernel's.
    pub types: Arc<Btf>,
    /// The kernel's handle of them; `None` for a module that is only described.
    pub fd: Option<BtfFd>,
}

/// A type of the target.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'t> {
    pub(super) types: &'t Btf,
    pub(super) id: TypeId,
    /// The module that has it, by its place in [`Target::modules`].
    pub(super) module: Option<usize>,
}

impl<'a> Target<'a> {
    /// The kernel itself.
    pub fn kernel(kernel: &'a dyn Kernel) -> Target<'a> {
        let features = kernel.features();
        let version = features.version;
        let system =
            if features.name == "linux" { "Linux" } else { "the embedded kernel of Linux" };
        Target {
            name: format!("{system} {}.{}", version.major, version.minor),
            version,
            source: Source::Kernel(kernel),
            types: OnceCell::new(),
            modules: OnceCell::new(),
            config: OnceCell::new(),
        }
    }

    /// A kernel that is not there, by its types.
    pub fn offline(version: KernelVersion, types: Arc<Btf>) -> Target<'static> {
        Target {
            name: format!("Linux {}.{}", version.major, version.minor),
            version,
            source: Source::Description,
            types: OnceCell::from(Some(types)),
            modules: OnceCell::from(Vec::new()),
            config: OnceCell::from(Arc::default()),
        }
    }

    /// The same with modules: name and types, which go on from the kernel's.
    pub fn with_modules(mut self, modules: Vec<(String, Arc<Btf>)>) -> Target<'a> {
        let module = |(name, types)| Module { name, types, fd: None };
        self.modules = OnceCell::from(modules.into_iter().map(module).collect::<Vec<_>>());
        self
    }

    /// The same with other types than the kernel says it has.
    pub fn with_types(mut self, types: Arc<Btf>) -> Target<'a> {
        self.types = OnceCell::from(Some(types));
        // The kernel's modules go on from its own types.
        self.modules = OnceCell::from(Vec::new());
        self
    }

    /// The same with these options (`CONFIG_HZ=250`, one a line) before those that it has.
    pub fn with_config(mut self, text: &str) -> Target<'a> {
        let mut config = super::kconfig::parse(text);
        if let Ok(own) = self.config() {
            for (name, value) in own.iter() {
                config.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        self.config = OnceCell::from(Arc::new(config));
        self
    }

    /// What to call it in messages: `Linux 6.18`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its version.
    pub fn version(&self) -> KernelVersion {
        self.version
    }

    /// Whether it can do this: when it is not there, by its version.
    pub fn supports(&self, feature: Feature) -> bool {
        match self.source {
            Source::Kernel(kernel) => kernel.supports(feature),
            Source::Description => self.version >= feature.since(),
        }
    }

    /// Its own types. Fails with [`Error::Unsupported`] when it does not describe them.
    pub fn types(&self) -> Result<&Arc<Btf>> {
        let types = match self.types.get() {
            Some(types) => types,
            None => {
                let types = self.read_types()?;
                self.types.get_or_init(|| types)
            }
        };
        types.as_ref().ok_or_else(|| Error::Unsupported {
            what: format!("{} does not describe its types", self.name),
            help: Some(
                "it was built without CONFIG_DEBUG_INFO_BTF, or is no Linux; types can be given from \
                 a file (bombus run --btf)"
                    .into(),
            ),
        })
    }

    fn read_types(&self) -> Result<Option<Arc<Btf>>> {
        let Source::Kernel(kernel) = self.source else { return Ok(None) };
        kernel.kernel_types()
    }

    /// The types of its modules.
    pub fn modules(&self) -> Result<&[Module]> {
        if let Some(modules) = self.modules.get() {
            return Ok(modules);
        }
        let mut modules = Vec::new();
        if let Source::Kernel(kernel) = self.source {
            let base = self.types()?;
            for module in kernel.module_btfs()? {
                let types = Btf::parse_split(module.btf, base.clone());
                let types = parsed(types, &format!("the types of module {}", module.name))?;
                modules.push(Module {
                    name: module.name,
                    types: Arc::new(types),
                    fd: Some(module.fd),
                });
            }
        }
        Ok(self.modules.get_or_init(|| modules))
    }

    /// The type of this kind and name: the kernel's own, or else that of a module.
    pub(super) fn find(&self, kind: Kind, name: &str) -> Result<Option<Found<'_>>> {
        let types: &Btf = self.types()?;
        if let Some(id) = types.find(kind, name) {
            return Ok(Some(Found { types, id, module: None }));
        }
        let modules = self.modules()?.iter().enumerate();
        Ok(modules
            .filter_map(|(index, module)| {
                let id = module.types.find(kind, name)?;
                Some(Found { types: &module.types, id, module: Some(index) })
            })
            .next())
    }

    /// Whether addresses of its symbols can be asked for.
    pub(super) fn has_symbols(&self) -> bool {
        matches!(self.source, Source::Kernel(_))
    }

    /// The address of a symbol.
    pub(super) fn symbol(&self, name: &str) -> Result<Option<u64>> {
        match self.source {
            Source::Kernel(kernel) => kernel.kernel_symbol(name),
            Source::Description => Ok(None),
        }
    }

    /// Its configuration.
    pub(super) fn config(&self) -> Result<&HashMap<String, String>> {
        if let Some(config) = self.config.get() {
            return Ok(config);
        }
        let config = match self.source {
            Source::Kernel(kernel) => kernel.kernel_config()?,
            Source::Description => Arc::default(),
        };
        Ok(self.config.get_or_init(|| config))
    }
}

fn parsed<E: std::fmt::Display>(types: std::result::Result<Btf, E>, what: &str) -> Result<Btf> {
    types.map_err(|error| Error::Unsupported {
        what: format!("{what} cannot be read: {error}"),
        help: None,
    })
}
