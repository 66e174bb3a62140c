//! Attaching programs by what their sections say: `SEC("kprobe/do_unlinkat")`.

mod points;
mod static_probes;
mod usdt;

use bombus_platform::{AttachType, AutoAttach, Section, find_section};
use bombus_spec::MapRole;

pub use self::static_probes::Usdt;

use super::loaded::{Loaded, LoadedProgram};
use crate::catalog::{Binaries, Catalog};
use crate::{AttachPoint, Error, Kernel, LinkFd, MapFd, ProgFd, Result, UpdateFlag};

/// Where names in sections are looked up.
#[derive(Clone, Copy)]
pub struct Places<'a> {
    /// User programs and libraries: `uprobe/libc:malloc`.
    pub binaries: &'a dyn Binaries,
    /// Kernel functions for patterns: `kprobe.multi/tcp_*`.
    pub catalog: &'a dyn Catalog,
}

impl Loaded {
    /// Attaches a program to what its section names.
    ///
    /// Fails with [`Error::Invalid`] when the section does not say all: a device, a cgroup, a
    /// socket, an element has to be given, by [`Kernel::attach`].
    pub fn attach(&self, kernel: &dyn Kernel, places: Places<'_>, program: &str) -> Result<LinkFd> {
        let (program, fd) = self.ready(program)?;
        let Some((section, target)) = section_of(program) else {
            return Err(Error::invalid(format!(
                "section {} of program {} is not one that can be attached",
                program.section, program.name
            )));
        };
        let wanted = Wanted { kernel, places, program, section, target };
        let at = match section.auto_attach {
            AutoAttach::Usdt => {
                let probe = Usdt::of(&wanted)?;
                self.static_probe(kernel, places.binaries, &probe, &|why| wanted.wrong(why))?
            }
            _ => points::of(&wanted)?,
        };
        kernel.attach(fd, &at, 0)
    }

    /// Attaches everything that says itself where to: programs by their sections, then structures
    /// of callbacks. Programs that need more are left alone. When one cannot be attached, all that
    /// were are detached again.
    pub fn attach_all(&self, kernel: &dyn Kernel, places: Places<'_>) -> Result<Vec<LinkFd>> {
        let mut links = Vec::new();
        let mut attach = || -> Result<()> {
            for program in self.all_programs() {
                if program.fd.is_some() && program.attaches_itself() {
                    links.push(self.attach(kernel, places, &program.name)?);
                }
            }
            for (index, spec) in self.map_specs.iter().enumerate() {
                let created = self.maps.get(index).copied().flatten().is_some();
                if created && matches!(spec.role, MapRole::StructOps { .. }) {
                    links.extend(self.attach_structure(kernel, &spec.name)?);
                }
            }
            Ok(())
        };
        let outcome = attach();
        match outcome {
            Ok(()) => Ok(links),
            Err(error) => {
                // The first error is the one to hear of.
                links.into_iter().for_each(|link| drop(kernel.detach(link)));
                Err(error)
            }
        }
    }

    /// Puts a structure of callbacks to use. One of `.struct_ops.link` gives a link; any other is
    /// in use until its element is deleted from the map ([`Loaded::detach_structure`]).
    pub fn attach_structure(&self, kernel: &dyn Kernel, map: &str) -> Result<Option<LinkFd>> {
        let (index, fd, by_link) = self.structure(map)?;
        if let Some(structure) = self.structures.get(&index) {
            let value = structure.with_programs(&self.programs);
            kernel.map_update(fd, &[0; 4], &value, UpdateFlag::Any)?;
        }
        if !by_link {
            return Ok(None);
        }
        // The kernel asks for no program: it knows them from the map.
        kernel.attach(ProgFd(0), &AttachPoint::StructOps { map: fd }, 0).map(Some)
    }

    /// Takes a structure of callbacks that has no link out of use.
    pub fn detach_structure(&self, kernel: &dyn Kernel, map: &str) -> Result<()> {
        let (_, fd, _) = self.structure(map)?;
        kernel.map_delete(fd, &[0; 4]).map(drop)
    }

    fn structure(&self, name: &str) -> Result<(u32, MapFd, bool)> {
        let mut maps = self.map_specs.iter().zip(&self.maps).enumerate();
        maps.find_map(|(index, (spec, map))| match (&spec.role, map) {
            (MapRole::StructOps { link, .. }, Some(map)) if spec.name == name => {
                Some((index as u32, *map, *link))
            }
            _ => None,
        })
        .ok_or_else(|| Error::invalid(format!("there is no structure of callbacks {name}")))
    }

    /// A program that can be attached.
    fn ready(&self, name: &str) -> Result<(&LoadedProgram, ProgFd)> {
        let program = self.all_programs().iter().find(|each| each.name == name);
        let program =
            program.ok_or_else(|| Error::invalid(format!("the object has no program {name}")))?;
        let fd = program.fd;
        let fd = fd.ok_or_else(|| Error::invalid(format!("program {name} is not loaded")))?;
        Ok((program, fd))
    }
}

impl LoadedProgram {
    /// Whether its section says all that is needed to attach it.
    pub fn attaches_itself(&self) -> bool {
        section_of(self).is_some_and(|(section, target)| match section.auto_attach {
            AutoAttach::Nothing => false,
            AutoAttach::Trace | AutoAttach::Lsm | AutoAttach::Iter => true,
            _ => target.is_some_and(|target| !target.is_empty()),
        })
    }
}

/// A program that is to be attached to what its section names.
struct Wanted<'a> {
    kernel: &'a dyn Kernel,
    places: Places<'a>,
    program: &'a LoadedProgram,
    section: &'static Section,
    target: Option<&'a str>,
}

impl Wanted<'_> {
    fn wrong(&self, why: &str) -> Error {
        Error::invalid(format!("SEC(\"{}\") of {}: {why}", self.program.section, self.program.name))
    }

    /// What follows the slash.
    fn target(&self) -> Result<&str> {
        self.target.filter(|target| !target.is_empty()).ok_or_else(|| Error::Invalid {
            what: format!(
                "SEC(\"{}\") of {} does not say what it attaches to",
                self.program.section, self.program.name
            ),
            help: Some("name it after a slash, or attach the program by an attach point".into()),
        })
    }

    fn is_session(&self) -> bool {
        let attach_type = self.section.attach_type;
        matches!(attach_type, AttachType::TraceKprobeSession | AttachType::TraceUprobeSession)
    }
}

fn section_of(program: &LoadedProgram) -> Option<(&'static Section, Option<&str>)> {
    find_section(program.section.strip_prefix('?').unwrap_or(&program.section))
}
