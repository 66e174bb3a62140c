//! The programs of an object, each proved by itself.

use bombus_spec::{ObjectSpec, Slot};
use bombus_verifier::Options;

use crate::{Error, Loader, Result};

use super::{Asked, Described, Proved, Prover};

/// Proves each program of an object that is `wanted`, alone, and tells what became of it: the
/// verdict, or why the program did not come to the verifier. In the order of the object.
///
/// Tables of programs stay empty: they would need all of these at once.
pub fn prove_each(
    object: &ObjectSpec,
    machine: &Described,
    options: Options,
    asked: &Asked,
    wanted: &dyn Fn(&str) -> bool,
    each: &mut dyn FnMut(usize, Result<Proved>),
) {
    let mut object = object.clone();
    for map in &mut object.maps {
        map.slots.retain(|(_, slot)| !matches!(slot, Slot::Program(_)));
    }
    for (index, program) in object.programs.iter().enumerate() {
        if !wanted(&program.name) {
            continue;
        }
        let prover = Prover::new(machine, options).asked(asked.clone());
        let mut loader = Loader::new(&object);
        for (other, program) in object.programs.iter().enumerate() {
            loader = loader.autoload(&program.name, other == index);
        }
        let outcome = loader.load(&prover);
        // What was said first is about the program as it stands.
        let proved = prover.proved().first().cloned();
        let proved = match (proved, outcome) {
            (Some(proved), _) => Ok(proved),
            (None, Err(error)) => Err(error),
            (None, Ok(_)) => Err(Error::invalid("the program was not loaded")),
        };
        each(index, proved);
    }
}
