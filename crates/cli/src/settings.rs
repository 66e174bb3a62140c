//! Settings from the environment, by the names that bpftrace has for them.

use std::str::FromStr;

use bombus_script::{LICENSES, Overrides};

use crate::failure::Failure;

/// What the environment says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// `BPFTRACE_MAX_STRLEN`, `BPFTRACE_MAX_MAP_KEYS`, `BPFTRACE_MISSING_PROBES`,
    /// `BPFTRACE_PRINT_MAPS_ON_EXIT` and `BPFTRACE_LICENSE`.
    pub(crate) overrides: Overrides,
    /// `BPFTRACE_PERF_RB_PAGES`: pages of the ring buffer.
    pub(crate) ring_buffer_pages: Option<u32>,
}

impl Settings {
    /// Reads the environment.
    pub(crate) fn from_environment() -> Result<Settings, Failure> {
        Settings::read(&|name| std::env::var(name).ok())
    }

    fn read(environment: &dyn Fn(&str) -> Option<String>) -> Result<Settings, Failure> {
        let missing_probes = "BPFTRACE_MISSING_PROBES";
        let print_maps = "BPFTRACE_PRINT_MAPS_ON_EXIT";
        let license = "BPFTRACE_LICENSE";
        let overrides = Overrides {
            max_strlen: number(environment, "BPFTRACE_MAX_STRLEN", 1, 64 << 10)?,
            max_map_keys: number(environment, "BPFTRACE_MAX_MAP_KEYS", 1, u32::MAX)?,
            missing_probes: word(environment, missing_probes, "error, warn or ignore", |text| {
                text.parse().ok()
            })?,
            print_maps_on_exit: word(environment, print_maps, "1, true, 0 or false", |text| {
                match text {
                    "0" | "false" => Some(false),
                    "1" | "true" => Some(true),
                    _ => None,
                }
            })?,
            license: word(environment, license, &LICENSES.join(", "), |text| {
                LICENSES.contains(&text).then(|| text.to_owned())
            })?,
        };
        Ok(Settings {
            overrides,
            ring_buffer_pages: number(environment, "BPFTRACE_PERF_RB_PAGES", 1, 1 << 18)?,
        })
    }
}

/// A setting that is one of some words.
fn word<T>(
    environment: &dyn Fn(&str) -> Option<String>,
    name: &str,
    words: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, Failure> {
    let Some(text) = environment(name) else { return Ok(None) };
    match parse(&text) {
        Some(value) => Ok(Some(value)),
        None => Err(Failure::new(format!("{name} must be one of {words}, not {text}"))),
    }
}

fn number<T: FromStr + PartialOrd + std::fmt::Display>(
    environment: &dyn Fn(&str) -> Option<String>,
    name: &str,
    least: T,
    most: T,
) -> Result<Option<T>, Failure> {
    let Some(text) = environment(name) else { return Ok(None) };
    match text.trim().parse() {
        Ok(value) if (&least..=&most).contains(&&value) => Ok(Some(value)),
        _ => {
            Err(Failure::new(format!("{name} must be a number from {least} to {most}, not {text}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use bombus_script::MissingProbes;

    use super::*;

    #[test]
    fn the_environment() {
        let read = |name: &'static str, value: &'static str| {
            Settings::read(&move |asked| (asked == name).then(|| value.to_owned())).ok()
        };
        assert_eq!(read("X", "1"), Some(Settings::default()));
        let strlen = |value| read("BPFTRACE_MAX_STRLEN", value).map(|s| s.overrides.max_strlen);
        assert_eq!(strlen("200"), Some(Some(200)));
        assert_eq!(strlen("0"), None);
        assert_eq!(strlen("x"), None);
        let print = read("BPFTRACE_PRINT_MAPS_ON_EXIT", "false");
        let print = print.and_then(|s| s.overrides.print_maps_on_exit);
        assert_eq!(print, Some(false));
        assert_eq!(read("BPFTRACE_PRINT_MAPS_ON_EXIT", "maybe"), None);
        let missing = read("BPFTRACE_MISSING_PROBES", "ignore");
        let missing = missing.and_then(|s| s.overrides.missing_probes);
        assert_eq!(missing, Some(MissingProbes::Ignore));
        assert_eq!(read("BPFTRACE_LICENSE", "MIT"), None);
    }
}
