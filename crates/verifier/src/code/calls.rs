//! What is called from outside the program: helpers and kernel functions (`bpf_add_kfunc_call`,
//! `bpf_get_call_summary`, `bpf_kfunc_stack_access_bytes` of `kernel/bpf/verifier.c`).

use std::collections::HashMap;

use bombus_btf::{Btf, Kind, Param, Type, TypeId};
use bombus_isa::Op;

use super::callee::DYNPTR_SIZE;
use super::functions::NOT_FOR_ALL;
use super::{Access, Callee, Extent, Facts, Instruction, KernelFunction, refuse};
use crate::{Options, Program, Rejection, Target};

/// Different kernel functions that a program may call (`MAX_KFUNC_DESCS`).
const MAX_KERNEL_FUNCTIONS: usize = 256;

/// What the calls of a program go to.
#[derive(Debug, Default)]
pub(super) struct Calls {
    known: Vec<Known>,
    /// For each slot the place in `known`, from 1; 0: no such call, or nothing is known of it.
    at: Vec<u16>,
    /// The names of the kernel functions, by their types and modules.
    names: HashMap<(i32, i16), String>,
}

/// Something that is called, and what is known of it.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) callee: Callee,
    /// Whether it is a kernel function.
    pub(super) is_kernel_function: bool,
}

impl Calls {
    pub(super) fn at(&self, slot: usize) -> Option<&Known> {
        self.known.get(usize::from(self.at[slot]).checked_sub(1)?)
    }

    /// The name of a kernel function that is called.
    pub(super) fn name(&self, id: i32, module: i16) -> Option<&str> {
        self.names.get(&(id, module)).map(String::as_str)
    }

    /// Looks up all that the program calls.
    pub(super) fn new(
        program: &Program<'_>,
        target: &Target<'_>,
        options: &Options,
        facts: &dyn Facts,
        instructions: &[Instruction],
    ) -> Result<Calls, Rejection> {
        let mut calls = Calls { at: vec![0; instructions.len()], ..Calls::default() };
        let mut helpers = HashMap::new();
        let mut functions = HashMap::new();
        for (slot, instruction) in instructions.iter().enumerate() {
            calls.at[slot] = match *instruction {
                Instruction::Op(Op::CallHelper { id }) => *helpers
                    .entry(id)
                    .or_insert_with(|| add(&mut calls.known, facts.helper(id), false)),
                Instruction::Op(Op::CallKfunc { id, btf }) => {
                    if !options.privileges.bpf {
                        return Err(refuse(1, slot, NOT_FOR_ALL));
                    }
                    match functions.get(&(id, btf)) {
                        Some(&place) => place,
                        None => {
                            let call = KernelCall { slot, id, module: btf, target };
                            let callee = call.resolve(program, functions.len(), facts)?;
                            calls.names.extend(call.name().map(|name| ((id, btf), name)));
                            let place = add(&mut calls.known, callee, true);
                            functions.insert((id, btf), place);
                            place
                        }
                    }
                }
                _ => 0,
            };
        }
        Ok(calls)
    }
}

fn add(known: &mut Vec<Known>, callee: Option<Callee>, is_kernel_function: bool) -> u16 {
    let Some(callee) = callee else { return 0 };
    known.push(Known { callee, is_kernel_function });
    // There are some 210 helpers and at most 256 kernel functions.
    u16::try_from(known.len()).unwrap_or(0)
}

/// A call of a kernel function.
struct KernelCall<'a> {
    slot: usize,
    id: i32,
    module: i16,
    target: &'a Target<'a>,
}

impl<'a> KernelCall<'a> {
    /// What it calls; `None` when such a program cannot call that, which is for the walk to say.
    fn resolve(
        &self,
        program: &Program<'_>,
        known: usize,
        facts: &dyn Facts,
    ) -> Result<Option<Callee>, Rejection> {
        const ENOTSUPP: i32 = 524;
        let refuse = |errno, message: &str| Err(refuse(errno, self.slot, message));
        if self.target.btf.is_none() {
            let message = "calling kernel function is not supported without CONFIG_DEBUG_INFO_BTF";
            return refuse(ENOTSUPP, message);
        }
        if !program.gpl_compatible {
            let message = "cannot call kernel function from non-GPL compatible program";
            return refuse(22, message);
        }
        // A call that an extern left open: fine as long as nothing gets there.
        if self.id == 0 && self.module == 0 {
            return Ok(None);
        }
        if known == MAX_KERNEL_FUNCTIONS {
            return refuse(7, "too many different kernel function calls");
        }
        if self.id <= 0 {
            return refuse(22, &format!("invalid kernel function btf_id {}", self.id));
        }
        let btf = match self.types() {
            Ok(btf) => btf,
            Err(message) => {
                let message = format!("{message}failed to find BTF for kernel function");
                return refuse(22, &message);
            }
        };
        let id = TypeId(self.id as u32);
        let Some(Type::Func { name, proto, .. }) = btf.ty(id) else {
            return refuse(22, &format!("kernel btf_id {} is not a function", self.id));
        };
        let traits = facts.kfunc(name);
        let proto = match traits {
            Some(KernelFunction { implicit_arguments: true, .. }) => {
                let name = format!("{name}_impl");
                match btf.find(Kind::Func, &name).and_then(|id| btf.ty(id)) {
                    Some(Type::Func { proto, .. }) => Ok(proto),
                    _ => Err(format!("cannot find function {name} in BTF\n")),
                }
            }
            _ => Ok(proto),
        };
        let (ret, params) = match proto.map(|proto| btf.ty(proto)) {
            Ok(Some(Type::FuncProto { ret, params })) => (ret, params),
            other => {
                let missing = other.err().unwrap_or_default();
                let id = self.id;
                let message = format!(
                    "{missing}kernel function btf_id {id} does not have a valid func_proto"
                );
                return refuse(22, &message);
            }
        };
        let Some(traits) = traits else { return Ok(None) };
        let params: Vec<Param<'_>> = params.iter().collect();
        let access = |index: usize| access(btf, &params, index, traits.is_iterator_new);
        Ok(Some(Callee {
            arguments: (0..params.len()).map(access).collect(),
            is_void: ret == TypeId::VOID,
            fastcall: traits.fastcall,
            might_sleep: traits.might_sleep,
            changes_packet: traits.changes_packet,
            callback: traits.callback,
            throws: traits.throws,
            is_iterator_next: traits.is_iterator_next,
        }))
    }

    fn name(&self) -> Option<String> {
        let id = TypeId(u32::try_from(self.id).ok()?);
        Some(self.types().ok()?.name(id).to_owned())
    }

    /// The types that number it.
    fn types(&self) -> Result<&'a Btf, &'static str> {
        if self.module < 0 {
            return Err("negative offset disallowed for kernel module function call\n");
        }
        match (self.module as usize).checked_sub(1) {
            None => self.target.btf.ok_or(""),
            Some(index) => {
                let module = self.target.modules.get(index).copied();
                module.ok_or("invalid module BTF fd specified\n")
            }
        }
    }
}

/// What a kernel function does with the memory that an argument points to, by its type.
fn access(btf: &Btf, params: &[Param<'_>], index: usize, makes_iterator: bool) -> Access {
    let Some(Type::Ptr(to)) = btf.resolved(params[index].ty) else { return Access::Nothing };
    let is_sized = params
        .get(index + 1)
        .is_some_and(|next| next.name.ends_with("__sz") || next.name.ends_with("__szk"));
    let pointee = btf.resolve(to);
    let extent = match pointee.and_then(|id| btf.ty(id)) {
        Some(Type::Struct(structure)) if structure.name == "bpf_dynptr" => {
            Extent::Bytes(DYNPTR_SIZE)
        }
        _ if is_sized => Extent::Next,
        _ => match pointee.and_then(|id| btf.size_of(id)) {
            Some(size) => Extent::Bytes(size),
            None => return Access::Unknown,
        },
    };
    let only_writes = index == 0 && makes_iterator || params[index].name.ends_with("__uninit");
    if only_writes { Access::Writes(extent) } else { Access::Reads(extent) }
}
