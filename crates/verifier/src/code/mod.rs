//! A program before it is walked through: everything that can be told of it without following its
//! paths, in the order in which the kernel looks (`bpf_check`, `kernel/bpf/verifier.c`).
//!
//! [`Code::new`] refuses what is wrong in form, and otherwise keeps what the walk asks for at each
//! slot. Tables are dense: one entry a slot.

mod callee;
mod calls;
mod components;
mod constants;
mod debug_info;
mod depth;
mod fastcall;
mod flow;
mod functions;
mod graph;
mod instruction;
mod listing;
mod order;
mod registers;
mod resolve;
mod stack;
mod statistics;
mod tables;

use std::fmt::Write;

use bombus_isa::Insn;

pub use callee::{Access, Callback, Callee, Extent, Facts, KernelFunction};
use calls::Calls;
pub use depth::{FrameUse, check_depth};
pub use fastcall::Fastcalls;
use flow::Marks;
pub use functions::Function;
use graph::{Blocks, Graph};
pub use instruction::Instruction;
use listing::Listing;
pub use stack::{Caller, LiveStack, StackSlots};
use stack::{Given, StackLiveness};
pub use statistics::{FunctionStats, extra_stack, processed, statistics};
pub use tables::Tables;

use crate::{Options, Program, Rejection, Target};

/// A program whose form is right, and what can be told of it without following its paths.
#[derive(Debug)]
pub struct Code {
    insns: Vec<Insn>,
    instructions: Vec<Instruction>,
    functions: Vec<Function>,
    /// Which of the functions each slot is in.
    function_of: Vec<u16>,
    used_maps: Vec<usize>,
    calls: Calls,
    marks: Vec<Marks>,
    tables: Vec<Vec<u32>>,
    graph: Graph,
    order: Vec<u16>,
    /// The loop that each slot is in, from 1; 0: it is in none.
    components: Vec<u32>,
    component_count: u32,
    live_registers: Vec<u16>,
    stack: StackLiveness,
    fastcalls: Fastcalls,
    log: String,
}

/// `BPF_LOG_LEVEL2`: the log has what the passes found out.
const VERBOSE: u32 = 2;

impl Code {
    /// Looks at a program. What is refused is refused with the kernel's error number and words.
    pub fn new(
        program: &Program<'_>,
        target: &Target<'_>,
        options: &Options,
        facts: &dyn Facts,
    ) -> Result<Code, Rejection> {
        check_length(program, options)?;
        debug_info::check_records(program)?;
        let mut functions = functions::discover(program, options.privileges)?;
        functions::check_layout(program.insns, &mut functions)?;
        debug_info::apply(program, &mut functions)?;
        let resolved = resolve::instructions(program, target, options, facts)?;
        let mut function_of = vec![0; program.insns.len()];
        for (index, function) in functions.iter().enumerate() {
            function_of[function.slots()].fill(index as u16);
        }
        let resolve::Resolved { mut instructions, maps: used_maps } = resolved;
        let calls = Calls::new(program, target, options, facts, &instructions)?;
        let flow = flow::explore(
            program,
            options,
            &used_maps,
            &instructions,
            &calls,
            &function_of,
            &mut functions,
        )?;
        let mut insns = program.insns.to_vec();
        let draw = |instructions: &[Instruction]| {
            let graph = Graph::new(instructions, &functions, &function_of, &flow.tables);
            let blocks = Blocks::new(instructions, &functions, &graph);
            (graph, blocks)
        };
        let (mut graph, mut blocks) = draw(&instructions);
        let (arguments, folded) = constants::fold(
            program,
            &functions,
            &function_of,
            &graph,
            &blocks,
            &mut instructions,
            &mut insns,
        );
        if folded {
            (graph, blocks) = draw(&instructions);
        }
        let order = order::sort(&instructions, &functions, &function_of, &blocks)?;
        let (components, component_count) = components::components(&graph, &blocks, &flow.marks);
        let given = Given {
            program,
            used_maps: &used_maps,
            insns: &insns,
            instructions: &instructions,
            functions: &functions,
            function_of: &function_of,
            order: &order,
            graph: &graph,
            blocks: &blocks,
            calls: &calls,
            arguments: &arguments,
            marks: &flow.marks,
        };
        let mut log = String::new();
        let is_verbose = options.log_level & VERBOSE != 0;
        if is_verbose {
            log_functions(&mut log, &functions, &order);
        }
        let stack = StackLiveness::new(&given, is_verbose.then_some(&mut log))?;
        let live_registers = registers::live(&instructions, &insns, &calls, &graph, &blocks);
        if is_verbose {
            log += &Listing(&given).live(&components, &live_registers);
        }
        let fastcalls = Fastcalls::find(&insns, &instructions, &functions, &flow.marks, &calls);
        Ok(Code {
            insns,
            instructions,
            functions,
            function_of,
            used_maps,
            calls,
            marks: flow.marks,
            tables: flow.tables,
            graph,
            order,
            components,
            component_count,
            live_registers,
            stack,
            fastcalls,
            log,
        })
    }

    /// How many slots there are.
    pub fn len(&self) -> usize {
        self.instructions.len()
    }

    /// Never: a program has a slot at least.
    pub fn is_empty(&self) -> bool {
        self.instructions.is_empty()
    }

    /// The slot as it was loaded; a branch that is always or never taken as the `goto` that it
    /// amounts to.
    pub fn insn(&self, slot: usize) -> Insn {
        self.insns[slot]
    }

    /// What the slot says.
    pub fn instruction(&self, slot: usize) -> Instruction {
        self.instructions[slot]
    }

    /// The functions, in the order of their slots; the first is the entry.
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    /// The place in [`Code::functions`] of the function that the slot is in.
    pub fn function_of(&self, slot: usize) -> usize {
        self.function_of[slot].into()
    }

    /// The place in [`Code::functions`] of the function that starts in the slot.
    pub fn function_at(&self, slot: usize) -> Option<usize> {
        let function = usize::from(*self.function_of.get(slot)?);
        (self.functions[function].start as usize == slot).then_some(function)
    }

    /// What is known of the helper or kernel function that the slot calls; `None` when it calls
    /// none, or such a program cannot call it.
    pub fn callee(&self, slot: usize) -> Option<&Callee> {
        self.calls.at(slot).map(|known| &known.callee)
    }

    /// Places in [`Program::maps`] of those that the code names, in the order in which it does.
    pub fn used_maps(&self) -> &[usize] {
        &self.used_maps
    }

    /// The slots to which control may go from this one: what follows it first, then where it jumps.
    /// A tail call and a packet load may also go to the last exit of their function.
    pub fn successors(&self, slot: usize) -> &[u32] {
        self.graph.successors(slot)
    }

    /// The slots to which the `gotox` of a function may go, in order.
    pub fn jump_table(&self, function: usize) -> &[u32] {
        self.tables.get(function).map_or(&[], Vec::as_slice)
    }

    /// Whether states may be compared and kept before this slot.
    pub fn is_prune_point(&self, slot: usize) -> bool {
        self.marks[slot].has(Marks::PRUNE_POINT)
    }

    /// Whether the way to this slot has to be kept: it need not come from the slot before.
    pub fn is_jump_point(&self, slot: usize) -> bool {
        self.marks[slot].has(Marks::JUMP_POINT)
    }

    /// Whether a state must be kept before this slot.
    pub fn is_checkpoint(&self, slot: usize) -> bool {
        self.marks[slot].has(Marks::CHECKPOINT)
    }

    /// Whether the slot calls what calls a function of the program before it returns.
    pub fn calls_back(&self, slot: usize) -> bool {
        self.marks[slot].has(Marks::CALLS_BACK)
    }

    /// Places of the functions, each after those that it calls.
    pub fn order(&self) -> &[u16] {
        &self.order
    }

    /// The loop (strongly connected component) that the slot is in, from 1; 0: it is in none.
    pub fn component(&self, slot: usize) -> u32 {
        self.components[slot]
    }

    /// How many numbers there are for loops, 0 among them.
    pub fn component_count(&self) -> u32 {
        self.component_count
    }

    /// The registers that may be read from this slot on before they are set: bit `n` is `rn`.
    pub fn live_registers(&self, slot: usize) -> u16 {
        self.live_registers[slot]
    }

    /// What of the stacks of a chain of calls may be read once control is at `slot`, in the last
    /// function of the chain. The first frame comes first.
    pub fn stack_at(&self, chain: impl IntoIterator<Item = Caller>, slot: usize) -> LiveStack<'_> {
        self.stack.at(&self.functions, &self.marks, chain, slot)
    }

    /// The slots of one frame's stack that may be read: [`LiveStack::of`] of [`Code::stack_at`].
    pub fn live_stack(&self, chain: &[Caller], frame: usize, slot: usize) -> StackSlots {
        self.stack_at(chain.iter().copied(), slot).of(frame)
    }

    /// Patterns of stores and loads around calls that can be done without.
    pub fn fastcalls(&self) -> &Fastcalls {
        &self.fastcalls
    }

    /// What the log says of the passes at level 2.
    pub fn log(&self) -> &str {
        &self.log
    }
}

fn log_functions(log: &mut String, functions: &[Function], order: &[u16]) {
    for (index, function) in functions.iter().enumerate() {
        let _ = writeln!(log, "func#{index} @{}", function.start);
    }
    for (place, &index) in order.iter().enumerate() {
        let name = &functions[usize::from(index)].name;
        let _ = writeln!(log, "topo_order[{place}] = {name}");
    }
}

/// `bpf_prog_load` bounds the length, and `bpf_check` wants room for the second half of the last
/// instruction.
fn check_length(program: &Program<'_>, options: &Options) -> Result<(), Rejection> {
    const MAX_UNPRIVILEGED: usize = 4096;
    const MAX: usize = 1_000_000;
    const LOAD_IMM64: u8 = 0x18;
    let max = if options.privileges.bpf { MAX } else { MAX_UNPRIVILEGED };
    let len = program.insns.len();
    if len == 0 || len > max {
        return Err(refuse(7, None, ""));
    }
    if program.insns[len - 1].code == LOAD_IMM64 {
        return Err(Rejection::invalid(len - 1, "invalid bpf_ld_imm64 insn"));
    }
    Ok(())
}

/// A rejection with an error number of its own.
fn refuse(errno: i32, slot: impl Into<Option<usize>>, message: impl Into<String>) -> Rejection {
    Rejection { errno, ..Rejection::invalid(slot, message) }
}
