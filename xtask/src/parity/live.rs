//! Which programs the running kernel takes from Bombus, and which it took from libbpf.

use bombus_kernel::Loader;
use bombus_linux::Linux;
use bombus_spec::ObjectSpec;

use super::sent::{Program, Sent};
use super::{Table, loads, verdict_by};

/// Loads an object and lets go of it: all programs at once, or else each by itself.
pub(super) fn load(object: &ObjectSpec) -> Result<Sent, String> {
    let linux = Linux::new().map_err(|error| error.to_string())?;
    let attempt = |wanted: &dyn Fn(usize) -> bool| {
        let mut loader = Loader::new(object);
        for (index, program) in object.programs.iter().enumerate() {
            loader = loader.autoload(&program.name, wanted(index));
        }
        let loaded = loader.load(&linux).map_err(|error| error.to_string())?;
        loaded.close(&linux).map_err(|error| error.to_string())
    };
    let mut sent = Sent { loads: attempt(&|_| true).is_ok(), ..Sent::default() };
    for (index, program) in object.programs.iter().enumerate() {
        let outcome = if sent.loads { Ok(()) } else { attempt(&|other| other == index) };
        sent.programs.insert(program.name.clone(), outcome.map(|()| Program::default()));
    }
    Ok(sent)
}

/// Compares who loads what.
pub(super) fn compare(table: &mut Table, name: &str, ours: &Sent, theirs: &Sent) {
    table.add("loaded", name, None, loads(ours, theirs));
    let absent = || Err("there is no such program".to_owned());
    for (program, theirs) in &theirs.programs {
        let ours = match &ours.refused {
            Some(reason) => Err(reason.clone()),
            None => ours.programs.get(program).cloned().unwrap_or_else(absent),
        };
        table.add("programs", name, Some(program), verdict_by(&ours, theirs, |_, _| None));
    }
}
