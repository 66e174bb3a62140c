//! The grammar of a case.
//!
//! ```text
//! @unprivileged                 the caller has no capabilities
//! @bpf                          the caller has `CAP_BPF` alone
//! @sleepable                    the program may sleep
//! @type TYPE                    the program's type, `sched_cls` when nothing is said
//! @frequent                     states are kept wherever they may be
//! @closed                       its licence is not compatible with the GPL
//! @expects TYPE                 its expected attach type
//! @attach NAME                  to this function of the kernel's
//! @attach NAME TYPE             to this function of a program of that type, which has these types
//! @struct NAME SIZE MEMBER=TYPE@OFFSET ...
//!                               a type of the program's own (see `types.rs`)
//! @map TYPE key=K value=V entries=N extra=E flags=F holds=WORD,WORD of=STRUCT
//!                               `of`: the type of its value
//! @function SLOT NAME static|global RETURNS ARGUMENT=TYPE ...
//! @line SLOT                    a record of a source line
//! @tag NAME VALUE               a declaration tag of that function
//! @use DEPTH [callback] [later] [arguments]
//!                               how the walk saw the next function used
//! @show WHAT                    functions, marks, code, order, live (registers), uses (of the
//!                               stack), tracks (of pointers to it), stack (what is live of it in
//!                               the first frame), fastcalls, depth, end (of the log); or, alone,
//!                               log (of the walk, at level 2), counts (its last line) or
//!                               explanation
//! slot CODE DST SRC OFF IMM     (among the instructions) any slot at all, code in hex
//! call NAME                     (there, too) the kernel's function of this name
//! {NAME}                        (there, too) the number of a type of the program's own, or of the
//!                               kernel's if it has none of this name
//! ```

use std::sync::Arc;

use bombus_btf::{Btf, FuncInfo, LineInfo, Linkage, TypeId};
use bombus_isa::{Insn, Reg, asm};
use bombus_platform::{AttachType, MapType, ProgType};
use bombus_verifier::code::FrameUse;
use bombus_verifier::{
    AttachTarget, F_SLEEPABLE, F_TEST_STATE_FREQ, Map, MapTypes, Options, Privileges, Program,
    Target,
};

use super::types::Types;

/// Stands for a raw slot until all have their places; no case has it.
const PLACEHOLDER: &str = "r9 = 195948557";

/// The kernel's types.
const KERNEL: &str = include_str!("kernel.txt");

type Result<T> = std::result::Result<T, String>;

pub(crate) struct Given {
    insns: Vec<Insn>,
    maps: Vec<Arc<Map>>,
    flags: u32,
    pub(crate) prog_type: ProgType,
    attach_type: AttachType,
    /// A function, of the kernel's or of a program of this type.
    attach_to: Option<(TypeId, Option<ProgType>)>,
    gpl_compatible: bool,
    privileges: Privileges,
    types: Option<Arc<Btf>>,
    functions: Vec<FuncInfo>,
    lines: Vec<LineInfo>,
    kernel: Btf,
    pub(crate) uses: Vec<FrameUse>,
    pub(crate) shown: Vec<String>,
}

impl Given {
    pub(crate) fn parse(text: &str) -> Result<Given> {
        let kernel = Types::of(KERNEL)?;
        let mut given = Given {
            insns: Vec::new(),
            maps: Vec::new(),
            flags: 0,
            prog_type: ProgType::SchedCls,
            attach_type: AttachType::CgroupInetIngress,
            attach_to: None,
            gpl_compatible: true,
            privileges: Privileges::ALL,
            types: None,
            functions: Vec::new(),
            lines: Vec::new(),
            kernel: kernel.finish()?,
            uses: Vec::new(),
            shown: Vec::new(),
        };
        let mut types = Types::default();
        let mut code = String::new();
        let mut slots = Vec::new();
        // Maps come when all types are declared.
        let (maps, lines): (Vec<&str>, Vec<&str>) =
            text.lines().partition(|line| line.starts_with("@map "));
        for line in lines {
            if let Some(directive) = line.strip_prefix('@') {
                given
                    .directive(&mut types, &kernel, directive)
                    .map_err(|error| format!("{line}: {error}"))?;
            } else if let Some(fields) = line.trim().strip_prefix("slot ") {
                slots.push(raw(fields)?);
                code += PLACEHOLDER;
                code.push('\n');
            } else {
                code += &with_numbers(line, &types, &kernel)?;
                code.push('\n');
            }
        }
        given.insns = assemble(&code, &slots)?;
        let has_types = types.builder.next_id() > TypeId(1);
        if has_types || !given.lines.is_empty() {
            given.types = Some(Arc::new(types.finish()?));
        }
        for line in maps {
            let words: Vec<&str> = line.split_whitespace().skip(1).collect();
            let map = given.map(&types, &words).map_err(|error| format!("{line}: {error}"))?;
            given.maps.push(Arc::new(map));
        }
        Ok(given)
    }

    fn directive(&mut self, types: &mut Types, kernel: &Types, text: &str) -> Result<()> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words[..] {
            ["unprivileged"] => self.privileges = Privileges::NONE,
            ["bpf"] => self.privileges = Privileges { bpf: true, ..Privileges::NONE },
            ["sleepable"] => self.flags |= F_SLEEPABLE,
            ["frequent"] => self.flags |= F_TEST_STATE_FREQ,
            ["closed"] => self.gpl_compatible = false,
            ["type", name] => self.prog_type = prog_type(name)?,
            ["expects", name] => {
                let known = AttachType::ALL.iter().find(|known| known.name() == name);
                self.attach_type = *known.ok_or("there is no such attach type")?;
            }
            ["attach", name] => {
                let id = kernel.id(name).ok_or("there is no such function")?;
                self.attach_to = Some((id, None));
            }
            ["attach", name, of] => {
                let id = types.id(name).ok_or("there is no such function")?;
                self.attach_to = Some((id, Some(prog_type(of)?)));
            }
            ["struct", ..] => {
                types.declare(&words)?;
            }
            ["show", what] => self.shown.push(what.to_owned()),
            ["use", depth, ref flags @ ..] => self.uses.push(FrameUse {
                depth: number(depth)? as u16,
                is_callback: flags.contains(&"callback"),
                is_later_callback: flags.contains(&"later"),
                has_stack_arguments: flags.contains(&"arguments"),
            }),
            ["line", slot] => self.lines.push(LineInfo {
                insn: number(slot)?,
                file: types.builder.string("a.c"),
                text: types.builder.string("x"),
                line: 1,
                column: 1,
            }),
            ["function", slot, name, linkage, returns, ref arguments @ ..] => {
                let linkage = match linkage {
                    "global" => Linkage::Global,
                    _ => Linkage::Static,
                };
                let func = types.function(name, returns, arguments, linkage)?;
                self.functions.push(FuncInfo { insn: number(slot)?, func });
            }
            ["tag", value] => {
                let of = self.functions.first().ok_or("no function")?.func;
                types.builder.decl_tag(value, of, None);
            }
            _ => return Err("unknown".to_owned()),
        }
        Ok(())
    }

    fn attach_target(&self) -> AttachTarget<'_> {
        match (self.attach_to, &self.types) {
            (Some((id, None)), _) => AttachTarget::Kernel { btf: &self.kernel, id, member: 0 },
            (Some((id, Some(prog_type))), Some(btf)) => {
                AttachTarget::Program { btf, id, prog_type }
            }
            _ => AttachTarget::Nothing,
        }
    }

    fn map(&self, types: &Types, words: &[&str]) -> Result<Map> {
        let (name, settings) = words.split_first().ok_or("no type")?;
        let map_type = MapType::ALL.iter().copied().find(|map_type| map_type.name() == *name);
        let mut map = Map {
            name: (*name).to_owned(),
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
                "of" => {
                    let btf = self.types.clone().ok_or("there are no types")?;
                    let of = types.id(value).ok_or("there is no such type")?;
                    map.value_size = btf.size_of(of).ok_or("it has no size")?;
                    map.types = Some(MapTypes { btf, key: TypeId::VOID, value: of });
                }
                _ => return Err(format!("maps have no `{name}`")),
            }
        }
        Ok(map)
    }

    pub(crate) fn with_program<T>(
        &self,
        then: impl FnOnce(&Program<'_>, &Target<'_>, &Options) -> T,
    ) -> T {
        let program = Program {
            name: "case",
            insns: &self.insns,
            prog_type: self.prog_type,
            attach_type: self.attach_type,
            attach_to: self.attach_target(),
            flags: self.flags,
            gpl_compatible: self.gpl_compatible,
            maps: &self.maps,
            btf: self.types.as_deref(),
            functions: &self.functions,
            lines: &self.lines,
        };
        let target = Target { version: (7, 3), btf: Some(&self.kernel), modules: &[] };
        let options = Options { privileges: self.privileges, log_level: 2, ..Options::default() };
        then(&program, &target, &options)
    }
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

fn prog_type(name: &str) -> Result<ProgType> {
    let mut all = ProgType::ALL.iter().copied();
    Ok(all.find(|known| known.name() == name).ok_or("there is no such program type")?)
}

/// Names of functions and types as the numbers that stand for them.
fn with_numbers(line: &str, types: &Types, kernel: &Types) -> Result<String> {
    if let Some(id) = line.trim().strip_prefix("call ").and_then(|name| kernel.id(name)) {
        return Ok(format!("call kernel-function#{}", id.0));
    }
    let Some((before, (name, after))) =
        line.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
    else {
        return Ok(line.to_owned());
    };
    let id = types.id(name).or(kernel.id(name)).ok_or(format!("there is no type {name}"))?;
    Ok(format!("{before}{}{after}", id.0))
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
