//! One tracing run: choose a kernel, compile, carry out.

use std::fs::File;
use std::io::{Write, stderr, stdout};
use std::process::ExitCode;

use bombus_compiler::ir::Module;
use bombus_kernel::{Error, Scope, Tracer};
use bombus_linux::can_load_programs;
use bombus_runtime::{Ended, Output};
use bombus_script::diagnostic::{Diagnostic, Source};
use bombus_script::plan::Plan;
use bombus_script::render::render;
use bombus_script::syntax::ast::Program;
use bombus_script::{Compilation, Env, Options, compile};
use bombus_symbols::Files;

use crate::failure::{self, Failure, colored};
use crate::flags::{KernelChoice, Trace};
use crate::host::{Chosen, KILLED};
use crate::settings::Settings;
use crate::{dump, host, script, target};

/// The test runner of bpftrace asks for a line once everything is attached.
const NOTIFY: &str = "__BPFTRACE_NOTIFY_PROBES_ATTACHED";

/// What works where programs cannot be loaded.
const WITHOUT_PRIVILEGE: &str = "--kernel embedded needs no privilege: it traces a command (-c) or \
                                 a process (-p) of yours, and everything that it starts";

/// Traces, and gives what to exit with.
pub(crate) fn run(trace: Trace) -> Result<ExitCode, Failure> {
    let chosen = Chosen { no_agents: trace.no_agent, ..host::choose(trace.kernel) };
    if trace.verbose {
        match (chosen.kernel, &chosen.not_linux) {
            (KernelChoice::Linux, _) => eprintln!("kernel: linux"),
            (KernelChoice::Embedded, None) => eprintln!("kernel: embedded"),
            (KernelChoice::Embedded, Some(reason)) => eprintln!("kernel: embedded ({reason})"),
        }
    }
    // Without the privilege even the tracepoints are out of sight, and every script looks wrong.
    let asked_for_linux = trace.kernel == Some(KernelChoice::Linux);
    if asked_for_linux && trace.stages.is_empty() {
        can_load_programs()
            .map_err(|error| Failure::kernel(&error, false).help(WITHOUT_PRIVILEGE))?;
    }
    let follows = trace.command.is_some() || trace.pid.is_some();
    host::on_kernel(&chosen, follows, |tracer| work(&trace, &chosen, tracer))
}

fn work(trace: &Trace, chosen: &Chosen, tracer: &dyn Tracer) -> Result<u8, Failure> {
    let settings = Settings::from_environment()?;
    let command = trace.command.as_deref().map(target::command).transpose()?;
    trace.pid.map_or(Ok(()), target::check_process)?;
    let source = script::read(&trace.script)?;
    if !trace.quiet {
        trace.without_effect.iter().for_each(|what| eprintln!("WARNING: without effect: {what}"));
    }
    let Compilation { program, modules, plan, warnings } =
        compiled(trace, &settings, &source, tracer, chosen.kernel)?;
    if trace.warnings {
        show_warnings(&source, &warnings, &plan.warnings);
    }
    if !trace.stages.is_empty() {
        return show_stages(trace, tracer, &program, &modules, &plan);
    }

    let options = bombus_runtime::Options {
        command,
        pid: trace.pid,
        quiet: trace.quiet,
        warnings: trace.warnings,
        notify: std::env::var_os(NOTIFY).is_some(),
        dry_run: trace.dry_run,
        // There it is the tracer, without which what is traced cannot go on.
        survives: chosen.kernel == KernelChoice::Embedded
            && (trace.command.is_some() || trace.pid.is_some()),
    };
    let out: Box<dyn Write> = match &trace.output {
        None => Box::new(stdout()),
        Some(path) => Box::new(File::create(path).map_err(|error| {
            let reason = failure::reason(&error);
            Failure::new(format!("Failed to open output file: {path:?}: {reason}"))
                .help("the folder must exist and be yours to write to")
        })?),
    };
    let mut output = Output::new(trace.format, trace.buffering, out, stderr());
    let outcome = bombus_runtime::run(tracer, &plan, &options, &mut output)
        .map_err(|error| explained(&error, chosen))?;
    if !trace.quiet {
        tracer.summary().iter().for_each(|line| eprintln!("{line}"));
    }
    output.finish().map_err(|error| Failure::new(format!("could not write: {error}")))?;
    Ok(exit_code(outcome.ended, options.command.is_some()))
}

/// `-d`.
fn show_stages(
    trace: &Trace,
    tracer: &dyn Tracer,
    program: &Program,
    modules: &[Module],
    plan: &Plan,
) -> Result<u8, Failure> {
    let stages: Vec<&str> = trace.stages.iter().map(String::as_str).collect();
    crate::print(&dump::text(&stages, program, modules, plan));
    if stages.contains(&"verifier") || stages.contains(&"all") {
        let loaded = bombus_kernel::load(tracer, &plan.object);
        let loaded = loaded.map_err(|error| Failure::kernel(&error, true))?;
        crate::print(&format!("verifier: {} programs accepted\n", loaded.programs.len()));
    }
    Ok(0)
}

/// An error of the kernel, with what may help whoever did not choose that kernel.
pub(crate) fn explained(error: &Error, chosen: &Chosen) -> Failure {
    let failure = Failure::kernel(error, false);
    match (&chosen.not_linux, chosen.kernel) {
        (Some(reason), _) => failure.help(reason),
        (None, KernelChoice::Linux) if matches!(error, Error::Privilege { .. }) => {
            failure.help(WITHOUT_PRIVILEGE)
        }
        _ => failure,
    }
}

fn compiled(
    trace: &Trace,
    settings: &Settings,
    source: &Source,
    tracer: &dyn Tracer,
    kernel: KernelChoice,
) -> Result<Compilation, Failure> {
    let catalog = host::catalog(kernel);
    let binaries = Files::new();
    let env = Env { catalog: &*catalog, binaries: &binaries, features: tracer.features() };
    let defaults = Options::default();
    let scope = match (kernel, trace.pid, trace.tree) {
        // It sees nobody else.
        (KernelChoice::Embedded, ..) => Scope::Machine,
        // A command's process id is not known yet; user space puts it into the map.
        (KernelChoice::Linux, pid, true) => Scope::Tree(pid.unwrap_or_default()),
        (KernelChoice::Linux, Some(pid), false) => Scope::Process(pid),
        (KernelChoice::Linux, None, false) => Scope::Machine,
    };
    let pages = settings.ring_buffer_pages.map(|pages| pages.next_power_of_two() * 4096);
    let options = Options {
        params: trace.params.clone(),
        scope,
        overrides: settings.overrides.clone(),
        ring_buffer_bytes: pages.unwrap_or(defaults.ring_buffer_bytes),
        unsafe_ok: trace.unsafe_functions,
    };
    compile(source, &env, &options).map_err(|diagnostics| Failure::script(source, &diagnostics))
}

fn show_warnings(source: &Source, diagnostics: &[Diagnostic], rendered: &[String]) {
    eprint!("{}", render(source, diagnostics, colored()));
    rendered.iter().for_each(|warning| eprintln!("WARNING: {warning}"));
}

/// The command's own status when it ended by itself, the script's when it said one.
pub(crate) fn exit_code(ended: Ended, ours: bool) -> u8 {
    let code = match ended {
        Ended::Exit(code) => code as i32,
        Ended::Target(Some(status)) if ours => match status & 0x7f {
            0 => status >> 8,
            signal => KILLED + signal,
        },
        Ended::OutputClosed => KILLED + libc::SIGPIPE,
        Ended::Target(_) | Ended::Signal(_) | Ended::Done => 0,
    };
    code as u8
}
