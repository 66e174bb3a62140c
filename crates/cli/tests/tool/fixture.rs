//! Objects to look at: a BPF file system with maps of many kinds, and a script that runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::oracle::{Within, bombus, run};
use crate::{Outcome, Unmet};

/// A directory of its own, which becomes a BPF file system when the first map is made. It is gone
/// with everything in it when this is dropped.
pub(crate) struct Pins(PathBuf);

impl Pins {
    pub(crate) fn new() -> Result<Pins, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("bombus-tool-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).map_err(|error| error.to_string())?;
        Ok(Pins(path))
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }

    /// Makes a map: name, type, bytes of key and value, entries, and what else it takes.
    pub(crate) fn map(
        &self,
        name: &str,
        kind: &str,
        sizes: [u32; 3],
        more: &[&str],
    ) -> Result<String, String> {
        let path = self.path(name);
        let [key, value, entries] = sizes.map(|size| size.to_string());
        let mut words = vec!["map", "create", &path, "type", kind, "entries", &entries];
        words.extend(["name", name]);
        // A size of 0 is not written.
        for (size, word) in [(&key, "key"), (&value, "value")] {
            if size != "0" {
                words.extend([word, size]);
            }
        }
        words.extend(more);
        run(&words)?;
        Ok(path)
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        // The directory is mounted on itself first, then the BPF file system on it. Lazily: a tool
        // that was just stopped may still be on its way out.
        for _ in 0..2 {
            let _ = Command::new("umount").arg("-l").arg(&self.0).stderr(Stdio::null()).status();
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Compiles a program for BPF.
pub(crate) fn compile(source: &Path, object: &Path) -> Outcome {
    let mut clang = Command::new("clang-19");
    let clang = clang.args(["-O2", "-g", "-target", "bpf", "-c"]).arg(source);
    match clang.arg("-o").arg(object).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(format!("clang-19 does not compile {}", source.display()).into()),
        Err(_) => Err(Unmet::Skipped("clang-19 is not installed".into())),
    }
}

/// What every program of these tests needs of the kernel's and libbpf's headers.
const PRELUDE: &str = r#"
    typedef unsigned int u32; typedef unsigned long long u64;
    #define SEC(name) __attribute__((section(name), used))
    #define __uint(name, value) int (*name)[value]
    #define __type(name, value) typeof(value) *name
    static void *(*map_lookup)(void *map, const void *key) = (void *)1;
    static long (*printk)(const char *text, u32 size, ...) = (void *)6;
    static long (*event_output)(void *ctx, void *map, u64 flags, void *data, u64 size) = (void *)25;
    static long (*seq_write)(void *seq, const void *data, u32 size) = (void *)127;
    char _license[] SEC("license") = "GPL";
"#;

/// A directory of files, which is gone when this is dropped.
pub(crate) struct Files(PathBuf);

impl Files {
    pub(crate) fn new() -> Result<Files, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("bombus-tool-files-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).map_err(|error| error.to_string())?;
        Ok(Files(path))
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> Result<String, String> {
        let path = self.path(name);
        fs::write(&path, bytes).map_err(|error| format!("{path}: {error}"))?;
        Ok(path)
    }

    /// Compiles a program; gives the object's path.
    pub(crate) fn object(&self, name: &str, source: &str) -> Result<String, Unmet> {
        let source = self.write(&format!("{name}.bpf.c"), format!("{PRELUDE}{source}"))?;
        let object = self.path(&format!("{name}.bpf.o"));
        compile(Path::new(&source), Path::new(&object))?;
        Ok(object)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process that keeps a network namespace of its own, with two devices: the ends of a cable.
pub(crate) struct Netns(Child);

impl Netns {
    pub(crate) fn new() -> Result<Netns, Unmet> {
        let script = "ip link set lo up && ip link add bombus0 type veth peer name bombus1 && \
                      ip link set bombus0 up && ip link set bombus1 up && echo ready && \
                      exec sleep 600";
        let mut child = Command::new("unshare")
            .args(["-n", "sh", "-c", script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut line = String::new();
        let out = child.stdout.take().ok_or("no output")?;
        let netns = Netns(child);
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line)
            .map_err(|error| error.to_string())?;
        match line.as_str() {
            "ready\n" => Ok(netns),
            _ => Err(Unmet::Skipped("no network namespace with veth devices can be made".into())),
        }
    }

    /// Runs both tools in it.
    pub(crate) fn enter(&self) -> Within {
        Within::new(&["nsenter", "-t", &self.0.id().to_string(), "-n"])
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A script that runs until this is dropped.
pub(crate) struct Running(Child);

impl Running {
    /// Starts a script, and waits until it has this many links.
    pub(crate) fn new(script: &str, links: usize) -> Result<Running, String> {
        let child = bombus()
            .args(["--kernel", "linux", "-q", "-e", script])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        let running = Running(child);
        let deadline = Instant::now() + Duration::from_secs(60);
        while running.ids("link_id").len() < links {
            if Instant::now() > deadline {
                return Err(format!("the script has {} links", running.ids("link_id").len()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(running)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// The ids of what it holds open: `prog_id`, `map_id`, `link_id`.
    pub(crate) fn ids(&self, key: &str) -> Vec<u32> {
        let directory = Path::new("/proc").join(self.0.id().to_string()).join("fdinfo");
        let files = fs::read_dir(directory).into_iter().flatten().flatten();
        let mut ids: Vec<u32> = files
            .filter_map(|file| {
                let text = fs::read_to_string(file.path()).ok()?;
                let line = text.lines().find(|line| line.starts_with(&format!("{key}:")))?;
                line.split_whitespace().nth(1)?.parse().ok()
            })
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
