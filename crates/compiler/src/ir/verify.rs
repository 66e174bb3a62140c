//! The rules that a module keeps between passes.

use bombus_platform::Helper;

use super::{Block, BlockData, Cfg, Function, Inst, Module, Op, Term, Value};
use crate::error::{CompileError, ErrorKind};

/// Most arguments that a function or helper takes (RFC 9669, section 2).
const MAX_ARGS: usize = 5;

/// Checks the rules: every value is defined once, and its definition dominates its uses; every
/// block that is reached ends; targets pass one argument a parameter and never go to the entry;
/// widths, arities and references exist; accesses at constant places stay inside their slots.
///
/// # Errors
///
/// The first rule that is broken, with the instruction.
pub fn verify(module: &Module) -> Result<(), CompileError> {
    if module.functions.is_empty() {
        let kind = ErrorKind::InvalidIr("the module has no function".into());
        return Err(CompileError { function: String::new(), line: None, kind });
    }
    module.functions.iter().try_for_each(|func| verify_function(module, func))
}

/// What is wrong, and with which instruction.
type Check = Result<(), String>;

fn verify_function(module: &Module, func: &Function) -> Result<(), CompileError> {
    let fail = |line, what| CompileError {
        function: func.name.clone(),
        line,
        kind: ErrorKind::InvalidIr(what),
    };
    check_layout(func).map_err(|what| fail(None, what))?;
    let cfg = Cfg::new(func);
    let places = definitions(func, &cfg).map_err(|what| fail(None, what))?;
    let scope = Scope { module, func, cfg: &cfg, places: &places };
    for &block in &cfg.rpo {
        let data = &func.blocks[block.index()];
        for (i, inst) in data.insts.iter().enumerate() {
            let check = scope.check_inst(block, i, inst);
            check.map_err(|what| fail(inst.line, format!("{block}: {inst}: {what}")))?;
        }
        let check = scope.check_term(block, data);
        check.map_err(|what| fail(data.term_line, format!("{block}: {what}")))?;
    }
    Ok(())
}

fn check_layout(func: &Function) -> Check {
    let Some(&entry) = func.layout.first() else {
        return Err("it has no block".into());
    };
    if func.blocks[entry.index()].params.len() > MAX_ARGS {
        return Err("it takes more than five arguments".into());
    }
    let mut laid = vec![false; func.blocks.len()];
    for block in &func.layout {
        match laid.get_mut(block.index()) {
            Some(laid) if !*laid => *laid = true,
            _ => return Err(format!("{block} is laid out twice or does not exist")),
        }
    }
    for block in &func.layout {
        let data = &func.blocks[block.index()];
        let Some(term) = &data.term else {
            return Err(format!("{block} does not end"));
        };
        for target in term.targets() {
            if !laid.get(target.block.index()).is_some_and(|laid| *laid) {
                return Err(format!("{block} goes to {}, which is not there", target.block));
            }
            if target.block == entry {
                return Err(format!("{block} goes to the entry"));
            }
            let params = func.blocks[target.block.index()].params.len();
            if target.args.len() != params {
                let args = target.args.len();
                let to = target.block;
                return Err(format!("{block} passes {args} arguments to {to}, it takes {params}"));
            }
        }
    }
    Ok(())
}

/// Where a value is defined: block, and position after which it stands (0: a parameter).
type Places = Vec<Option<(Block, usize)>>;

fn definitions(func: &Function, cfg: &Cfg) -> Result<Places, String> {
    let mut places: Places = vec![None; func.values as usize];
    for &block in &cfg.rpo {
        let data = &func.blocks[block.index()];
        let params = data.params.iter().map(|&param| (param, 0));
        let results = data
            .insts
            .iter()
            .enumerate()
            .filter_map(|(i, inst)| inst.result.map(|result| (result, i + 1)));
        for (value, position) in params.chain(results) {
            match places.get_mut(value.index()) {
                Some(place @ None) => *place = Some((block, position)),
                Some(_) => return Err(format!("{value} is defined twice")),
                None => return Err(format!("{value} is out of range")),
            }
        }
    }
    Ok(places)
}

struct Scope<'a> {
    module: &'a Module,
    func: &'a Function,
    cfg: &'a Cfg,
    places: &'a Places,
}

impl Scope<'_> {
    fn check_use(&self, block: Block, position: usize, value: Value) -> Check {
        let Some((home, after)) = self.places.get(value.index()).copied().flatten() else {
            return Err(format!("{value} is not defined"));
        };
        let reaches =
            if home == block { after <= position } else { self.cfg.dominates(home, block) };
        if reaches { Ok(()) } else { Err(format!("{value} is used before it is defined")) }
    }

    fn check_inst(&self, block: Block, position: usize, inst: &Inst) -> Check {
        let mut check = Ok(());
        inst.op.for_each_arg(|value| {
            if check.is_ok() {
                check = self.check_use(block, position, value);
            }
        });
        check?;
        if inst.op.has_result() != inst.result.is_some() {
            return Err("it must define a value exactly when it has a result".into());
        }
        self.check_op(&inst.op)
    }

    fn check_op(&self, op: &Op) -> Check {
        let rule = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
        match op {
            Op::Load { width, base, offset } => self.check_access(*base, *offset, width.bytes()),
            Op::Store { bytes, base, offset, .. } => {
                rule(matches!(bytes, 1 | 2 | 4 | 8), "a store has 1, 2, 4 or 8 bytes")?;
                self.check_access(*base, *offset, u32::from(*bytes))
            }
            Op::AtomicAdd { bytes, base, offset, .. } => {
                rule(matches!(bytes, 4 | 8), "an atomic has 4 or 8 bytes")?;
                self.check_access(*base, *offset, u32::from(*bytes))
            }
            Op::Zero { base, offset, size } => self.check_access(*base, *offset, *size),
            Op::Copy { to, to_offset, from, from_offset, size, align } => {
                rule(matches!(align, 1 | 2 | 4 | 8), "an alignment is 1, 2, 4 or 8")?;
                self.check_access(*to, *to_offset, *size)?;
                self.check_access(*from, *from_offset, *size)
            }
            Op::SlotAddr(slot) => {
                rule(slot.index() < self.func.slots.len(), "the stack slot does not exist")
            }
            Op::FuncAddr(func) => {
                rule(func.index() < self.module.functions.len(), "the function does not exist")
            }
            Op::Call(func, args) => {
                let Some(callee) = self.module.functions.get(func.index()) else {
                    return Err("the function does not exist".into());
                };
                let params =
                    callee.layout.first().map(|entry| callee.blocks[entry.index()].params.len());
                rule(params == Some(args.len()), "the function takes another number of arguments")
            }
            Op::CallHelper(helper, args) => {
                rule(args.len() <= MAX_ARGS, "a helper takes at most five arguments")?;
                let enough = args.len() >= helper.args().len() || *helper == Helper::TracePrintk;
                rule(enough, "the helper takes more arguments")
            }
            _ => Ok(()),
        }
    }

    /// An access at a constant place of a stack slot stays inside.
    fn check_access(&self, base: Value, offset: i32, size: u32) -> Check {
        let Some((block, position)) = self.places[base.index()] else { return Ok(()) };
        let Some(inst) = position.checked_sub(1) else { return Ok(()) };
        let Op::SlotAddr(slot) = self.func.blocks[block.index()].insts[inst].op else {
            return Ok(());
        };
        let Some(slot) = self.func.slots.get(slot.index()) else { return Ok(()) };
        if offset < 0 || i64::from(offset) + i64::from(size) > i64::from(slot.size) {
            return Err(format!("it leaves the stack slot of {} bytes", slot.size));
        }
        Ok(())
    }

    fn check_term(&self, block: Block, data: &BlockData) -> Check {
        let term = data.term.as_ref().unwrap_or(&Term::Unreachable);
        let mut check = Ok(());
        term.for_each_arg(|value| {
            if check.is_ok() {
                check = self.check_use(block, data.insts.len(), value);
            }
        });
        check.map_err(|what| format!("{term}: {what}"))
    }
}
