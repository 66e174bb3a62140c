//! The corpus from its source: Debian's package of Linux 7.3, unpacked and compiled under
//! `target/corpus`, and the types of the kernel that it is for. Nothing of it is ever committed: it
//! is under the GPL.
//!
//! What is there already is not made again; delete the directory to make it anew.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use bombus_btf::{Btf, c_dump};
use object::{Object, ObjectSection};

use crate::vm;

/// The package, its release, and the checksum of what was looked at.
const PACKAGE: &str = "linux-source-7.3";
const RELEASE: &str = "7.3.4-1~bpo13+1";
const SHA256: &str = "703e369ddd4cce971452f5a593ee55df3a5c10c83caf0fa0df039633ed181ee3";
/// The kernel that the objects are for.
const KERNEL: &str = "7.3";

/// What of the source is unpacked.
const PARTS: [&str; 5] = [
    "tools/include",
    "tools/lib",
    "tools/arch/x86/include",
    "tools/testing/selftests/bpf",
    "scripts/bpf_doc.py",
];
/// The selftests in it.
const SELFTESTS: &str = "tools/testing/selftests/bpf";
/// How they are compiled (`CLANG_CFLAGS`, `BPF_CFLAGS` of their Makefile).
const FLAGS: [&str; 11] = [
    "-g",
    "-O2",
    "--target=bpfel",
    "-mcpu=v3",
    "-std=gnu11",
    "-D__TARGET_ARCH_x86",
    "-mlittle-endian",
    "-DENABLE_ATOMICS_TESTS",
    "-fno-strict-aliasing",
    "-Wno-everything",
    "-fms-extensions",
];
/// Files whose calls must stay calls.
const NOT_INLINED: [&str; 2] = ["test_l4lb_noinline", "test_xdp_noinline"];
const CLANG: &str = "clang-19";
/// How many compilers run at once.
const COMPILERS: usize = 2;

/// Where everything is.
pub(super) struct Corpus {
    directory: PathBuf,
}

impl Corpus {
    /// Under `target`.
    pub(super) fn new() -> Corpus {
        Corpus { directory: vm::target_directory().join("corpus") }
    }

    /// Brings what comes from Debian's archive, which keeps but the newest release of a package.
    pub(super) fn download(&self) -> Result<(), String> {
        if !self.directory.join("source").exists() {
            vm::download(&format!("{PACKAGE}={RELEASE}"))?;
        }
        vm::image(KERNEL).map(drop)
    }

    /// The compiled selftests.
    pub(super) fn objects(&self) -> Result<PathBuf, String> {
        let objects = self.directory.join("objects");
        let complete = objects.join("complete");
        if !complete.exists() {
            self.headers()?;
            self.compile(&objects)?;
            write(&complete, b"")?;
        }
        Ok(objects)
    }

    /// The kernel's types.
    pub(super) fn btf(&self) -> Result<PathBuf, String> {
        let btf = self.directory.join("vmlinux.btf");
        if !btf.exists() {
            make(&self.directory)?;
            let image = vm::image(KERNEL)?;
            let packed = std::fs::read(&image).map_err(|error| at(&image, error))?;
            write(&btf, &types_of(&packed).map_err(|why| format!("{image:?}: {why}"))?)?;
        }
        Ok(btf)
    }

    /// The kernel's configuration.
    pub(super) fn config(&self) -> Result<PathBuf, String> {
        vm::config(KERNEL)
    }

    /// The rows of the older tests, see [`super::old`].
    pub(super) fn old_tests(&self) -> Result<PathBuf, String> {
        let rows = self.directory.join("test_verifier.jsonl");
        if rows.exists() {
            return Ok(rows);
        }
        let include = self.headers()?;
        let source = self.source()?;
        let selftests = source.join(SELFTESTS);
        let mut all = String::from("#ifdef FILL_ARRAY\n");
        for file in files(&selftests.join("verifier"), "c")? {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            all += &format!("#include \"{name}\"\n");
        }
        let list = include.join("verifier/tests.h");
        make(&include.join("verifier"))?;
        write(&list, (all + "#endif\n").as_bytes())?;
        let (code, program) =
            (self.directory.join("old_tests.c"), self.directory.join("old_tests"));
        write(&code, include_bytes!("old_tests.c"))?;
        let mut compiler = Command::new(CLANG);
        compiler.args(["-w", "-static", "-D_GNU_SOURCE"]);
        // What libbpf does besides is never called.
        compiler.arg("-Wl,--unresolved-symbols=ignore-all");
        for directory in [
            selftests.clone(),
            selftests.join("verifier"),
            include,
            source.join("tools/include"),
            source.join("tools/include/uapi"),
            source.join("tools/lib"),
        ] {
            compiler.arg("-I").arg(directory);
        }
        run(compiler.arg(&code).arg("-o").arg(&program))?;
        let partial = rows.with_extension("partial");
        run(Command::new(&program).arg(&partial).stdout(Stdio::null()))?;
        std::fs::rename(&partial, &rows).map_err(|error| at(&rows, error))?;
        Ok(rows)
    }

    /// The unpacked source.
    fn source(&self) -> Result<PathBuf, String> {
        let source = self.directory.join("source");
        if source.exists() {
            return Ok(source);
        }
        make(&self.directory)?;
        let package = vm::download(&format!("{PACKAGE}={RELEASE}"))?;
        let sum = run(Command::new("sha256sum").arg(&package))?;
        if !sum.starts_with(SHA256) {
            return Err(format!("{package:?} is not the {PACKAGE} {RELEASE} that is known: {sum}"));
        }
        let partial = self.directory.join("partial");
        let _ = std::fs::remove_dir_all(&partial);
        make(&partial)?;
        eprintln!("unpacking {PACKAGE}");
        run(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&partial))?;
        let archive = partial.join(format!("usr/src/{PACKAGE}.tar.xz"));
        let parts = PARTS.map(|part| format!("{PACKAGE}/{part}"));
        let mut tar = Command::new("tar");
        run(tar.arg("-xJf").arg(&archive).arg("-C").arg(&partial).args(parts))?;
        let unpacked = partial.join(PACKAGE);
        std::fs::rename(&unpacked, &source).map_err(|error| at(&source, error))?;
        let _ = std::fs::remove_dir_all(&partial);
        Ok(source)
    }

    /// A directory with the headers that are made: libbpf's, the helpers', the kernel's types.
    fn headers(&self) -> Result<PathBuf, String> {
        let include = self.directory.join("include");
        let header = include.join("vmlinux.h");
        if header.exists() {
            return Ok(include);
        }
        let source = self.source()?;
        make(&include.join("bpf"))?;
        for file in files(&source.join("tools/lib/bpf"), "h")? {
            let name = file.file_name().unwrap_or_default();
            let to = include.join("bpf").join(name);
            std::fs::copy(&file, &to).map_err(|error| at(&to, error))?;
        }
        let helpers = run(Command::new("python3")
            .arg(source.join("scripts/bpf_doc.py"))
            .args(["--header", "--file"])
            .arg(source.join("tools/include/uapi/linux/bpf.h")))?;
        write(&include.join("bpf/bpf_helper_defs.h"), helpers.as_bytes())?;
        let btf = self.btf()?;
        let bytes = std::fs::read(&btf).map_err(|error| at(&btf, error))?;
        let types = Btf::parse(bytes).map_err(|error| at(&btf, error))?;
        let mut text = String::new();
        c_dump::vmlinux(&types, true, &mut text).map_err(|error| at(&btf, error))?;
        write(&header, text.as_bytes())?;
        Ok(include)
    }

    /// Compiles every program; those that do not compile are named.
    fn compile(&self, objects: &Path) -> Result<(), String> {
        make(objects)?;
        let (source, include) = (self.source()?, self.headers()?);
        let selftests = source.join(SELFTESTS);
        let all = files(&selftests.join("progs"), "c")?;
        eprintln!("compiling {} files", all.len());
        let queue = Mutex::new(all.into_iter());
        let failed = Mutex::new(Vec::new());
        let next = || queue.lock().ok().and_then(|mut queue| queue.next());
        std::thread::scope(|scope| {
            for _ in 0..COMPILERS {
                scope.spawn(|| {
                    while let Some(file) = next() {
                        let name = file.file_stem().unwrap_or_default().to_string_lossy();
                        let mut compiler = Command::new(CLANG);
                        compiler.current_dir(&selftests).args(FLAGS).args(["-I.", "-Iprogs"]);
                        for directory in ["tools/include/uapi", "tools/include"] {
                            compiler.arg("-I").arg(source.join(directory));
                        }
                        compiler.args(["-Ilibarena/include", "-I"]).arg(&include);
                        compiler.args(["-idirafter", "/usr/include/x86_64-linux-gnu"]);
                        if NOT_INLINED.contains(&&*name) {
                            compiler.arg("-fno-inline");
                        }
                        let object = objects.join(format!("{name}.bpf.o"));
                        compiler.arg("-c").arg(&file).arg("-o").arg(object);
                        if let (Err(why), Ok(mut failed)) = (run(&mut compiler), failed.lock()) {
                            let first = why.lines().find(|line| line.contains("error"));
                            failed.push(format!("{name}: {}", first.unwrap_or(&why)));
                        }
                    }
                });
            }
        });
        for failure in failed.into_inner().unwrap_or_default() {
            eprintln!("{failure}");
        }
        Ok(())
    }
}

/// The types in a kernel's packed image (`Documentation/arch/x86/boot.rst`: the protected-mode
/// kernel's payload is the whole ELF file, packed).
fn types_of(image: &[u8]) -> Result<Vec<u8>, String> {
    let word = |at: usize| -> Option<usize> {
        let bytes = image.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_le_bytes(bytes) as usize)
    };
    let payload = || {
        let sectors = usize::from(*image.get(0x1f1)?);
        let start = (sectors + 1) * 512 + word(0x248)?;
        image.get(start..start + word(0x24c)?)
    };
    let payload = payload().ok_or("it is no image that can be booted")?;
    let unpack = match payload {
        [0xfd, b'7', b'z', ..] => "xz",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "zstd",
        [0x02, 0x21, 0x4c, 0x18, ..] => "lz4",
        [0x1f, 0x8b, ..] => "gzip",
        _ => return Err("it is packed in a way that is not known".into()),
    };
    let mut child = Command::new(unpack)
        .arg("-dc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("{unpack}: {error}"))?;
    let input = child.stdin.take();
    let elf = std::thread::scope(|scope| {
        // What comes after the end of the stream is not taken: the kernel has its size there.
        scope.spawn(|| input.map(|mut input| input.write_all(payload)));
        child.wait_with_output().map(|output| output.stdout)
    });
    let elf = elf.map_err(|error| format!("{unpack}: {error}"))?;
    let file = object::File::parse(&*elf).map_err(|error| error.to_string())?;
    let section = file.section_by_name(".BTF").ok_or("it does not describe its types")?;
    section.data().map(<[u8]>::to_vec).map_err(|error| error.to_string())
}

fn files(directory: &Path, ending: &str) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(directory).map_err(|error| at(directory, error))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == ending));
    paths.sort();
    Ok(paths)
}

fn make(directory: &Path) -> Result<(), String> {
    std::fs::create_dir_all(directory).map_err(|error| at(directory, error))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    std::fs::write(path, bytes).map_err(|error| at(path, error))
}

/// What a program prints; its complaint when it fails.
fn run(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

fn at(path: &Path, error: impl std::fmt::Display) -> String {
    format!("{}: {error}", path.display())
}
