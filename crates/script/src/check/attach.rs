//! Attach points: from the text in the script to the events that there are.

use std::path::{Path, PathBuf};

use bombus_kernel::catalog::Symbol;
use bombus_kernel::{AttachPoint, Period, Scope, glob};

use super::tree::{Event, Target};
use crate::compile::{Env, MissingProbes, Options};
use crate::diagnostic::{Diagnostic, Span, nearest};
use crate::syntax::ast;
use crate::syntax::provider::Provider;

/// Finds what attach points stand for.
pub(super) struct Expander<'a> {
    pub(super) env: &'a Env<'a>,
    pub(super) options: &'a Options,
    pub(super) missing: MissingProbes,
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// The signals that `self:signal` knows, with their numbers on x86-64 (`signal(7)`).
const SIGNALS: [(&str, i32); 31] = [
    ("SIGHUP", 1),
    ("SIGINT", 2),
    ("SIGQUIT", 3),
    ("SIGILL", 4),
    ("SIGTRAP", 5),
    ("SIGABRT", 6),
    ("SIGBUS", 7),
    ("SIGFPE", 8),
    ("SIGKILL", 9),
    ("SIGUSR1", 10),
    ("SIGSEGV", 11),
    ("SIGUSR2", 12),
    ("SIGPIPE", 13),
    ("SIGALRM", 14),
    ("SIGTERM", 15),
    ("SIGSTKFLT", 16),
    ("SIGCHLD", 17),
    ("SIGCONT", 18),
    ("SIGSTOP", 19),
    ("SIGTSTP", 20),
    ("SIGTTIN", 21),
    ("SIGTTOU", 22),
    ("SIGURG", 23),
    ("SIGXCPU", 24),
    ("SIGXFSZ", 25),
    ("SIGVTALRM", 26),
    ("SIGPROF", 27),
    ("SIGWINCH", 28),
    ("SIGIO", 29),
    ("SIGPWR", 30),
    ("SIGSYS", 31),
];

impl Expander<'_> {
    /// The events of one attach point; none when something is wrong with it.
    pub(super) fn expand(&mut self, point: &ast::AttachPoint) -> Vec<Target> {
        // A parameter may also be the whole attach point.
        let start = self.substitute(&point.provider.text);
        let parts: Vec<String> =
            point.parts.iter().map(|part| self.substitute(&part.text)).collect();
        let mut parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let mut given = start.split(':');
        let text = given.next().unwrap_or_default();
        parts.splice(0..0, given);
        let Some(provider) = Provider::from_name(text) else {
            let error = Diagnostic::error(point.span, format!("Invalid probe type: {text}"))
                .did_you_mean(text, Provider::names());
            self.diagnostics.push(error);
            return Vec::new();
        };
        let found = match provider {
            Provider::Begin => self.special(&parts, Event::Begin, "begin"),
            Provider::End => self.special(&parts, Event::End, "end"),
            Provider::SelfSignal => self.signal(&parts),
            Provider::Tracepoint => self.tracepoint(&parts),
            Provider::RawTracepoint => self.raw_tracepoint(&parts),
            Provider::Uprobe => self.uprobe(&parts, false),
            Provider::Uretprobe => self.uprobe(&parts, true),
            Provider::Interval => self.timer(&parts, false),
            Provider::Profile => self.timer(&parts, true),
            // These run in modes of their own and are nothing otherwise.
            Provider::Test | Provider::Bench => Ok(Vec::new()),
            Provider::Kprobe
            | Provider::Kretprobe
            | Provider::Fentry
            | Provider::Fexit
            | Provider::Usdt
            | Provider::Software
            | Provider::Hardware
            | Provider::Watchpoint
            | Provider::Iter => {
                Err(Problem::new(format!("not supported yet: {} probes", provider.name())))
            }
        };
        match found {
            Ok(targets) => targets,
            Err(problem) => {
                self.report(point.span, problem);
                Vec::new()
            }
        }
    }

    fn report(&mut self, span: Span, problem: Problem) {
        let mut diagnostic = match (problem.missing, self.missing) {
            (true, MissingProbes::Ignore) => return,
            (true, MissingProbes::Warn) => Diagnostic::warning(span, problem.message),
            _ => Diagnostic::error(span, problem.message),
        };
        diagnostic.help.extend(problem.help);
        self.diagnostics.push(diagnostic);
    }

    /// Puts the values of positional parameters into a part.
    fn substitute(&self, mut rest: &str) -> String {
        let mut out = String::new();
        while let Some(dollar) = rest.find('$') {
            let digits = rest[dollar + 1..].bytes().take_while(u8::is_ascii_digit).count();
            out.push_str(&rest[..dollar]);
            let (number, after) = rest[dollar + 1..].split_at(digits);
            match number.parse::<usize>() {
                Ok(number) => {
                    let value = number.checked_sub(1).and_then(|at| self.options.params.get(at));
                    out.push_str(value.map_or("", String::as_str));
                }
                Err(_) => out.push('$'),
            }
            rest = after;
        }
        out.push_str(rest);
        out
    }

    fn special(&self, parts: &[&str], event: Event, name: &str) -> Found {
        if !parts.is_empty() {
            return Err(Problem::new(format!("{name} probes take no arguments")));
        }
        Ok(vec![Target { name: name.to_string(), function: None, event }])
    }

    fn signal(&self, parts: &[&str]) -> Found {
        let &["signal", name] = parts else {
            return Err(Problem::new("self probes are written self:signal:NAME")
                .help("for example: self:signal:SIGUSR1"));
        };
        let Some(&(name, number)) = SIGNALS.iter().find(|(known, _)| *known == name) else {
            let problem = Problem::new(format!("{name} is not a supported signal"));
            return Err(match nearest(name, SIGNALS.iter().map(|(known, _)| *known)) {
                Some(close) => problem.help(format!("did you mean `{close}`?")),
                None => problem,
            });
        };
        let name = format!("self:signal:{name}");
        Ok(vec![Target { name, function: None, event: Event::Signal(number) }])
    }

    fn tracepoint(&self, parts: &[&str]) -> Found {
        let &[category, name] = parts else {
            return Err(Problem::new("tracepoint probes are written tracepoint:category:name"));
        };
        let catalog = self.env.catalog;
        let wanted: Vec<(String, String)> = if glob::is_pattern(category) || glob::is_pattern(name)
        {
            let matching = catalog.tracepoints().into_iter();
            matching.filter(|(c, n)| glob::matches(category, c) && glob::matches(name, n)).collect()
        } else if catalog.tracepoint_format(category, name).is_some() {
            vec![(category.to_string(), name.to_string())]
        } else {
            return Err(self.no_tracepoint(category, name));
        };
        if wanted.is_empty() {
            return Err(Problem::missing(NO_ATTACH_POINTS));
        }
        Ok(wanted
            .into_iter()
            .map(|(category, name)| Target {
                name: format!("tracepoint:{category}:{name}"),
                function: None,
                event: Event::Attach(AttachPoint::Tracepoint { category, name }),
            })
            .collect())
    }

    fn no_tracepoint(&self, category: &str, name: &str) -> Problem {
        let problem = Problem::missing(format!("No matches for tracepoint {category}:{name}."));
        let all = self.env.catalog.tracepoints();
        let full: Vec<String> = all.iter().map(|(c, n)| format!("{c}:{n}")).collect();
        let close = nearest_names(&format!("{category}:{name}"), &full);
        match close.as_slice() {
            [] if !all.iter().any(|(known, _)| known == category) => problem
                .help(format!("there is no category `{category}`; `-l 'tracepoint:*'` lists all")),
            [] => problem.help(format!("`-l 'tracepoint:{category}:*'` lists what there is")),
            close => problem.help(format!("did you mean {}?", quoted(close))),
        }
    }

    fn raw_tracepoint(&self, parts: &[&str]) -> Found {
        // A module may stand before the name.
        let (&[name] | &[_, name]) = parts else {
            return Err(Problem::new("rawtracepoint probes are written rawtracepoint:name"));
        };
        let module = if parts.len() == 2 { format!("{}:", parts[0]) } else { String::new() };
        let all = self.env.catalog.raw_tracepoints();
        let wanted: Vec<&String> = all.iter().filter(|known| glob::matches(name, known)).collect();
        if wanted.is_empty() {
            let problem = Problem::missing(NO_ATTACH_POINTS);
            let close = nearest_names(name, &all);
            return Err(match close.as_slice() {
                [] => problem,
                close => problem.help(format!("did you mean {}?", quoted(close))),
            });
        }
        Ok(wanted
            .into_iter()
            .map(|name| Target {
                name: format!("rawtracepoint:{module}{name}"),
                function: None,
                event: Event::Attach(AttachPoint::RawTracepoint { name: name.clone() }),
            })
            .collect())
    }

    fn uprobe(&self, parts: &[&str], on_return: bool) -> Found {
        let provider = if on_return { "uretprobe" } else { "uprobe" };
        let &[file, place] = parts else {
            return Err(match parts {
                [_, "cpp", _] => Problem::new("not supported yet: demangled C++ names"),
                _ => {
                    Problem::new(format!("{provider} probes are written {provider}:file:function"))
                }
            });
        };
        let pid = match self.options.scope {
            Scope::Process(pid) => Some(pid),
            Scope::Machine | Scope::Tree(_) => None,
        };
        let Some(path) = self.env.binaries.resolve(file, pid) else {
            return Err(Problem::missing(format!(
                "{provider} target file '{file}' does not exist or is not executable"
            )));
        };
        let target = |name: &str, function: Option<&str>, offset: u64| Target {
            name: format!("{provider}:{}:{name}", path.display()),
            function: function.map(str::to_string),
            event: Event::Attach(AttachPoint::Uprobe {
                path: path.clone(),
                offset,
                on_return,
                pid,
            }),
        };
        if let Some(address) = number(place) {
            let Some(offset) = self.env.binaries.file_offset(&path, address) else {
                let file = path.display();
                return Err(Problem::missing(format!("{file} has no code at address {place}")));
            };
            return Ok(vec![target(place, None, offset)]);
        }
        let (symbol, plus) = match place.split_once('+') {
            Some((symbol, plus)) => match number(plus) {
                Some(plus) => (symbol, plus),
                None => return Err(Problem::new(format!("'{plus}' is not an offset"))),
            },
            None => (place, 0),
        };
        if plus > 0 && on_return {
            return Err(Problem::new("uretprobes can not be attached at function offset"));
        }
        let functions = self.functions(&path)?;
        let matching: Vec<&Symbol> =
            functions.iter().filter(|known| glob::matches(symbol, &known.name)).collect();
        if matching.is_empty() && glob::is_pattern(symbol) {
            return Err(Problem::missing(NO_ATTACH_POINTS));
        }
        if matching.is_empty() {
            let names: Vec<String> = functions.into_iter().map(|known| known.name).collect();
            let message = format!("No matches for {provider} {}:{symbol}.", path.display());
            let problem = Problem::missing(message);
            return Err(match nearest_names(symbol, &names).as_slice() {
                [] => problem,
                close => problem.help(format!("did you mean {}?", quoted(close))),
            });
        }
        let mut targets: Vec<Target> = Vec::new();
        for known in matching {
            let name = match plus {
                0 => known.name.clone(),
                _ => format!("{}+{plus}", known.name),
            };
            let is_inside = plus == 0 || plus < known.size || known.size == 0;
            let offset = known.offset.checked_add(plus);
            let Some(offset) = offset.filter(|_| is_inside || self.options.unsafe_ok) else {
                let Symbol { name, size, .. } = known;
                return Err(Problem::new(format!(
                    "Offset outside the function bounds ('{name}' size is {size})"
                )));
            };
            let found = target(&name, Some(&known.name), offset);
            // A symbol may be listed twice, for instance under two versions.
            if !targets.iter().any(|other| other.event == found.event && other.name == found.name) {
                targets.push(found);
            }
        }
        if !glob::is_pattern(symbol) {
            targets.truncate(1);
        }
        Ok(targets)
    }

    fn functions(&self, path: &Path) -> Result<Vec<Symbol>, Problem> {
        self.env.binaries.functions(path).map_err(|reason| {
            let path: PathBuf = path.into();
            Problem::missing(format!("could not read the symbols of {}: {reason}", path.display()))
        })
    }

    fn timer(&self, parts: &[&str], every_cpu: bool) -> Found {
        let provider = if every_cpu { "profile" } else { "interval" };
        let nanoseconds = |unit: &str| match unit {
            "s" => Some(1_000_000_000),
            "ms" => Some(1_000_000),
            "us" => Some(1_000),
            "ns" => Some(1),
            _ => None,
        };
        let (name, period) = match *parts {
            [unit, count] => {
                let Some(count_number) = number(count).filter(|&count| count > 0) else {
                    return Err(Problem::new(format!("'{count}' is not a count of {unit}")));
                };
                let period = match (unit, nanoseconds(unit)) {
                    ("hz", _) => Period::Hertz(count_number),
                    (_, Some(factor)) => Period::Nanoseconds(count_number.saturating_mul(factor)),
                    _ => {
                        return Err(Problem::new(format!(
                            "{unit} is not an accepted unit of time"
                        ))
                        .help("units are hz, s, ms, us"));
                    }
                };
                (format!("{provider}:{unit}:{count}"), period)
            }
            [text] => {
                let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
                let unit = if digits.len() == text.len() { "ns" } else { &text[digits.len()..] };
                let (Some(count), Some(factor)) = (number(digits), nanoseconds(unit)) else {
                    return Err(Problem::new(format!("'{text}' is not a duration"))
                        .help(format!("for example: {provider}:1s, {provider}:hz:99")));
                };
                let total = count.saturating_mul(factor);
                if total < 1_000 {
                    return Err(Problem::new(format!(
                        "Invalid {provider} value: {total}ns. Minimum is 1us."
                    )));
                }
                // bpftrace names these by the microseconds that they amount to.
                (format!("{provider}:us:{}", total / 1_000), Period::Nanoseconds(total))
            }
            _ => {
                return Err(Problem::new(format!(
                    "{provider} probes are written {provider}:unit:count"
                ))
                .help(format!("for example: {provider}:s:1, {provider}:hz:99, {provider}:10ms")));
            }
        };
        let event = Event::Attach(AttachPoint::Timer { period, every_cpu });
        Ok(vec![Target { name, function: None, event }])
    }
}

type Found = Result<Vec<Target>, Problem>;

const NO_ATTACH_POINTS: &str = "Probe has no valid attach points. If this is expected, set the \
                                'missing_probes' config variable to 'warn'.";

/// Why an attach point stands for nothing.
struct Problem {
    message: String,
    help: Option<String>,
    /// It is well-formed, but not there.
    missing: bool,
}

impl Problem {
    fn new(message: impl Into<String>) -> Problem {
        Problem { message: message.into(), help: None, missing: false }
    }

    fn missing(message: impl Into<String>) -> Problem {
        Problem { message: message.into(), help: None, missing: true }
    }

    fn help(self, help: impl Into<String>) -> Problem {
        Problem { help: Some(help.into()), ..self }
    }
}

/// A number as C writes it.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Up to three names that are close to one, the closest first.
fn nearest_names<'a>(name: &str, all: &'a [String]) -> Vec<&'a str> {
    let mut left: Vec<&str> = all.iter().map(String::as_str).collect();
    let mut close = Vec::new();
    while close.len() < 3
        && let Some(found) = nearest(name, left.iter().copied())
    {
        left.retain(|other| *other != found);
        close.push(found);
    }
    close
}

/// `` `a`, `b` or `c` ``
fn quoted(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}
