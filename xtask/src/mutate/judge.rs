//! Who notices that the verifier is wrong: the exhaustive tests of the operators, what they know, runs
//! of random programs, and the snapshots.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::copy::Copy;
use super::{Class, Mutant, Verdict};

/// What is fuzzed.
const FUZZED: [&str; 8] = ["--count", "600", "--runs", "25", "--seed", "3", "--brief", "1"];
/// What takes so many times more of a processor than without a mutant hangs, and so much.
const HANG: (u32, Duration) = (5, Duration::from_secs(10));

/// One of so many numbers is looked at by exhaustive tests, which else would take minutes. Where the
/// same is known of the same numbers ([`Class::Precision`]), it is as sound as it was.
const SAMPLE: &str = "11";

/// One of those who judge.
struct Judge {
    class: Class,
    program: std::path::PathBuf,
    args: Vec<String>,
    /// The name of a test; for others what they say names what they found.
    name: String,
    /// Whether only mutants of operators are its business.
    of_operators: bool,
    limit: Duration,
}

/// All of them.
pub(super) struct Judges {
    list: Vec<Judge>,
    folder: std::path::PathBuf,
    /// What the fuzzer says without a mutant.
    known: String,
}

impl Judges {
    /// Sees how long each takes without a mutant, in which nobody may find anything.
    pub(super) fn new(copy: &Copy, with_operators: bool) -> Result<Judges, String> {
        let mut judges =
            Judges { list: Vec::new(), folder: copy.verifier.clone(), known: String::new() };
        for (test, class) in [("operators", Class::Exhaustive), ("precision", Class::Precision)] {
            let program = copy.test(test)?;
            let listed = Command::new(program).arg("--list").output();
            let listed = listed.map_err(|error| format!("{test}: {error}"))?.stdout;
            for name in String::from_utf8_lossy(&listed).lines().filter(|_| with_operators) {
                let Some(name) = name.strip_suffix(": test") else { continue };
                let args = ["--exact", name, "--test-threads=1"].map(String::from).to_vec();
                judges.add(class, program, args, name, true)?;
            }
        }
        // Mistakes before what is only known otherwise, and what is quick before what is slow.
        judges.list.sort_by_key(|judge| (judge.class == Class::Precision, judge.limit));
        judges.add(Class::Fuzzer, &copy.fuzzer, FUZZED.map(String::from).to_vec(), "", false)?;
        let one_thread = vec!["--test-threads=1".into()];
        judges.add(Class::Snapshot, copy.test("code")?, one_thread, "", false)?;
        Ok(judges)
    }

    fn add(
        &mut self,
        class: Class,
        program: &Path,
        args: Vec<String>,
        name: &str,
        of_operators: bool,
    ) -> Result<(), String> {
        let (program, name) = (program.to_owned(), name.to_owned());
        let limit = Duration::from_secs(600);
        let mut judge = Judge { class, program, args, name, of_operators, limit };
        let (code, said, time) = judge.run(0, &self.folder)?;
        println!("without a mutant: {} {}: {:.1} s", class.name(), judge.name, time.as_secs_f64());
        if code != Some(0) {
            return Err(format!("without a mutant: {} {}:\n{said}", class.name(), judge.name));
        }
        if class == Class::Fuzzer {
            self.known = last_line(&said).to_owned();
        }
        judge.limit = time * HANG.0 + HANG.1;
        self.list.push(judge);
        Ok(())
    }

    /// The first who notices.
    pub(super) fn judge(&self, mutant: &Mutant) -> Result<Verdict, String> {
        let mut differs = None;
        for judge in self.list.iter().filter(|judge| mutant.is_deep || !judge.of_operators) {
            let (code, said, _) = judge.run(mutant.id, &self.folder)?;
            let is_fuzzer = judge.class == Class::Fuzzer;
            match code {
                Some(0) if is_fuzzer && last_line(&said) != self.known => {
                    differs = Some(last_line(&said).to_owned());
                }
                Some(0) => {}
                Some(_) => {
                    let by = judge.found(&said);
                    return Ok(Verdict { class: judge.class, by });
                }
                None => {
                    let by = format!("{} {}", judge.class.name(), judge.name);
                    return Ok(Verdict { class: Class::Hang, by });
                }
            }
        }
        Ok(match differs {
            Some(by) => Verdict { class: Class::Different, by },
            None => Verdict { class: Class::Same, by: String::new() },
        })
    }
}

impl Judge {
    /// Its exit code, unless it takes too long, what it printed, and what it took of a processor.
    fn run(&self, id: usize, folder: &Path) -> Result<(Option<i32>, String, Duration), String> {
        let path = folder.join(format!("output-{id}.txt"));
        let file = File::create(&path).map_err(|error| error.to_string())?;
        let mut child = Command::new(&self.program)
            .args(&self.args)
            .current_dir(folder)
            .env("BOMBUS_MUTANT", id.to_string())
            .env("CARGO_MANIFEST_DIR", folder)
            .env("SAMPLE", SAMPLE)
            .stdout(file)
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{}: {error}", self.program.display()))?;
        let mut time = Duration::ZERO;
        let code = loop {
            match child.try_wait().map_err(|error| error.to_string())? {
                Some(status) => break Some(status.code().unwrap_or(-1)),
                None if time > self.limit => {
                    let _ = child.kill();
                    let _ = child.wait();
                    break None;
                }
                None => std::thread::sleep(Duration::from_millis(10)),
            }
            time = processor_time(child.id()).unwrap_or(time);
        };
        let said = fs::read(&path).map_err(|error| error.to_string())?;
        let _ = fs::remove_file(&path);
        Ok((code, String::from_utf8_lossy(&said).into_owned(), time))
    }

    /// What it found, in a line.
    fn found(&self, said: &str) -> String {
        let failed =
            |line: &str| line.strip_prefix("test ")?.strip_suffix("FAILED").map(String::from);
        let found = match self.class {
            Class::Fuzzer => {
                said.lines().find_map(|line| Some(line.strip_prefix("caught: ")?.into()))
            }
            Class::Snapshot => said.lines().find_map(failed),
            _ => Some(self.name.clone()),
        };
        let found = found.unwrap_or_else(|| "panics".into());
        found.trim_end_matches([' ', '.']).to_owned()
    }
}

/// What a process took of a processor: `utime` and `stime` of proc(5), in hundredths of a second.
fn processor_time(process: u32) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 10))
}

fn last_line(text: &str) -> &str {
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default()
}
