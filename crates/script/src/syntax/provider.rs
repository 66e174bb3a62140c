//! The kinds of probes, their names and aliases (bpftrace 0.27, manual, "Probes").

/// What kind of event a probe is about: the first word of an attach point.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Provider {
    /// Before everything else.
    Begin,
    /// After everything else.
    End,
    /// A signal to the tracer itself.
    SelfSignal,
    /// A test, run by `--mode test`.
    Test,
    /// A benchmark, run by `--mode bench`.
    Bench,
    /// A kernel tracepoint.
    Tracepoint,
    /// A kernel tracepoint with its raw arguments.
    RawTracepoint,
    /// Entry of a kernel function, by breakpoint.
    Kprobe,
    /// Return of a kernel function, by breakpoint.
    Kretprobe,
    /// Entry of a kernel function, by trampoline.
    Fentry,
    /// Return of a kernel function, by trampoline.
    Fexit,
    /// Entry of a user function.
    Uprobe,
    /// Return of a user function.
    Uretprobe,
    /// A static probe in user code.
    Usdt,
    /// A timer on one CPU.
    Interval,
    /// A timer on every CPU.
    Profile,
    /// A software event of perf.
    Software,
    /// A hardware event of perf.
    Hardware,
    /// Access to an address.
    Watchpoint,
    /// A walk over the kernel's objects.
    Iter,
}

/// Every provider with its name and its aliases.
const PROVIDERS: [(Provider, &str, &[&str]); 20] = [
    (Provider::Begin, "begin", &[]),
    (Provider::End, "end", &[]),
    (Provider::SelfSignal, "self", &[]),
    (Provider::Test, "test", &[]),
    (Provider::Bench, "bench", &[]),
    (Provider::Tracepoint, "tracepoint", &["t"]),
    (Provider::RawTracepoint, "rawtracepoint", &["rt"]),
    (Provider::Kprobe, "kprobe", &["k"]),
    (Provider::Kretprobe, "kretprobe", &["kr"]),
    (Provider::Fentry, "fentry", &["f", "kfunc"]),
    (Provider::Fexit, "fexit", &["fr", "kretfunc"]),
    (Provider::Uprobe, "uprobe", &["u"]),
    (Provider::Uretprobe, "uretprobe", &["ur"]),
    (Provider::Usdt, "usdt", &["U"]),
    (Provider::Interval, "interval", &["i"]),
    (Provider::Profile, "profile", &["p"]),
    (Provider::Software, "software", &["s"]),
    (Provider::Hardware, "hardware", &["h"]),
    (Provider::Watchpoint, "watchpoint", &["w"]),
    (Provider::Iter, "iter", &["it"]),
];

impl Provider {
    /// The provider of this name or alias. Case does not matter, except that `U` is `usdt` and `u`
    /// is `uprobe`.
    pub fn from_name(name: &str) -> Option<Provider> {
        let find = |name: &str| {
            PROVIDERS
                .iter()
                .find(|(_, full, aliases)| *full == name || aliases.contains(&name))
                .map(|&(provider, ..)| provider)
        };
        find(name).or_else(|| find(&name.to_ascii_lowercase()))
    }

    /// The full name, in lower case.
    pub fn name(self) -> &'static str {
        PROVIDERS.iter().find(|row| row.0 == self).map_or("", |row| row.1)
    }

    /// The full names of all providers.
    pub fn names() -> impl Iterator<Item = &'static str> {
        PROVIDERS.iter().map(|row| row.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_and_alias_leads_back() {
        for (provider, name, aliases) in PROVIDERS {
            assert_eq!(provider.name(), name);
            for name in aliases.iter().chain([&name]) {
                assert_eq!(Provider::from_name(name), Some(provider), "{name}");
            }
        }
        assert_eq!(Provider::from_name("BEGIN"), Some(Provider::Begin));
        assert_eq!(Provider::from_name("Tracepoint"), Some(Provider::Tracepoint));
        assert_eq!(Provider::from_name(""), None);
    }
}
