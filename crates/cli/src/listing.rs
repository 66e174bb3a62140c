//! `-l`: what there is to probe.

use bombus_kernel::catalog::{Binaries, Catalog};
use bombus_kernel::glob;
use bombus_script::plan::Trigger;
use bombus_script::{Env, Options, compile};
use bombus_symbols::Files;

use crate::failure::Failure;
use crate::flags::{KernelChoice, Listing};
use crate::{host, script};

/// Providers by name and abbreviation.
const PROVIDERS: &[(&str, &str)] = &[
    ("interval", "i"),
    ("profile", "p"),
    ("rawtracepoint", "rt"),
    ("self", "self"),
    ("tracepoint", "t"),
    ("uprobe", "u"),
    ("uretprobe", "ur"),
];

/// Units of timers, as they are listed.
const UNITS: [&str; 4] = ["hz", "ms", "s", "us"];

/// Prints the probes, one a line, and with `fields` what each has.
pub(crate) fn run(
    what: Listing,
    fields: bool,
    kernel: Option<KernelChoice>,
) -> Result<(), Failure> {
    let kernel = kernel.unwrap_or_else(|| match host::catalog(KernelChoice::Linux) {
        // tracefs belongs to root; what the embedded kernel has is known without it.
        linux if linux.tracepoints().is_empty() => KernelChoice::Embedded,
        _ => KernelChoice::Linux,
    });
    let catalog = host::catalog(kernel);
    let names = match what {
        Listing::Pattern(patterns) => {
            let mut names = Vec::new();
            for pattern in patterns.split(',') {
                names.extend(matching(pattern.trim(), &*catalog)?);
            }
            names
        }
        Listing::Script(script) => of_script(&script, &*catalog, kernel)?,
    };
    let mut text = String::new();
    for name in names {
        text.push_str(&name);
        text.push('\n');
        if fields {
            text.push_str(&fields_of(&name, &*catalog));
        }
    }
    crate::print(&text);
    Ok(())
}

/// The probes that a pattern of the form `provider:rest`, or of the rest alone, names.
fn matching(pattern: &str, catalog: &dyn Catalog) -> Result<Vec<String>, Failure> {
    let (provider, rest) = match pattern {
        "" | "*" => ("*", "*"),
        _ => pattern.split_once(':').unwrap_or(("*", pattern)),
    };
    let provider = provider.to_lowercase();
    let named = |row: &&(&str, &str)| row.1 == provider || glob::matches(&provider, row.0);
    let mut names = Vec::new();
    for &(name, _) in PROVIDERS.iter().filter(named) {
        let candidates = match name {
            "tracepoint" => catalog
                .tracepoints()
                .into_iter()
                .map(|(category, event)| format!("{category}:{event}"))
                .collect(),
            "rawtracepoint" => catalog.raw_tracepoints(),
            "interval" | "profile" => UNITS.iter().map(|unit| format!("{unit}:")).collect(),
            "self" => vec!["signal:SIGUSR1".to_owned()],
            // Programs are listed only when one is named.
            _ if provider != "*" => functions(rest)?,
            _ => continue,
        };
        let whole = rest.contains(':');
        let fits = |candidate: &String| {
            let last = candidate.rsplit(':').next().unwrap_or(candidate);
            rest == "*"
                || glob::matches(rest, candidate)
                || (!whole && provider == "*" && glob::matches(rest, last))
                || matches!(name, "uprobe" | "uretprobe")
        };
        names.extend(candidates.into_iter().filter(fits).map(|rest| format!("{name}:{rest}")));
    }
    Ok(names)
}

/// `path:function` for the functions that `binary:pattern` names.
fn functions(pattern: &str) -> Result<Vec<String>, Failure> {
    let (binary, pattern) = pattern.rsplit_once(':').unwrap_or((pattern, "*"));
    let files = Files::new();
    let path = files
        .resolve(binary, None)
        .ok_or_else(|| Failure::new(format!("there is no program or library {binary}")))?;
    let symbols = files.functions(&path).map_err(Failure::new)?;
    Ok(symbols
        .iter()
        .filter(|symbol| glob::matches(pattern, &symbol.name))
        .map(|symbol| format!("{}:{}", path.display(), symbol.name))
        .collect())
}

/// The probes of a script, wildcards expanded.
fn of_script(
    script: &crate::flags::Script,
    catalog: &dyn Catalog,
    kernel: KernelChoice,
) -> Result<Vec<String>, Failure> {
    let source = script::read(script)?;
    let mut features = host::features(kernel)?;
    // One program for many would hide their names.
    features.syscall_dispatch_above = None;
    let env = Env { catalog, binaries: &Files::new(), features: &features };
    let compilation = compile(&source, &env, &Options::default())
        .map_err(|diagnostics| Failure::script(&source, &diagnostics))?;
    let attached = |trigger: &Trigger| !matches!(trigger, Trigger::Begin | Trigger::End);
    let probes = compilation.plan.probes.into_iter().filter(|probe| attached(&probe.trigger));
    Ok(probes.map(|probe| probe.name).collect())
}

/// The fields of a tracepoint, one a line.
fn fields_of(name: &str, catalog: &dyn Catalog) -> String {
    let mut parts = name.split(':');
    let (Some("tracepoint"), Some(category), Some(event)) =
        (parts.next(), parts.next(), parts.next())
    else {
        return String::new();
    };
    let format = catalog.tracepoint_format(category, event).unwrap_or_default();
    let line = |field: &bombus_kernel::catalog::Field| {
        let array = field.array.map_or(String::new(), |len| format!("[{len}]"));
        format!("    {} {}{array}\n", field.c_type, field.name)
    };
    format.fields.iter().map(line).collect()
}
