//! What the builder makes: byte for byte, as the reader sees it, and as bpftool sees it.

use std::process::Command;
use std::sync::Arc;

use bombus_btf::{
    Btf, Builder, FuncInfo, Kind, LineInfo, Linkage, Member, ParseError, Type, TypeId, raw,
};
use expect_test::expect;
use proptest::prelude::*;

fn program() -> Builder {
    let mut btf = Builder::new();
    let int = btf.int("int", 4, true);
    let long = btf.int("unsigned long", 8, false);
    let ctx = btf.ptr(TypeId::VOID);
    let proto = btf.func_proto(int, &[("ctx", ctx)]);
    btf.func("entry", proto, Linkage::Global);
    let callback = btf.func_proto(long, &[("map", ctx), ("key", ctx)]);
    btf.func("callback", callback, Linkage::Static);
    let array = btf.array(long, int, 4);
    btf.structure(
        "record",
        40,
        &[
            Member { name: "time", ty: long, ..Member::default() },
            Member { name: "args", ty: array, bit_offset: 64, bit_size: 0 },
        ],
    );
    btf
}

/// What [`program`] makes, as bpftool prints it.
fn listing() -> expect_test::Expect {
    expect![[r#"
        [1] INT 'int' size=4 bits_offset=0 nr_bits=32 encoding=SIGNED
        [2] INT 'unsigned long' size=8 bits_offset=0 nr_bits=64 encoding=(none)
        [3] PTR '(anon)' type_id=0
        [4] FUNC_PROTO '(anon)' ret_type_id=1 vlen=1
        	'ctx' type_id=3
        [5] FUNC 'entry' type_id=4 linkage=global
        [6] FUNC_PROTO '(anon)' ret_type_id=2 vlen=2
        	'map' type_id=3
        	'key' type_id=3
        [7] FUNC 'callback' type_id=6 linkage=static
        [8] ARRAY '(anon)' type_id=2 index_type_id=1 nr_elems=4
        [9] STRUCT 'record' size=40 vlen=2
        	'time' type_id=2 bits_offset=0
        	'args' type_id=8 bits_offset=64
    "#]]
}

fn hex(bytes: &[u8]) -> String {
    let rows = bytes.chunks(16).map(|row| {
        let row = row.iter().map(|byte| format!("{byte:02x}"));
        row.collect::<Vec<_>>().join(" ") + "\n"
    });
    rows.collect()
}

#[test]
fn layout() {
    let mut btf = Builder::new();
    let int = btf.int("int", 4, true);
    let proto = btf.func_proto(int, &[("ctx", TypeId::VOID)]);
    btf.func("f", proto, Linkage::Global);
    expect![[r#"
        9f eb 01 00 18 00 00 00 00 00 00 00 30 00 00 00
        30 00 00 00 0b 00 00 00 01 00 00 00 00 00 00 01
        04 00 00 00 20 00 00 01 00 00 00 00 01 00 00 0d
        01 00 00 00 05 00 00 00 00 00 00 00 09 00 00 00
        01 00 00 0c 02 00 00 00 00 69 6e 74 00 63 74 78
        00 66 00
    "#]]
    .assert_eq(&hex(&btf.finish()));
}

#[test]
fn records() {
    let func = FuncInfo { insn: 0x102, func: TypeId(7) };
    assert_eq!(func.to_bytes(), [2, 1, 0, 0, 7, 0, 0, 0]);
    let line = LineInfo { insn: 3, file: 4, text: 5, line: 6, column: 7 };
    assert_eq!(line.to_bytes(), [3, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 7, 0x18, 0, 0]);
    let far = LineInfo { line: u32::MAX, column: 5000, ..line };
    assert_eq!(far.to_bytes()[12..], [0xff; 4]);
}

#[test]
fn the_same_is_added_once() {
    let mut btf = Builder::new();
    assert_eq!(btf.int("int", 4, true), btf.int("int", 4, true));
    assert_ne!(btf.int("int", 4, true), btf.int("unsigned int", 4, false));
    assert_eq!(btf.string("int"), 1);
    assert_eq!(btf.string("in\0t"), btf.string("in"));
    assert_eq!(btf.string(""), 0);
}

#[test]
fn reader_sees_what_was_built() {
    let btf = Btf::parse(program().finish()).unwrap();
    let mut text = String::new();
    raw::dump(&btf, &mut text).unwrap();
    listing().assert_eq(&text);
    assert_eq!(btf.find(Kind::Func, "callback"), Some(TypeId(7)));
    assert_eq!(btf.find(Kind::Func, "call"), None);
    assert_eq!(btf.find(Kind::Struct, "callback"), None);
    assert_eq!(btf.find(Kind::Struct, "record"), Some(TypeId(9)));
    let Some(Type::Struct(record)) = btf.ty(TypeId(9)) else { panic!("no structure") };
    assert_eq!(record.members.get(1).unwrap().bit_offset, 64);
    assert_eq!(btf.size_of(TypeId(8)), Some(32));
    assert_eq!(btf.align_of(TypeId(9)), Some(8));
    assert!(btf.ty(TypeId::VOID).is_none() && btf.ty(TypeId(10)).is_none());
}

/// A module's blob: two types, with one name of its own and one of the base's.
#[test]
fn split_blobs_go_on_where_the_base_ends() {
    let base = Arc::new(Btf::parse(program().finish()).unwrap());
    let mut module = Builder::split(Arc::clone(&base));
    assert_eq!(module.typedef("mine", TypeId(1)), TypeId(10));
    let pointer = module.ptr(TypeId(9));
    module.typedef("theirs", pointer);
    let module = Btf::parse_split(module.finish(), base).unwrap();
    let types: Vec<String> = module.ids().map(|id| module.display(id).to_string()).collect();
    let expected = [
        "[10] TYPEDEF 'mine' type_id=1",
        "[11] PTR '(anon)' type_id=9",
        "[12] TYPEDEF 'theirs' type_id=11",
    ];
    assert_eq!(types, expected);
    assert_eq!(module.find(Kind::Typedef, "mine"), Some(TypeId(10)));
    assert_eq!(module.find(Kind::Struct, "record"), Some(TypeId(9)));
    assert_eq!(module.next_id(), TypeId(13));
    // All of it, base and module, as one blob.
    let mut whole = Builder::new();
    let ids = whole.add_all(&module);
    assert_eq!(ids.get(TypeId(12)), TypeId(12));
    let whole = Btf::parse(whole.finish()).unwrap();
    for id in (1..13).map(TypeId) {
        assert_eq!(whole.display(id).to_string(), module.display(id).to_string());
    }
}

#[test]
fn what_is_not_btf() {
    let blob = program().finish();
    let error = |bytes: &[u8]| Btf::parse(bytes.to_vec()).unwrap_err();
    assert_eq!(error(&[]), ParseError::Truncated);
    assert_eq!(error(&[0; 24]), ParseError::NotBtf);
    assert_eq!(error(&[0xeb, 0x9f, 1]), ParseError::BigEndian);
    assert_eq!(error(&blob[..blob.len() - 1]), ParseError::Truncated);
    let changed = |at: usize, byte| {
        let mut blob = blob.clone();
        blob[at] = byte;
        error(&blob)
    };
    assert_eq!(changed(2, 2), ParseError::Version(2));
    assert_eq!(changed(24 + 7, 30), ParseError::UnknownKind { id: TypeId(1), kind: 30 });
    assert_eq!(changed(blob.len() - 1, b'x'), ParseError::Strings);
}

/// bpftool's reading of a blob, line by line; `None` when there is no bpftool.
fn bpftool_dump(path: &str) -> Option<String> {
    let output = match Command::new("bpftool").args(["btf", "dump", "file", path]).output() {
        Ok(output) => output,
        Err(error) => {
            println!("skipped: bpftool: {error}");
            return None;
        }
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn bpftool_sees_what_was_built() {
    let path = std::env::temp_dir().join(format!("bombus-btf-{}", std::process::id()));
    std::fs::write(&path, program().finish()).unwrap();
    let dump = bpftool_dump(&path.to_string_lossy());
    std::fs::remove_file(&path).unwrap();
    let Some(dump) = dump else { return };
    listing().assert_eq(&dump);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(mut bytes: Vec<u8>) {
        let _ = Btf::parse(bytes.clone()).map(|btf| btf.types().count());
        // A good header before anything.
        let mut blob = program().finish();
        blob.truncate(24);
        blob[12..16].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
        blob[16..20].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
        blob[20..24].copy_from_slice(&1_u32.to_le_bytes());
        blob.append(&mut bytes);
        blob.push(0);
        if let Ok(btf) = Btf::parse(blob.clone()) {
            prop_assert!(btf.types().count() <= blob.len() / 12);
            btf.find(Kind::Int, "int");
        }
    }
}
