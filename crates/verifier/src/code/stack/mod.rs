//! Which stack slots may still be read, in all frames of a chain of calls
//! (`kernel/bpf/liveness.c`).
//!
//! Pointers to stacks are followed through registers, spills and calls ([`track`]), so that it is
//! known which slots of which frame an instruction reads or overwrites ([`access`]). A function is
//! looked at anew for each place that passes it such a pointer ([`instance`]); what it reads of its
//! callers' stacks counts as read by the call. Where it is not known what a pointer points to, all
//! is taken to be read.

mod access;
mod instance;
mod origin;
mod passed_on;
mod slots;
mod track;

use std::collections::BTreeMap;
use std::fmt::Write;

use bombus_isa::{Insn, Op};

use super::calls::Calls;
use super::constants::{Arguments, Constant};
use super::flow::Marks;
use super::graph::{Blocks, Graph};
use super::listing::Listing;
use super::{Function, Instruction, refuse};
use crate::{Program, Rejection};
use instance::{Instance, MAX_FRAMES};
use origin::Origin;
use passed_on::PassedOn;
pub use slots::StackSlots;
use track::{MEMORY_ARGUMENTS, Mentions, Origins, Sparse, Spills, Tracker};

/// How often functions are looked at, at most.
const MAX_LOOKS: u32 = 10_000;

/// All that the passes before found out.
pub(super) struct Given<'a> {
    pub(super) program: &'a Program<'a>,
    pub(super) used_maps: &'a [usize],
    pub(super) insns: &'a [Insn],
    pub(super) instructions: &'a [Instruction],
    pub(super) functions: &'a [Function],
    pub(super) function_of: &'a [u16],
    pub(super) order: &'a [u16],
    pub(super) graph: &'a Graph,
    pub(super) blocks: &'a Blocks,
    pub(super) calls: &'a Calls,
    pub(super) arguments: &'a Arguments,
    pub(super) marks: &'a [Marks],
}

/// Which stack slots may still be read, where.
#[derive(Debug, Default)]
pub(super) struct StackLiveness {
    instances: Vec<Instance>,
    /// Places in `instances`, by depth and callsite.
    places: BTreeMap<(u8, u32), u32>,
}

/// A frame of a chain of calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caller {
    /// The function, by its place.
    pub function: usize,
    /// The slot of the call that made this frame; of no account for the first.
    pub callsite: usize,
}

impl StackLiveness {
    pub(super) fn new(given: &Given<'_>, log: Option<&mut String>) -> Result<Self, Rejection> {
        let mut analysis = Analysis {
            given,
            looks: 0,
            seen: vec![false; given.functions.len()],
            mentions: (0..given.blocks.len()).map(|block| mentions(given, block)).collect(),
            found: StackLiveness::default(),
            log,
        };
        // Callers come first: a function that gets no pointer to a stack is looked at by itself.
        for &index in given.order.iter().rev() {
            let index = usize::from(index);
            let function = &given.functions[index];
            if analysis.seen[index] && !function.is_global() {
                continue;
            }
            let instance = Instance::new(function.start as usize, 0, index, function);
            analysis.look(instance, &Received::default(), &mut Vec::new())?;
        }
        analysis.finish();
        Ok(analysis.found)
    }

    fn find(&self, depth: u8, callsite: u32) -> Option<&Instance> {
        self.places.get(&(depth, callsite)).map(|&place| &self.instances[place as usize])
    }

    /// The instance for a function that was called from `callsite` as that frame; its depth is less
    /// than the frame's when the chain goes through calls that pass no pointers to stacks.
    fn of_frame(&self, frame: usize, callsite: u32, start: u32) -> Option<&Instance> {
        let called = (1..=frame).rev().find_map(|depth| self.find(depth as u8, callsite));
        called.or_else(|| self.find(0, start))
    }

    /// Asks what is live once control is at `slot` of the last function of a chain of calls.
    pub(super) fn at<'a>(
        &'a self,
        functions: &[Function],
        marks: &[Marks],
        chain: impl IntoIterator<Item = Caller>,
        slot: usize,
    ) -> LiveStack<'a> {
        let mut live = LiveStack { frames: [LiveFrame::default(); MAX_FRAMES], depth: 0 };
        for (frame, caller) in chain.into_iter().enumerate().take(MAX_FRAMES) {
            let callsite = caller.callsite;
            if let Some(before) = frame.checked_sub(1) {
                let before = &mut live.frames[before];
                // It goes on after the call; what calls back may do so again.
                let calls_back =
                    marks.get(callsite).is_some_and(|marks| marks.has(Marks::CALLS_BACK));
                before.slot = if calls_back { callsite } else { callsite + 1 };
            }
            let instance = functions
                .get(caller.function)
                .and_then(|function| self.of_frame(frame, callsite as u32, function.start));
            live.frames[frame] = LiveFrame { instance, slot };
            live.depth = frame + 1;
        }
        live
    }
}

/// What of the stacks of a chain of calls may still be read.
#[derive(Debug)]
pub struct LiveStack<'a> {
    frames: [LiveFrame<'a>; MAX_FRAMES],
    depth: usize,
}

/// Where the function of a frame goes on.
#[derive(Clone, Copy, Default, Debug)]
struct LiveFrame<'a> {
    instance: Option<&'a Instance>,
    slot: usize,
}

impl LiveStack<'_> {
    /// The slots of one frame's stack that may be read, by its own function, by those that it called,
    /// or after these have returned (`bpf_stack_slot_alive`).
    pub fn of(&self, frame: usize) -> StackSlots {
        let frames = &self.frames[..self.depth];
        let Some(last) = frames.len().checked_sub(1) else { return StackSlots::ALL };
        if frames[last].instance.is_none() {
            return StackSlots::ALL;
        }
        let mut live = StackSlots::NONE;
        for (at, LiveFrame { instance, slot }) in frames.iter().enumerate().skip(frame) {
            // The instance's own number of the frame: there may be fewer before it.
            let number = instance.and_then(|instance| {
                let depth = usize::from(instance.depth);
                let number = (frame + depth).checked_sub(at).filter(|&number| number <= depth)?;
                Some((instance, number))
            });
            match number {
                Some((instance, number)) => {
                    live |= instance.live(number, *slot).unwrap_or(StackSlots::NONE);
                }
                // The last function has no pointer to that frame.
                None if at == last => {}
                None => return StackSlots::ALL,
            }
        }
        live
    }
}

/// What a function is called with.
#[derive(Clone, Debug, Default)]
struct Received {
    registers: [Origin; 5],
    memory: [Origin; MEMORY_ARGUMENTS],
}

impl Received {
    fn is_nothing(&self) -> bool {
        self.registers.iter().chain(&self.memory).all(|origin| origin.is_none())
    }
}

/// A call of another function of the program, or of what calls one back.
struct CallSite {
    slot: usize,
    arguments: Received,
    spills: Spills,
}

struct Analysis<'a> {
    given: &'a Given<'a>,
    looks: u32,
    /// Functions that have been looked at.
    seen: Vec<bool>,
    /// What the instructions of each block mention.
    mentions: Vec<Mentions>,
    found: StackLiveness,
    log: Option<&'a mut String>,
}

impl<'a> std::ops::Deref for Analysis<'a> {
    type Target = Given<'a>;

    fn deref(&self) -> &Given<'a> {
        self.given
    }
}

impl Analysis<'_> {
    /// Looks at a function, and at those that it passes pointers to stacks. `callers` has what the
    /// stacks of the frames before held; there are at most [`MAX_FRAMES`], so that is how deep this
    /// calls itself.
    fn look(
        &mut self,
        mut instance: Instance,
        received: &Received,
        callers: &mut Vec<Spills>,
    ) -> Result<u32, Rejection> {
        self.looks += 1;
        if self.looks > MAX_LOOKS {
            let looks = self.looks;
            let message = format!("liveness analysis exceeded complexity limit ({looks} calls)");
            return Err(refuse(7, None, message));
        }
        let callsites = self.track(&mut instance, received, callers);
        self.seen[usize::from(instance.function)] = true;
        for site in callsites.into_iter().rev() {
            self.look_into(&mut instance, site, callers)?;
        }
        Ok(self.keep(instance))
    }

    /// Looks at what is called, if it gets a pointer to a stack.
    fn look_into(
        &mut self,
        instance: &mut Instance,
        site: CallSite,
        callers: &mut Vec<Spills>,
    ) -> Result<(), Rejection> {
        let CallSite { slot, arguments, spills } = site;
        let (callee, arguments) = match self.instructions[slot] {
            Instruction::Op(Op::CallLocal { off }) => {
                let to = (slot as i32 + 1 + off) as usize;
                (usize::from(self.function_of[to]), arguments)
            }
            Instruction::Op(Op::CallHelper { id }) => {
                let Some(callback) = PassedOn::by(id) else { return Ok(()) };
                let context = arguments.registers[callback.context - 1];
                match self.given.arguments.at(slot, callback.function - 1) {
                    Constant::Function(function) => {
                        let mut passed = Received::default();
                        passed.registers[callback.passed_as - 1] = context;
                        (function.into(), passed)
                    }
                    // Different callbacks, by the path.
                    _ if context.is_none() => return Ok(()),
                    _ => {
                        for frame in 0..=instance.depth {
                            instance.read(frame, slot, StackSlots::ALL);
                        }
                        return Ok(());
                    }
                }
            }
            _ => return Ok(()),
        };
        if arguments.is_nothing() {
            return Ok(());
        }
        let depth = instance.depth + 1;
        if usize::from(depth) >= MAX_FRAMES {
            return Err(Rejection::invalid(slot, ""));
        }
        let function = &self.given.functions[callee];
        let called = Instance::new(slot, depth, callee, function);
        callers.truncate(usize::from(instance.depth));
        callers.push(spills);
        let called = self.look(called, &arguments, callers)?;
        let called = &self.found.instances[called as usize];
        for frame in 0..depth {
            if let Some(live) = called.live(frame.into(), function.start as usize) {
                instance.read(frame, slot, live);
            }
        }
        Ok(())
    }

    /// Keeps an instance, merged with what was found before at the same place.
    fn keep(&mut self, instance: Instance) -> u32 {
        let (graph, blocks) = (self.graph, self.blocks);
        let key = (instance.depth, instance.callsite);
        let instances = &mut self.found.instances;
        let place = *self.found.places.entry(key).or_insert(instances.len() as u32);
        match instances.get_mut(place as usize) {
            Some(before) => before.merge(instance),
            None => instances.push(instance),
        }
        instances[place as usize].update(graph, blocks);
        place
    }

    /// Finds out where everything comes from, notes what stack the instructions use, and gives the
    /// calls in reverse postorder.
    fn track(
        &mut self,
        instance: &mut Instance,
        received: &Received,
        callers: &[Spills],
    ) -> Vec<CallSite> {
        let function = usize::from(instance.function);
        let order = self.blocks.of_function(function);
        let (start, end) = match order.last() {
            Some(&entry) => {
                (entry as usize, self.blocks.of(self.functions[function].end as usize - 1))
            }
            None => return Vec::new(),
        };
        let tracker = Tracker { depth: instance.depth, received: &received.memory, callers };
        let mut entries: Vec<Option<Sparse>> = vec![None; end + 1 - start];
        let mut origins = Origins::at_entry(instance.depth, &received.registers);
        entries[0] = Some(origins.to_sparse());
        if let Some(log) = &mut self.log {
            let depth = instance.depth;
            let _ = writeln!(log, "subprog#{function}: analyzing (depth {depth})...");
        }
        let mut dirty = vec![true; entries.len()];
        let mut again = true;
        while again {
            again = false;
            for &block in order.iter().rev() {
                let block = block as usize;
                let Some(Some(entry)) = entries.get(block - start) else { continue };
                if !std::mem::take(&mut dirty[block - start]) {
                    continue;
                }
                origins.load(entry);
                if origins.matter_to(self.mentions[block]) {
                    for slot in self.blocks.slots(block) {
                        self.step(&tracker, &mut origins, slot);
                    }
                }
                for next in self.blocks.successors(self.graph, block) {
                    let Some(next) = next.checked_sub(start).filter(|&next| next < entries.len())
                    else {
                        continue;
                    };
                    if origins.join_into(&mut entries[next]) {
                        dirty[next] = true;
                        again = true;
                    }
                }
            }
        }
        self.note(instance, &tracker, &entries, start)
    }

    fn step(&mut self, tracker: &Tracker<'_>, origins: &mut Origins, slot: usize) {
        let insn = self.insns[slot];
        if !origins.matter_to(Mentions::of(insn)) {
            return;
        }
        let instruction = self.instructions[slot];
        if self.log.is_none() {
            return tracker.step(origins, instruction, insn);
        }
        let before = origins.clone();
        tracker.step(origins, instruction, insn);
        let changes = before.changes(origins);
        let listing = Listing(self.given);
        if let Some(log) = &mut self.log
            && !changes.is_empty()
        {
            let _ = writeln!(log, "{slot:3}: {}{changes}", listing.text(slot));
        }
    }

    /// Goes over a function once more, now that all is known.
    fn note(
        &mut self,
        instance: &mut Instance,
        tracker: &Tracker<'_>,
        entries: &[Option<Sparse>],
        start: usize,
    ) -> Vec<CallSite> {
        let mut callsites = Vec::new();
        let mut origins = Origins::new();
        let function = usize::from(instance.function);
        let mut lists: BTreeMap<usize, String> = BTreeMap::new();
        for &block in self.blocks.of_function(function).iter().rev() {
            let block = block as usize;
            let Some(Some(entry)) = entries.get(block - start) else { continue };
            origins.load(entry);
            if self.log.is_none() && !origins.matter_to(self.mentions[block]) {
                continue;
            }
            for slot in self.blocks.slots(block) {
                let matters = origins.matter_to(Mentions::of(self.insns[slot]));
                let instruction = self.instructions[slot];
                if matters {
                    self.record(instance, &origins, slot);
                }
                let is_call = matches!(instruction, Instruction::Op(Op::CallLocal { .. }));
                if is_call || self.marks[slot].has(Marks::CALLS_BACK) {
                    callsites.push(CallSite {
                        slot,
                        arguments: Received {
                            registers: std::array::from_fn(|index| origins.argument(index)),
                            memory: std::array::from_fn(|index| origins.argument(5 + index)),
                        },
                        spills: origins.spills(),
                    });
                }
                if self.log.is_some() && is_listed(instruction) {
                    lists.insert(slot, origins.listed(true));
                }
                if matters {
                    tracker.step(&mut origins, instruction, self.insns[slot]);
                }
            }
        }
        let listing = Listing(self.given);
        if let Some(log) = &mut self.log {
            let _ = writeln!(log, "{}:", listing.function(function));
            for slot in listing.slots(function) {
                let _ = write!(log, "{slot:3}: {}", listing.text(slot));
                let list = lists.get(&slot).filter(|list| !list.is_empty());
                let _ = match list {
                    Some(list) => writeln!(log, " //{list}"),
                    None => writeln!(log),
                };
            }
        }
        callsites
    }

    /// Lists what each instruction uses, in the order of callsites, then of depths.
    fn finish(&mut self) {
        let listing = Listing(self.given);
        if let Some(log) = &mut self.log {
            let mut instances: Vec<&Instance> = self.found.instances.iter().collect();
            instances.sort_by_key(|instance| (instance.callsite, instance.depth));
            for instance in instances {
                let Instance { callsite, depth, function, .. } = *instance;
                let name = listing.function(function.into());
                let _ = writeln!(log, "stack use/def {name} (d{depth},cs{callsite}):");
                for slot in listing.slots(function.into()) {
                    let text = format!("{slot:3}: {}", listing.text(slot));
                    let uses = instance.listed(slot);
                    let _ = match uses.as_str() {
                        "" => writeln!(log, "{text}"),
                        uses => {
                            let width = super::listing::alignment(text.len());
                            writeln!(log, "{text}{:width$};{uses}", "")
                        }
                    };
                }
            }
        }
        for instance in &mut self.found.instances {
            instance.settle();
        }
    }
}

fn mentions(given: &Given<'_>, block: usize) -> Mentions {
    let insns = given.insns[given.blocks.slots(block)].iter();
    insns.fold(Mentions::default(), |all, insn| all.and(Mentions::of(*insn)))
}

/// Whether the log lists what registers and the stack hold before it.
fn is_listed(instruction: Instruction) -> bool {
    match instruction {
        Instruction::Op(op) => matches!(
            op,
            Op::Load { .. }
                | Op::LoadAcquire { .. }
                | Op::Store { src: bombus_isa::Operand::Reg(_), .. }
                | Op::StoreRelease { .. }
                | Op::Atomic { .. }
                | Op::CallHelper { .. }
                | Op::CallLocal { .. }
                | Op::CallKfunc { .. }
        ),
        Instruction::InvalidAtomic
        | Instruction::LoadArgument { .. }
        | Instruction::StoreArgument { src: bombus_isa::Operand::Reg(_), .. } => true,
        _ => false,
    }
}
