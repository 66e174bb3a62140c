//! Objects that programs make and give back, and what they keep.

use bombus_btf::TypeId;
use bombus_platform::ValueField;
use bombus_vm::TrapKind;

use super::{Context, lists, trees};
use crate::objects::{Fields, layout};
use crate::run::memory::{object_address, object_offset};

/// `obj_new(local_type)`: null when there is no memory.
pub(super) fn new(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let program = context.run.programs.get(context.call.program.id() as usize);
    let types = program.and_then(|loaded| loaded.types.as_deref());
    let layout = types.and_then(|types| layout(types, TypeId(context.arg(0) as u32)));
    let not_one = context.bad_argument(0, "is no structure of the program's");
    let (size, fields) = layout.ok_or(not_one)?;
    let Some(offset) = context.run.objects.allocate(size, fields.clone()) else { return Ok(0) };
    let address = object_address(offset);
    // (`bpf_obj_init_field`)
    if let Some(count) = refcount(address, &fields) {
        context.set_half(count, 1)?;
    }
    Ok(address)
}

/// `obj_drop(object)`.
pub(super) fn drop(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    context.give_back(context.arg(0))?;
    Ok(0)
}

/// `refcount_acquire(object)`: null when it is about to go.
pub(super) fn refcount_acquire(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let object = context.arg(0);
    let not_one = context.bad_argument(0, "is no object that counts its references");
    let count = context.object(object).and_then(|(start, fields)| refcount(start, &fields));
    let count = count.ok_or(not_one)?;
    match context.half(count)? {
        0 => Ok(0),
        references => {
            context.set_half(count, references.saturating_add(1))?;
            Ok(object)
        }
    }
}

/// Where an object counts its references.
fn refcount(start: u64, fields: &Fields) -> Option<u64> {
    let field = fields.iter().find(|(_, field)| *field == ValueField::Refcount);
    field.map(|(at, _)| start + *at as u64)
}

impl Context<'_, '_, '_> {
    /// Where the object around an address starts, and what is in it.
    fn object(&self, address: u64) -> Option<(u64, Fields)> {
        let (start, fields) = self.run.objects.around(object_offset(address)?)?;
        Some((object_address(start), fields))
    }

    /// Gives up a reference to the object around an address; with the last, the object goes, and with
    /// it what it keeps (`__bpf_obj_drop_impl`, `bpf_obj_free_fields`).
    pub(in crate::run) fn give_back(&mut self, address: u64) -> Result<(), TrapKind> {
        // Not by recursion, for what is kept may keep something.
        let mut waiting = vec![address];
        while let Some(address) = waiting.pop() {
            let Some((start, fields)) = self.object(address) else { continue };
            if let Some(count) = refcount(start, &fields) {
                let left = self.half(count)?.saturating_sub(1);
                self.set_half(count, left)?;
                if left != 0 {
                    continue;
                }
            }
            for &(at, field) in fields.iter() {
                self.take_kept(start + at as u64, field, &mut waiting)?;
            }
            self.run.objects.release(object_offset(start).unwrap_or_default());
        }
        Ok(())
    }

    /// Takes the objects out that a field keeps.
    fn take_kept(
        &mut self,
        address: u64,
        field: ValueField,
        out: &mut Vec<u64>,
    ) -> Result<(), TrapKind> {
        match field {
            ValueField::Kptr => {
                let kept = self.word(address)?;
                self.set_word(address, 0)?;
                out.extend((kept != 0).then_some(kept));
            }
            ValueField::ListHead => lists::drain(self, address, out)?,
            ValueField::RbRoot => trees::drain(self, address, out)?,
            _ => {}
        }
        Ok(())
    }
}
