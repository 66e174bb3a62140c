//! What the builder makes: byte for byte, as the reader sees it, and as bpftool sees it.

use std::process::Command;

use bombus_btf::{Builder, FuncInfo, Kind, LineInfo, Linkage, Member, Reader, ReaderError, TypeId};
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
            Member { name: "time", ty: long, bit_offset: 0 },
            Member { name: "args", ty: array, bit_offset: 64 },
        ],
    );
    btf
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
    let blob = program().finish();
    let reader = Reader::new(&blob).unwrap();
    let types = reader.types().map(|ty| {
        let name = String::from_utf8_lossy(ty.name());
        format!("[{}] {} '{name}' {} {}\n", ty.id, ty.kind.name(), ty.count, ty.size_or_type)
    });
    expect![[r#"
        [1] INT 'int' 0 4
        [2] INT 'unsigned long' 0 8
        [3] PTR '' 0 0
        [4] FUNC_PROTO '' 1 1
        [5] FUNC 'entry' 1 4
        [6] FUNC_PROTO '' 2 2
        [7] FUNC 'callback' 0 6
        [8] ARRAY '' 0 0
        [9] STRUCT 'record' 2 40
    "#]]
    .assert_eq(&types.collect::<String>());
    assert_eq!(reader.find(Kind::Func, "callback"), Some(7));
    assert_eq!(reader.find(Kind::Func, "call"), None);
    assert_eq!(reader.find(Kind::Struct, "callback"), None);
}

/// A module's blob: two types, with one name of its own and one of the base's.
#[test]
fn split_blobs_go_on_where_the_base_ends() {
    let blob = program().finish();
    let base = Reader::new(&blob).unwrap();
    let word = |at: usize| u32::from_le_bytes(blob[at..at + 4].try_into().unwrap());
    let base_strings = word(20);
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut split: Vec<u8> = words(&[word(0), 24, 0, 24, 24, 5]);
    let typedef = (Kind::Typedef as u32) << 24;
    split.extend::<Vec<u8>>(words(&[base_strings, typedef, 1, 1, typedef, 10]));
    split.extend(b"mine\0");
    let module = Reader::split(&split, &base, base.next_id()).unwrap();
    let types: Vec<(u32, &[u8])> = module.types().map(|ty| (ty.id, ty.name())).collect();
    assert_eq!(types, [(10, b"mine".as_slice()), (11, b"int")]);
    assert_eq!(module.find(Kind::Typedef, "mine"), Some(10));
    assert_eq!(module.next_id(), 12);
}

#[test]
fn what_is_not_btf() {
    let blob = program().finish();
    assert_eq!(Reader::new(&[]).unwrap_err(), ReaderError::Truncated);
    assert_eq!(Reader::new(&[0; 24]).unwrap_err(), ReaderError::NotBtf);
    assert_eq!(Reader::new(&blob[..blob.len() - 1]).unwrap_err(), ReaderError::Truncated);
    let mut newer = blob;
    newer[2] = 2;
    assert_eq!(Reader::new(&newer).unwrap_err(), ReaderError::Version(2));
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
    .assert_eq(&dump);
}

/// The running kernel's own types: every number, kind and name as bpftool has it.
#[test]
fn running_kernel() {
    const PATH: &str = "/sys/kernel/btf/vmlinux";
    let Ok(blob) = std::fs::read(PATH) else {
        println!("skipped: {PATH} cannot be read");
        return;
    };
    let reader = Reader::new(&blob).unwrap();
    let Some(dump) = bpftool_dump(PATH) else { return };
    let theirs = dump.lines().filter(|line| line.starts_with('['));
    let mut ours = reader.types();
    let mut count = 0;
    for theirs in theirs {
        let ty = ours.next().unwrap_or_else(|| panic!("no more types, but there is {theirs}"));
        let name = String::from_utf8_lossy(ty.name());
        let name = if name.is_empty() { "(anon)".into() } else { name };
        let start = format!("[{}] {} '{name}'", ty.id, ty.kind.name());
        assert!(theirs.starts_with(&start), "ours: {start}\nbpftool: {theirs}");
        count += 1;
    }
    assert!(ours.next().is_none(), "bpftool has {count} types, we have more");
    assert!(count > 1000, "a kernel has more than {count} types");
    assert!(reader.find(Kind::Typedef, "btf_trace_sys_enter").is_some());
    let map_types = reader.types().find(|ty| ty.is_named("bpf_map_type")).unwrap();
    let values: Vec<_> = reader.enumerators(&map_types).take(2).collect();
    assert_eq!(values, [(&b"BPF_MAP_TYPE_UNSPEC"[..], 0), (b"BPF_MAP_TYPE_HASH", 1)]);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(mut bytes: Vec<u8>) {
        let _ = Reader::new(&bytes).map(|reader| reader.types().count());
        // A good header before anything.
        let mut blob = program().finish();
        blob.truncate(24);
        blob[12..16].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
        blob[16..20].copy_from_slice(&0_u32.to_le_bytes());
        blob[20..24].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
        blob.append(&mut bytes);
        let reader = Reader::new(&blob).unwrap();
        prop_assert!(reader.types().count() <= blob.len() / 12);
        reader.find(Kind::Int, "int");
    }
}
