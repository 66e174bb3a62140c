//! What an accepted program returns, in the embedded kernel.

use bombus_embedded::Embedded;
use bombus_kernel::{Described, Error, Kernel, TestRun, Tracer, UpdateFlag};
use bombus_platform::ProgType;
use bombus_spec::ObjectSpec;

use super::case::Case;

/// Bytes of the packet, all zero (`TEST_DATA_LEN`).
const PACKET: usize = 64;
/// An expectation that any value meets (`POINTER_VALUE`).
const ANY: i32 = 0xbad_cafe;
/// Objects with a map whose first value is stored before programs run.
const FILLED: [(&str, &str); 2] =
    [("verifier_array_access", "map_array_ro"), ("verifier_value_ptr_arith", "map_array_48b")];
/// Where `data_end` is in `struct __sk_buff`, and its size.
const DATA_END: std::ops::Range<usize> = 80..84;
const SK_BUFF: usize = 192;

/// Runs the program once. Fails with what is wrong with what it returned.
pub(super) fn check(object: &ObjectSpec, case: &Case, machine: &Described) -> Result<(), String> {
    let Some(expected) = case.retval else { return Ok(()) };
    let returned = run(object, case, machine)? as i32;
    match returned == expected || expected == ANY {
        true => Ok(()),
        false => Err(format!("returned {returned}, not {expected}")),
    }
}

/// The end of the log, too, for a refusal.
fn explained(error: Error) -> String {
    match &error {
        Error::Rejected { log, .. } => {
            format!("{error}: {}", log.lines().last().unwrap_or_default())
        }
        _ => error.to_string(),
    }
}

/// What `prog_tests/verifier.c` stores first: an index, and at that place a number.
fn first_value() -> Vec<u8> {
    let mut value = vec![0; 48];
    value[..4].copy_from_slice(&28u32.to_le_bytes());
    value[28..32].copy_from_slice(&0xabcd_ef12u32.to_le_bytes());
    value
}

fn run(object: &ObjectSpec, case: &Case, machine: &Described) -> Result<u32, String> {
    let options = bombus_embedded::Options { seed: Some(1), ..Default::default() };
    let kernel = Embedded::new(options);
    let mut loader = super::runner::only(object, case);
    if let Some(types) = &machine.types {
        loader = loader.kernel_btf(types.clone());
        kernel.set_types(types.clone());
    }
    let loaded = loader.load(&kernel).map_err(explained)?;
    if let Some((_, map)) = FILLED.iter().find(|(object, _)| *object == case.object)
        && let Some(map) = loaded.map(map)
    {
        let stored = kernel.map_update(map, &[0; 4], &first_value(), UpdateFlag::Any);
        stored.map_err(explained)?;
    }
    let program = loaded.all_programs().iter().find(|program| program.name == case.program);
    let program = program.ok_or("it was not loaded")?;
    let fd = program.fd.ok_or("it was not loaded")?;
    let mut test = TestRun { repeat: 1, ..TestRun::default() };
    let takes_nothing = matches!(
        program.prog_type,
        ProgType::Syscall | ProgType::RawTracepoint | ProgType::RawTracepointWritable
    );
    if takes_nothing {
        test.retval = kernel.prog_test_run(fd, &[]).map_err(|error| error.to_string())?;
    } else {
        test.data = vec![0; PACKET];
        if case.linear != 0 {
            test.ctx = vec![0; SK_BUFF];
            test.ctx[DATA_END].copy_from_slice(&case.linear.to_le_bytes());
        }
        kernel.prog_run(fd, &mut test).map_err(|error| error.to_string())?;
    }
    // A program that was stopped returns nothing, whatever is said.
    match kernel.summary().into_iter().find(|line| line.starts_with("program ")) {
        Some(stopped) => Err(stopped),
        None => Ok(test.retval),
    }
}
