//! The `config` block (bpftrace 0.27, language manual, "Config Variables").

use super::attach::Missing;
use super::typeref::MAX_TEXT;
use crate::compile::Options;
use crate::diagnostic::Diagnostic;
use crate::syntax::ast::{ConfigEntry, ConfigValue, Program};

/// What the options and the `config` block say together.
pub(crate) struct Settings {
    /// Bytes of a string that `str()` reads, with its zero.
    pub(crate) max_strlen: u32,
    /// Elements of a map.
    pub(crate) max_map_keys: u32,
    /// What to do about probes that do not exist.
    pub(super) missing_probes: Missing,
    /// Whether maps are printed at the end.
    pub(crate) print_maps_on_exit: bool,
    /// What programs declare.
    pub(crate) license: String,
}

/// Settings that exist, but have no bearing on what is compiled here.
const OTHERS: [&str; 17] = [
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
        max_strlen: options.max_strlen.clamp(1, MAX_TEXT),
        max_map_keys: options.max_map_keys.max(1),
        missing_probes: Missing::Error,
        print_maps_on_exit: true,
        license: "GPL".to_string(),
    };
    for entry in program.config.iter().flat_map(|config| &config.entries) {
        if let Err(diagnostic) = apply(entry, &mut settings) {
            diagnostics.push(*diagnostic);
        }
    }
    settings
}

fn apply(entry: &ConfigEntry, settings: &mut Settings) -> Result<(), Box<Diagnostic>> {
    let written = entry.key.text.to_ascii_lowercase();
    let key = written.strip_prefix("bpftrace_").unwrap_or(&written);
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
            settings.missing_probes = match word.as_str() {
                "error" => Missing::Error,
                "warn" => Missing::Warn,
                "ignore" => Missing::Ignore,
                _ => return Err(invalid("one of error, warn, ignore")),
            }
        }
        "print_maps_on_exit" => {
            settings.print_maps_on_exit = match word.as_str() {
                "true" | "1" => true,
                "false" | "0" => false,
                _ => return Err(invalid("true or false")),
            }
        }
        "license" => settings.license = word,
        _ if OTHERS.contains(&key) => {}
        _ => {
            let message = format!("Unrecognized config variable: {}", entry.key.text);
            let known = OWN.into_iter().chain(OTHERS);
            let error = Diagnostic::error(entry.key.span, message).did_you_mean(key, known);
            return Err(Box::new(error));
        }
    }
    Ok(())
}
