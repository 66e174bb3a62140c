//! The kinds of refusals, each with an id that tools can rely on. The kernel's words say which one a
//! refusal is: they are what stays the same between versions, and what the log has.

/// How what is missing is told, and what may help.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    /// A pointer may be null.
    Null,
    /// An access outside of memory.
    Bounds,
    /// A packet access outside of what was compared with its end.
    Packet,
    /// The program reads stack that was not written.
    StackRead,
    /// A size that is passed with memory.
    Length,
    /// A number that is added to a pointer.
    Offset,
    /// A number that must be in a range at the end.
    Result,
    /// Something was not given back.
    Leak,
    /// A section (lock, RCU, preemption, interrupts) is open where it must not be.
    Section,
    /// A register that was not set.
    Unset,
    /// A number is used as a pointer.
    NoPointer,
    /// Only the licence is in the way.
    Licence,
    /// Only that the program may not sleep is in the way.
    Sleep,
    /// The register says it all.
    Operand,
    /// The instruction, or the program as a whole, says it all.
    Program,
}

/// A kind of refusal.
#[derive(Debug)]
pub struct Class {
    /// What tools may rely on.
    pub id: &'static str,
    /// What is wrong, in a few words.
    pub title: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// What helps, as a rule.
    pub advice: &'static str,
    pub(super) shape: Shape,
    /// Of what the kernel says, parts that tell it; `*` stands for anything.
    patterns: &'static [&'static str],
}

macro_rules! classes {
    ($($id:literal $shape:ident $title:literal
        $meaning:literal
        $advice:literal
        [$($pattern:literal),* $(,)?])*) => {
        /// Every kind of refusal, the most particular ones first; the last is for what is none of the
        /// others.
        pub static CLASSES: &[Class] = &[$(Class {
            id: $id,
            title: $title,
            meaning: $meaning,
            advice: $advice,
            shape: Shape::$shape,
            patterns: &[$($pattern),*],
        }),*];
    };
}

classes! {
    "map-value-null" Null "a value of a map may be missing"
    "A look-up gives null when the map has no such element, and the program goes through the pointer without having compared it with null."
    "compare the result of the look-up with NULL before it is used"
    ["invalid mem access 'map_value_or_null'"]

    "pointer-null" Null "a pointer may be null"
    "The program goes through a pointer, or passes it on, that a function may have given as null."
    "compare the pointer with NULL before it is used"
    ["invalid mem access '*or_null*'", "Possibly NULL pointer passed", "prohibited, null-check it first", "R* type=*_or_null expected=", "is expected to be non-NULL"]

    "packet-bounds" Packet "the access may go past the end of the packet"
    "Bytes of a packet may be accessed when a comparison with the packet's end has shown that they are there."
    "compare a pointer behind the last byte that is used with the packet's end, and use the packet where it is not beyond"
    ["invalid access to packet", "R* offset is outside of the packet", "bad packet access"]

    "map-value-bounds" Bounds "the access may go outside of a map's value"
    "An index or offset may have a value with which the access is not inside the value of the map."
    "limit the index, as an unsigned number, before it is used"
    ["invalid access to map value", "invalid access to map key"]

    "stack-bounds" Bounds "the access may go outside of the stack"
    "A function has 512 bytes of stack, below its frame pointer; the access may be elsewhere."
    "limit the index before it is used; keep what is large in a map"
    ["invalid write to stack", "invalid variable-offset * stack", "invalid unbounded variable-offset", "invalid stack", "stack pointer arithmetic goes out of range", "invalid zero-sized read from stack"]

    "stack-uninitialized" StackRead "stack is read that was not written"
    "The program, or a function that it calls, reads bytes of the stack that nothing was stored in on this path. Padding of structures counts."
    "initialise the variable where it is declared: `= {}`; with padding, use memset"
    ["invalid read from stack", "invalid indirect read from stack", "slot poisoned by dead code elimination"]

    "memory-bounds" Bounds "the access may go outside of the memory"
    "An offset may have a value with which the access is not inside the memory that the pointer points to."
    "limit the offset, as an unsigned number, before it is used"
    ["invalid access to memory", "outside of the allowed memory range", "R* min value is negative, either use unsigned index", "unbounded memory access, make sure", "access beyond struct", "access beyond the end of member", "invalid negative * buffer offset", "invalid variable buffer offset", "invalid access to flow keys", "invalid negative access", "invalid sock access", "invalid tcp_sock access", "invalid sock_common access", "invalid xdp_sock access", "cannot access ptr member", "invalid variable offset", "invalid tracepoint buffer access", "invalid variable offset to flow keys"]

    "length-unbounded" Length "a length may be too large or negative"
    "A helper gets memory and its length; the length may have a value that is larger than the memory, or negative."
    "limit the length before the call, as an unsigned number; a mask with a power of two less one will do"
    ["min value is negative, either use unsigned or 'var &= const'", "unbounded memory access, use 'var &= const'", "memory size * is too large", "allocation size exceeds u32 max"]

    "length-zero" Length "a length may be zero"
    "The helper does not take memory of no bytes, and the length may be 0."
    "call it only where the length is not 0"
    ["invalid zero-sized read", "invalid zero-size"]

    "context-access" Program "the context has no such field for this program"
    "A program type may read, and sometimes write, certain fields of its context, whole and with constant offsets."
    "use the fields of the context's structure as they are declared; which may be written depends on the program type"
    ["invalid bpf_context access", "variable ctx access", "dereference of modified ctx ptr", "BPF_ATOMIC * ctx is not allowed", "pointer arithmetic on ctx prohibited"]

    "not-a-pointer" NoPointer "a number is used as a pointer"
    "Memory can be accessed through pointers that the verifier knows; this is a number to it: an address that was read from somewhere, or a pointer after arithmetic."
    "read other memory with bpf_probe_read_kernel() or bpf_probe_read_user(); keep pointers in 64-bit variables"
    ["invalid mem access 'scalar'", "invalid mem access '*inv*'"]

    "packet-moved" NoPointer "the packet may have moved"
        "Helpers that change the packet may move it: all pointers into it, and all that was compared, count no more."
        "read the pointers to the packet's start and end out of the context again, after the call, and compare them again"
        []

    "use-after-release" NoPointer "something is used that was given back"
        "After an object was released, or the section that protected it was closed, no pointer to it is good."
        "release it after its last use; once"
        []

    "packet-end-access" Operand "the end of the packet is used as a pointer to data"
    "The pointer to the packet's end is there to be compared with."
    "access the packet through a pointer that comes from its start"
    ["invalid mem access 'pkt_end'"]

    "read-only" Operand "the memory must not be written"
    "The pointer leads to memory that programs may only read."
    "copy it to the stack, and change the copy"
    ["cannot write into", "write into map forbidden", "only read is supported", "only read from * is supported", "write to change key", "may write into memory pointed", "does not allow writes to packet data", "BPF_ATOMIC stores into"]

    "write-only" Operand "the map must not be read"
    "The map was created so that programs may only write it (BPF_F_WRONLY_PROG)."
    "create the map without BPF_F_WRONLY_PROG"
    ["read from map forbidden"]

    "uninitialized-register" Unset "something is read that was not set"
    "On this path nothing was stored in the register; or a call left it undefined: r1 to r5 are gone after each call, and r0 is a function's result."
    "give the variable a value where it is declared; let every path return something"
    ["!read_ok", "unexpected __bpf_trap() due to uninitialized variable"]

    "return-value" Result "the result is not one that is allowed"
    "Programs of this type, or callbacks, may return certain numbers only."
    "return one of the numbers that are allowed, on every path"
    ["should have been in [", "the register R* is not a known value", "R0 not a scalar value", "R0 is not a scalar value", "return value not void or scalar"]

    "reference-leak" Leak "something was taken and is not given back"
    "What a function acquired for the program (a socket, a record of a ring buffer, a task, ...) must be released, or passed on, on every path."
    "release it before every return"
    ["Unreleased reference", "would lead to reference leak", "Leaking reference", "reference has not been released"]

    "lock-held" Section "a lock is held where it must not be"
    "Between taking and releasing a spin lock there are no calls but a few, and no end of the program."
    "release the lock before, on every path; compute values that need calls before taking it"
    ["inside bpf_spin_lock-ed region", "calls are not allowed while holding a lock", "Locking two bpf_spin_locks", "Acquiring the same lock again", "bpf_spin_lock is missing unlock", "function calls are not allowed while holding"]

    "lock-missing" Operand "a lock must be held here"
    "Lists and trees of objects are changed with their lock held; and only what was locked is unlocked, in the reverse order."
    "take the lock that stands beside the list or tree, and release it after"
    ["must be held for", "_unlock without taking a lock", "_unlock of different lock", "_unlock cannot be out of order"]

    "rcu-section" Section "an RCU section is open where it must not be"
    "Between bpf_rcu_read_lock() and bpf_rcu_read_unlock() nothing may sleep, and the program must not end."
    "call bpf_rcu_read_unlock() before, on every path"
    ["inside bpf_rcu_read_lock-ed region", "in RCU section", "within rcu_read_lock region", "rcu_read_lock region"]

    "rcu-protection" Operand "this is only good in an RCU section"
    "The object may go away unless it is used between bpf_rcu_read_lock() and bpf_rcu_read_unlock(), or is held by a reference; and only a section that was opened can be closed."
    "open an RCU section before, on every path, or acquire a reference"
    ["must be a rcu pointer", "requires RCU critical section protection", "unmatched rcu read unlock", "bpf_rcu_read_{lock,unlock} in unnecessary"]

    "preemption-section" Section "preemption is off where it must not be"
    "Between bpf_preempt_disable() and bpf_preempt_enable() nothing may sleep, and the program must not end."
    "call bpf_preempt_enable() before, on every path"
    ["inside bpf_preempt_disable-ed region", "non-preemptible region", "unmatched attempt to enable preemption"]

    "irq-section" Section "interrupts are off where they must not be"
    "Between saving and restoring interrupt flags nothing may sleep, and the program must not end; flags are restored in the reverse order."
    "restore the flags before, on every path, the last that were saved first"
    ["inside bpf_local_irq_save-ed region", "IRQ-disabled region", "cannot restore irq state out of order", "irq flag"]

    "untrusted-pointer" Operand "the pointer is not known to lead to a living object"
    "A function takes pointers that came from the kernel as arguments, or from functions that hold the object; one that was read out of another object may be stale."
    "acquire a reference, or read fields with bpf_probe_read_kernel()"
    ["must be referenced or trusted", "type=untrusted_", "allocated object must be referenced", "has no valid kptr", "is neither owning or non-owning ref"]

    "release-unowned" Operand "what is released is not held"
    "A function releases what the program holds; this was released before, was never acquired, or is not at its start."
    "release each object once, through the pointer as it was given"
    ["release * expects referenced", "must have zero offset when passed to release", "expects refcounted", "CONST_PTR_TO_DYNPTR cannot be released", "invalid release"]

    "argument-type" Operand "the argument has another type than the function takes"
    "Each argument of a function has a type: memory, a map, a context, an object of a structure, a number."
    "pass what the function's prototype says"
    ["R* type=* expected=", "R* is * expected", "type ID argument", "isn't referenced kptr", "bpf_percpu_obj_new type", "expected pointer to", "is of type * but * is expected", "expected=", "expects pointer", "is not a pointer to", "doesn't point to", "has no valid", "isn't map pointer", "must point to scalar", "must point to void", "expected * but got", "must be a known constant", "is not a const", "is not a scalar", "pointer to stack or const struct bpf_dynptr", "has type * expected", "invalid kptr access", "Unsupported reg type", "must have zero offset", "expected for bpf_obj_drop", "expected for bpf_percpu_obj_drop", "Unrecognized R", "does not point to a readonly map", "reference type(*) size cannot be determined", "can only take non-owning or refcounted", "doesn't match map pointer", "is ptr_*", "Caller passes invalid args into func", "Invalid format string", "string is not zero-terminated"]

    "offset-unbounded" Offset "what is added to the pointer may be too large, or negative"
        "What is added to a pointer must have limits, and keep it near what it points to."
        "limit the number, as an unsigned one, before it is added"
        ["math between", "makes * pointer be out of bounds", "pointer offset * is not allowed"]

    "pointer-arithmetic" Operand "this arithmetic is not allowed on the pointer"
    "Numbers that have bounds may be added to and subtracted from pointers to memory, at 64 bits; nothing else is done with pointers."
    "compute the offset as a number, limit it, and add it to the pointer"
    ["pointer arithmetic", "bitwise operator * on pointer prohibited", "tried to subtract pointer", "subtraction from stack pointer prohibited", "dereference of modified", "negative offset * ptr", "variable * access * disallowed", "R* pointer * pointer prohibited", "must be at the constant offset", "constant offset", "partial copy of pointer", "sign-extension part of pointer"]

    "pointer-leak" Operand "an address would become known"
    "Unprivileged programs must not learn the kernel's addresses: pointers are not stored, returned, compared or passed on."
    "load the program with CAP_PERFMON, or leave the pointer out"
    ["leaks addr", "leaking pointer", "pointer comparison prohibited"]

    "pointer-corrupted" Operand "a pointer on the stack is overwritten in part"
    "Parts of a pointer that was stored on the stack must not be written by themselves."
    "store the whole pointer, or use another variable"
    ["attempt to corrupt spilled pointer", "invalid size of register fill", "invalid size of register spill", "spilled ptr in range of var-offset", "cannot spill pointers to stack", "cannot overwrite referenced dynptr"]

    "misaligned" Operand "the access is not aligned"
    "The address is not a multiple of the size of the access."
    "let the field stand at a multiple of its size, or copy it byte by byte"
    ["misaligned"]

    "kfunc-not-allowed" Program "the program must not call this function of the kernel"
    "Kernel functions are open to certain program types, privileges and places in the program."
    "call it from a program type that has it; see the kernel's list of kfuncs"
    ["calling kernel function * is not allowed", "destructive kfunc calls require", "css_task_iter is only allowed", "does not have a valid func_proto", "kernel function * returns pointer type", "cannot be called from callback", "not allowed in rbtree cb", "in rbtree cb", "is allowed only to CAP_PERFMON", "access is allowed only to CAP_PERFMON", "cannot be used in tracing programs", "btf_id"]

    "dynptr-state" Operand "the dynptr is not in the state that is needed"
    "A dynptr is made on the stack, used, and where it holds something given back, in this order."
    "make the dynptr by a function for that, and use it until it is released"
    ["dynptr"]

    "iterator-state" Operand "the iterator is not in the state that is needed"
    "An iterator is made by its new(), asked by its next() and given back by its destroy(), in this order, on the stack."
    "call new() once before next(), and destroy() on every path"
    ["iter_*", "iterator", "iter pointer", "iter next call"]

    "helper-not-allowed" Program "the program type has no such helper"
    "Which helpers there are depends on the program type, on where it attaches and on the kernel."
    "use a helper that programs of this type have, or another program type"
    ["program of this type cannot use helper", "unknown func", "invalid func unknown", "not supported for program type", "supported only for fentry", "helper call is not allowed in probe", "helper access to the packet is not allowed"]

    "gpl-only" Licence "the function is for GPL-compatible programs only"
    "The kernel gives some functions to programs only that declare a licence which is compatible with the GPL."
    "declare it, if it is so: char _license[] SEC(\"license\") = \"GPL\";"
    ["from non-GPL compatible program"]

    "sleeps-here" Sleep "something that may sleep is called where nothing may"
    "Functions that may sleep are called from sleepable programs (`SEC(\"fentry.s/...\")`, ...), and not inside of locks and RCU sections."
    "make the program sleepable, or call it outside of the section"
    ["program must be sleepable", "sleepable helper * in ", "is sleepable within", "sleepable global function", "only sleepable", "Sleepable program cannot attach"]

    "map-function-mismatch" Operand "the helper does not work on such maps"
    "Each helper works on certain types of maps."
    "use the helper that is made for this type of map"
    ["cannot pass map_type", "expected prog array map", "cannot update sockmap", "cannot use helper on", "doesn't support non-zero flags", "tail_call abusing", "callback function not allowed for map"]

    "field-protected" Operand "a field is accessed that only functions may touch"
    "Locks, timers, lists, trees and kept pointers in maps and objects are accessed by the functions that are made for them."
    "leave the field alone: use its functions, and access the fields around it by themselves"
    ["cannot be accessed directly by load/store", "cannot be accessed indirectly by helper", "kptr in map can only be accessed", "store to referenced kptr", "store to uptr", "kptr at off", "access misaligned expected", "access size must be BPF_DW", "is disallowed", "access cannot have variable offset"]

    "infinite-loop" Program "a loop comes back with nothing changed"
    "The loop reaches the same place in the same state, so nothing says that it ends."
    "count the rounds with a limit that is constant, or use bpf_loop() or bpf_for()"
    ["infinite loop detected", "back-edge", "The call stack of", "loop detected"]

    "too-complex" Program "the program has too many ways to be walked"
    "The verifier walks a million instructions at most, over all paths and rounds of loops together."
    "limit loops by small constants, use bpf_loop() or bpf_for(), or move parts to global functions, which are verified by themselves"
    ["is too large", "jumps is too complex", "too many states", "complexity limit", "recursive call"]

    "stack-too-deep" Program "the functions need too much stack"
    "All functions that run at a time have 512 bytes of stack together (256 each when there are tail calls)."
    "keep what is large in a per-CPU array"
    ["combined stack size", "stack frame", "Too large", "call stack"]

    "division-by-zero" Program "division by zero"
    "The divisor is the constant 0."
    "divide by something else"
    ["div by zero", "invalid shift"]

    "unreachable" Program "nothing leads to this instruction"
    "Every instruction must be reached by some path."
    "remove it, or do not let the compiler make it: a call of a function that does not return, say"
    ["unreachable insn"]

    "falls-off" Program "the code runs past its end"
    "The last instruction of a function must be `exit` or a jump. Compilers leave it out where they think that nothing gets there: after undefined behaviour, or an endless loop."
    "look for what is undefined before: a variable that was not set, a shift or index out of range; return a value"
    ["last insn is not an exit or jmp", "invalid insn idx", "fell through"]

    "jump-target" Program "a jump or call leads nowhere"
    "Jumps stay in their function and go to the start of an instruction; calls go to the start of a function."
    "compile the program again; do not write jumps by hand"
    ["jump out of range", "jump into the middle", "call to invalid destination", "target of func call", "invalid func offset", "points to outside of jump table", "jump table", "PTR_TO_INSN", "insn_array", "doesn't point to any offset"]

    "callback" Program "the function cannot be called back"
    "A callback is a static function of the program, with the result and the actions that its caller allows."
    "pass a static function that returns 0 or 1 and leaves locks and references as they were"
    ["callback function", "exception cb", "exception callback", "within callback", "async callback", "bpf_throw", "tail_call is not allowed", "cannot tail call", "cannot return stack pointer"]

    "invalid-instruction" Program "the instruction does not exist"
    "Fields that an instruction does not use are zero, and opcodes are those that the kernel knows."
    "compile for an instruction set that the kernel has (-mcpu=v3)"
    ["uses reserved fields", "unknown opcode", "invalid atomic", "R* is invalid", "invalid bpf_ld_imm64", "BPF_ATOMIC", "frame pointer is read only", "addr_space_cast", "invalid bpf_*_imm64", "BPF_LD_[ABS|IND]", "LD_ABS", "R6 != pointer to skb", "arguments on the stack"]

    "pointer-kinds-mixed" Operand "one instruction goes through different kinds of pointers"
    "On one path the pointer leads to one kind of memory, on another to another; the kernel translates the instruction once."
    "do the access in each branch by itself"
    ["same insn cannot be used with different pointers", "same insn cannot be used with and without"]

    "type-information" Program "type information is missing or does not fit"
    "Some features need the program's types (BTF), with a record for each function and line, or types of the kernel."
    "compile with -g, and do not strip the object's .BTF and .BTF.ext"
    ["missing btf", "func_info", "line_info", "BTF", "btf", "size of type"]

    "map-unusable" Program "a map does not fit the program"
    "The map is of a kind, or has fields in its values, that such programs must not use."
    "use another map, or another program type"
    ["progs cannot use", "not pointing to valid bpf_map", "map_ptr access not supported", "invalid access to map"]

    "attachment" Program "the program cannot attach there"
    "What the program attaches to does not exist in this kernel, or does not take such programs."
    "choose another place to attach to"
    ["attach", "Sleepable", "Syscall programs", "cannot be sleepable", "is not modifiable", "is not sleepable"]

    "kernel-too-old" Program "the kernel has no such programs or maps"
    "What the program uses came with a later kernel."
    "require a later kernel, or do without"
    ["Linux * has no *; they came with"]

    "pointer-use" Operand "the register cannot be used so"
    "What the register holds is not what the instruction needs."
    "look at what the register holds, below, and where that came from"
    ["invalid mem access"]

    "other" Program "the program is refused"
    "The kernel's words say why."
    "the kernel's words say why; --log-level 2 shows what is known at each instruction"
    [""]
}

/// The class with an id.
pub(super) fn by_id(id: &str) -> Option<&'static Class> {
    CLASSES.iter().find(|class| class.id == id)
}

/// The kind of a refusal by the kernel's words. What it says first counts most.
pub(super) fn of(message: &str) -> &'static Class {
    let is_it = |class: &&Class| class.patterns.iter().any(|pattern| has(message, pattern));
    // The last is any message.
    CLASSES.iter().find(is_it).unwrap_or(&CLASSES[CLASSES.len() - 1])
}

/// Whether the parts of a pattern stand in a text, in this order, those after `*` in the same line.
fn has(text: &str, pattern: &str) -> bool {
    text.lines().chain([""].into_iter().filter(|_| text.is_empty())).any(|line| {
        let mut rest = line;
        pattern.split('*').all(|part| match rest.find(part) {
            Some(at) => {
                rest = &rest[at + part.len()..];
                true
            }
            None => false,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_words() {
        let mut ids: Vec<&str> = CLASSES.iter().map(|class| class.id).collect();
        let is_word = |id: &&str| id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        assert!(ids.iter().all(is_word));
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), CLASSES.len());
    }

    #[test]
    fn the_kernels_words_tell_the_class() {
        for (message, id) in [
            ("R0 invalid mem access 'map_value_or_null'", "map-value-null"),
            ("R1 invalid mem access 'ptr_or_null_task_struct'", "pointer-null"),
            ("invalid access to packet, off=26 size=4, R1(id=0,off=26,r=14)", "packet-bounds"),
            ("R7 pointer arithmetic on pkt_end prohibited", "pointer-arithmetic"),
            ("R1 type=scalar expected=fp, pkt", "argument-type"),
            ("something that nobody said before", "other"),
            ("", "other"),
        ] {
            assert_eq!(of(message).id, id, "{message}");
        }
    }
}
