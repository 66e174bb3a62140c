//! The running kernel's maps: a small socket filter that loops over the operation, by test runs.

use std::sync::{Arc, Barrier};

use bombus_isa::asm;
use bombus_kernel::inspect::{Inspect, Which};
use bombus_kernel::{Kernel, MapFd, ProgFd, ProgLoad, TestRun, UpdateFlag};
use bombus_linux::Linux;
use bombus_platform::ProgType;
use bombus_spec::MapSpec;

use super::timing::{Figures, settle_on};
use super::{Case, INCREMENT, MULTIPLIER, Operation};

/// Operations of one run of the program, which the verifier goes through one by one.
const LOOPS: u32 = 64;
/// Runs of one test run.
const REPEAT: u32 = 300;

/// Nanoseconds for which two threads work.
const TOGETHER: f64 = 4e6;

/// A full map in the kernel.
pub(super) struct Full {
    linux: Linux,
    map: MapFd,
}

/// A program that uses it.
pub(super) struct Program<'a> {
    linux: &'a Linux,
    program: ProgFd,
    /// Its number, by which another thread finds it.
    id: u32,
}

/// Makes the map of a case and fills it.
pub(super) fn fill(case: &Case) -> Result<Full, String> {
    let linux = Linux::new().map_err(|error| error.to_string())?;
    let spec = MapSpec {
        name: "bench".into(),
        map_type: case.map_type,
        key_size: case.key_size as u32,
        value_size: 8,
        max_entries: case.room(),
        ..MapSpec::default()
    };
    let map = linux.map_create(&spec).map_err(|error| error.to_string())?;
    store_all(&linux, map, case)?;
    Ok(Full { linux, map })
}

impl Full {
    /// Loads the program that does an operation.
    pub(super) fn load(&self, case: &Case, operation: Operation) -> Result<Program<'_>, String> {
        let code = asm(&text(self.map, case, operation)).map_err(|error| error.to_string())?;
        let program = self.linux.prog_load(&ProgLoad {
            name: "bench",
            prog_type: ProgType::SocketFilter,
            insns: &code,
            license: "GPL",
            ..ProgLoad::default()
        });
        let program = program.map_err(|error| error.to_string())?;
        let id = self.linux.program_id(program).map_err(|error| error.to_string())?;
        Ok(Program { linux: &self.linux, program, id })
    }
}

impl Program<'_> {
    fn test_run(&self, repeat: u32) -> Result<f64, String> {
        let mut run = TestRun { data: vec![0; 64], repeat, ..TestRun::default() };
        self.linux.prog_run(self.program, &mut run).map_err(|error| error.to_string())?;
        Ok(f64::from(run.duration) / f64::from(LOOPS))
    }

    /// One thread, and two together: each uses a descriptor of its own.
    pub(super) fn turn(&self, figures: &mut Figures) -> Result<(), String> {
        let one = self.test_run(REPEAT)?;
        // Long enough for what starts first to be alone for a small part of it only.
        let repeat = ((TOGETHER / (one.max(0.1) * f64::from(LOOPS))) as u32).max(REPEAT);
        let (id, barrier) = (self.id, Arc::new(Barrier::new(2)));
        let start = Arc::clone(&barrier);
        let other = move || -> Result<f64, String> {
            settle_on(1);
            let linux = Linux::new().map_err(|error| error.to_string());
            start.wait();
            let mut run = TestRun { data: vec![0; 64], repeat, ..TestRun::default() };
            linux?
                .run_program(&Which::Id(id), &mut run, [64, 0])
                .map_err(|error| error.to_string())?;
            Ok(f64::from(run.duration) / f64::from(LOOPS))
        };
        let other = std::thread::spawn(other);
        barrier.wait();
        let own = self.test_run(repeat)?;
        let other = other.join().map_err(|_| "a thread panicked")??;
        figures.note_turn(one, 1.0 / (1.0 / own + 1.0 / other));
        Ok(())
    }
}

fn store_all(linux: &Linux, map: MapFd, case: &Case) -> Result<(), String> {
    let value_len =
        if case.map_type.is_per_cpu() { 8 * linux.features().possible_cpus as usize } else { 8 };
    let elements: Vec<(Vec<u8>, Vec<u8>)> = (0..u64::from(case.entries))
        .map(|number| {
            let mut key = [0u64; 8];
            key[0] = number;
            let mut key = key.map(u64::to_ne_bytes).concat();
            key.truncate(case.key_size);
            (key, vec![1; value_len])
        })
        .collect();
    for (key, value) in &elements {
        linux.map_update(map, key, value, UpdateFlag::Any).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// The program. The generator's state starts at random, so that runs ask for different keys.
fn text(MapFd(map): MapFd, case: &Case, operation: Operation) -> String {
    let keys = -64;
    let zeros: String =
        (1..8).map(|word| format!("*(u64 *)(r10 {}) = 0\n", keys + word * 8)).collect();
    let arguments = format!("r1 = map[fd:{map}]\nr2 = r10\nr2 += {keys}\n");
    let update = format!("{arguments}r3 = r10\nr3 += -72\nr4 = 0\ncall 2\n");
    let operation = match operation {
        Operation::Lookup => {
            format!("{arguments}call 1\nif r0 == 0 goto next\nr1 = *(u64 *)(r0 +0)\n")
        }
        Operation::Update => update,
        Operation::Renew => format!("{arguments}call 3\n{update}"),
    };
    format!(
        "call 7\nr7 = r0\nr6 = 0\nr8 = {MULTIPLIER} ll\n{zeros}*(u64 *)(r10 -72) = 1\n\
         loop:\nr7 *= r8\nr7 += {INCREMENT}\nr1 = r7\nr1 >>= 32\nr1 *= {}\nr1 >>= 32\n\
         *(u64 *)(r10 {keys}) = r1\n{operation}next:\nr6 += 1\nif r6 < {LOOPS} goto loop\n\
         r0 = 0\nexit\n",
        case.entries
    )
}
