//! What programs may consist of, and how they are loaded.

use std::os::fd::AsFd;

use bombus_btf::{Builder, Linkage, TypeId};
use bombus_isa::opcode::{alu, jmp, pseudo};
use bombus_isa::{Insn, Reg, Size};
use bombus_kernel::Feature;
use bombus_platform::{AttachType, ProgType};

use super::allowed;
use super::maps::array;
use super::programs::{self, NOTHING};
use crate::Linux;
use crate::sys::prog::{self, ProgAttr};
use crate::sys::{Errno, btf};

/// Most instructions before Linux 5.2 (`BPF_MAXINSNS`).
const FORMER_LIMIT: usize = 4096;

/// `bpf_probe_read_kernel`.
const PROBE_READ_KERNEL: i32 = 113;
/// `bpf_ktime_get_coarse_ns`, which came with memcg accounting.
const KTIME_GET_COARSE_NS: u32 = 160;
/// `bpf_get_attach_cookie`.
const GET_ATTACH_COOKIE: u32 = 174;

pub(super) fn ask(linux: &Linux, feature: Feature) -> Option<bool> {
    let filter = |insns: &[Insn]| {
        allowed(programs::load(linux, ProgType::SocketFilter, AttachType::NONE, insns))
    };
    match feature {
        Feature::ObjectNames => allowed(named(linux)),
        Feature::ExpectedAttachType => {
            let attach_type = AttachType::CgroupInetSockCreate;
            let allow = [Insn::mov_imm(Reg::R0, 1), Insn::exit()];
            allowed(programs::load(linux, ProgType::CgroupSock, attach_type, &allow))
        }
        Feature::ArgCtxTag => allowed(tagged_context(linux)),
        Feature::GlobalData => allowed(global_data(linux)),
        Feature::ProgBindMap => allowed((|| {
            let map = array(linux, 0)?;
            let program =
                programs::load(linux, ProgType::SocketFilter, AttachType::NONE, &NOTHING)?;
            prog::bind_map(program.as_fd(), map.fd())
        })()),
        Feature::ProbeReadKernel => {
            let read = [
                Insn::mov(Reg::R1, Reg::FP),
                Insn::alu64_imm(alu::ADD, Reg::R1, -8),
                Insn::mov_imm(Reg::R2, 8),
                Insn::mov_imm(Reg::R3, 0),
                Insn::call_helper(PROBE_READ_KERNEL),
                Insn::exit(),
            ];
            allowed(programs::load(linux, ProgType::Tracepoint, AttachType::NONE, &read))
        }
        Feature::LargePrograms => {
            let mut long = vec![NOTHING[0]; FORMER_LIMIT];
            long.push(Insn::exit());
            filter(&long)
        }
        Feature::BoundedLoops => filter(&[
            Insn::mov_imm(Reg::R0, 10),
            Insn::alu64_imm(alu::SUB, Reg::R0, 1),
            Insn::jmp_imm(jmp::JNE, Reg::R0, 0, -2),
            Insn::exit(),
        ]),
        // "Lower than"; the same in 32 bits; a jump with a long distance.
        Feature::IsaV2 => {
            filter(&[NOTHING[0], Insn::jmp_imm(jmp::JLT, Reg::R0, 0, 1), NOTHING[0], Insn::exit()])
        }
        Feature::IsaV3 => filter(&[
            NOTHING[0],
            Insn::jmp32_imm(jmp::JLT, Reg::R0, 0, 1),
            NOTHING[0],
            Insn::exit(),
        ]),
        Feature::IsaV4 => filter(&version_4()),
        Feature::MemcgAccounting => {
            super::helper(linux, ProgType::SocketFilter, KTIME_GET_COARSE_NS).ok()
        }
        Feature::AttachCookie => super::helper(linux, ProgType::Kprobe, GET_ATTACH_COOKIE).ok(),
        _ => None,
    }
}

/// One of each that version 4 brought: some kernels before 6.6 have a few of them. None of them can
/// be skipped, or the verifier would not look at it.
fn version_4() -> [Insn; 8] {
    let [zero, exit] = NOTHING;
    [
        zero,
        // Move with sign extension from 8 bits; byte swap; signed division.
        Insn { off: 8, ..Insn::mov(Reg::R0, Reg::R0) },
        Insn::alu64_imm(alu::END, Reg::R0, 16),
        Insn { off: 1, ..Insn::alu64_imm(alu::DIV, Reg::R0, 1) },
        Insn::store(Size::Dw, Reg::FP, -8, Reg::R0),
        Insn::load_signed(Size::B, Reg::R0, Reg::FP, -8),
        Insn::ja_long(0),
        exit,
    ]
}

fn named(linux: &Linux) -> std::result::Result<(), Errno> {
    let insns = NOTHING.map(Insn::to_bytes);
    let attr = ProgAttr {
        name: "bombus_probe",
        prog_type: ProgType::SocketFilter as u32,
        insns: &insns,
        ..ProgAttr::default()
    };
    linux.permitted(|token| prog::prog_load(&ProgAttr { token, ..attr }, &mut [])).map(drop)
}

/// Stores to an address inside the value of an array.
fn global_data(linux: &Linux) -> std::result::Result<(), Errno> {
    let map = array(linux, 0)?;
    let [low, high] = Insn::ld_imm64(Reg::R1, pseudo::MAP_VALUE, map.raw().into());
    let code = [low, high, Insn::store_imm(Size::W, Reg::R1, 0, 42), NOTHING[0], NOTHING[1]];
    programs::load(linux, ProgType::SocketFilter, AttachType::NONE, &code).map(drop)
}

/// A global function that reads from an argument of which only its tag says that it is the context.
fn tagged_context(linux: &Linux) -> std::result::Result<(), Errno> {
    let mut types = Builder::new();
    let int = types.int("int", 4, true);
    let context = types.ptr(TypeId::VOID);
    let proto = types.func_proto(int, &[("ctx", context)]);
    let (main, function) =
        (types.func("main", proto, Linkage::Global), types.func("f", proto, Linkage::Global));
    types.decl_tag("arg:ctx", function, Some(0));
    let blob = types.finish();
    let types = linux.permitted(|token| btf::load(&blob, token, &mut []))?;
    let code = [
        Insn::call_local(1),
        Insn::exit(),
        Insn::load(Size::W, Reg::R0, Reg::R1, 0),
        Insn::mov_imm(Reg::R0, 0),
        Insn::exit(),
    ];
    let insns = code.map(Insn::to_bytes);
    // `struct bpf_func_info`: first instruction, type.
    let functions: Vec<u8> =
        [0, main.0, 2, function.0].into_iter().flat_map(u32::to_ne_bytes).collect();
    let attr = ProgAttr {
        prog_type: ProgType::SchedCls as u32,
        insns: &insns,
        btf: Some(types.as_fd()),
        func_info: &functions,
        ..ProgAttr::default()
    };
    linux.permitted(|token| prog::prog_load(&ProgAttr { token, ..attr }, &mut [])).map(drop)
}
