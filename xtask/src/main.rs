//! Developers' chores: `cargo xtask COMMAND`. Each command is a module of its own.

mod bench;
mod conformance;
mod corpus;
mod fuzz;
mod matrix;
mod mutate;
mod parity;
mod prove;
mod slow;
mod test;
mod tidy;
mod vm;

use std::process::ExitCode;

/// A command: name, what `cargo xtask help` says, the function.
type Command = (&'static str, &'static str, fn(&[String]) -> Result<(), String>);

const COMMANDS: &[Command] = &[
    ("test", "everything that must hold: format, lints, licences, all tests", test::run),
    (
        "bench",
        "start | events | embedded | maps | vm: measure against the peers, in one run",
        bench::run,
    ),
    ("conformance", "the cases of bpf_conformance on our engines", conformance::run),
    ("corpus", "the verifier on the kernel's own tests of its verifier", corpus::run),
    (
        "fuzz",
        "script | elf | btf | btf-ext | core | vm | verifier | objects | bytes | packets | maps: random or corrupt input",
        fuzz::run,
    ),
    ("matrix", "counts of the tests of each kernel suite on each kernel", matrix::run),
    (
        "mutate",
        "verifier: makes the verifier wrong in one place after the other, and sees who notices",
        mutate::run,
    ),
    ("parity", "objects as Bombus and as libbpf send them to a kernel", parity::run),
    ("prove", "the operators of the verifier are sound, by a solver", prove::run),
    ("slow", "everything that must hold and takes minutes: proofs, score, fuzzers", slow::run),
    ("vm", "run a command, or the tests of a package, on other kernels", vm::run),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let name = args.first().map(String::as_str).unwrap_or("help");
    let Some((_, _, run)) = COMMANDS.iter().find(|command| command.0 == name) else {
        for (name, help, _) in COMMANDS {
            println!("cargo xtask {name:<8} {help}");
        }
        return if name == "help" { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    };
    match run(&args[1..]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask {name}: {message}");
            ExitCode::FAILURE
        }
    }
}
