//! What lowering one program keeps: the function being built, the homes of variables, and small
//! pieces of code that everything else is made of.

use std::collections::HashMap;

use bombus_compiler::ir::{
    BinaryOp, Block, Builder, Cond, FuncRef, Function, Line, LoadWidth, MapRef, StackSlot, UnaryOp,
    Value,
};
use bombus_platform::Helper;
use bombus_spec::SourceLine;

use super::Assembly;
use super::capture::Captures;
use super::context::{Identity, ProgramContext};
use crate::check::tree::{Action, is_scalar};
use crate::diagnostic::{Source, Span};
use crate::types::Type;

/// An address: a pointer that is a multiple of 8, and bytes added to it.
pub(super) type Address = (Value, i32);

/// Memory up to this size is copied and zeroed by loads and stores; beyond it a helper is shorter.
const INLINE_BYTES: u32 = 128;

/// Where in the frame that callbacks share the fields lie; captured variables follow.
pub(super) mod frame {
    /// The program's context.
    pub(in crate::lower) const CONTEXT: i32 = 0;
    /// Not zero once a callback wants the program to end.
    pub(in crate::lower) const ENDED: i32 = 8;
    /// The index of the probe's name, in programs that dispatch.
    pub(in crate::lower) const NAME: i32 = 16;
    /// The first variable.
    pub(in crate::lower) const VARS: i32 = 24;
}

/// Where a variable is.
#[derive(Clone, Copy)]
pub(super) enum Home {
    /// In the function's own memory; numbers take eight bytes.
    Own(StackSlot),
    /// In the shared frame: a number itself, or the address of anything else.
    Shared(i32),
}

/// What ends the body of a loop.
#[derive(Clone, Copy)]
pub(super) struct LoopExits {
    pub(super) next: Block,
    pub(super) done: Block,
}

/// Lowers one program.
pub(super) struct Lower<'a, 'b> {
    pub(super) assembly: &'b mut Assembly<'a>,
    pub(super) action: &'a Action,
    pub(super) context: ProgramContext,
    pub(super) identity: Identity,
    pub(super) b: Builder,
    /// The program's context, in the function being built.
    pub(super) ctx: Value,
    /// The shared frame, in the function being built.
    pub(super) frame: Option<Value>,
    pub(super) homes: HashMap<usize, Home>,
    pub(super) captures: Captures,
    /// Loops of the function being built, innermost last.
    pub(super) loops: Vec<LoopExits>,
    /// Whether the function being built is a callback of a loop.
    pub(super) in_callback: bool,
    /// Finished functions; the entry's place is kept free at the front.
    pub(super) functions: Vec<Option<Function>>,
    pub(super) lines: Lines,
    pub(super) line: Option<Line>,
    /// What of the script is being lowered.
    pub(super) span: Span,
}

/// The source lines of a module, each once.
#[derive(Default)]
pub(super) struct Lines {
    pub(super) table: Vec<SourceLine>,
    /// The extents of the table's places.
    pub(super) spans: Vec<Span>,
    by_place: HashMap<(u32, u32), Line>,
}

impl Lines {
    pub(super) fn at(&mut self, source: &Source, span: Span) -> Line {
        let place = source.position(span.start);
        *self.by_place.entry((place.line, place.column)).or_insert_with(|| {
            self.spans.push(span);
            self.table.push(SourceLine {
                file: source.name.as_str().into(),
                line: place.line,
                column: place.column,
                text: source.line(place.line).unwrap_or_default().into(),
            });
            Line(self.table.len() as u32 - 1)
        })
    }
}

impl<'a> Lower<'a, '_> {
    /// Runs `build` with instructions speaking of this place.
    pub(super) fn at<T>(&mut self, span: Span, build: impl FnOnce(&mut Self) -> T) -> T {
        let line = Some(self.lines.at(self.assembly.source, span));
        let outer = std::mem::replace(&mut self.line, line);
        let outer_span = std::mem::replace(&mut self.span, span);
        self.b.set_line(line);
        let built = build(self);
        self.line = outer;
        self.span = outer_span;
        self.b.set_line(outer);
        built
    }

    /// Ends the block with a jump, unless it has ended.
    pub(super) fn jump(&mut self, to: Block) {
        if !self.b.is_terminated() {
            self.b.jump(to, &[]);
        }
    }

    /// Ends the block with a jump that carries a value, unless it has ended.
    pub(super) fn jump_with(&mut self, to: Block, value: Value) {
        if !self.b.is_terminated() {
            self.b.jump(to, &[value]);
        }
    }

    /// `build` when the value is not zero.
    pub(super) fn when(&mut self, test: Value, build: impl FnOnce(&mut Self)) {
        let (then, after) = (self.b.block(0), self.b.block(0));
        self.b.branch(test, then, after);
        self.b.switch_to(then);
        build(self);
        self.jump(after);
        self.b.switch_to(after);
    }

    /// The value of `then` when `test` is not zero, else that of `otherwise`.
    pub(super) fn pick(
        &mut self,
        test: Value,
        then: impl FnOnce(&mut Self) -> Value,
        otherwise: impl FnOnce(&mut Self) -> Value,
    ) -> Value {
        let (yes, no, after) = (self.b.block(0), self.b.block(0), self.b.block(1));
        self.b.branch(test, yes, no);
        self.b.switch_to(yes);
        let value = then(self);
        self.jump_with(after, value);
        self.b.switch_to(no);
        let value = otherwise(self);
        self.jump_with(after, value);
        self.b.switch_to(after);
        self.b.param(after, 0)
    }

    /// Runs one of two pieces of code.
    pub(super) fn either(
        &mut self,
        test: Value,
        then: impl FnOnce(&mut Self),
        otherwise: impl FnOnce(&mut Self),
    ) {
        let (yes, no, after) = (self.b.block(0), self.b.block(0), self.b.block(0));
        self.b.branch(test, yes, no);
        self.b.switch_to(yes);
        then(self);
        self.jump(after);
        self.b.switch_to(no);
        otherwise(self);
        self.jump(after);
        self.b.switch_to(after);
    }

    /// Calls `body` with 0, 1 and so on below `count`, which is known.
    pub(super) fn count_to(&mut self, count: u32, body: impl FnOnce(&mut Self, Value, Block)) {
        let (head, inside, after) = (self.b.block(1), self.b.block(0), self.b.block(0));
        let zero = self.b.iconst(0);
        self.b.jump(head, &[zero]);
        self.b.switch_to(head);
        let at = self.b.param(head, 0);
        let more = self.b.compare_imm(Cond::Ult, at, i64::from(count));
        self.b.branch(more, inside, after);
        self.b.switch_to(inside);
        body(self, at, after);
        if !self.b.is_terminated() {
            let next = self.b.binary_imm(BinaryOp::Add, at, 1);
            self.b.jump(head, &[next]);
        }
        self.b.switch_to(after);
    }

    /// New memory.
    pub(super) fn temp(&mut self, size: u32) -> Address {
        let slot = self.b.slot(size.next_multiple_of(8));
        (self.b.slot_addr(slot), 0)
    }

    /// The address as one value.
    pub(super) fn pointer(&mut self, (base, offset): Address) -> Value {
        match offset {
            0 => base,
            _ => self.b.binary_imm(BinaryOp::Add, base, i64::from(offset)),
        }
    }

    /// Reads a number of this type.
    pub(super) fn load(&mut self, ty: &Type, (base, offset): Address) -> Value {
        self.b.load(load_width(ty), base, offset)
    }

    /// Writes a number of this type.
    pub(super) fn store_number(&mut self, ty: &Type, value: Value, (base, offset): Address) {
        self.b.store(ty.size() as u8, value, base, offset);
    }

    /// Zeroes memory.
    pub(super) fn zero(&mut self, to: Address, size: u32) {
        if size <= INLINE_BYTES {
            self.b.zero(to.0, to.1, size);
            return;
        }
        // Reading address 0 fails, and then the kernel clears the whole destination
        // (`bpf_probe_read_kernel_common`, kernel/trace/bpf_trace.c).
        let null = self.b.iconst(0);
        self.read_memory(Helper::ProbeReadKernel, to, size, null);
    }

    /// Copies memory that the program may access itself.
    pub(super) fn copy(&mut self, to: Address, from: Address, size: u32) {
        if size <= INLINE_BYTES {
            let align = access_size((to.1 | from.1) as u32, 8);
            self.b.copy(to, from, size, align as u8);
            return;
        }
        let from = self.pointer(from);
        self.read_memory(Helper::ProbeReadKernel, to, size, from);
    }

    /// Calls a helper that reads memory: destination, size, source.
    pub(super) fn read_memory(
        &mut self,
        helper: Helper,
        to: Address,
        size: u32,
        from: Value,
    ) -> Value {
        let to = self.pointer(to);
        let size = self.b.iconst(i64::from(size));
        self.b.call_helper(helper, &[to, size, from])
    }

    /// Narrows a number to a type: what a variable of it would hold.
    pub(super) fn narrow(&mut self, value: Value, from: &Type, to: &Type) -> Value {
        let op = match to {
            Type::Bool if *from != Type::Bool => {
                return self.b.compare_imm(Cond::Ne, value, 0);
            }
            Type::Int { size, signed } => {
                let fits = match from {
                    Type::Bool => true,
                    Type::Int { size: own, signed: false } => {
                        own < size || (own == size && !signed)
                    }
                    Type::Int { size: own, signed: true } => *signed && own <= size,
                    _ => false,
                };
                match (fits, size, signed) {
                    (true, ..) | (_, 8, _) => return value,
                    (_, 1, true) => UnaryOp::Sext8,
                    (_, 2, true) => UnaryOp::Sext16,
                    (_, _, true) => UnaryOp::Sext32,
                    (_, 1, false) => UnaryOp::Zext8,
                    (_, 2, false) => UnaryOp::Zext16,
                    (_, _, false) => UnaryOp::Zext32,
                }
            }
            _ => return value,
        };
        self.b.unary(op, value)
    }

    /// The address of a map.
    pub(super) fn map(&mut self, index: usize) -> Value {
        self.b.map_addr(MapRef(index as u32))
    }

    /// The home of a variable, made when first asked for.
    fn home(&mut self, var: usize) -> Home {
        if let Some(offset) = self.captures.offset(var) {
            return Home::Shared(frame::VARS + offset);
        }
        if let Some(home) = self.homes.get(&var) {
            return *home;
        }
        let ty = &self.action.vars[var].ty;
        let size = if is_scalar(ty) { 8 } else { ty.size().next_multiple_of(8).max(8) };
        let home = Home::Own(self.b.slot(size));
        self.homes.insert(var, home);
        home
    }

    /// Where a variable's value lies. Numbers take eight bytes there.
    pub(super) fn var_address(&mut self, var: usize) -> Address {
        match self.home(var) {
            Home::Own(slot) => (self.b.slot_addr(slot), 0),
            Home::Shared(offset) => {
                let frame = self.shared_frame();
                if is_scalar(&self.action.vars[var].ty) {
                    (frame, offset)
                } else {
                    (self.b.load(LoadWidth::U64, frame, offset), 0)
                }
            }
        }
    }

    pub(super) fn shared_frame(&mut self) -> Value {
        match self.frame {
            Some(frame) => frame,
            // There is a frame wherever there are callbacks.
            None => self.b.iconst(0),
        }
    }

    /// Reads a variable that is a number.
    pub(super) fn load_var(&mut self, var: usize) -> Value {
        let (base, offset) = self.var_address(var);
        self.b.load(LoadWidth::U64, base, offset)
    }

    /// Writes a variable that is a number.
    pub(super) fn store_var(&mut self, var: usize, value: Value) {
        let (base, offset) = self.var_address(var);
        self.b.store(8, value, base, offset);
    }

    /// Makes the frame that callbacks share, at the program's start.
    pub(super) fn open_frame(&mut self) {
        if !self.captures.has_callbacks() {
            return;
        }
        let size = frame::VARS as u32 + self.captures.size();
        let (base, _) = self.temp(size);
        self.b.zero(base, 0, size);
        let ctx = self.ctx;
        self.b.store(8, ctx, base, frame::CONTEXT);
        if let Identity::Dispatched(name) = self.identity {
            self.b.store(8, name, base, frame::NAME);
        }
        self.frame = Some(base);
        for (var, offset) in self.captures.all() {
            let ty = &self.action.vars[var].ty;
            if !is_scalar(ty) {
                let (memory, _) = self.temp(ty.size());
                self.b.store(8, memory, base, frame::VARS + offset);
            }
        }
    }

    /// Builds another function of the program: `arity` arguments, of which the last is the shared
    /// frame.
    pub(super) fn callback(
        &mut self,
        name: &str,
        arity: u32,
        build: impl FnOnce(&mut Self, &[Value]),
    ) -> FuncRef {
        let at = self.functions.len();
        self.functions.push(None);
        let builder = Builder::new(format!("{name}_{at}"), arity);
        let outer = std::mem::replace(&mut self.b, builder);
        self.b.set_line(self.line);
        let args: Vec<Value> = (0..arity).map(|n| self.b.arg(n)).collect();
        let frame = args.last().copied();
        let outer_frame = std::mem::replace(&mut self.frame, frame);
        let (outer_ctx, outer_identity) = (self.ctx, self.identity);
        if let Some(frame) = frame
            && self.captures.has_callbacks()
        {
            self.ctx = self.b.load(LoadWidth::U64, frame, frame::CONTEXT);
            if let Identity::Dispatched(_) = self.identity {
                let name = self.b.load(LoadWidth::U64, frame, frame::NAME);
                self.identity = Identity::Dispatched(name);
            }
        }
        let outer_homes = std::mem::take(&mut self.homes);
        let outer_loops = std::mem::take(&mut self.loops);
        let outer_callback = std::mem::replace(&mut self.in_callback, true);
        build(self, &args);
        self.in_callback = outer_callback;
        self.loops = outer_loops;
        self.homes = outer_homes;
        (self.ctx, self.identity) = (outer_ctx, outer_identity);
        self.frame = outer_frame;
        let builder = std::mem::replace(&mut self.b, outer);
        self.functions[at] = Some(builder.finish());
        FuncRef(at as u32)
    }

    /// Builds another function that needs nothing of this one.
    pub(super) fn leaf(
        &mut self,
        name: &str,
        arity: u32,
        build: impl FnOnce(&mut Self, &[Value]),
    ) -> FuncRef {
        let captures = std::mem::take(&mut self.captures);
        let function = self.callback(name, arity, build);
        self.captures = captures;
        function
    }

    /// Ends the program (in a callback: its loop as well) here. What follows is never reached.
    pub(super) fn end_program(&mut self, value: Option<Value>) {
        if self.in_callback {
            let frame = self.shared_frame();
            let one = self.b.iconst(1);
            self.b.store(8, one, frame, frame::ENDED);
            self.b.ret(one);
        } else {
            let value = match value {
                Some(value) => value,
                None => self.b.iconst(0),
            };
            self.b.ret(value);
        }
        let unreached = self.b.block(0);
        self.b.switch_to(unreached);
    }
}

/// Bytes that one access at this offset may have: a power of two, aligned, at most 8 and at most
/// what is left.
pub(super) fn access_size(offset: u32, left: u32) -> u32 {
    let aligned = (offset | 8) & (offset | 8).wrapping_neg();
    let fits = if left == 0 { 1 } else { 1 << left.ilog2() };
    aligned.min(fits)
}

/// How a number of this type is read from memory.
pub(super) fn load_width(ty: &Type) -> LoadWidth {
    let signed = matches!(ty, Type::Int { signed: true, .. });
    match (ty.size(), signed) {
        (1, false) => LoadWidth::U8,
        (1, true) => LoadWidth::S8,
        (2, false) => LoadWidth::U16,
        (2, true) => LoadWidth::S16,
        (4, false) => LoadWidth::U32,
        (4, true) => LoadWidth::S32,
        _ => LoadWidth::U64,
    }
}
