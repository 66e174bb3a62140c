//! From the typed tree to programs and the plan.

mod aggregate;
mod bucket;
mod capture;
mod compare;
mod context;
mod dispatch;
mod expr;
mod failure;
mod function;
mod map;
mod maps;
mod memory;
mod output;
mod scope;
mod stmt;

use std::collections::HashMap;

use bombus_compiler::ir::{Builder, Module};
use bombus_compiler::{CompileError, Target as CodeTarget};
use bombus_kernel::{AttachPoint, Scope};
use bombus_platform::{AttachType, MapType, ProgType};
use bombus_spec::{MapSpec, ProgramSpec};

use crate::check::Settings;
use crate::check::tree::{Action, Context, Event, Script, Target};
use crate::compile::{Env, Options};
use crate::diagnostic::{Diagnostic, Source, Span};
use crate::plan::{self, Globals, Plan, Probe, Trigger};
use capture::Captures;
use context::{Identity, ProgramContext};
use dispatch::Share;
use function::{Lines, Lower};

/// Builds the programs and the plan. The modules are those of the plan's programs, in order.
///
/// # Errors
///
/// What the compiler cannot do, with the action it concerns.
pub(crate) fn lower(
    script: &Script,
    settings: &Settings,
    source: &Source,
    env: &Env<'_>,
    options: &Options,
) -> Result<(Vec<Module>, Plan), Vec<Diagnostic>> {
    let mut assembly = Assembly::new(script, settings, source, env, options);
    let dispatch = env
        .features
        .syscall_dispatch_above
        .is_some_and(|limit| dispatch::candidates(&script.actions) > limit);
    let mut errors = Vec::new();
    for action in &script.actions {
        for share in dispatch::shares(action, dispatch) {
            if let Err(error) = assembly.program(action, &share) {
                errors.push(*error);
            }
        }
    }
    if let ScopeFilter::Tree(map) = assembly.scope
        && let Err(missing) = scope::add_programs(&mut assembly, map)
    {
        let place = script.actions.first().map(|action| action.span).unwrap_or_default();
        errors.push(Diagnostic::error(place, format!("the kernel does not have {missing}")));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok((assembly.modules, assembly.plan))
}

/// How programs know that an event is not wanted.
#[derive(Clone, Copy, Debug)]
enum ScopeFilter {
    /// All are, or the kernel sees to it.
    None,
    /// Those of one process.
    Process(u32),
    /// Those of the threads in this map.
    Tree(u32),
}

/// The plan being made, and what it is made of.
struct Assembly<'a> {
    script: &'a Script,
    settings: &'a Settings,
    source: &'a Source,
    env: &'a Env<'a>,
    options: &'a Options,
    scope: ScopeFilter,
    plan: Plan,
    modules: Vec<Module>,
    /// The map of zeroes that new histograms are copied from.
    zeroes: Option<u32>,
}

impl<'a> Assembly<'a> {
    fn new(
        script: &'a Script,
        settings: &'a Settings,
        source: &'a Source,
        env: &'a Env<'a>,
        options: &'a Options,
    ) -> Assembly<'a> {
        let mut plan = Plan {
            strings: script.strings.clone(),
            quiet_maps: !settings.print_maps_on_exit,
            ..Plan::default()
        };
        for (index, map) in script.maps.iter().enumerate() {
            plan.object.maps.push(maps::spec(map));
            plan.maps.push(maps::plan(map, index as u32));
        }
        plan.probe_count = script.actions.iter().map(|action| action.targets.len()).sum();
        // The embedded kernel sees nothing but the tree.
        let scope = match options.scope {
            Scope::Machine => ScopeFilter::None,
            _ if env.features.name != "linux" => ScopeFilter::None,
            Scope::Process(pid) => ScopeFilter::Process(pid),
            Scope::Tree(_) => {
                plan.object.maps.push(scope::threads_map());
                let map = plan.object.maps.len() as u32 - 1;
                plan.tree = Some(map);
                ScopeFilter::Tree(map)
            }
        };
        let modules = Vec::new();
        Assembly { script, settings, source, env, options, scope, plan, modules, zeroes: None }
    }

    fn add_map(&mut self, spec: MapSpec) -> u32 {
        self.plan.object.maps.push(spec);
        self.plan.object.maps.len() as u32 - 1
    }

    /// The ring buffer.
    fn events(&mut self) -> u32 {
        if let Some(events) = self.plan.events {
            return events;
        }
        let events = self.add_map(MapSpec {
            name: "events".to_string(),
            map_type: MapType::Ringbuf,
            key_size: 0,
            value_size: 0,
            max_entries: self.options.ring_buffer_bytes,
            flags: 0,
            contents: Vec::new(),
            ..MapSpec::default()
        });
        *self.plan.events.insert(events)
    }

    /// A field of the values that user space sets: the map and the field's offset.
    fn global(&mut self, field: impl FnOnce(&mut Globals) -> &mut Option<u32>) -> (u32, u32) {
        let mut globals = match self.plan.globals {
            Some(globals) => globals,
            None => {
                let map = self.add_map(MapSpec {
                    name: "globals".to_string(),
                    map_type: MapType::Array,
                    key_size: 4,
                    value_size: 0,
                    max_entries: 1,
                    flags: 0,
                    contents: Vec::new(),
                    ..MapSpec::default()
                });
                Globals { map, start_ns: None, cpid: None }
            }
        };
        let spec = &mut self.plan.object.maps[globals.map as usize];
        let offset = *field(&mut globals).get_or_insert_with(|| {
            spec.value_size += 8;
            spec.value_size - 8
        });
        self.plan.globals = Some(globals);
        (globals.map, offset)
    }

    /// A map with so many zeroes.
    fn zeroes(&mut self, size: u32) -> u32 {
        let map = match self.zeroes {
            Some(map) => map,
            None => self.add_map(MapSpec {
                name: "zeroes".to_string(),
                map_type: MapType::Array,
                key_size: 4,
                value_size: 0,
                max_entries: 1,
                flags: 0,
                contents: Vec::new(),
                ..MapSpec::default()
            }),
        };
        self.zeroes = Some(map);
        let spec = &mut self.plan.object.maps[map as usize];
        spec.value_size = spec.value_size.max(size);
        map
    }

    /// The number of an action. `span` is its place, when it shows that.
    fn action(&mut self, action: plan::Action, span: Option<Span>) -> usize {
        let place = span.map(|span| place(self.source, span)).unwrap_or_default();
        let mut known = self.plan.actions.iter().zip(&self.plan.places);
        known.position(|known| known == (&action, &place)).unwrap_or_else(|| {
            self.plan.actions.push(action);
            self.plan.places.push(place);
            self.plan.actions.len() - 1
        })
    }

    /// The number, in the plan, of one of the script's own strings.
    fn string_index(&self, string: usize) -> u32 {
        string as u32
    }

    /// The number of a fixed text.
    fn text(&mut self, text: &[u8]) -> u32 {
        let text = String::from_utf8_lossy(text);
        let known = self.plan.strings.iter().position(|known| *known == text);
        let at = known.unwrap_or_else(|| {
            self.plan.strings.push(text.into_owned());
            self.plan.strings.len() - 1
        });
        at as u32
    }

    /// The names of targets, one after the other: index of the first.
    fn names<'t>(&mut self, names: impl Iterator<Item = &'t str>) -> usize {
        let first = self.plan.strings.len();
        self.plan.strings.extend(names.map(str::to_string));
        first
    }

    /// Builds the program of some of an action's targets.
    fn program(&mut self, action: &'a Action, share: &Share<'_>) -> Result<(), Box<Diagnostic>> {
        let Some(first) = share.targets.first() else { return Ok(()) };
        let direct = self.env.features.tp_btf;
        let (context, prog_type) = match (share.dispatched, first.event.context()) {
            (Some(enter), _) => {
                let prog_type = if direct { ProgType::Tracing } else { ProgType::RawTracepoint };
                (ProgramContext::Syscall { enter, direct }, prog_type)
            }
            (None, Context::None) => (ProgramContext::None, ProgType::RawTracepoint),
            (None, Context::Tracepoint) => (ProgramContext::Record, ProgType::Tracepoint),
            (None, Context::RawTracepoint) => (ProgramContext::Arguments, ProgType::RawTracepoint),
            (None, Context::User { .. }) => (ProgramContext::Registers, ProgType::Kprobe),
            (None, Context::Timer) => (ProgramContext::None, ProgType::PerfEvent),
        };
        let name = program_name(first, share);
        let captures = Captures::of(action, self.env.features.bpf_loop);
        let uses = captures.identity;
        let names = share.targets.iter().map(|target| target.name.as_str());
        let functions = share.targets.iter().map(|target| target.function.as_deref().unwrap_or(""));
        let (identity, first_name) = match share.targets.as_slice() {
            _ if !uses => (Identity::Fixed { probe: 0, func: 0 }, 0),
            [_] => {
                let probe = self.names(names);
                let func = self.names(functions.filter(|name| !name.is_empty()));
                (Identity::Fixed { probe, func }, probe)
            }
            targets => {
                let first = self.names(names);
                if targets.iter().any(|target| target.function.is_some()) {
                    self.names(functions);
                }
                (Identity::Cookie { funcs: targets.len() }, first)
            }
        };
        let table = share.dispatched.map(|_| dispatch::table(self, &share.targets));
        let builder = Builder::new(name.clone(), 1);
        let ctx = builder.arg(0);
        let mut lower = Lower {
            assembly: self,
            action,
            context,
            identity,
            b: builder,
            ctx,
            frame: None,
            homes: HashMap::new(),
            captures,
            loops: Vec::new(),
            in_callback: false,
            functions: vec![None],
            lines: Lines::default(),
            line: None,
            span: action.span,
        };
        lower.at(action.span, |lower| {
            if let Some(table) = table {
                lower.dispatch(table, first_name);
            }
            if first.event.has_process() {
                lower.scope_filter();
            }
            lower.open_frame();
            if let Some(predicate) = &action.predicate {
                lower.require(predicate);
            }
            lower.stmts(&action.body);
            let zero = lower.b.iconst(0);
            lower.b.ret(zero);
        });
        let (module, spans) = lower.finish();

        let (attach_type, attach_to, points) = match share.dispatched {
            Some(enter) => {
                let name = if enter { "sys_enter" } else { "sys_exit" }.to_string();
                let (attach_type, attach_to) = match direct {
                    true => (AttachType::TraceRawTp, Some(name.clone())),
                    false => (AttachType::NONE, None),
                };
                let count = share.targets.len();
                let shown = match share.targets.as_slice() {
                    [only] => only.name.clone(),
                    _ => format!("tracepoint:syscalls:{name}_* ({count} probes)"),
                };
                let trigger = Trigger::Attach(AttachPoint::RawTracepoint { name });
                (attach_type, attach_to, vec![(shown, trigger, 0)])
            }
            None => {
                let points = share.targets.iter().enumerate().map(|(at, target)| {
                    (target.name.clone(), trigger(&target.event), (first_name + at) as u64)
                });
                (AttachType::NONE, None, points.collect())
            }
        };
        let program = self
            .add_program(name, module, prog_type, attach_type, attach_to)
            .map_err(|error| Box::new(placed(&error, &spans, action.span)))?;
        for (name, trigger, cookie) in points {
            self.plan.probes.push(Probe { name, program, trigger, cookie });
        }
        Ok(())
    }

    /// Compiles a module and adds it to the plan. Returns its index.
    fn add_program(
        &mut self,
        name: String,
        module: Module,
        prog_type: ProgType,
        attach_type: AttachType,
        attach_to: Option<String>,
    ) -> Result<u32, CompileError> {
        let target = CodeTarget { isa: self.env.features.isa };
        let compiled = bombus_compiler::compile(&module, &target, &mut self.plan.object.maps)?;
        self.modules.push(module);
        self.plan.object.programs.push(ProgramSpec {
            name,
            prog_type,
            attach_type,
            attach_to,
            insns: compiled.insns,
            functions: compiled.functions,
            lines: compiled.lines,
            license: self.settings.license.clone(),
            ..ProgramSpec::default()
        });
        Ok(self.plan.object.programs.len() as u32 - 1)
    }
}

impl Lower<'_, '_> {
    /// The module, with the entry in front, and the extents of its lines.
    fn finish(mut self) -> (Module, Vec<Span>) {
        self.functions[0] = Some(self.b.finish());
        let functions = self.functions.into_iter().flatten().collect();
        (Module { functions, lines: self.lines.table }, self.lines.spans)
    }
}

fn trigger(event: &Event) -> Trigger {
    match event {
        Event::Begin => Trigger::Begin,
        Event::End => Trigger::End,
        Event::Signal(number) => Trigger::Signal(*number),
        Event::Attach(point) => Trigger::Attach(point.clone()),
    }
}

/// What the compiler says, at its place in the script.
fn placed(error: &CompileError, spans: &[Span], action: Span) -> Diagnostic {
    let line = error.line.and_then(|line| spans.get(line.0 as usize)).copied();
    let message = format!("this {}", error.reason());
    Diagnostic::error(line.unwrap_or(action), message).help(error.remedy())
}

/// A place, with the text that messages show of it.
fn place(source: &Source, span: Span) -> plan::Place {
    let (start, end) = (source.position(span.start), source.position(span.end));
    let lines = (start.line..=end.line).filter_map(|line| source.line(line));
    plan::Place {
        file: source.name.clone(),
        line: start.line,
        column: start.column,
        end_line: end.line,
        end_column: end.column,
        text: lines.collect::<Vec<_>>().join("\n"),
    }
}

/// A C identifier that says in its first characters, which are what `bpftool` shows, what the
/// program is about.
fn program_name(first: &Target, share: &Share<'_>) -> String {
    let text = match (&first.event, share.dispatched) {
        (_, Some(true)) => "sys_enter".to_string(),
        (_, Some(false)) => "sys_exit".to_string(),
        (Event::Attach(AttachPoint::Tracepoint { name, .. }), _) => name.clone(),
        (Event::Attach(AttachPoint::RawTracepoint { name }), _) => format!("raw_{name}"),
        (Event::Attach(AttachPoint::Uprobe { on_return, .. }), _) => {
            let place = first.name.rsplit(':').next().unwrap_or_default();
            format!("{}_{place}", if *on_return { "ur" } else { "u" })
        }
        _ => first.name.clone(),
    };
    let clean = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let text: String = text.chars().map(clean).collect();
    match text.starts_with(|c: char| c.is_ascii_digit()) || text.is_empty() {
        true => format!("p_{text}"),
        false => text,
    }
}
