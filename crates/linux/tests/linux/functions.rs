//! Programs on functions of the kernel. The kernels of the virtual machines have all of it.

use std::path::{Path, PathBuf};

use bombus_kernel::catalog::{Binaries, Symbol};
use bombus_kernel::{AttachPoint, AttachTo, Feature, Kernel, Loader, Places};
use bombus_linux::{Linux, LinuxCatalog};
use bombus_platform::{AttachType, ProgType};
use bombus_spec::{ObjectSpec, ProgramSpec, SpecInsn};
use libtest_mimic::Failed;

use crate::workload::Held;
use crate::{Test, cell, code, ensure, lacking, load_for, read_cell, same};

pub(crate) const TESTS: &[Test] = &[
    ("functions::kprobe", kprobe),
    ("functions::kretprobe", kretprobe),
    ("functions::kprobe_multi", kprobe_multi),
    ("functions::kretprobe_multi", kretprobe_multi),
    ("functions::kprobe_multi_one_by_one", kprobe_multi_one_by_one),
    ("functions::kprobe_multi_by_pattern", kprobe_multi_by_pattern),
    ("functions::kprobe_session", kprobe_session),
    ("functions::fentry", fentry),
    ("functions::fexit", fexit),
    ("functions::fmod_ret", fmod_ret),
    ("functions::lsm", lsm),
    ("functions::errors", errors),
];

const CALLS: u64 = 321;
const COOKIE: u64 = 1 << 33 | 5;
/// What getppid(2) is in the kernel.
const GETPPID: &str = "__x64_sys_getppid";

/// What a program adds up that is attached here while the workload runs.
fn measure(
    (prog_type, attach_type): (ProgType, AttachType),
    attach_to: AttachTo<'_>,
    at: &AttachPoint,
    workload: &str,
    body: impl FnOnce(bombus_kernel::MapFd) -> Vec<bombus_isa::Insn>,
) -> Result<Option<u64>, Failed> {
    let linux = Linux::new()?;
    let cell = cell(&linux)?;
    let held = Held::start(workload, CALLS)?;
    let code = code::for_process(held.pid(), &body(cell));
    let program = load_for(&linux, prog_type, attach_type, attach_to, &code);
    if lacking(&program) {
        return Ok(None);
    }
    let link = linux.attach(program?, at, COOKIE);
    if lacking(&link) || without_trampolines(&link) {
        return Ok(None);
    }
    let link = link?;
    held.go()?;
    linux.detach(link)?;
    let sum = read_cell(&linux, cell)?;
    ensure(linux.detach(link).is_err(), || "detached twice".into())?;
    Ok(Some(sum))
}

fn without_trampolines<T>(outcome: &bombus_kernel::Result<T>) -> bool {
    match outcome {
        Err(error) if error.to_string().contains("without trampolines") => {
            println!("skipped: {error}");
            true
        }
        _ => false,
    }
}

fn check(sum: Option<u64>, wanted: u64) -> Result<(), Failed> {
    sum.map_or(Ok(()), |sum| same(sum, wanted))
}

const PROBE: (ProgType, AttachType) = (ProgType::Kprobe, AttachType::NONE);

fn probe(on_return: bool) -> AttachPoint {
    AttachPoint::Kprobe { symbol: GETPPID.into(), offset: 0, on_return }
}

fn kprobe() -> Result<(), Failed> {
    check(measure(PROBE, AttachTo::Nothing, &probe(false), "getppid", code::count)?, CALLS)?;
    let sum = measure(PROBE, AttachTo::Nothing, &probe(false), "getppid", code::add_cookie)?;
    check(sum, CALLS.wrapping_mul(COOKIE))
}

fn kretprobe() -> Result<(), Failed> {
    check(measure(PROBE, AttachTo::Nothing, &probe(true), "getppid", code::count)?, CALLS)
}

fn many(on_return: bool, session: bool) -> AttachPoint {
    let symbols = vec![GETPPID.into(), "__x64_sys_getsid".into()];
    AttachPoint::KprobeMulti { symbols, on_return, session }
}

const MULTI: (ProgType, AttachType) = (ProgType::Kprobe, AttachType::TraceKprobeMulti);

fn kprobe_multi() -> Result<(), Failed> {
    let sum = measure(MULTI, AttachTo::Nothing, &many(false, false), "getppid", code::add_cookie)?;
    check(sum, CALLS.wrapping_mul(COOKIE))
}

fn kretprobe_multi() -> Result<(), Failed> {
    check(measure(MULTI, AttachTo::Nothing, &many(true, false), "getppid", code::count)?, CALLS)
}

/// A program that is not made for it gets many probes.
fn kprobe_multi_one_by_one() -> Result<(), Failed> {
    let sum = measure(PROBE, AttachTo::Nothing, &many(false, false), "getppid", code::add_cookie)?;
    check(sum, CALLS.wrapping_mul(COOKIE))
}

/// A section with a pattern, which the catalog answers.
fn kprobe_multi_by_pattern() -> Result<(), Failed> {
    struct NoFiles;
    impl Binaries for NoFiles {
        fn resolve(&self, _: &str, _: Option<u32>) -> Option<PathBuf> {
            None
        }
        fn functions(&self, _: &Path) -> Result<Vec<Symbol>, String> {
            Ok(vec![])
        }
    }
    let linux = Linux::new()?;
    if !linux.supports(Feature::KprobeMultiLink) {
        println!("skipped: this kernel has no kprobe.multi links");
        return Ok(());
    }
    let cell = cell(&linux)?;
    let held = Held::start("getppid", CALLS)?;
    let code = code::for_process(held.pid(), &code::count(cell));
    let program = ProgramSpec {
        name: "bombus_test".into(),
        section: "kprobe.multi/__x64_sys_getppi?".into(),
        prog_type: ProgType::Kprobe,
        attach_type: AttachType::TraceKprobeMulti,
        insns: code.into_iter().map(SpecInsn::from).collect(),
        license: "GPL".into(),
        ..ProgramSpec::default()
    };
    let object = ObjectSpec { programs: vec![program], ..ObjectSpec::default() };
    let loaded = Loader::new(&object).load(&linux)?;
    let catalog = LinuxCatalog::new();
    let places = Places { binaries: &NoFiles, catalog: &catalog };
    let link = loaded.attach(&linux, places, "bombus_test");
    if lacking(&link) {
        return Ok(());
    }
    held.go()?;
    linux.detach(link?)?;
    same(read_cell(&linux, cell)?, CALLS)
}

fn kprobe_session() -> Result<(), Failed> {
    let made_for = (ProgType::Kprobe, AttachType::TraceKprobeSession);
    let sum = measure(made_for, AttachTo::Nothing, &many(false, true), "getppid", code::count)?;
    check(sum, 2 * CALLS)
}

/// What has a type and is called once for each file that is opened. (Not every function has: those
/// of system calls do not.)
const OPEN: &str = "security_file_open";

fn fentry() -> Result<(), Failed> {
    let (made_for, to) = ((ProgType::Tracing, AttachType::TraceFentry), AttachTo::Kernel(OPEN));
    let sum = measure(made_for, to, &AttachPoint::Loaded, "open", code::add_cookie)?;
    check(sum, CALLS.wrapping_mul(COOKIE))
}

fn fexit() -> Result<(), Failed> {
    let (made_for, to) = ((ProgType::Tracing, AttachType::TraceFexit), AttachTo::Kernel(OPEN));
    check(measure(made_for, to, &AttachPoint::Loaded, "open", code::count)?, CALLS)
}

fn fmod_ret() -> Result<(), Failed> {
    let made_for = (ProgType::Tracing, AttachType::ModifyReturn);
    let sum = measure(made_for, AttachTo::Kernel(OPEN), &AttachPoint::Loaded, "open", code::count)?;
    check(sum, CALLS)
}

fn lsm() -> Result<(), Failed> {
    let made_for = (ProgType::Lsm, AttachType::LsmMac);
    let sum = measure(
        made_for,
        AttachTo::Kernel("file_open"),
        &AttachPoint::Loaded,
        "open",
        code::count,
    )?;
    check(sum, CALLS)
}

fn errors() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let nothing = code::always(&[], 0);
    let types = [
        (ProgType::Tracing, AttachType::TraceFentry, "this kernel has no function no_such_thing"),
        (ProgType::Tracing, AttachType::TraceRawTp, "this kernel has no tracepoint no_such_thing"),
        (ProgType::Lsm, AttachType::LsmMac, "this kernel has no security hook no_such_thing"),
        (ProgType::Tracing, AttachType::TraceIter, "this kernel has no iterator no_such_thing"),
    ];
    if !linux.features().tp_btf {
        println!("skipped: this kernel does not describe its types");
        return Ok(());
    }
    for (prog_type, attach_type, wanted) in types {
        let to = AttachTo::Kernel("no_such_thing");
        let error = load_for(&linux, prog_type, attach_type, to, &nothing).unwrap_err().to_string();
        ensure(error.starts_with(wanted), || error.clone())?;
    }
    let program =
        load_for(&linux, ProgType::Kprobe, AttachType::NONE, AttachTo::Nothing, &nothing)?;
    let symbol = "no_such_function".to_owned();
    let at = AttachPoint::Kprobe { symbol, offset: 0, on_return: false };
    let error = linux.attach(program, &at, 0).unwrap_err().to_string();
    ensure(
        error.contains("no function no_such_function") || error.contains("no kernel probes"),
        || error.clone(),
    )
}
