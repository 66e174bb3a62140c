//! `--set`: global variables, and elements of maps.

use bombus_btf::{Btf, TypeId};
use bombus_kernel::Loader;
use bombus_spec::ObjectSpec;

use super::literal::{self, with_nearest};
use crate::failure::Failure;

/// A map and a key, if it is an element that is named: `MAP[KEY]`.
fn element(name: &str) -> Option<(&str, &str)> {
    name.strip_suffix(']')?.split_once('[')
}

/// `NAME=VALUE` or `MAP[KEY]=VALUE`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let end = match (text.find('['), text.find("]=")) {
        (Some(start), Some(end)) if start < text.find('=').unwrap_or(0) => Some(end + 1),
        _ => text.find('='),
    };
    match end.map(|end| text.split_at(end)) {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value[1..].to_owned())),
        _ => Err("must be NAME=VALUE or MAP[KEY]=VALUE".to_owned()),
    }
}

/// Has the maps of the object start with the elements that are set.
pub(super) fn elements(
    object: &mut ObjectSpec,
    btf: Option<&Btf>,
    set: &[(String, String)],
) -> Result<(), Failure> {
    for (name, text) in set {
        let Some((map, key)) = element(name) else { continue };
        let found = object.maps.iter().position(|spec| spec.name == map);
        let Some(found) = found else {
            let names = object.maps.iter().map(|spec| spec.name.as_str());
            let message = with_nearest(&format!("the object has no map {map}"), map, names);
            return Err(Failure::new(message));
        };
        let spec = &mut object.maps[found];
        let wrong = |why: &str| Failure::new(format!("--set {name}={text}: {why}"));
        if spec.key_size == 0 || spec.value_size == 0 {
            return Err(wrong("the map has no elements"));
        }
        if spec.map_type.is_per_cpu() {
            return Err(wrong("each CPU has a value of its own"));
        }
        let bytes = |type_id, size, text| bytes(btf, type_id, size, text);
        let key = bytes(spec.key_type, spec.key_size, key);
        let key = key.map_err(|why| wrong(&format!("the key: {why}")))?;
        let value = bytes(spec.value_type, spec.value_size, text).map_err(|why| wrong(&why))?;
        spec.contents.push((key, value));
    }
    Ok(())
}

/// Has the object be loaded with the variables that are set.
pub(super) fn variables<'a>(
    mut loader: Loader<'a>,
    object: &ObjectSpec,
    btf: Option<&Btf>,
    set: &[(String, String)],
) -> Result<Loader<'a>, Failure> {
    for (name, text) in set.iter().filter(|(name, _)| element(name).is_none()) {
        let variable = object.variables.iter().find(|variable| variable.name == *name);
        let variable = variable.ok_or_else(|| {
            let names = object.variables.iter().map(|variable| variable.name.as_str());
            Failure::new(with_nearest(&format!("there is no global variable {name}"), name, names))
        })?;
        let bytes = bytes(btf, variable.type_id, variable.size, text);
        let bytes = bytes.map_err(|why| Failure::new(format!("--set {name}={text}: {why}")))?;
        loader = loader.set(name, &bytes);
    }
    Ok(loader)
}

/// The bytes of a value, by its type if it has one.
fn bytes(btf: Option<&Btf>, type_id: u32, size: u32, text: &str) -> Result<Vec<u8>, String> {
    match btf {
        Some(btf) if type_id != 0 => literal::bytes(btf, TypeId(type_id), text),
        _ => literal::untyped(size as usize, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values() {
        let split = |text: &str| pair(text).map(|(name, value)| format!("{name} {value}"));
        assert_eq!(split("a=b=c").as_deref(), Ok("a b=c"));
        assert_eq!(split("a=[1]=").as_deref(), Ok("a [1]="));
        assert_eq!(split("m[{\"k\": \"a=b\"}]=[1]").as_deref(), Ok("m[{\"k\": \"a=b\"}] [1]"));
        assert_eq!(element("m[[1, 2]]"), Some(("m", "[1, 2]")));
        assert!(split("a").is_err() && split("=1").is_err());
    }
}
