//! What depends on types: programs in the place of functions, modules, the kernel's own symbols.

use bombus_btf::{Btf, Builder, Kind, Linkage};
use bombus_isa::{Insn, Reg};
use bombus_kernel::{AttachPoint, AttachTo, BtfFd, Kernel, ProgFd, ProgLoad};
use bombus_linux::Linux;
use bombus_platform::{AttachType, ProgType};
use libtest_mimic::Failed;

use crate::{Test, ensure, lacking, same};

pub(crate) const TESTS: &[Test] = &[
    ("types::replace_function", replace_function),
    ("types::modules", modules),
    ("types::kernel", kernel),
    ("types::symbols", symbols),
    ("types::configuration", configuration),
];

/// Types of a program with two functions of one argument each, which return an integer.
fn two_functions(linux: &Linux) -> Result<(BtfFd, [u32; 2]), Failed> {
    let mut types = Builder::new();
    let int = types.int("int", 4, true);
    let fields = types.structure("__sk_buff", 4, &[]);
    let context = types.ptr(fields);
    let proto = types.func_proto(int, &[("skb", context)]);
    let main = types.func("main", proto, Linkage::Global);
    let answer = types.func("answer", proto, Linkage::Global);
    Ok((linux.btf_load(&types.finish())?, [main.0, answer.0]))
}

fn info(records: &[(u32, u32)]) -> Vec<u8> {
    let words = records.iter().flat_map(|&(start, ty)| [start, ty]);
    words.flat_map(u32::to_ne_bytes).collect()
}

/// A program that says what its function `answer` says: 1.
fn target(linux: &Linux) -> Result<ProgFd, Failed> {
    let (btf, [main, answer]) = two_functions(linux)?;
    let code = [Insn::call_local(1), Insn::exit(), Insn::mov_imm(Reg::R0, 1), Insn::exit()];
    Ok(linux.prog_load(&ProgLoad {
        name: "bombus_test",
        prog_type: ProgType::SchedCls,
        insns: &code,
        license: "GPL",
        btf: Some(btf),
        func_info: &info(&[(0, main), (2, answer)]),
        ..ProgLoad::default()
    })?)
}

fn replace_function() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let program = target(&linux)?;
    let verdict = |program| {
        let mut run = bombus_kernel::TestRun { data: vec![0; 64], ..Default::default() };
        linux.prog_run(program, &mut run)?;
        Ok::<u32, Failed>(run.retval)
    };
    same(verdict(program)?, 1)?;
    let (btf, [_, answer]) = two_functions(&linux)?;
    let replacement = linux.prog_load(&ProgLoad {
        name: "bombus_test",
        prog_type: ProgType::Ext,
        attach_to: AttachTo::Program(program, "answer"),
        insns: &[Insn::mov_imm(Reg::R0, 42), Insn::exit()],
        license: "GPL",
        btf: Some(btf),
        func_info: &info(&[(0, answer)]),
        ..ProgLoad::default()
    });
    if lacking(&replacement) {
        return Ok(());
    }
    let replacement = replacement?;
    let link = linux.attach(replacement, &AttachPoint::Loaded, 0);
    if lacking(&link) {
        return Ok(());
    }
    let link = link?;
    same(verdict(program)?, 42)?;
    linux.detach(link)?;
    // Another program with the same function.
    let other = target(&linux)?;
    let at = AttachPoint::Replace { target: other, function: "answer".into() };
    linux.attach(replacement, &at, 0)?;
    same(verdict(other)?, 42)?;
    let no = AttachPoint::Replace { target: other, function: "question".into() };
    same(linux.attach(replacement, &no, 0).unwrap_err().errno(), Some(libc::ENOENT))
}

fn modules() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let Some(kernel) = linux.kernel_btf()? else {
        println!("skipped: this kernel does not describe its types");
        return Ok(());
    };
    let shown: Vec<_> = std::fs::read_dir("/sys/kernel/btf")?.flatten().collect();
    let modules = linux.module_btfs()?;
    same(modules.len(), shown.len() - 1)?;
    let kernel = std::sync::Arc::new(Btf::parse(kernel)?);
    let Some(veth) = modules.iter().find(|module| module.name == "veth") else {
        println!("skipped: the module veth is not loaded");
        return Ok(());
    };
    let types = Btf::parse_split(veth.btf.clone(), kernel)?;
    let xmit = types.find(Kind::Func, "veth_xmit").ok_or("no function veth_xmit")?;
    ensure(xmit >= types.first_id(), || "it is the kernel's".into())?;
    // A program on a function of the module's, by either name.
    for name in ["veth_xmit", "veth:veth_xmit"] {
        let program = linux.prog_load(&ProgLoad {
            name: "bombus_test",
            prog_type: ProgType::Tracing,
            attach_type: AttachType::TraceFentry,
            attach_to: AttachTo::Kernel(name),
            insns: &[Insn::mov_imm(Reg::R0, 0), Insn::exit()],
            license: "GPL",
            ..ProgLoad::default()
        });
        if lacking(&program) {
            return Ok(());
        }
        linux.attach(program?, &AttachPoint::Loaded, 0)?;
    }
    Ok(())
}

fn kernel() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let (Some(once), Some(again)) = (linux.kernel_btf()?, linux.kernel_btf()?) else {
        println!("skipped: this kernel does not describe its types");
        return Ok(());
    };
    ensure(std::sync::Arc::ptr_eq(&once, &again), || "it was read twice".into())?;
    let types = Btf::parse(once)?;
    ensure(types.find(Kind::Struct, "task_struct").is_some(), || "no task_struct".into())
}

fn symbols() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let address = linux.kernel_symbol("_text")?.or(linux.kernel_symbol("_stext")?);
    ensure(address.is_some_and(|address| address >> 47 == 0x1_ffff), || format!("{address:?}"))?;
    same(linux.kernel_symbol("no_such_symbol_at_all")?, None)
}

fn configuration() -> Result<(), Failed> {
    let config = Linux::new()?.kernel_config();
    if lacking(&config) {
        return Ok(());
    }
    let config = config?;
    same(config.get("CONFIG_BPF_SYSCALL").map(String::as_str), Some("y"))?;
    ensure(config.get("CONFIG_HZ").is_some_and(|hertz| hertz.parse::<u32>().is_ok()), || {
        format!("{:?}", config.get("CONFIG_HZ"))
    })
}
