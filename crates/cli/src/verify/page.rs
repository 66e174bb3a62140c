//! The page to browse what is known at each instruction: one file, with nothing to be fetched.

use std::path::Path;

use bombus_kernel::{Error, Proved};
use bombus_spec::ProgramSpec;
use bombus_verifier::explain::Visit;
use serde_json::{Value, json};

use super::explained;

/// The page, with a place for the data.
const PAGE: &str = include_str!("page.html");

/// What the page has of a program.
pub(super) fn program(program: &ProgramSpec, outcome: &Result<Proved, Error>) -> Value {
    let mut value = json!({
        "program": program.name,
        "section": program.section,
        "verdict": "reject",
        "rows": [],
        "visits": [],
        "path": [],
    });
    let proved = match outcome {
        Ok(proved) => proved,
        Err(error) => {
            value["reason"] = error.to_string().into();
            return value;
        }
    };
    match &proved.verdict.result {
        Ok(()) => value["verdict"] = "accept".into(),
        Err(rejection) => value["reason"] = super::reason(rejection).into(),
    }
    if let Some(explanation) = &proved.explanation {
        value["explanation"] = explained::as_json(explanation);
    }
    let Some(states) = &proved.states else { return value };
    let row = |row: &bombus_verifier::explain::Row| {
        json!({
            "slot": row.slot,
            "text": row.text,
            "place": row.place.as_ref().map(explained::place),
            "count": row.count,
        })
    };
    let visit = |visit: &Visit| json!({ "slot": visit.slot, "frames": visit.frames });
    value["rows"] = states.rows.iter().map(row).collect();
    value["visits"] = states.visits.iter().map(visit).collect();
    value["path"] = states.path.clone().into();
    value
}

/// The whole page.
pub(super) fn page(object: &Path, programs: &[Value]) -> String {
    let name = object.file_name().unwrap_or_default().to_string_lossy();
    let data = json!({ "object": name, "programs": programs }).to_string();
    // Nothing in it ends the script.
    let data = data.replace('<', "\\u003c");
    PAGE.replace("\"DATA\"", &data)
}
