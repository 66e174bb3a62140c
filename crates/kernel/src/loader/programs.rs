//! Loading programs, with what each kernel lets them say about themselves.

use std::collections::HashMap;

use bombus_platform::{AttachType, AutoAttach, ProgType, SECTIONS, Section, find_section};
use bombus_spec::{MapSpec, ProgramSpec};

use super::code::Fitted;
use super::debug_info::Records;
use super::explain::explained;
use super::struct_ops::CallbackOf;
use super::target::Target;
use super::{helpers, name};
use crate::{AttachTo, BtfFd, Error, Feature, Kernel, MapFd, ProgFd, ProgLoad, Result, nearest};

/// What all programs of an object are loaded with.
pub(super) struct Loading<'a> {
    pub(super) kernel: &'a dyn Kernel,
    pub(super) target: &'a Target<'a>,
    pub(super) maps: &'a [Option<MapFd>],
    pub(super) map_specs: &'a [MapSpec],
    pub(super) btf: Option<BtfFd>,
    pub(super) modules: &'a [BtfFd],
    /// Which callbacks struct_ops programs are, by index.
    pub(super) callbacks: &'a HashMap<u32, CallbackOf>,
    /// What programs attach to that was not said in the object, by name.
    pub(super) targets: &'a HashMap<String, (Option<ProgFd>, String)>,
    /// `LINUX_VERSION_CODE` that kprobes name; 0: that of the kernel.
    pub(super) kern_version: u32,
    pub(super) log_level: u32,
}

impl Loading<'_> {
    /// Loads one program.
    pub(super) fn load(
        &self,
        index: usize,
        program: &ProgramSpec,
        mut code: Fitted,
        info: Option<&Records>,
    ) -> Result<ProgFd> {
        code.name_maps(self.maps, self.map_specs);
        helpers::replace_missing(&mut code.insns, self.kernel);
        let info = info.filter(|_| self.btf.is_some());
        let mut load = ProgLoad {
            name: &name::sanitized(&program.name),
            prog_type: program.prog_type,
            attach_type: self.attach_type(program),
            attach_to: self.attach_to(index, program)?,
            insns: &code.insns,
            license: &program.license,
            flags: program.flags,
            btf: self.btf.filter(|_| info.is_some()),
            func_info: info.map_or(&[], |info| &info.funcs),
            line_info: info.map_or(&[], |info| &info.lines),
            module_types: self.modules,
            kern_version: self.kern_version,
            log_level: self.log_level,
            ..ProgLoad::default()
        };
        let mut outcome = self.kernel.prog_load(&load);
        if load.btf.is_some() && outcome.as_ref().is_err_and(refuses_types) {
            (load.btf, load.func_info, load.line_info) = (None, &[], &[]);
            outcome = self.kernel.prog_load(&load);
        }
        if attach_type_is_optional(program) && outcome.as_ref().is_err_and(unexplained) {
            load.attach_type = AttachType::NONE;
            outcome = self.kernel.prog_load(&load);
        }
        outcome.map_err(|error| explained(error, program, &code.missing, self.target))
    }

    /// Links of static probes are of the newer kind where there is one, as with libbpf; the kernel
    /// wants to know that when the program is loaded.
    fn attach_type(&self, program: &ProgramSpec) -> AttachType {
        let static_probe = section_of(program)
            .is_some_and(|section| section.auto_attach == AutoAttach::Usdt)
            && program.attach_type == AttachType::NONE;
        if static_probe && self.kernel.supports(Feature::UprobeMultiLink) {
            AttachType::TraceUprobeMulti
        } else {
            program.attach_type
        }
    }

    fn attach_to<'p>(&'p self, index: usize, program: &'p ProgramSpec) -> Result<AttachTo<'p>> {
        if let Some(callback) = self.callbacks.get(&(index as u32)) {
            let CallbackOf { structure, member, module } = *callback;
            return Ok(AttachTo::Member { structure, member, module });
        }
        let given = self.targets.get(&program.name);
        let by_type = match program.prog_type {
            ProgType::StructOps => {
                return Err(Error::Invalid {
                    what: format!(
                        "program {} is in no structure of callbacks of the object",
                        program.name
                    ),
                    help: Some("name it in a SEC(\".struct_ops\") variable".into()),
                });
            }
            // Many functions at once are named only when it is attached.
            ProgType::Ext | ProgType::Lsm | ProgType::Tracing => {
                section_of(program).is_none_or(|section| section.attaches_by_btf())
            }
            _ => false,
        };
        match (given, program.attach_to.as_deref()) {
            (Some((Some(target), function)), _) => Ok(AttachTo::Program(*target, function)),
            (Some((None, function)), _) => Ok(AttachTo::Kernel(function)),
            (None, Some(_)) if program.prog_type == ProgType::Ext => Err(Error::Invalid {
                what: format!("program {} replaces a function of another program", program.name),
                help: Some("say of which one: target_program()".into()),
            }),
            (None, Some(symbol)) => Ok(AttachTo::Kernel(symbol)),
            (None, None) if by_type => Err(Error::Invalid {
                what: format!(
                    "section {} of program {} does not say what it attaches to",
                    program.section, program.name
                ),
                help: Some("name it after a slash, or by target_function()".into()),
            }),
            (None, None) => Ok(AttachTo::Nothing),
        }
    }
}

/// The error of a program whose section does not say what kind it is.
pub(super) fn of_no_type(program: &ProgramSpec) -> Error {
    let ProgramSpec { name, section, .. } = program;
    let target = section.split_once('/').map_or("", |(_, target)| target);
    let names: Vec<String> = SECTIONS
        .iter()
        .map(|row| match row.takes_target() && !target.is_empty() {
            true => format!("{}/{target}", row.name()),
            false => row.name().to_owned(),
        })
        .collect();
    let help = match nearest(section, names.iter().map(String::as_str)) {
        Some(meant) => format!("did you mean SEC(\"{meant}\")?"),
        None => "name it for example SEC(\"xdp\") or SEC(\"kprobe/do_unlinkat\"), or say the type"
            .into(),
    };
    Error::Invalid {
        what: format!("section {section} of {name} does not say what kind of program this is"),
        help: Some(help),
    }
}

/// Whether it was the description of functions and lines that was refused and not the code.
fn refuses_types(error: &Error) -> bool {
    const COMPLAINTS: [&str; 4] = ["func_info", "line_info", "Invalid btf", "btf_id"];
    match error {
        Error::Rejected { log, .. } => {
            log.lines().count() <= 3 && COMPLAINTS.iter().any(|complaint| log.contains(complaint))
        }
        _ => false,
    }
}

/// Whether the kernel refused without a word, as one does that does not know a field.
fn unexplained(error: &Error) -> bool {
    const EINVAL: i32 = 22;
    const E2BIG: i32 = 7;
    matches!(error, Error::Os { errno: EINVAL | E2BIG, .. })
}

/// Whether kernels before 4.17, which take no attach type, can load the program without.
fn attach_type_is_optional(program: &ProgramSpec) -> bool {
    section_of(program).is_some_and(Section::attach_type_is_optional)
        && program.attach_type != AttachType::NONE
}

fn section_of(program: &ProgramSpec) -> Option<&'static Section> {
    find_section(&program.section).map(|(section, _)| section)
}
