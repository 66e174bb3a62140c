//! `bombus verify` from outside. `mistakes.txt` has commands and what they answer; `explain/*.txt` the
//! explanations of what is refused in the objects beside them (`BLESS=1` writes what came out).

mod page;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bombus_btf::{Builder, Linkage, Member, TypeId};
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;

fn main() {
    let text = std::fs::read_to_string(tests().join("verify/mistakes.txt")).expect("the cases");
    let mistakes = text.split("$ ").skip(1).map(str::to_owned).map(|case| {
        let name = case.lines().next().unwrap_or_default().to_owned();
        Trial::test(name, move || mistake(&case))
    });
    let mut trials: Vec<Trial> = mistakes.collect();
    trials.push(Trial::test("one object a program", one_object_a_program));
    trials.push(Trial::test("text and exit code agree", text_and_exit_code_agree));
    trials.push(Trial::test("kernels that are older", kernels_that_are_older));
    for object in ["memory", "rules", "closed", "functions"] {
        trials.push(Trial::test(format!("explanations of {object}"), || explanations(object)));
    }
    trials.push(Trial::test("explanations as JSON", explanations_as_json));
    trials.push(Trial::test("the page", page::shows_states));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn verify(args: &[&str]) -> std::io::Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bombus"));
    command.arg("verify").args(args).current_dir(tests()).output()
}

/// A command that cannot be carried out: what it says, and that it fails.
fn mistake(case: &str) -> Result<(), Failed> {
    let (args, expected) = case.split_once('\n').unwrap_or((case, ""));
    let output = verify(&args.split_whitespace().collect::<Vec<_>>())?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let here = tests().display().to_string();
    if said.replace(&here, "HERE").trim() != expected.trim() || output.status.code() != Some(1) {
        return Err(format!("{}, and it said: {said}", output.status).into());
    }
    Ok(())
}

fn one_object_a_program() -> Result<(), Failed> {
    let output = verify(&["run/objects/wire.o", "-f", "json"])?;
    let text = String::from_utf8(output.stdout)?;
    let rows = text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    if rows.is_empty() {
        return Err("no programs".into());
    }
    let keys = ["program", "section", "verdict", "errno", "insns", "processed", "log"];
    for row in &rows {
        let found: Vec<&String> = row.as_object().ok_or("no object")?.keys().collect();
        if found != keys {
            return Err(format!("{found:?}").into());
        }
        let accepted = row["verdict"] == "accept";
        if accepted != (row["errno"] == 0) || row["insns"].as_u64() == Some(0) {
            return Err(format!("{row}").into());
        }
    }
    let all = rows.iter().all(|row| row["verdict"] == "accept");
    if output.status.code() != Some(i32::from(!all)) {
        return Err(format!("{} after {text}", output.status).into());
    }
    Ok(())
}

fn text_and_exit_code_agree() -> Result<(), Failed> {
    // It reads through a pointer that may be null.
    let output = verify(&["run/objects/refused.o"])?;
    let text = String::from_utf8(output.stdout)?;
    if output.status.code() != Some(1) || !text.contains(": refused: ") {
        return Err(format!("{}: {text}", output.status).into());
    }
    Ok(())
}

/// What a kernel does not have yet is refused with the version that brought it.
fn kernels_that_are_older() -> Result<(), Failed> {
    let cases = [
        ("4.6", Some("Linux 4.6 has no programs of type tracepoint; they came with 4.7")),
        ("5.4", Some("Linux 5.4 has no maps of type ringbuf, as events is; they came with 5.8")),
        ("6.12", None),
    ];
    for (kernel, complaint) in cases {
        let output = verify(&["run/objects/chdir.o", "--kernel", kernel])?;
        let text = String::from_utf8(output.stdout)?;
        let said = complaint.is_none_or(|complaint| text.contains(complaint));
        if output.status.success() != complaint.is_none() || !said {
            return Err(format!("{kernel}: {}: {text}", output.status).into());
        }
    }
    Ok(())
}

/// A kernel with no types but those that the objects name: a file, removed when this is dropped.
struct Kernel(PathBuf);

impl Kernel {
    fn new(name: &str) -> std::io::Result<Kernel> {
        let mut types = Builder::new();
        let int = types.int("int", 4, true);
        let nothing = types.func_proto(TypeId::VOID, &[]);
        for name in [
            "bpf_rcu_read_lock",
            "bpf_rcu_read_unlock",
            "bpf_preempt_disable",
            "bpf_preempt_enable",
        ] {
            types.func(name, nothing, Linkage::Static);
        }
        let long = types.int("unsigned long", 8, false);
        let flags = types.ptr(long);
        let opaque = types.array(long, int, 1);
        let opaque = Member { name: "__opaque", ty: opaque, bit_offset: 0, bit_size: 0 };
        let iterator = types.structure("bpf_iter_num", 8, &[opaque]);
        let iterator = types.ptr(iterator);
        let packet = types.structure("xdp_md", 24, &[]);
        let dynptr = types.structure("bpf_dynptr", 16, &[]);
        let (packet, dynptr) = (types.ptr(packet), types.ptr(dynptr));
        let number = types.ptr(int);
        let functions = [
            ("bpf_local_irq_save", TypeId::VOID, vec![("flags__irq_flag", flags)]),
            ("bpf_local_irq_restore", TypeId::VOID, vec![("flags__irq_flag", flags)]),
            ("bpf_iter_num_new", int, vec![("it", iterator), ("start", int), ("end", int)]),
            ("bpf_iter_num_next", number, vec![("it", iterator)]),
            ("bpf_iter_num_destroy", TypeId::VOID, vec![("it", iterator)]),
            (
                "bpf_dynptr_from_xdp",
                int,
                vec![("x", packet), ("flags", long), ("ptr__uninit", dynptr)],
            ),
        ];
        for (name, result, arguments) in functions {
            let proto = types.func_proto(result, &arguments);
            types.func(name, proto, Linkage::Static);
        }
        let traced = types.func_proto(int, &[("descriptor", int)]);
        types.func("do_unlinkat", traced, Linkage::Static);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.btf"));
        std::fs::write(&path, types.finish())?;
        Ok(Kernel(path))
    }

    fn verify(&self, args: &[&str]) -> Result<Output, Failed> {
        let types = self.0.to_str().ok_or("a path that is no text")?;
        let args = [args, &["--kernel", "7.3", "--kernel", types]].concat();
        Ok(verify(&args)?)
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn explanations(object: &str) -> Result<(), Failed> {
    let kernel = Kernel::new(object)?;
    let output = kernel.verify(&[&format!("verify/explain/{object}.o"), "--explain"])?;
    let said = String::from_utf8(output.stdout)?;
    let path = tests().join(format!("verify/explain/{object}.txt"));
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, said)?;
    } else if std::fs::read_to_string(&path)? != said {
        return Err(format!("{} is not what was said:\n{said}", path.display()).into());
    }
    Ok(())
}

fn explanations_as_json() -> Result<(), Failed> {
    let kernel = Kernel::new("json")?;
    let args = ["verify/explain/memory.o", "--explain", "-f", "json", "--prog", "map_value_bounds"];
    let output = kernel.verify(&args)?;
    let row: Value = serde_json::from_slice(&output.stdout)?;
    let explanation = &row["explanation"];
    let keys = [
        "id",
        "title",
        "message",
        "place",
        "slot",
        "instruction",
        "needs",
        "proven",
        "witness",
        "path",
        "advice",
        "suggestion",
    ];
    let found: Vec<&String> = explanation.as_object().ok_or("no object")?.keys().collect();
    if found != keys {
        return Err(format!("{found:?}").into());
    }
    let place = &explanation["place"];
    let is_right = explanation["id"] == "map-value-bounds"
        && explanation["needs"] == "i <= 63"
        && place["file"] == "./memory.c"
        && place["text"].as_str().is_some_and(|text| text.contains("t->cells[i]"))
        && explanation["suggestion"]["accepted"] == true
        && explanation["path"].as_array().is_some_and(|path| path.len() > 1);
    // Whoever does not ask gets none.
    let plain = kernel.verify(&["verify/explain/memory.o", "-f", "json", "--prog", "read_only"])?;
    let plain: Value = serde_json::from_slice(&plain.stdout)?;
    match is_right && plain.get("explanation").is_none() {
        true => Ok(()),
        false => Err(format!("{explanation:#}").into()),
    }
}
