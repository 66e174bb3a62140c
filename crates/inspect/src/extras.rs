//! What is known of an object from elsewhere: its pins, and who holds it.

use std::path::PathBuf;

use bombus_kernel::inspect::Holder;
use serde_json::{Map, Value, json};

/// What is known of an object from elsewhere.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Extras {
    /// Where it is pinned; `None`: nobody asked, or nothing of its kind is pinned.
    pub pins: Option<Vec<PathBuf>>,
    /// The processes that hold it open.
    pub holders: Vec<Holder>,
}

impl Extras {
    /// One line a pin, each with the line end before it.
    pub(crate) fn pins_text(&self) -> String {
        let pins = self.pins.iter().flatten();
        pins.map(|path| format!("\n\tpinned {}", path.display())).collect()
    }

    /// A line, with the line end before it.
    pub(crate) fn holders_text(&self) -> String {
        let holders: Vec<String> =
            self.holders.iter().map(|holder| format!("{}({})", holder.comm, holder.pid)).collect();
        if holders.is_empty() { String::new() } else { format!("\n\tpids {}", holders.join(", ")) }
    }

    pub(crate) fn add_to(&self, object: &mut Map<String, Value>) {
        if let Some(pins) = &self.pins {
            let pins = pins.iter().map(|path| Value::from(path.to_string_lossy().into_owned()));
            object.insert("pinned".into(), pins.collect());
        }
        if !self.holders.is_empty() {
            let holders = self
                .holders
                .iter()
                .map(|holder| json!({ "pid": holder.pid, "comm": holder.comm }))
                .collect();
            object.insert("pids".into(), holders);
        }
    }
}
