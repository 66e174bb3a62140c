//! Kernels and busybox from Debian's archive, unpacked but not installed.
//!
//! apt works on lists and caches of its own under `target/vm`, so that it neither needs root nor
//! touches the host's. What is there already is not fetched again; delete the directory to get
//! newer ones.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::at;

/// A kernel to test on.
pub(super) struct Kernel {
    /// As it is named on the command line.
    pub(super) version: &'static str,
    /// The release of Debian that has it.
    suite: &'static str,
}

/// Every kernel that there is.
pub(super) const KERNELS: &[Kernel] = &[
    Kernel { version: "6.1", suite: "bookworm" },
    Kernel { version: "6.12", suite: "bookworm-backports" },
    Kernel { version: "7.2", suite: "forky" },
    Kernel { version: "7.3", suite: "trixie-backports" },
];

/// The package that depends on a release's newest kernel for virtual machines.
const KERNEL_PACKAGE: &str = "linux-image-cloud-amd64";
/// How the packages with a kernel are called, before its release.
const IMAGE: &str = "linux-image-";
const MIRROR: &str = "http://deb.debian.org/debian";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The image to boot.
pub(super) fn kernel(cache: &Path, kernel: &Kernel) -> Result<PathBuf, String> {
    let directory = cache.join(kernel.version);
    if let Some(image) = image(&directory) {
        return Ok(image);
    }
    let apt = Apt::new(cache)?;
    let meta = apt.download(&format!("{KERNEL_PACKAGE}/{}", kernel.suite))?;
    let depends = output(Command::new("dpkg-deb").arg("--field").arg(&meta).arg("Depends"))?;
    let mut names = depends.split([' ', ',']);
    let name = names.find(|name| name.starts_with(IMAGE)).ok_or("no image in the dependencies")?;
    let mut packages = vec![apt.download(&format!("{name}/{}", kernel.suite))?];
    // Since Linux 7 it is in parts, and the package of the image is but their sum.
    let depends = output(Command::new("dpkg-deb").arg("--field").arg(&packages[0]).arg("Depends"))?;
    for part in ["linux-base-", "linux-binary-", "linux-modules-"] {
        let part = name.replace(IMAGE, part);
        if depends.split([' ', ',']).any(|name| name == part) {
            packages.push(apt.download(&format!("{part}/{}", kernel.suite))?);
        }
    }
    unpack(&packages, &directory)?;
    image(&directory).ok_or_else(|| format!("{name} has no vmlinuz"))
}

fn image(directory: &Path) -> Option<PathBuf> {
    let files = files(directory);
    files.into_iter().find_map(|(name, path)| name.starts_with("vmlinuz").then_some(path))
}

/// All files of an unpacked kernel: names with paths.
fn files(directory: &Path) -> Vec<(String, PathBuf)> {
    let mut files = Vec::new();
    let parts = ["boot", "lib/modules", "usr/lib/modules"];
    let mut directories: Vec<PathBuf> = parts.iter().map(|part| directory.join(part)).collect();
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                directories.push(entry.path());
            } else {
                files.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
            }
        }
    }
    files
}

/// What the tests need beyond what is built into the kernels, in the order of loading: virtual
/// cables, traffic control.
const MODULES: &[&str] = &["veth", "sch_ingress", "cls_bpf"];

/// Files of a kernel's package for its initramfs, by their names there: those modules, packed as
/// they are, and the configuration.
pub(super) fn companions(cache: &Path, kernel: &Kernel) -> Vec<(String, PathBuf)> {
    let mut companions = Vec::new();
    for (name, path) in files(&cache.join(kernel.version)) {
        let module = MODULES.iter().position(|module| name.starts_with(&format!("{module}.ko")));
        if let Some(number) = module {
            companions.push((format!("modules/{number}-{name}"), path));
        } else if name.starts_with("config-") {
            companions.push((format!("boot/{name}"), path));
        } else if name == "config"
            && let Some(release) = path.parent().and_then(Path::file_name)
        {
            companions.push((format!("boot/config-{}", release.to_string_lossy()), path));
        }
    }
    companions
}

/// A static busybox.
pub(super) fn busybox(cache: &Path) -> Result<PathBuf, String> {
    let directory = cache.join("busybox");
    let program = directory.join("bin/busybox");
    if !program.is_file() {
        unpack(&[Apt::new(cache)?.download("busybox-static/bookworm")?], &directory)?;
    }
    Ok(program)
}

/// A package's file, by name and, after `=`, release.
pub(super) fn download(cache: &Path, package: &str) -> Result<PathBuf, String> {
    Apt::new(cache)?.download(package)
}

/// Unpacks beside the directory first: what has the final name is whole.
fn unpack(packages: &[PathBuf], directory: &Path) -> Result<(), String> {
    let partial = directory.with_extension("partial");
    let _ = std::fs::remove_dir_all(&partial);
    for package in packages {
        output(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&partial))?;
    }
    let _ = std::fs::remove_dir_all(directory);
    std::fs::rename(&partial, directory).map_err(|error| at(directory, error))
}

/// apt with a state of its own.
struct Apt {
    directory: PathBuf,
}

impl Apt {
    /// Fetches the lists of packages, unless they are there.
    fn new(cache: &Path) -> Result<Apt, String> {
        let apt = Apt { directory: cache.join("apt") };
        let complete = apt.directory.join("complete");
        let mut suites: Vec<&str> = KERNELS.iter().map(|kernel| kernel.suite).collect();
        suites.dedup();
        let source = |suite| format!("deb [signed-by={KEYRING}] {MIRROR} {suite} main\n");
        let sources: String = suites.into_iter().map(source).collect();
        // What is written there says of which sources the lists are complete.
        if std::fs::read_to_string(&complete).is_ok_and(|of| of == sources) {
            return Ok(apt);
        }
        for part in ["lists/partial", "cache/archives/partial", "packages"] {
            let path = apt.directory.join(part);
            std::fs::create_dir_all(&path).map_err(|error| at(&path, error))?;
        }
        for (name, text) in [("sources.list", sources.as_str()), ("status", "")] {
            let path = apt.directory.join(name);
            std::fs::write(&path, text).map_err(|error| at(&path, error))?;
        }
        eprintln!("fetching the lists of Debian's packages");
        output(apt.get().arg("update"))?;
        std::fs::write(&complete, &sources).map_err(|error| at(&complete, error))?;
        Ok(apt)
    }

    /// The package's file.
    fn download(&self, package: &str) -> Result<PathBuf, String> {
        eprintln!("fetching {package}");
        let directory = self.directory.join("packages");
        let name = package.split(['/', '=']).next().unwrap_or_default();
        let before = format!("{name}_");
        let find = || {
            let entries = std::fs::read_dir(&directory).ok()?;
            let mut paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
            paths.find(|path| {
                path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(&before))
            })
        };
        // The package that names the kernel is called the same in every release.
        if let Some(old) = find() {
            std::fs::remove_file(&old).map_err(|error| at(&old, error))?;
        }
        output(self.get().current_dir(&directory).args(["download", package]))?;
        find().ok_or_else(|| format!("apt-get did not leave {name}"))
    }

    fn get(&self) -> Command {
        let mut command = Command::new("apt-get");
        let path = |part: &str| self.directory.join(part).display().to_string();
        for (option, value) in [
            ("Dir::Etc::SourceList", path("sources.list")),
            ("Dir::Etc::SourceParts", "/dev/null".into()),
            ("Dir::State", path("")),
            ("Dir::State::Lists", path("lists")),
            ("Dir::State::Status", path("status")),
            ("Dir::Cache", path("cache")),
            ("Acquire::Languages", "none".into()),
            ("APT::Architecture", "amd64".into()),
            ("APT::Sandbox::User", "root".into()),
        ] {
            command.arg("-o").arg(format!("{option}={value}"));
        }
        command
    }
}

/// Runs a program; its output, or what it said when it failed.
fn output(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}
