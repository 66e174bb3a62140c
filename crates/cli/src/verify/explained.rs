//! Explanations of refusals, as text and as JSON.

use annotate_snippets::{AnnotationKind, Element, Group, Level, Renderer, Snippet};
use bombus_verifier::explain::{Explanation, Place, Suggestion};
use serde_json::{Value, json};

/// As rustc shows errors; with colours (ANSI escapes) when asked.
pub(super) fn as_text(explanation: &Explanation, color: bool) -> String {
    let Explanation { class, message, needs, proven, witness, path, suggestion, .. } = explanation;
    let label = needs.as_ref().map(|needs| format!("needs: {needs}"));
    let mut notes = Vec::new();
    if let (None, Some(label)) = (&explanation.place, &label) {
        notes.push(label.clone());
    }
    notes.extend(proven.as_ref().map(|proven| format!("proven: {proven}")));
    notes.extend(witness.as_ref().map(|witness| format!("for example: {witness}")));
    if let Some((slot, text)) = &explanation.instruction {
        notes.push(format!("instruction {slot}: {text}"));
    }
    let mut refusal = Group::with_title(Level::ERROR.primary_title(message.as_str()).id(class.id));
    refusal = refusal.elements(
        explanation
            .place
            .iter()
            .map(|place| snippet(place, AnnotationKind::Primary, label.as_deref())),
    );
    refusal = refusal.elements(notes.iter().map(|note| Level::NOTE.message(note.as_str())));
    let mut groups = vec![refusal];
    for step in path {
        let title = Level::NOTE.secondary_title(step.text.as_str());
        let place = step.place.iter();
        groups.push(
            Group::with_title(title)
                .elements(place.map(|place| snippet(place, AnnotationKind::Context, None))),
        );
    }
    let help = help(explanation);
    let place = suggestion.as_ref().and_then(|suggestion| suggestion.place.as_ref());
    groups.push(
        Group::with_title(Level::HELP.secondary_title(help.as_str()))
            .elements(place.map(|place| snippet(place, AnnotationKind::Context, None))),
    );
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    renderer.render(&groups) + "\n"
}

fn snippet<'a>(place: &'a Place, kind: AnnotationKind, label: Option<&'a str>) -> Element<'a> {
    let std::ops::Range { start, end } = place.underlined;
    let annotation = kind.span(start..end.max(start)).label(label);
    Snippet::source(place.text.as_str())
        .path(place.file.as_str())
        .line_start(place.line as usize)
        .annotation(annotation)
        .into()
}

/// What to do.
fn help(explanation: &Explanation) -> String {
    match &explanation.suggestion {
        Some(suggestion) => {
            let place = match &suggestion.place {
                Some(place) => format!(" before what line {} does", place.line),
                None => String::new(),
            };
            format!("{}{place} ({})", suggestion.text, outcome(suggestion))
        }
        None => explanation.class.advice.to_owned(),
    }
}

fn outcome(suggestion: &Suggestion) -> String {
    match &suggestion.then {
        None => "verified: the program is accepted with it".into(),
        Some(then) => {
            format!("verified: the program comes past this; what is refused next: {then}")
        }
    }
}

/// The value of `explanation`.
pub(super) fn as_json(explanation: &Explanation) -> Value {
    let Explanation { class, message, needs, proven, witness, path, suggestion, .. } = explanation;
    json!({
        "id": class.id,
        "title": class.title,
        "message": message,
        "place": explanation.place.as_ref().map(place),
        "slot": explanation.instruction.as_ref().map(|(slot, _)| slot),
        "instruction": explanation.instruction.as_ref().map(|(_, text)| text),
        "needs": needs,
        "proven": proven,
        "witness": witness,
        "path": path.iter().map(|step| json!({
            "slot": step.slot,
            "place": step.place.as_ref().map(place),
            "text": step.text,
        })).collect::<Vec<Value>>(),
        "advice": explanation.advice,
        "suggestion": suggestion.as_ref().map(|suggestion| json!({
            "text": suggestion.text,
            "place": suggestion.place.as_ref().map(place),
            "before_slot": suggestion.inserted.as_ref().map(|(slot, _)| slot),
            "instructions": suggestion.inserted.as_ref().map(|(_, lines)| lines),
            "accepted": suggestion.is_accepted(),
            "then": suggestion.then,
        })),
    })
}

/// A place in the source.
pub(super) fn place(place: &Place) -> Value {
    json!({
        "file": place.file,
        "line": place.line,
        "column": place.column,
        "text": place.text,
        "underlined": [place.underlined.start, place.underlined.end],
    })
}
