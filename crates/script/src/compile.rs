//! From the text of a script to a plan.

use bombus_compiler::ir;
use bombus_kernel::catalog::{Binaries, Catalog};
use bombus_kernel::{Features, Scope};

use crate::check;
use crate::diagnostic::{Diagnostic, Severity, Source};
use crate::lower;
use crate::plan::Plan;
use crate::syntax::{self, ast};

/// What a script can ask the world about.
#[derive(Clone, Copy)]
pub struct Env<'a> {
    /// Tracepoints.
    pub catalog: &'a dyn Catalog,
    /// Programs and libraries.
    pub binaries: &'a dyn Binaries,
    /// The kernel that programs are for.
    pub features: &'a Features,
}

/// What the command line says about a script.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Positional parameters, `$1` first.
    pub params: Vec<String>,
    /// Whose events count.
    pub scope: Scope,
    /// What wins over the script's `config` block.
    pub overrides: Overrides,
    /// Bytes of the ring buffer; a power of two and a multiple of the page size.
    pub ring_buffer_bytes: u32,
    /// Whether functions that change the traced system are allowed.
    pub unsafe_ok: bool,
}

/// Settings from outside the script, which win over its `config` block (bpftrace 0.27: those of the
/// environment).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Overrides {
    /// Bytes of a string that `str()` reads, with its closing zero.
    pub max_strlen: Option<u32>,
    /// Elements of a map that is not declared.
    pub max_map_keys: Option<u32>,
    /// What to do about probes that do not exist.
    pub missing_probes: Option<MissingProbes>,
    /// Whether maps are printed at the end.
    pub print_maps_on_exit: Option<bool>,
    /// What programs declare; one of [`LICENSES`].
    pub license: Option<String>,
}

/// What to do about a probe that does not exist.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MissingProbes {
    /// The script cannot run.
    Error,
    /// It runs without, and the user is told.
    Warn,
    /// It runs without.
    Ignore,
}

impl std::str::FromStr for MissingProbes {
    type Err = ();

    /// By the names that the `config` block has.
    fn from_str(name: &str) -> Result<MissingProbes, ()> {
        match name {
            "error" => Ok(MissingProbes::Error),
            "warn" => Ok(MissingProbes::Warn),
            "ignore" => Ok(MissingProbes::Ignore),
            _ => Err(()),
        }
    }
}

/// The licences with which the kernel lets a program call everything that tracing needs
/// (`license_is_gpl_compatible`, include/linux/license.h).
pub const LICENSES: [&str; 6] =
    ["GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"];

impl Default for Options {
    /// The values of bpftrace 0.27.
    fn default() -> Options {
        Options {
            params: Vec::new(),
            scope: Scope::Machine,
            overrides: Overrides::default(),
            ring_buffer_bytes: 2 << 20,
            unsafe_ok: false,
        }
    }
}

/// What a script becomes.
#[derive(Clone, Debug)]
pub struct Compilation {
    /// Its syntax tree.
    pub program: ast::Program,
    /// The code of each program of the plan before it was compiled.
    pub modules: Vec<ir::Module>,
    /// What to load, attach, do and show.
    pub plan: Plan,
    /// What the user should hear of, though the script can run.
    pub warnings: Vec<Diagnostic>,
}

/// Compiles a script.
///
/// Reads nothing but what `env` gives, and does nothing but return.
///
/// # Errors
///
/// Everything that is wrong with the script: at least one error, together with the warnings.
pub fn compile(
    source: &Source,
    env: &Env<'_>,
    options: &Options,
) -> Result<Compilation, Vec<Diagnostic>> {
    let (program, mut diagnostics) = syntax::parse(source);
    if diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
        return Err(diagnostics);
    }
    let checked = match check::check(&program, env, options) {
        Ok(checked) => checked,
        Err(mut found) => {
            diagnostics.append(&mut found);
            return Err(diagnostics);
        }
    };
    diagnostics.extend(checked.warnings);
    let (modules, plan) =
        match lower::lower(&checked.script, &checked.settings, source, env, options) {
            Ok(lowered) => lowered,
            Err(mut found) => {
                diagnostics.append(&mut found);
                return Err(diagnostics);
            }
        };
    Ok(Compilation { program, modules, plan, warnings: diagnostics })
}
