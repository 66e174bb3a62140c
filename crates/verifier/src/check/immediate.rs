//! `ld_imm64` (`check_ld_imm`, `kernel/bpf/verifier.c`).

use bombus_btf::{Kind as TypeKind, Linkage, Type, TypeId};
use bombus_isa::{Imm64, Reg};
use bombus_platform::MapType;

use crate::state::{Base, Flags, Kind, Object, Register, TypeRef};
use crate::walk::{Check, Walk, refuse};

impl Walk<'_> {
    /// `dst = imm ll`.
    pub(crate) fn load_imm64(&mut self, dst: Reg, imm: Imm64) -> Check {
        let dst = self.written(dst)?;
        let precise = !self.allowed.bpf;
        let result = match imm {
            Imm64::Value(number) => Register { precise, ..Register::constant(number) },
            Imm64::MapFd(map) | Imm64::MapIdx(map) => {
                let Some(map) = self.maps.named(map) else {
                    refuse!(self, EINVAL, "fd {map} is not pointing to valid bpf_map");
                };
                Register::pointer(Base::MapPtr, Object::Map(map))
            }
            Imm64::MapValue { fd: map, offset } | Imm64::MapIdxValue { index: map, offset } => {
                let Some(map) = self.maps.named(map) else {
                    refuse!(self, EINVAL, "fd {map} is not pointing to valid bpf_map");
                };
                if self.maps.get(map).map_type == MapType::Arena {
                    Register { object: Object::Map(map), ..self.unknown() }
                } else {
                    let value = Register::constant(offset.into());
                    Register {
                        kind: Base::MapValue.into(),
                        object: Object::Map(map),
                        precise,
                        ..value
                    }
                }
            }
            Imm64::Func(distance) => return self.load_function(dst, distance),
            Imm64::BtfId { id, btf_fd } => self.kernel_variable(id, btf_fd)?,
        };
        self.state.regs()[dst] = result;
        Ok(())
    }

    fn load_function(&mut self, dst: usize, distance: i32) -> Check {
        let target = self.target(distance);
        let Some(function) = self.code.function_at(target) else {
            refuse!(self, EINVAL, "invalid func offset");
        };
        if self.program.functions.is_empty() {
            refuse!(self, EINVAL, "missing btf func_info");
        }
        if self.code.functions()[function].linkage != Some(Linkage::Static) {
            refuse!(self, EINVAL, "callback function not static");
        }
        if function == 0 {
            refuse!(self, EINVAL, "callback function cannot be the main program");
        }
        self.state.regs()[dst] = Register::pointer(Base::Func, Object::Function(function as u32));
        Ok(())
    }

    /// The address of a variable of the kernel's (`check_pseudo_btf_id`).
    fn kernel_variable(&mut self, id: i32, module: i32) -> Check<Register> {
        let number = match module {
            0 => self.types.kernel().map(|(number, _)| number),
            module => u8::try_from(module).ok(),
        };
        let found = number.and_then(|number| {
            let btf = self.types.btf(number)?;
            Some((number, btf, btf.ty(TypeId(id as u32))?))
        });
        let Some((number, btf, ty)) = found else {
            refuse!(self, EINVAL, "ldimm64 insn specifies invalid btf_id {id}.");
        };
        let of = match ty {
            Type::Func { .. } => {
                let kind = Kind::new(Base::Mem, Flags::RDONLY);
                return Ok(Register::pointer(kind, Object::Size(0)));
            }
            Type::Var { ty, .. } => ty,
            _ => refuse!(self, EINVAL, "pseudo btf_id {id} in ldimm64 isn't KIND_VAR or KIND_FUNC"),
        };
        let is_percpu = btf.find(TypeKind::Datasec, ".data..percpu").is_some_and(|section| {
            let Some(Type::Datasec { vars, .. }) = btf.ty(section) else { return false };
            vars.iter().any(|var| var.ty == TypeId(id as u32))
        });
        let resolved = btf.resolve(of).unwrap_or(of);
        let is_struct = matches!(btf.ty(resolved), Some(Type::Struct(_) | Type::Union(_)));
        let object = Object::Type(TypeRef { btf: number, id: of.0 });
        if is_percpu {
            let kind = Kind::new(Base::BtfId, Flags::PERCPU);
            return Ok(Register::pointer(kind, object));
        }
        if is_struct {
            return Ok(Register::pointer(Base::BtfId, object));
        }
        let Some(size) = btf.size_of(of) else {
            let name = btf.name(resolved);
            refuse!(self, EINVAL, "ldimm64 unable to resolve the size of type '{name}': -22");
        };
        let kind = Kind::new(Base::Mem, Flags::RDONLY);
        Ok(Register::pointer(kind, Object::Size(size)))
    }
}
