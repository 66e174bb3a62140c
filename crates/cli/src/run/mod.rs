//! `bombus run`: an object file that clang made, loaded, attached and listened to.

mod capture;
mod decode;
mod flags;
mod literal;
mod output;
mod place;
mod printk;
mod record;
mod session;
mod set;
mod shown;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use bombus_btf::{Btf, TypeId};
use bombus_kernel::{Error, Loader, Tracer};
use bombus_spec::ObjectSpec;
use bombus_symbols::Files;
use clap::ArgMatches;

pub(crate) use self::flags::command;

use self::flags::Options;
use self::literal::with_nearest;
use self::output::Output;
use self::record::Records;
use self::session::Session;
use crate::failure::Failure;
use crate::flags::KernelChoice;
use crate::host::{self, Chosen};
use crate::target;
use crate::trace::{exit_code, explained};

/// Carries out `bombus run`.
pub(crate) fn run(matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let options = Options::new(matches);
    if options.pcap.is_some() {
        return capture::run(&options);
    }
    let chosen = choose(&options)?;
    let follows = options.command.is_some() || options.pid.is_some();
    host::on_kernel(&chosen, follows, |tracer| work(&options, &chosen, tracer))
}

/// The kernel: wires are the embedded kernel's.
fn choose(options: &Options) -> Result<Chosen, Failure> {
    let types = given_types(options)?;
    if options.wires.is_empty() {
        return Ok(Chosen { types, ..host::choose(options.kernel) });
    }
    if options.kernel == Some(KernelChoice::Linux) {
        return Err(Failure::new("--wire is for the embedded kernel").help(
            "on Linux programs are attached to devices that are there: `ip link add ... type veth`",
        ));
    }
    let wires = options.wires.clone();
    Ok(Chosen { wires, types, ..Chosen::asked(KernelChoice::Embedded) })
}

fn work(options: &Options, chosen: &Chosen, tracer: &dyn Tracer) -> Result<u8, Failure> {
    let (object, btf) = open_with(options)?;
    for place in &options.attach {
        place::check_program(place, &object).map_err(Failure::new)?;
    }
    let loader = loader(options, chosen, &object, btf.as_ref())?;
    let catalog = host::catalog(chosen.kernel);
    let binaries = Files::new();
    let session = Session {
        tracer,
        object: &object,
        btf: btf.as_ref(),
        options,
        command: options.command.as_deref().map(target::command).transpose()?,
        record_types: record_types(options, &object, btf.as_ref())?,
        catalog: &*catalog,
        binaries: &binaries,
        is_embedded: chosen.kernel == KernelChoice::Embedded,
    };
    let mut output = Output::new(options.format);
    let ended = session.run(&loader, &mut output).map_err(|failed| match failed {
        session::Failed::Kernel(error) => refused(&error, options, chosen),
        session::Failed::Place(message) => Failure::new(message),
    })?;
    Ok(exit_code(ended, options.command.is_some()))
}

/// What the file specifies, with the elements of `--set`, and its types.
fn open_with(options: &Options) -> Result<(ObjectSpec, Option<Btf>), Failure> {
    let mut object = open(&options.file)?;
    shown::check_names(&object, &options.maps).map_err(Failure::new)?;
    let btf = types(&object)?;
    set::elements(&mut object, btf.as_ref(), &options.set)?;
    Ok((object, btf))
}

/// What the file specifies.
fn open(file: &Path) -> Result<ObjectSpec, Failure> {
    let name = file.display();
    let bytes = std::fs::read(file).map_err(|error| Failure::file("read", file, &error))?;
    let file_name = file.file_name().unwrap_or_default().to_string_lossy();
    bombus_object::open_named(&bytes, &file_name)
        .map_err(|error| Failure::new(format!("{name}: {error}")))
}

fn types(object: &ObjectSpec) -> Result<Option<Btf>, Failure> {
    let parsed = object.btf.clone().map(Btf::parse).transpose();
    parsed.map_err(|error| Failure::new(format!("the types of the object: {error}")))
}

/// How the object is loaded: with the variables of `--set` and the types of `--btf`.
fn loader<'a>(
    options: &Options,
    chosen: &Chosen,
    object: &'a ObjectSpec,
    btf: Option<&Btf>,
) -> Result<Loader<'a>, Failure> {
    let mut loader = set::variables(Loader::new(object), object, btf, &options.set)?;
    if let Some(types) = &chosen.types {
        loader = loader.kernel_btf(types.clone());
    }
    Ok(loader)
}

/// The types of `--btf`.
fn given_types(options: &Options) -> Result<Option<Arc<Btf>>, Failure> {
    let Some(file) = &options.btf else { return Ok(None) };
    let name = file.display();
    let bytes = std::fs::read(file).map_err(|error| Failure::file("read", file, &error))?;
    let btf = Btf::parse(bytes).map_err(|error| Failure::new(format!("{name}: {error}")))?;
    Ok(Some(Arc::new(btf)))
}

/// What `--type` says.
fn record_types(
    options: &Options,
    object: &ObjectSpec,
    btf: Option<&Btf>,
) -> Result<Vec<(String, TypeId)>, Failure> {
    let named = |(map, structure): &(String, String)| {
        let names = || object.maps.iter().map(|map| map.name.as_str());
        if !names().any(|name| name == map) {
            return Err(with_nearest(&format!("the object has no map {map}"), map, names()));
        }
        let btf = btf.ok_or("the object has no types: compile it with -g")?;
        Ok((map.clone(), Records::new(btf, object).named(structure)?))
    };
    options.types.iter().map(named).collect::<Result<_, String>>().map_err(Failure::new)
}

/// A kernel's error, with what may help.
fn refused(error: &Error, options: &Options, chosen: &Chosen) -> Failure {
    match error {
        Error::Rejected { .. } if options.verbose => Failure::kernel(error, true),
        Error::Rejected { .. } => Failure::rejected(error, "-v"),
        Error::Missing { log, .. } if options.verbose => Failure::new(format!("{error}\n{log}")),
        _ => explained(error, chosen),
    }
}
