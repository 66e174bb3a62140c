//! The program and its global functions, each from its start (`do_check_common`,
//! `kernel/bpf/verifier.c`).

use std::time::Instant;

use bombus_isa::Op;
use bombus_platform::ProgType;

use crate::check::Argument;
use crate::code::{
    Code, FrameUse, Function, FunctionStats, check_depth, extra_stack, processed, statistics,
};
use crate::embedding::{Pruning, Watching, Witness};
use crate::facts::{Tables, check_attach, check_version};
use crate::log::Log;
use crate::program::{F_SLEEPABLE, Options, Program, Target};
use crate::proof::Proof;
use crate::state::{Base, Object, Register, State};
use crate::verdict::{Stats, Verdict};
use crate::walk::{Check, Observer, Walk, refuse};

/// Whether a program is safe.
pub fn verify(program: &Program<'_>, target: &Target<'_>, options: &Options) -> Verdict {
    verify_watched(program, target, options, None)
}

/// Whether a program is safe, with paths ended in another way; somebody may look on.
pub fn verify_with(
    program: &Program<'_>,
    target: &Target<'_>,
    options: &Options,
    pruning: Pruning,
    witness: Option<&mut dyn Witness>,
) -> Verdict {
    let mut watching = witness.map(Watching);
    let observer = watching.as_mut().map(|watching| watching as &mut dyn Observer);
    prove(program, target, options, pruning, observer)
}

/// Whether a program is safe; somebody may watch the walk.
pub(crate) fn verify_watched(
    program: &Program<'_>,
    target: &Target<'_>,
    options: &Options,
    observer: Option<&mut dyn Observer>,
) -> Verdict {
    prove(program, target, options, Pruning::Kernel, observer)
}

fn prove(
    program: &Program<'_>,
    target: &Target<'_>,
    options: &Options,
    pruning: Pruning,
    observer: Option<&mut dyn Observer>,
) -> Verdict {
    let start = Instant::now();
    let mut log = Log::new(options.log_level, options.max_log);
    let tables = Tables { program, target, options };
    let code = Code::new(program, target, options, &tables)
        .and_then(|code| check_attach(program, options).map(|()| code))
        .and_then(|code| check_version(program, target).map(|()| code));
    let code = match code {
        Ok(code) => code,
        Err(rejection) => {
            log.refuse(&rejection);
            let stats = Stats::default();
            log.say(format_args!("{}", processed(&stats)));
            let (log, proof) = (log.finish(), Proof::default());
            return Verdict { result: Err(rejection), log, stats, proof };
        }
    };
    log.say(format_args!("{}", code.log()));
    let mut walk = Walk::new(program, target, options, &code, log);
    walk.pruning = pruning;
    walk.observer = observer.map(|observer| observer as _);
    let result =
        walk.prove().and_then(|()| walk.check_depth()).and_then(|()| walk.check_tail_calls());
    if let Err(rejection) = &result {
        walk.log.refuse(rejection);
    }
    let functions = walk.function_stats(result.is_ok());
    let proof = if result.is_ok() { walk.proof() } else { Proof::default() };
    let Walk { mut log, stats, .. } = walk;
    let took = start.elapsed().as_micros() as u64;
    let end = statistics(&code, &stats, &functions, took, options.log_level);
    log.say(format_args!("{end}"));
    Verdict { result, log: log.finish(), stats, proof }
}

impl Walk<'_> {
    /// The whole program.
    fn prove(&mut self) -> Check {
        let sleepable = self.program.flags & F_SLEEPABLE != 0;
        self.prove_function(0, sleepable)?;
        if self.program.functions.is_empty() {
            return Ok(());
        }
        for (function, note) in self.code.functions().iter().zip(&mut self.functions) {
            note.called[usize::from(sleepable)] |= function.is_exception_callback;
        }
        // Global functions that are called, and those that they call.
        loop {
            let mut found = false;
            for function in 1..self.code.functions().len() {
                if !self.code.functions()[function].is_global() {
                    continue;
                }
                for sleepable in [false, true] {
                    let note = &mut self.functions[function];
                    let context = usize::from(sleepable);
                    if !note.called[context] || note.proved[context] {
                        continue;
                    }
                    note.proved[context] = true;
                    found = true;
                    self.prove_function(function, sleepable)?;
                    if self.log.tells() {
                        let name = &self.code.functions()[function].name;
                        self.log.say(format_args!(
                            "Func#{function} ('{name}') is safe for any args that match its prototype\n"
                        ));
                    }
                }
            }
            if !found {
                return Ok(());
            }
        }
    }

    /// Whether the frames of all chains of calls fit the stack.
    fn check_depth(&mut self) -> Check {
        let mut depths: Vec<u16> = self
            .functions
            .iter()
            .map(|note| note.stats.stack.min(u16::MAX.into()) as u16)
            .collect();
        self.fastcalls.remove(self.code.functions(), &mut depths);
        for (note, depth) in self.functions.iter_mut().zip(&depths) {
            note.stats.stack = u32::from(*depth);
        }
        let uses: Vec<FrameUse> = self
            .functions
            .iter()
            .zip(depths)
            .map(|(note, depth)| FrameUse {
                depth,
                is_callback: note.is_callback,
                is_later_callback: note.is_async_callback,
                has_stack_arguments: false,
            })
            .collect();
        self.stats.stack_depth = check_depth(self.code, self.program, &uses, false)?;
        Ok(())
    }

    /// Tail calls that must not run past the end of a map are kept within it: within one
    /// (`bpf_do_misc_fixups`).
    fn check_tail_calls(&mut self) -> Check {
        if let Some((slot, _)) = self.tail_calls.iter().find(|(_, (_, mixed))| *mixed) {
            self.slot = *slot;
            refuse!(self, EINVAL, "tail_call abusing map_ptr");
        }
        Ok(())
    }

    /// What the statistics say of each function. A program that is accepted is changed where calls
    /// of `bpf_loop` become loops and `may_goto` gets its budget: they take stack.
    fn function_stats(&self, accepted: bool) -> Vec<FunctionStats> {
        let code = self.code;
        let is_in = |function: &Function, slot: &usize| function.slots().contains(slot);
        let rows = code.functions().iter().zip(&self.functions).map(|(function, note)| {
            let mut row = note.stats;
            if accepted {
                let mut loops = self.loops.iter();
                let inlines = loops.any(|(slot, (becomes, _))| *becomes && is_in(function, slot));
                let mut slots = function.slots();
                let may_goto = slots.any(|slot| matches!(code.op(slot), Some(Op::MayGoto { .. })));
                row.stack += extra_stack(row.stack, inlines, may_goto);
            }
            row
        });
        rows.collect()
    }

    /// One function, whatever it is called with.
    fn prove_function(&mut self, function: usize, sleepable: bool) -> Check {
        let start = self.code.functions()[function].start as usize;
        let mut state = State::new(function as u32, start, sleepable);
        let precise = !self.allowed.bpf;
        for register in &mut state.regs()[..crate::state::FP] {
            register.precise = precise;
        }
        if function != 0 || self.program.prog_type == ProgType::Ext {
            if self.log.tells() {
                let name = &self.code.functions()[function].name;
                self.log.say(format_args!("Validating {name}() func#{function}...\n"));
            }
            self.slot = start;
            let arguments = self.arguments(function)?;
            if self.code.functions()[function].is_exception_callback {
                if self.returns_void(function) {
                    refuse!(self, EINVAL, "exception cb cannot return void");
                }
                if arguments != [Argument::Number] {
                    refuse!(self, EINVAL, "exception cb only supports single integer argument");
                }
            }
            for (index, argument) in arguments.into_iter().enumerate().take(5) {
                let register = self.argument_register(argument);
                state.regs()[index + 1] = register;
            }
            state.frame_mut().in_exception_callback =
                self.code.functions()[function].is_exception_callback;
        } else {
            if !self.program.functions.is_empty() {
                let arguments = self.arguments(0);
                if !matches!(arguments.as_deref(), Ok([Argument::Context])) {
                    self.functions[0].is_unreliable = true;
                }
            }
            state.regs()[1] = Register::pointer(Base::Ctx, Object::None);
            if self.program.prog_type == ProgType::StructOps {
                self.acquire_arguments(&mut state)?;
            }
        }
        self.run(state)?;
        if !self.log.tells_all() {
            self.log.reset(0);
        }
        Ok(())
    }
}
