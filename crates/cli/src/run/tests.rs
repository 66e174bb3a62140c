//! Types to values and back, records and places, without a kernel.

use bombus_btf::{Btf, TypeId};
use bombus_spec::ObjectSpec;

use super::place::Place;
use super::record::Records;
use super::{decode, literal};

fn object() -> (ObjectSpec, Btf) {
    let object = bombus_object::open(include_bytes!("../../tests/run/objects/chdir.o"));
    let object = object.expect("an object");
    let btf = Btf::parse(object.btf.clone().expect("types")).expect("types");
    (object, btf)
}

fn variable(object: &ObjectSpec, name: &str) -> TypeId {
    let variable = object.variables.iter().find(|variable| variable.name == name);
    TypeId(variable.expect("a variable").type_id)
}

/// What is written is read again.
#[test]
fn values_both_ways() {
    let (object, btf) = object();
    let event = Records::new(&btf, &object).named("struct event").expect("a structure");
    for (id, text, shown) in [
        (variable(&object, "serial"), "0x10", "16"),
        (variable(&object, "serial"), "'a'", "97"),
        (variable(&object, "total"), "-5", "-5"),
        (variable(&object, "total"), "0b101", "5"),
        (variable(&object, "total"), "010", "8"),
        (variable(&object, "kind"), "KIND_CHDIR", "\"KIND_CHDIR\""),
        (variable(&object, "kind"), "2", "2"),
        (variable(&object, "wanted"), "/tmp", "\"/tmp\""),
        (variable(&object, "wanted"), "\"[a]\"", "\"[a]\""),
        (variable(&object, "depths"), "[1, \"-0x2\"]", "[1, -2, 0, 0]"),
        (
            event,
            r#"{"path": "x"}"#,
            r#"{place: {serial: 0, kind: "KIND_NONE", loud: 0, depth: 0}, length: 0, path: "x"}"#,
        ),
    ] {
        let bytes = literal::bytes(&btf, id, text).unwrap_or_else(|why| panic!("{text}: {why}"));
        assert_eq!(decode::text(&decode::value(&btf, id, &bytes)), shown, "{text}");
    }
}

#[test]
fn values_that_do_not_fit() {
    let (object, btf) = object();
    for (name, text) in [
        ("serial", "4294967296"),
        ("serial", "-1"),
        ("serial", "+1"),
        ("serial", ""),
        ("serial", "[1]"),
        ("total", "9223372036854775808"),
        ("total", "99999999999999999999999"),
        ("kind", "KIND"),
        ("wanted", "a text of 24 characters."),
        ("wanted", "{}"),
        ("depths", "[1,2,3,4,5]"),
        ("depths", "[[1]]"),
        ("depths", "1"),
    ] {
        let outcome = literal::bytes(&btf, variable(&object, name), text);
        assert!(outcome.is_err(), "{name}={text}: {outcome:?}");
    }
}

/// Whatever the bytes, there is a value, and what is missing is not made up.
#[test]
fn records_that_are_cut_off() {
    let (object, btf) = object();
    let event = Records::new(&btf, &object).named("event").expect("a structure");
    let bytes: Vec<u8> = (0..36).map(|byte| byte * 7).collect();
    let texts: Vec<String> =
        (0..=36).map(|end| decode::text(&decode::value(&btf, event, &bytes[..end]))).collect();
    assert!(texts[0].starts_with("{place: {serial: ?, kind: ?"), "{}", texts[0]);
    assert!(texts[4].starts_with("{place: {serial: 353240832, kind: ?"), "{}", texts[4]);
    assert!(texts.iter().all(|text| text.contains("path: ")));
}

#[test]
fn the_type_of_a_record() {
    let (object, btf) = object();
    let records = Records::new(&btf, &object);
    let name = |id: Option<TypeId>| id.map(|id| btf.name(id).to_owned());
    assert_eq!(name(records.of_size(36, 0)).as_deref(), Some("event"));
    // A perf buffer's record is rounded up.
    assert_eq!(name(records.of_size(44, 0)), None);
    assert_eq!(name(records.of_size(44, 8)).as_deref(), Some("event"));
    // That is the key of a map, and no record.
    assert_eq!(name(records.of_size(8, 0)), None);
}

#[test]
fn places() {
    let program = |text: &str| Place::parse(text).map(|place| place.program);
    assert_eq!(program("xdp:eth0"), Ok(None));
    assert_eq!(program("a=tp:syscalls/sys_enter_openat"), Ok(Some("a".to_owned())));
    // A sign of equality behind the first colon is part of a name.
    assert_eq!(program("uprobe:/tmp/a=b:main"), Ok(None));
    assert!(program("eth0").is_err());
    assert!(program("a=eth0:x").is_err());
}
