//! One tracing run: choose a kernel, compile, carry out.

use std::fs::File;
use std::io::{Write, stderr, stdout};
use std::process::ExitCode;

use bombus_kernel::{Command, Scope, Tracer};
use bombus_runtime::{Ended, Output};
use bombus_script::diagnostic::{Diagnostic, Source};
use bombus_script::render::render;
use bombus_script::{Compilation, Env, Options, compile};
use bombus_symbols::Files;

use crate::failure::{Failure, colored};
use crate::flags::{KernelChoice, Trace};
use crate::settings::Settings;
use crate::{dump, host, script, words};

/// The test runner of bpftrace asks for a line once everything is attached.
const NOTIFY: &str = "__BPFTRACE_NOTIFY_PROBES_ATTACHED";

/// What a shell reports for a process that a signal ended.
const KILLED: i32 = 128;

/// Traces, and gives what to exit with.
pub(crate) fn run(trace: Trace) -> Result<ExitCode, Failure> {
    let chosen = host::choose(trace.kernel);
    let embedded = chosen.kernel == KernelChoice::Embedded;
    let settings = Settings::from_environment()?;
    let source = script::read(&trace.script)?;
    if !trace.quiet {
        trace.without_effect.iter().for_each(|what| eprintln!("WARNING: without effect: {what}"));
    }
    let tracer = host::tracer(chosen.kernel)?;
    let Compilation { program, modules, mut plan, warnings } =
        compiled(&trace, &settings, &source, &*tracer, chosen.kernel)?;
    if trace.warnings {
        show_warnings(&source, &warnings, &plan.warnings);
    }
    if let Some(print) = settings.print_maps {
        plan.quiet_maps = !print;
    }

    let stages = trace.stages.iter().map(String::as_str);
    let verifier = trace.stages.iter().any(|stage| stage == "verifier" || stage == "all");
    if !trace.stages.is_empty() {
        crate::print(&dump::text(stages, &program, &modules, &plan));
        if verifier {
            let loaded = bombus_kernel::load(&*tracer, &plan.object);
            let loaded = loaded.map_err(|error| Failure::kernel(&error, true))?;
            crate::print(&format!("verifier: {} programs accepted\n", loaded.programs.len()));
        }
        return Ok(ExitCode::SUCCESS);
    }

    let options = bombus_runtime::Options {
        command: trace.command.as_deref().map(command).transpose()?,
        pid: trace.pid,
        quiet: trace.quiet,
        warnings: trace.warnings,
        notify: std::env::var_os(NOTIFY).is_some(),
        dry_run: trace.dry_run,
    };
    let out: Box<dyn Write> = match &trace.output {
        None => Box::new(stdout()),
        Some(path) => Box::new(File::create(path).map_err(|error| {
            Failure::new(format!("could not write {}: {error}", path.display()))
        })?),
    };
    let mut output = Output::new(trace.format, trace.buffering, out, stderr());
    let outcome = bombus_runtime::run(&*tracer, &plan, &options, &mut output);
    let outcome = outcome.map_err(|error| {
        let failure = Failure::kernel(&error, false);
        match &chosen.not_linux {
            Some(reason) => failure.help(format!("the running kernel was not asked: {reason}")),
            None if !embedded && matches!(error, bombus_kernel::Error::Privilege { .. }) => failure
                .help(
                    "--kernel embedded needs no privilege: it traces a command (-c) or a process \
                     (-p) of yours, and everything that it starts",
                ),
            None => failure,
        }
    })?;
    if !trace.quiet {
        tracer.summary().iter().for_each(|line| eprintln!("{line}"));
    }
    output.finish().map_err(|error| Failure::new(format!("could not write: {error}")))?;
    Ok(exit_code(outcome.ended, options.command.is_some()))
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
        max_strlen: settings.max_strlen.unwrap_or(defaults.max_strlen),
        max_map_keys: settings.max_map_keys.unwrap_or(defaults.max_map_keys),
        ring_buffer_bytes: pages.unwrap_or(defaults.ring_buffer_bytes),
        unsafe_ok: trace.unsafe_functions,
    };
    compile(source, &env, &options).map_err(|diagnostics| Failure::script(source, &diagnostics))
}

fn show_warnings(source: &Source, diagnostics: &[Diagnostic], rendered: &[String]) {
    eprint!("{}", render(source, diagnostics, colored()));
    rendered.iter().for_each(|warning| eprintln!("WARNING: {warning}"));
}

fn command(text: &std::ffi::OsStr) -> Result<Command, Failure> {
    match words::split(text) {
        Some(argv) if !argv.is_empty() => Ok(Command { argv }),
        Some(_) => Err(Failure::new("the command of -c is empty")),
        None => Err(Failure::new(format!("a quote does not end in -c {}", text.display()))),
    }
}

/// The command's own status when it ended by itself, the script's when it said one.
fn exit_code(ended: Ended, ours: bool) -> ExitCode {
    let code = match ended {
        Ended::Exit(code) => code as i32,
        Ended::Target(Some(status)) if ours => match status & 0x7f {
            0 => status >> 8,
            signal => KILLED + signal,
        },
        Ended::OutputClosed => KILLED + libc::SIGPIPE,
        Ended::Target(_) | Ended::Signal(_) | Ended::Done => 0,
    };
    ExitCode::from(code as u8)
}
