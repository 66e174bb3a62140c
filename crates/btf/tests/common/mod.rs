//! What several tests share.

use std::path::{Path, PathBuf};
use std::process::Command;

use object::{Object, ObjectSection};

/// Compiles one of the tests' sources for BPF; `None` when there is no clang.
pub(crate) fn compile(source: &str) -> Option<Vec<u8>> {
    let object = compile_to_file(source)?;
    let bytes = std::fs::read(&object).unwrap();
    std::fs::remove_file(&object).unwrap();
    Some(bytes)
}

/// The same into a file, which it is up to the caller to remove.
pub(crate) fn compile_to_file(source: &str) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(source);
    let stem = source.file_stem().unwrap().to_string_lossy().into_owned();
    // Tests run at the same time.
    let name = format!("bombus-{stem}-{}-{:?}.o", std::process::id(), std::thread::current().id());
    let object = std::env::temp_dir().join(name);
    let mut clang = Command::new("clang-19");
    clang.args(["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-c", "-o"]);
    match clang.arg(&object).arg(&source).output() {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Some(object)
        }
        Err(error) => {
            println!("skipped: clang-19: {error}");
            None
        }
    }
}

/// The data of a section.
pub(crate) fn section(file: &[u8], name: &str) -> Vec<u8> {
    let file = object::File::parse(file).unwrap();
    file.section_by_name(name).unwrap().data().unwrap().to_vec()
}
