//! Corrupt type information through everything that reads it: the types themselves, what belongs to
//! the instructions, and CO-RE relocations.

use std::fmt;
use std::sync::Arc;

use bombus_btf::relocate::{Resolver, Targets};
use bombus_btf::value::{self, Style};
use bombus_btf::{Btf, BtfExt, Builder, Kind, Support, c_dump, json, raw, sanitize};
use bombus_isa::{Insn, Reg};

use super::corrupt::Meter;
use super::seeds::Seed;

/// How much is written of one blob before the writer refuses.
const WRITTEN: usize = 64 << 20;

/// Types as text, as C, as JSON, by name and one by one, and made anew.
pub(super) fn examine_types(seed: &Seed, meter: &mut Meter) -> Result<bool, String> {
    let blob: Arc<[u8]> = seed.file.as_slice().into();
    if !meter.within("reading types", blob.len(), || read_types(&blob))? {
        return Ok(false);
    }
    rebuild(&blob, meter)?;
    Ok(true)
}

/// Functions, lines and relocations.
pub(super) fn examine_ext(seed: &Seed, meter: &mut Meter) -> Result<bool, String> {
    let Ok(btf) = Btf::parse(seed.file.clone()) else { return Ok(false) };
    meter.within("reading records", seed.ext.len(), || read_ext(&seed.ext, &btf))
}

/// Relocations of corrupt records, and against corrupt types.
pub(super) fn examine_relocations(
    seed: &Seed,
    other: &Seed,
    meter: &mut Meter,
) -> Result<bool, String> {
    let blobs = [&seed.file, &other.file].map(|file| Arc::<[u8]>::from(file.as_slice()));
    let [target, local] = &blobs;
    let size = seed.len() + other.len();
    meter.within("relocating", size, || relocate(target, local, &seed.ext, &other.ext))
}

/// Swallows a lot, and then refuses.
struct Sink(usize);

impl fmt::Write for Sink {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = self.0.checked_sub(text.len()).ok_or(fmt::Error)?;
        Ok(())
    }
}

fn read_types(blob: &Arc<[u8]>) -> bool {
    let Ok(btf) = Btf::parse(Arc::clone(blob)) else { return false };
    // What is refused halfway is as good as what is not.
    let _ = raw::dump(&btf, &mut Sink(WRITTEN));
    let _ = json::dump(&btf, &mut Sink(WRITTEN));
    let _ = c_dump::dump_all(&btf, &mut Sink(WRITTEN));
    let _ = c_dump::vmlinux(&btf, true, &mut Sink(WRITTEN));
    let data = &blob[..blob.len().min(256)];
    for (id, ty) in btf.types() {
        let _ = value::write(&btf, id, data, Style::C, &mut Sink(1 << 16));
        btf.resolve(id);
        btf.size_of(id);
        // The names of all types at once would make this quadratic.
        if id.0 % 16 == 0 {
            btf.find(ty.kind(), ty.name());
        }
    }
    // Each of these looks at all types.
    for id in btf.ids().step_by((btf.ids().len() / 64).max(1)) {
        btf.align_of(id);
        let _ = c_dump::declaration(&btf, id, "name");
    }
    true
}

fn read_ext(ext: &[u8], btf: &Btf) -> bool {
    let Ok(parsed) = BtfExt::parse(ext, btf) else { return false };
    let mut records = 0;
    for section in parsed.sections() {
        records += parsed.funcs(section).count() + parsed.relocations(section).count();
        records += parsed.lines(section).filter(|line| btf.string(line.text).is_some()).count();
    }
    assert!(records <= ext.len() / 8, "more records than there is room for");
    true
}

fn relocate(target: &Arc<[u8]>, local: &Arc<[u8]>, own_ext: &[u8], ext: &[u8]) -> bool {
    let Ok(target) = Btf::parse(Arc::clone(target)).map(Arc::new) else { return false };
    let Ok(local) = Btf::parse(Arc::clone(local)) else { return false };
    let targets = Targets::new("corrupt", Arc::clone(&target));
    // Corrupt records with corrupt types of their own, and good records.
    for (btf, ext) in [(&*target, own_ext), (&local, ext)] {
        let Ok(ext) = BtfExt::parse(ext, btf) else { continue };
        let mut resolver = Resolver::new(btf, &targets);
        for relocation in ext.sections().flat_map(|section| ext.relocations(section)) {
            let Ok(resolution) = resolver.resolve(&relocation) else { continue };
            let mut code = Insn::ld_imm64(Reg::R1, 0, resolution.original).to_vec();
            let _ = resolution.apply(&mut code, 0);
            let _ = resolution.apply(&mut code, 1);
        }
    }
    true
}

fn rebuild(blob: &Arc<[u8]>, meter: &mut Meter) -> Result<(), String> {
    let Ok(btf) = Btf::parse(Arc::clone(blob)) else { return Ok(()) };
    let parse = |blob: Vec<u8>| Btf::parse(blob).map_err(|error| format!("rebuilt: {error}"));
    let sanitized =
        meter.within("replacing kinds", blob.len(), || sanitize(&btf, Support::NONE))?;
    let sanitized = parse(sanitized)?;
    let unknown = |kind| matches!(kind, Kind::Func | Kind::Float | Kind::Enum64 | Kind::Datasec);
    if sanitized.ids().any(|id| sanitized.kind(id).is_some_and(unknown)) {
        return Err("a kind was not replaced".into());
    }
    let once = meter.within("uniting types", blob.len(), || {
        let mut builder = Builder::new();
        builder.add_all(&btf);
        builder.dedup();
        builder.finish()
    })?;
    let once = parse(once)?;
    if once.next_id() > btf.next_id() {
        return Err("what is the same became more".into());
    }
    Ok(())
}
