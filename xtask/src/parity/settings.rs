//! What some objects leave to their tools: sizes of maps, and what a program attaches to.
//!
//! A file says in each line `OBJECT map NAME max_entries|value_size NUMBER` or
//! `OBJECT program NAME attach_to FUNCTION`; `libbpf-oracle` reads the same. An object that has no
//! such map or program is not the one that was meant: that is an error.

use std::path::Path;

use bombus_spec::ObjectSpec;

/// Settings of all objects.
pub(crate) struct Settings(String);

impl Settings {
    /// Those of a file, or none.
    pub(crate) fn read(path: Option<&Path>) -> Result<Settings, String> {
        let Some(path) = path else { return Ok(Settings(String::new())) };
        let text = std::fs::read_to_string(path);
        text.map(Settings).map_err(|error| format!("{path:?}: {error}"))
    }

    /// Changes an object as its tool would.
    pub(crate) fn apply(&self, name: &str, object: &mut ObjectSpec) -> Result<(), String> {
        for line in self.0.lines() {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let [of, kind, part, field, value] = words[..] else { continue };
            if of == name {
                set(object, kind, part, field, value).ok_or_else(|| format!("settings: {line}"))?;
            }
        }
        Ok(())
    }
}

fn set(object: &mut ObjectSpec, kind: &str, part: &str, field: &str, value: &str) -> Option<()> {
    match (kind, field) {
        ("map", _) => {
            let map = object.maps.iter_mut().find(|map| map.name == part)?;
            match field {
                "max_entries" => map.max_entries = value.parse().ok()?,
                "value_size" => map.value_size = value.parse().ok()?,
                _ => return None,
            }
        }
        ("program", "attach_to") => {
            let program = object.programs.iter_mut().find(|program| program.name == part)?;
            program.attach_to = Some(value.to_owned());
        }
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use bombus_spec::{MapSpec, ObjectSpec};

    use super::Settings;

    #[test]
    fn only_what_is_there() {
        let map = MapSpec { name: "stacks".into(), ..MapSpec::default() };
        let mut object = ObjectSpec { maps: vec![map], ..ObjectSpec::default() };
        let settings = Settings("a map stacks value_size 1016\nb map none max_entries 1\n".into());
        settings.apply("a", &mut object).unwrap();
        assert_eq!(object.maps[0].value_size, 1016);
        assert!(settings.apply("b", &mut object).is_err());
    }
}
