//! The grammar of a case.
//!
//! ```text
//! @unprivileged                 the caller has no capabilities
//! @bpf                          the caller has `CAP_BPF` alone
//! @sleepable                    the program may sleep
//! @type TYPE                    the program's type, `sched_cls` when nothing is said
//! @frequent                     states are kept wherever they may be
//! @closed                       its licence is not compatible with the GPL
//! @map TYPE key=K value=V entries=N extra=E flags=F holds=WORD,WORD
//! @function SLOT NAME static|global int|void
//! @line SLOT                    a record of a source line
//! @tag NAME VALUE               a declaration tag of that function
//! @use DEPTH [callback] [later] [arguments]
//!                               how the walk saw the next function used
//! @show WHAT                    functions, marks, code, order, live (registers), uses (of the
//!                               stack), tracks (of pointers to it), stack (what is live of it in
//!                               the first frame), fastcalls, depth, end (of the log); or, alone,
//!                               log (of the walk, at level 2) or explanation
//! slot CODE DST SRC OFF IMM     (among the instructions) any slot at all, code in hex
//! ```

use std::sync::Arc;

use bombus_btf::{Btf, Builder, FuncInfo, LineInfo, Linkage, TypeId};
use bombus_isa::{Insn, Reg, asm};
use bombus_platform::{AttachType, MapType, ProgType};
use bombus_verifier::code::FrameUse;
use bombus_verifier::{
    AttachTarget, F_SLEEPABLE, F_TEST_STATE_FREQ, Map, Options, Privileges, Program, Target,
};

/// Stands for a raw slot until all have their places; no case has it.
const PLACEHOLDER: &str = "r9 = 195948557";

type Result<T> = std::result::Result<T, String>;

pub(crate) struct Given {
    insns: Vec<Insn>,
    maps: Vec<Arc<Map>>,
    flags: u32,
    pub(crate) prog_type: ProgType,
    gpl_compatible: bool,
    privileges: Privileges,
    types: Option<Btf>,
    functions: Vec<FuncInfo>,
    lines: Vec<LineInfo>,
    kernel: Btf,
    pub(crate) uses: Vec<FrameUse>,
    pub(crate) shown: Vec<String>,
}

impl Given {
    pub(crate) fn parse(text: &str) -> Result<Given> {
        let mut given = Given {
            insns: Vec::new(),
            maps: Vec::new(),
            flags: 0,
            prog_type: ProgType::SchedCls,
            gpl_compatible: true,
            privileges: Privileges::ALL,
            types: None,
            functions: Vec::new(),
            lines: Vec::new(),
            kernel: kernel()?,
            uses: Vec::new(),
            shown: Vec::new(),
        };
        let mut types = Builder::new();
        let mut code = String::new();
        let mut slots = Vec::new();
        for line in text.lines() {
            if let Some(directive) = line.strip_prefix('@') {
                given
                    .directive(&mut types, directive)
                    .map_err(|error| format!("{line}: {error}"))?;
            } else if let Some(fields) = line.trim().strip_prefix("slot ") {
                slots.push(raw(fields)?);
                code += PLACEHOLDER;
                code.push('\n');
            } else {
                code += line;
                code.push('\n');
            }
        }
        given.insns = assemble(&code, &slots)?;
        if !given.functions.is_empty() || !given.lines.is_empty() {
            given.types = Some(Btf::parse(types.finish()).map_err(|error| error.to_string())?);
        }
        Ok(given)
    }

    fn directive(&mut self, types: &mut Builder, text: &str) -> Result<()> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words[..] {
            ["unprivileged"] => self.privileges = Privileges::NONE,
            ["bpf"] => self.privileges = Privileges { bpf: true, ..Privileges::NONE },
            ["sleepable"] => self.flags |= F_SLEEPABLE,
            ["frequent"] => self.flags |= F_TEST_STATE_FREQ,
            ["closed"] => self.gpl_compatible = false,
            ["type", name] => {
                let mut types = ProgType::ALL.iter().copied();
                let known = types.find(|prog_type| prog_type.name() == name);
                self.prog_type = known.ok_or("there is no such program type")?;
            }
            ["show", what] => self.shown.push(what.to_owned()),
            ["map", name, ref rest @ ..] => self.maps.push(Arc::new(map(name, rest)?)),
            ["use", depth, ref flags @ ..] => self.uses.push(FrameUse {
                depth: number(depth)? as u16,
                is_callback: flags.contains(&"callback"),
                is_later_callback: flags.contains(&"later"),
                has_stack_arguments: flags.contains(&"arguments"),
            }),
            ["line", slot] => self.lines.push(LineInfo {
                insn: number(slot)?,
                file: types.string("a.c"),
                text: types.string("x"),
                line: 1,
                column: 1,
            }),
            ["function", slot, name, linkage, ret] => {
                let linkage = match linkage {
                    "global" => Linkage::Global,
                    _ => Linkage::Static,
                };
                let ret = match ret {
                    "void" => TypeId::VOID,
                    _ => types.int("int", 4, true),
                };
                let proto = types.func_proto(ret, &[]);
                let func = types.func(name, proto, linkage);
                self.functions.push(FuncInfo { insn: number(slot)?, func });
            }
            ["tag", value] => {
                let of = self.functions.first().ok_or("no function")?.func;
                types.decl_tag(value, of, None);
            }
            _ => return Err("unknown".to_owned()),
        }
        Ok(())
    }

    pub(crate) fn with_program<T>(
        &self,
        then: impl FnOnce(&Program<'_>, &Target<'_>, &Options) -> T,
    ) -> T {
        let program = Program {
            name: "case",
            insns: &self.insns,
            prog_type: self.prog_type,
            attach_type: AttachType::CgroupInetIngress,
            attach_to: AttachTarget::Nothing,
            flags: self.flags,
            gpl_compatible: self.gpl_compatible,
            maps: &self.maps,
            btf: self.types.as_ref(),
            functions: &self.functions,
            lines: &self.lines,
        };
        let target = Target { version: (7, 3), btf: Some(&self.kernel), modules: &[] };
        let options = Options { privileges: self.privileges, log_level: 2, ..Options::default() };
        then(&program, &target, &options)
    }
}

/// The types of a kernel: [1] `int`, [2] a variable `cpu_number` of it, then functions.
fn kernel() -> Result<Btf> {
    let mut types = Builder::new();
    let int = types.int("int", 4, true);
    types.var("cpu_number", int, Linkage::Global);
    let iterator = types.structure("bpf_iter_num", 8, &[]);
    let dynptr = types.structure("bpf_dynptr", 16, &[]);
    let iterator = types.ptr(iterator);
    let dynptr = types.ptr(dynptr);
    let memory = types.ptr(TypeId::VOID);
    let plain = types.func_proto(int, &[("cookie", int)]);
    let new = types.func_proto(int, &[("it", iterator), ("start", int), ("end", int)]);
    let next = types.func_proto(iterator, &[("it", iterator)]);
    let slice = types.func_proto(
        memory,
        &[("p", dynptr), ("offset", int), ("buffer", memory), ("buffer__szk", int)],
    );
    for (name, proto) in [
        ("bpf_throw", plain),
        ("bpf_sleeps", plain),
        ("bpf_iter_num_new", new),
        ("bpf_iter_num_next", next),
        ("bpf_iter_num_destroy", next),
        ("schedule", plain),
        ("bpf_dynptr_slice", slice),
    ] {
        types.func(name, proto, Linkage::Static);
    }
    Btf::parse(types.finish()).map_err(|error| error.to_string())
}

fn map(name: &str, settings: &[&str]) -> Result<Map> {
    let map_type = MapType::ALL.iter().copied().find(|map_type| map_type.name() == name);
    let mut map = Map {
        name: name.to_owned(),
        map_type: map_type.ok_or("there is no such map type")?,
        key_size: 4,
        value_size: 8,
        max_entries: 1,
        flags: 0,
        extra: 0,
        types: None,
        inner: None,
        constant: None,
    };
    for setting in settings {
        let (name, value) = setting.split_once('=').ok_or("NAME=VALUE")?;
        match name {
            "key" => map.key_size = number(value)?,
            "value" => map.value_size = number(value)?,
            "entries" => map.max_entries = number(value)?,
            "extra" => map.extra = number(value)?.into(),
            "flags" => map.flags = number(value)?,
            "holds" => map.constant = Some(held(value, map.value_size as usize)?),
            _ => return Err(format!("maps have no `{name}`")),
        }
    }
    Ok(map)
}

/// Words, each at the start of a value's worth of bytes.
fn held(words: &str, stride: usize) -> Result<Arc<[u8]>> {
    let mut bytes = Vec::new();
    for word in words.split(',') {
        let at = bytes.len();
        bytes.extend(number(word)?.to_le_bytes());
        bytes.resize(at + stride.max(4), 0);
    }
    Ok(bytes.into())
}

fn number(text: &str) -> Result<u32> {
    text.parse().map_err(|_| format!("`{text}` is no number"))
}

/// `CODE DST SRC OFF IMM`.
fn raw(fields: &str) -> Result<Insn> {
    let words: Vec<&str> = fields.split_whitespace().collect();
    let [code, dst, src, off, imm] = words[..] else { return Err("five fields".to_owned()) };
    let bad = |_| format!("`{fields}` is no slot");
    Ok(Insn {
        code: u8::from_str_radix(code, 16).map_err(bad)?,
        dst: Reg(dst.parse().map_err(bad)?),
        src: Reg(src.parse().map_err(bad)?),
        off: off.parse().map_err(bad)?,
        imm: imm.parse().map_err(bad)?,
    })
}

/// Each raw slot stands in the text as a move, so that labels count slots right.
fn assemble(code: &str, slots: &[Insn]) -> Result<Vec<Insn>> {
    let placeholder = asm(PLACEHOLDER).map_err(|error| error.to_string())?[0];
    let mut insns = asm(code).map_err(|error| error.to_string())?;
    let mut slots = slots.iter();
    for insn in insns.iter_mut().filter(|insn| **insn == placeholder) {
        *insn = *slots.next().ok_or("a placeholder too many")?;
    }
    Ok(insns)
}
