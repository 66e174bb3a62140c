//! Which programs the running kernel takes from Bombus, and which it took from libbpf.

use bombus_kernel::Loader;
use bombus_linux::Linux;
use bombus_spec::{ObjectSpec, Slot};
use serde_json::json;

use super::sent::{Program, Sent};
use super::{Table, loads, verdict_by};

/// Loads an object, if there is one.
pub(super) fn load_or_refuse(opened: Result<ObjectSpec, String>) -> Result<Sent, String> {
    match opened {
        Ok(object) => load(&object),
        Err(reason) => Ok(Sent { refused: Some(reason), ..Sent::default() }),
    }
}

/// Loads an object and lets go of it: all programs at once, or else each by itself.
fn load(object: &ObjectSpec) -> Result<Sent, String> {
    let linux = Linux::new().map_err(|error| error.to_string())?;
    let attempt = |object: &ObjectSpec, wanted: &dyn Fn(usize) -> bool| {
        let mut loader = Loader::new(object);
        for (index, program) in object.programs.iter().enumerate() {
            loader = loader.autoload(&program.name, wanted(index));
        }
        let loaded = loader.load(&linux).map_err(|error| error.to_string())?;
        loaded.close(&linux).map_err(|error| error.to_string())
    };
    let mut sent = Sent { loads: attempt(object, &|_| true).is_ok(), ..Sent::default() };
    let alone = without_tables(object);
    for (index, program) in object.programs.iter().enumerate() {
        let one = |other| other == index;
        let outcome = if sent.loads { Ok(()) } else { attempt(&alone, &one) };
        sent.programs.insert(program.name.clone(), outcome.map(|()| Program::default()));
    }
    Ok(sent)
}

/// Without tables of programs to go on with: they need all of these, and either loader refuses them
/// when one is left out, but libbpf only after the kernel's verdict on the others.
fn without_tables(object: &ObjectSpec) -> ObjectSpec {
    let mut object = object.clone();
    for map in &mut object.maps {
        map.slots.retain(|(_, slot)| !matches!(slot, Slot::Program(_)));
    }
    object
}

/// What was loaded in the form of `libbpf-oracle`, for whoever started this in another machine.
pub(super) fn print(sent: &Sent) {
    let result = |loads: bool| if loads { 0 } else { -1 };
    let (opened, log) = (sent.refused.is_none(), sent.refused.clone().unwrap_or_default());
    let loads = result(sent.loads);
    println!("{}", json!({"kind": "object", "opened": opened, "result": loads, "log": log}));
    for (name, outcome) in &sent.programs {
        let log = outcome.as_ref().err().cloned().unwrap_or_default();
        let loads = result(outcome.is_ok());
        let functions: [u32; 0] = [];
        let line = json!({
            "kind": "program", "name": name, "result": loads, "log": log, "functions": functions
        });
        println!("{line}");
    }
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
