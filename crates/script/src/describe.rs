//! A plan as text, for `-d plan` and for tests.

use std::fmt::Write;

use bombus_platform::AttachType;

use crate::plan::{Action, FailureKind, MapPlan, MapValue, Place, Plan, Slot, Trigger};

/// The plan, one thing a line, without the programs' code.
pub fn describe(plan: &Plan) -> String {
    let mut text = String::new();
    for (index, spec) in plan.object.maps.iter().enumerate() {
        let script = plan.maps.iter().find(|map| map.index == index as u32);
        let _ = write!(
            text,
            "map {index} {}: {}, key {}, value {}, {} entries",
            script.map_or(&spec.name, |map| &map.name),
            spec.map_type.name(),
            spec.key_size,
            spec.value_size,
            spec.max_entries
        );
        if spec.flags != 0 {
            let _ = write!(text, ", flags {:#x}", spec.flags);
        }
        if let Some(map) = script {
            let _ = write!(text, "; {}", contents(map));
        }
        text.push_str(role(plan, index as u32));
        text.push('\n');
    }
    for (index, program) in plan.object.programs.iter().enumerate() {
        let _ = write!(text, "program {index} {}: {}", program.name, program.prog_type.name());
        if program.attach_type != AttachType::NONE {
            let _ = write!(text, ", {}", program.attach_type.name());
        }
        if let Some(target) = &program.attach_to {
            let _ = write!(text, " of {target}");
        }
        let _ = writeln!(text, ", {} instructions", program.insns.len());
    }
    for probe in &plan.probes {
        let _ = write!(text, "probe {}: program {}, ", probe.name, probe.program);
        let _ = match &probe.trigger {
            Trigger::Begin => write!(text, "first"),
            Trigger::End => write!(text, "last"),
            Trigger::Signal(number) => write!(text, "on signal {number}"),
            Trigger::Attach(point) => write!(text, "at {point:?}, cookie {}", probe.cookie),
        };
        text.push('\n');
    }
    for (index, action) in plan.actions.iter().enumerate() {
        let _ = write!(text, "action {index}: {}", action_text(action));
        let place = plan.places.get(index).filter(|place| place.line > 0);
        place.into_iter().for_each(|place| extent(place, &mut text));
        text.push('\n');
    }
    let counted = plan.failures.iter().flat_map(|failures| &failures.counted);
    for (index, failure) in counted.enumerate() {
        let _ = match &failure.what {
            FailureKind::LostRecord => write!(text, "failure {index}: lost record"),
            FailureKind::Runtime { message } => write!(text, "failure {index}: {message}"),
            FailureKind::Helper { helper } => write!(text, "failure {index}: {}", helper.name()),
        };
        failure.place.iter().for_each(|place| extent(place, &mut text));
        text.push('\n');
    }
    for (index, string) in plan.strings.iter().enumerate() {
        let _ = writeln!(text, "string {index}: {string:?}");
    }
    let plural = if plan.probe_count == 1 { "" } else { "s" };
    let _ = writeln!(text, "{} probe{plural} for the user", plan.probe_count);
    text
}

/// Where in the script something stands.
fn extent(place: &Place, text: &mut String) {
    let Place { line, column, end_line, end_column, .. } = place;
    let _ = write!(text, ", from {line}:{column} to {end_line}:{end_column}");
}

/// What a map of the script holds.
fn contents(map: &MapPlan) -> String {
    let value = match &map.value {
        MapValue::Plain(ty) => ty.to_string(),
        MapValue::Count => "count".to_string(),
        MapValue::Sum { signed } => with_sign("sum", *signed),
        MapValue::Min { signed } => with_sign("min", *signed),
        MapValue::Max { signed } => with_sign("max", *signed),
        MapValue::Avg { signed } => with_sign("avg", *signed),
        MapValue::Stats { signed } => with_sign("stats", *signed),
        MapValue::Hist { bits } => format!("hist with {bits} bits"),
        MapValue::LHist { min, max, step } => format!("lhist from {min} to {max} by {step}"),
    };
    let key = map.key.as_ref().map_or(String::new(), |key| format!("{key} to "));
    let mark = map.present_at.map_or(String::new(), |at| format!(", mark at {at}"));
    format!("{key}{value}{mark}")
}

fn with_sign(name: &str, signed: bool) -> String {
    format!("{} {name}", if signed { "signed" } else { "unsigned" })
}

/// What a map is for beside the script's own.
fn role(plan: &Plan, index: u32) -> &'static str {
    match Some(index) {
        at if at == plan.events => "; records",
        at if at == plan.failures.as_ref().map(|failures| failures.map) => "; failures",
        at if at == plan.globals.map(|globals| globals.map) => "; set by user space",
        at if at == plan.tree => "; followed threads",
        _ => "",
    }
}

fn action_text(action: &Action) -> String {
    match action {
        Action::Exit => "exit".to_string(),
        Action::Printf { format, args, kind } => {
            let args: Vec<String> = args.iter().map(slot).collect();
            format!("printf {kind:?} {format:?} [{}]", args.join(", "))
        }
        Action::PrintMap { map } => format!("print map {map}"),
        Action::PrintElement { map } => format!("print an element of map {map}"),
        Action::PrintValue { value } => format!("print {}", slot(value)),
        Action::Clear { map } => format!("clear map {map}"),
        Action::Zero { map } => format!("zero map {map}"),
        Action::Time { format } => format!("time {format:?}"),
        Action::Join { separator, max, size } => {
            format!("join by {separator:?}, up to {max} strings of {size}")
        }
    }
}

fn slot(slot: &Slot) -> String {
    format!("{} at {}", slot.ty, slot.offset)
}
