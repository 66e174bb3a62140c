//! Values as their types say, in each style: the variables of `value/variables.c`. What is expected of
//! JSON and of the plain style is what bpftool shows of the loaded program's map.

mod common;

use std::fmt::Write;

use bombus_btf::value::{Style, ValueError, to_string};
use bombus_btf::{Btf, Kind, TypeId};
use common::{compile, section};
use expect_test::expect_file;

#[test]
fn variables() {
    let Some(object) = compile("value/variables.c") else { return };
    let btf = Btf::parse(section(&object, ".BTF")).unwrap();
    let data = section(&object, ".data");
    let ty = btf.find(Kind::Struct, "all").unwrap();
    let size = btf.size_of(ty).unwrap() as usize;
    let mut text = String::new();
    for style in [Style::C, Style::Json, Style::Plain(0), Style::PrettyJson(1)] {
        writeln!(text, "-- {style:?}").unwrap();
        writeln!(text, "{}", to_string(&btf, ty, &data[..size], style).unwrap()).unwrap();
    }
    expect_file!["value/variables.txt"].assert_eq(&text);
    for len in [0, 1, size / 2, size - 4] {
        let short = to_string(&btf, ty, &data[..len], Style::C);
        assert!(matches!(short, Err(ValueError::Short { found, .. }) if found == len));
    }
    let error = to_string(&btf, TypeId::VOID, &data, Style::C);
    assert_eq!(error, Err(ValueError::NoValue(TypeId::VOID)));
}
