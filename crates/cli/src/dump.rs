//! What `-d` shows: the stages between a script and what the kernel gets.

use std::fmt::Write;

use bombus_compiler::ir::Module;
use bombus_platform::HelperNames;
use bombus_script::plan::Plan;
use bombus_script::syntax::ast::Program;
use bombus_spec::ProgramSpec;

/// The stages asked for, each under a heading.
pub(crate) fn text(stages: &[&str], program: &Program, modules: &[Module], plan: &Plan) -> String {
    let wanted = |stage: &str| stages.contains(&stage) || stages.contains(&"all");
    let mut text = String::new();
    let mut show = |stage: &str, body: &mut dyn FnMut() -> String| {
        if wanted(stage) {
            if stages.len() > 1 || stages.contains(&"all") {
                let _ = writeln!(text, "--- {stage} ---");
            }
            text.push_str(&body());
        }
    };
    show("ast", &mut || bombus_script::syntax::dump(program, false));
    show("ir", &mut || modules.iter().map(|module| format!("{module}\n")).collect());
    show("bytecode", &mut || plan.object.programs.iter().map(bytecode).collect());
    show("plan", &mut || bombus_script::describe(plan));
    text
}

/// The instructions of a program in the kernel's text form, with the script's lines.
fn bytecode(program: &ProgramSpec) -> String {
    let mut text = format!("{}:\n", program.name);
    let insns: Vec<_> = program.insns.iter().map(|slot| slot.insn).collect();
    let mut line = None;
    for (index, op) in bombus_isa::ops(&insns) {
        let slot = &program.insns[index];
        if slot.line.is_some() && slot.line != line {
            line = slot.line;
            if let Some(place) = line.and_then(|line| program.lines.get(line as usize)) {
                let _ = writeln!(text, "; {} @ {}:{}", place.text.trim(), place.file, place.line);
            }
        }
        let shown = match op {
            Ok(op) => op.display(&HelperNames).to_string(),
            Err(error) => format!("invalid: {error}"),
        };
        let reference = slot.reference.map_or(String::new(), |what| format!("  ; {what:?}"));
        let _ = writeln!(text, "{index:5}: {shown}{reference}");
    }
    text
}
