//! The `config` block (bpftrace 0.27, language manual, "Config Variables").

use super::typeref::MAX_TEXT;
use crate::compile::{LICENSES, MissingProbes, Options};
use crate::diagnostic::Diagnostic;
use crate::syntax::ast::{ConfigEntry, ConfigValue, Program};

/// What the options and the `config` block say together.
pub(crate) struct Settings {
    /// Bytes of a string that `str()` reads, with its zero.
    pub(crate) max_strlen: u32,
    /// Elements of a map.
    pub(crate) max_map_keys: u32,
    /// What to do about probes that do not exist.
    pub(super) missing_probes: MissingProbes,
    /// Whether maps are printed at the end.
    pub(crate) print_maps_on_exit: bool,
    /// What programs declare.
    pub(crate) license: String,
}

/// Settings that exist, but have no bearing on what is compiled here.
const OTHERS: [&str; 16] = [
    "cache_user_symbols",
    "cpp_demangle",
    "lazy_symbolication",
    "log_size",
    "max_bpf_progs",
    "max_cat_bytes",
    "max_probes",
    "on_stack_limit",
    "perf_rb_pages",
    "show_debug_info",
    "stack_mode",
    "str_trunc_trailer",
    "unstable_import_statement",
    "unstable_tseries",
    "unstable_typeinfo",
    "unstable_dw_ustack",
];

/// Settings that bpftrace 0.27 does not have any more, and takes with a warning.
const GONE: [&str; 6] = [
    "symbol_source",
    "max_type_res_iterations",
    "unstable_addr",
    "unstable_import",
    "unstable_macro",
    "unstable_map_decl",
];

const OWN: [&str; 5] =
    ["max_strlen", "max_map_keys", "missing_probes", "print_maps_on_exit", "license"];

pub(super) fn read(
    program: &Program,
    options: &Options,
    diagnostics: &mut Vec<Diagnostic>,
) -> Settings {
    let mut settings = Settings {
        max_strlen: 1024,
        max_map_keys: 4096,
        missing_probes: MissingProbes::Error,
        print_maps_on_exit: true,
        license: "GPL".to_string(),
    };
    for entry in program.config.iter().flat_map(|config| &config.entries) {
        match apply(entry, &mut settings) {
            Ok(None) => {}
            Ok(Some(diagnostic)) | Err(diagnostic) => diagnostics.push(*diagnostic),
        }
    }
    let outside = options.overrides.clone();
    Settings {
        max_strlen: outside.max_strlen.unwrap_or(settings.max_strlen).clamp(1, MAX_TEXT),
        max_map_keys: outside.max_map_keys.unwrap_or(settings.max_map_keys).max(1),
        missing_probes: outside.missing_probes.unwrap_or(settings.missing_probes),
        print_maps_on_exit: outside.print_maps_on_exit.unwrap_or(settings.print_maps_on_exit),
        license: outside.license.unwrap_or(settings.license),
    }
}

/// Notes what an entry says; gives a warning when there is something to say about it.
fn apply(
    entry: &ConfigEntry,
    settings: &mut Settings,
) -> Result<Option<Box<Diagnostic>>, Box<Diagnostic>> {
    let written = entry.key.text.to_ascii_lowercase();
    let key = written.strip_prefix("bpftrace_").unwrap_or(&written);
    if GONE.contains(&key) {
        let message = format!("{key} is deprecated and has no effect");
        return Ok(Some(Box::new(Diagnostic::warning(entry.key.span, message))));
    }
    let renamed = (key == "strlen").then(|| {
        let message = "strlen has been renamed, please use max_strlen";
        Box::new(Diagnostic::warning(entry.key.span, message))
    });
    let key = if key == "strlen" { "max_strlen" } else { key };
    let invalid = |expected: &str| {
        let message = format!("Invalid value for config variable '{key}'");
        Box::new(Diagnostic::error(entry.value_span, message).help(expected))
    };
    let count = |most: u64| match &entry.value {
        ConfigValue::Int(number) if (1..=most).contains(&number.value) => Ok(number.value as u32),
        _ => Err(invalid(&format!("a number from 1 to {most}"))),
    };
    let word = match &entry.value {
        ConfigValue::Word(word) => word.clone(),
        ConfigValue::Str(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        ConfigValue::Bool(value) => value.to_string(),
        ConfigValue::Int(number) => number.text.clone(),
    };
    match key {
        "max_strlen" => settings.max_strlen = count(u64::from(MAX_TEXT))?,
        "max_map_keys" => settings.max_map_keys = count(u64::from(u32::MAX))?,
        "missing_probes" => {
            settings.missing_probes =
                word.parse().map_err(|()| invalid("one of error, warn, ignore"))?;
        }
        "print_maps_on_exit" => {
            settings.print_maps_on_exit = match word.as_str() {
                "true" => true,
                "false" => false,
                number => match number.parse::<u64>() {
                    Ok(number) => number != 0,
                    Err(_) => return Err(invalid("true or false")),
                },
            }
        }
        "license" if LICENSES.contains(&word.as_str()) => settings.license = word,
        "license" => return Err(invalid(&format!("one of {}", LICENSES.join(", ")))),
        _ if OTHERS.contains(&key) => {}
        _ => {
            let message = format!("Unrecognized config variable: {}", entry.key.text);
            let known = OWN.into_iter().chain(OTHERS);
            let error = Diagnostic::error(entry.key.span, message).did_you_mean(key, known);
            return Err(Box::new(error));
        }
    }
    Ok(renamed)
}
