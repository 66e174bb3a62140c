//! Settings from the environment, by the names that bpftrace has for them.

use std::str::FromStr;

use crate::failure::Failure;

/// What the environment says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// `BPFTRACE_MAX_STRLEN`: bytes of a string that `str()` reads.
    pub(crate) max_strlen: Option<u32>,
    /// `BPFTRACE_MAX_MAP_KEYS`: elements of a map.
    pub(crate) max_map_keys: Option<u32>,
    /// `BPFTRACE_PRINT_MAPS_ON_EXIT`.
    pub(crate) print_maps: Option<bool>,
    /// `BPFTRACE_PERF_RB_PAGES`: pages of the ring buffer.
    pub(crate) ring_buffer_pages: Option<u32>,
}

impl Settings {
    /// Reads the environment.
    pub(crate) fn from_environment() -> Result<Settings, Failure> {
        Settings::read(&|name| std::env::var(name).ok())
    }

    fn read(environment: &dyn Fn(&str) -> Option<String>) -> Result<Settings, Failure> {
        Ok(Settings {
            max_strlen: number(environment, "BPFTRACE_MAX_STRLEN", 1, 64 << 10)?,
            max_map_keys: number(environment, "BPFTRACE_MAX_MAP_KEYS", 1, u32::MAX)?,
            print_maps: match environment("BPFTRACE_PRINT_MAPS_ON_EXIT").as_deref() {
                None => None,
                Some("0" | "false") => Some(false),
                Some("1" | "true") => Some(true),
                Some(other) => {
                    let message = format!(
                        "BPFTRACE_PRINT_MAPS_ON_EXIT must be 1, true, 0 or false, not {other}"
                    );
                    return Err(Failure::new(message));
                }
            },
            ring_buffer_pages: number(environment, "BPFTRACE_PERF_RB_PAGES", 1, 1 << 18)?,
        })
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
    use super::*;

    #[test]
    fn the_environment() {
        let read = |name: &'static str, value: &'static str| {
            Settings::read(&move |asked| (asked == name).then(|| value.to_owned())).ok()
        };
        assert_eq!(read("X", "1"), Some(Settings::default()));
        let strlen = |value| read("BPFTRACE_MAX_STRLEN", value).map(|s| s.max_strlen);
        assert_eq!(strlen("200"), Some(Some(200)));
        assert_eq!(strlen("0"), None);
        assert_eq!(strlen("x"), None);
        let print = read("BPFTRACE_PRINT_MAPS_ON_EXIT", "false").and_then(|s| s.print_maps);
        assert_eq!(print, Some(false));
        assert_eq!(read("BPFTRACE_PRINT_MAPS_ON_EXIT", "maybe"), None);
    }
}
