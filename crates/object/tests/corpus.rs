//! Every object below the directory that `BPF_CORPUS` names is opened: none makes the reader panic,
//! what is refused is listed, and what is written again specifies the same.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

fn objects(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            objects(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "o" || extension == "elf") {
            found.push(path);
        }
    }
}

#[test]
fn corpus() {
    let Some(root) = std::env::var_os("BPF_CORPUS") else {
        println!("skipped: BPF_CORPUS does not name a directory with objects");
        return;
    };
    let mut paths = Vec::new();
    objects(Path::new(&root), &mut paths);
    paths.sort();
    let (mut programs, mut insns, mut bytes) = (0, 0, 0);
    let mut refused: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut different = Vec::new();
    let start = Instant::now();
    for path in &paths {
        let data = fs::read(path).unwrap();
        bytes += data.len();
        let name = path.file_name().unwrap().to_string_lossy();
        match bombus_object::open_named(&data, &name) {
            Ok(spec) => {
                if let Err(reason) = support::written(&data) {
                    different.push(format!("{name}: {reason}"));
                }
                programs += spec.programs.len();
                insns += spec.programs.iter().map(|program| program.insns.len()).sum::<usize>();
                if std::env::var_os("BPF_DUMP").is_some() {
                    println!("{}", support::dump(&spec));
                }
            }
            Err(error) => {
                let paths = refused.entry(error.to_string()).or_default();
                paths.push(path.strip_prefix(&root).unwrap().display().to_string());
            }
        }
    }
    let time = start.elapsed();
    let opened = paths.len() - refused.values().map(Vec::len).sum::<usize>();
    println!(
        "{opened} of {} opened: {programs} programs, {insns} slots, {bytes} bytes in {time:?}",
        paths.len()
    );
    for (reason, paths) in refused {
        println!("{}: {reason}", paths.join(" "));
    }
    assert!(different.is_empty(), "written again:\n{}", different.join("\n"));
}
