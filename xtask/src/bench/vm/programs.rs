//! The programs, compiled for BPF and for this machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use bombus_isa::Insn;
use bombus_platform::{AttachType, ProgType};

use super::Timing;

/// Their names; the first only costs its entry.
pub(super) const PROGRAMS: [&str; 16] = [
    "simple", "helper", "calls", "maphash", "pktparse", "memcpy", "strcmp", "csum", "crc32",
    "siphash", "log2", "prime", "switch", "bsearch", "matmul", "stack",
];
/// Calls of the helper in `helper`.
pub(super) const HELPER_CALLS: f64 = 100.0;
/// Calls of functions in `calls`.
pub(super) const LOCAL_CALLS: f64 = 896.0;

/// Compilers of native code; the better one counts.
const COMPILERS: [&str; 2] = ["gcc", "clang-19"];

/// Where the compiled programs are.
pub(super) struct Sources {
    built: PathBuf,
}

/// A program.
pub(super) struct Program {
    pub(super) code: Vec<Insn>,
    /// What its memory holds at first.
    pub(super) memory: Vec<u8>,
    /// `r0`.
    pub(super) expected: u64,
    native: Vec<PathBuf>,
}

impl Sources {
    /// Compiles everything.
    pub(super) fn build() -> Result<Sources, String> {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/vm");
        let built = std::env::temp_dir().join(format!("bombus-bench-vm-{}", std::process::id()));
        std::fs::create_dir_all(&built).map_err(|error| error.to_string())?;
        for name in PROGRAMS {
            let source = sources.join(format!("{name}.c"));
            let mut bpf = Command::new("clang-19");
            bpf.args(["-O2", "--target=bpf", "-mcpu=v3", "-c", "-o"]);
            finish(bpf.arg(built.join(format!("{name}.o"))).arg(&source))?;
            for compiler in COMPILERS {
                let mut native = Command::new(compiler);
                native.args(["-O2", "-w", "-o"]).arg(built.join(format!("{name}.{compiler}")));
                finish(native.args([&source, &sources.join("native.c")]))?;
            }
        }
        Ok(Sources { built })
    }

    /// A program that was compiled.
    pub(super) fn load(&self, name: &str) -> Result<Program, String> {
        let object = std::fs::read(self.built.join(format!("{name}.o")));
        let options = bombus_object::Options {
            prog_type: Some((ProgType::SocketFilter, AttachType::NONE)),
            ..Default::default()
        };
        let object =
            bombus_object::open_with(&object.map_err(|error| error.to_string())?, &options);
        let object = object.map_err(|error| error.to_string())?;
        let program = object.programs.first().ok_or("the object has no program")?;
        let native: Vec<PathBuf> =
            COMPILERS.iter().map(|name_of| self.built.join(format!("{name}.{name_of}"))).collect();
        let memory = finish(Command::new(&native[0]).arg("prepare"))?;
        let expected = time(&native[0], 1)?.0;
        let code = program.insns.iter().map(|insn| insn.insn).collect();
        Ok(Program { code, memory, expected, native })
    }
}

impl Drop for Sources {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.built);
    }
}

impl Program {
    /// What the machine's own code takes.
    pub(super) fn native(&self) -> Result<Timing, String> {
        let mut best: Option<Timing> = None;
        for native in &self.native {
            let (value, timing) = time(native, 150)?;
            if value != self.expected {
                return Err(format!("{}: compilers do not agree", native.display()));
            }
            best = Some(best.map_or(timing, |best| best.better(timing)));
        }
        best.ok_or_else(|| "no compiler".to_owned())
    }
}

/// What `native.c` prints.
fn time(native: &Path, batches: usize) -> Result<(u64, Timing), String> {
    let output = finish(Command::new(native).args(["time", &batches.to_string()]))?;
    let output = String::from_utf8_lossy(&output).into_owned();
    let parsed = || {
        let mut words = output.split_whitespace();
        let value = u64::from_str_radix(words.next()?, 16).ok()?;
        let timing =
            Timing { least: words.next()?.parse().ok()?, middle: words.next()?.parse().ok()? };
        Some((value, timing))
    };
    parsed().ok_or_else(|| format!("{}: {output}", native.display()))
}

/// Runs a command to its end; gives its output.
fn finish(command: &mut Command) -> Result<Vec<u8>, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?}: {}\n{said}", output.status));
    }
    Ok(output.stdout)
}
