//! `cargo xtask vm`: runs a command, or the tests of a package, on another kernel.
//!
//! The kernels are Debian's own (see [`packages`]). Each boots in QEMU with nothing but an
//! initramfs: busybox, `bombus`, and what the command needs. QEMU emulates the processor, so
//! nothing is asked of the host but the programs `apt-get`, `dpkg-deb` and `qemu-system-x86_64`.
//!
//! Other commands of xtask use such a machine by [`watch`].

mod build;
mod cpio;
mod packages;
mod programs;
mod qemu;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use cpio::Archive;

/// What to do in which virtual machine.
struct Options {
    kernels: Vec<&'static packages::Kernel>,
    packages: Vec<String>,
    command: Vec<String>,
    timeout: Duration,
}

const USAGE: &str = "usage: cargo xtask vm [6.1 | 6.12 | 7.2 | 7.3]... [--test PACKAGE]... [--timeout SECONDS] \
                     [-- COMMAND [ARGUMENT...]]";

/// Boots every kernel in turn; fails when one of the commands does.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    let options = parse(args)?;
    let cache = target_directory().join("vm");
    let mut base = Archive::new();
    base.file("bin/busybox", &packages::busybox(&cache)?, 0o755)?;
    if !options.command.is_empty() {
        base.file("bin/bombus", &build::program("bombus-cli", "bombus")?, 0o755)?;
    }
    let script = if options.command.is_empty() {
        build::tests(&mut base, &options.packages)?
    } else {
        command_script(&mut base, &options.command)?
    };
    base.bytes("command", script.as_bytes(), 0o755);
    base.bytes("init", INIT.as_bytes(), 0o755);
    let initramfs = cache.join(format!("initramfs-{}", std::process::id()));
    let outcome = boot_all(&options, &cache, &base.finish(), &initramfs);
    let _ = std::fs::remove_file(&initramfs);
    outcome
}

/// Boots a kernel to run a shell script in it, with these files beside busybox. What the script
/// prints goes to `heard` line by line; a machine that says nothing for so long is switched off.
/// Gives the last lines of the console.
pub(crate) fn watch(
    version: &str,
    mut files: Archive,
    script: &str,
    silence: Duration,
    heard: &mut dyn FnMut(&str),
) -> Result<String, String> {
    let kernel = kernel(version)?;
    let cache = target_directory().join("vm");
    files.file("bin/busybox", &packages::busybox(&cache)?, 0o755)?;
    files.bytes("command", script.as_bytes(), 0o755);
    files.bytes("init", INIT.as_bytes(), 0o755);
    let image = packages::kernel(&cache, kernel)?;
    for (name, file) in packages::companions(&cache, kernel) {
        files.file(&name, &file, 0o644)?;
    }
    let initramfs = cache.join(format!("initramfs-{}", std::process::id()));
    std::fs::write(&initramfs, files.finish()).map_err(|error| at(&initramfs, error))?;
    let console = qemu::watch(&image, &initramfs, silence, heard);
    let _ = std::fs::remove_file(&initramfs);
    console
}

/// The image of a kernel, as its package has it.
pub(crate) fn image(version: &str) -> Result<PathBuf, String> {
    packages::kernel(&target_directory().join("vm"), kernel(version)?)
}

/// The configuration of a kernel.
pub(crate) fn config(version: &str) -> Result<PathBuf, String> {
    image(version)?;
    let files = packages::companions(&target_directory().join("vm"), kernel(version)?);
    let config = files.into_iter().find(|(name, _)| name.starts_with("boot/config"));
    config.map(|(_, path)| path).ok_or_else(|| format!("Linux {version} has no configuration"))
}

/// A package of Debian's archive, by name and, after `=`, release.
pub(crate) fn download(package: &str) -> Result<PathBuf, String> {
    packages::download(&target_directory().join("vm"), package)
}

fn kernel(version: &str) -> Result<&'static packages::Kernel, String> {
    let mut kernels = packages::KERNELS.iter();
    let found = kernels.find(|kernel| kernel.version == version);
    found.ok_or_else(|| format!("there is no kernel {version}"))
}

fn boot_all(options: &Options, cache: &Path, base: &[u8], initramfs: &Path) -> Result<(), String> {
    let mut failed = Vec::new();
    for kernel in &options.kernels {
        let image = packages::kernel(cache, kernel)?;
        // An initramfs may be several archives in a row.
        let mut own = Archive::new();
        for (name, file) in packages::companions(cache, kernel) {
            own.file(&name, &file, 0o644)?;
        }
        let whole = [base, &own.finish()].concat();
        std::fs::write(initramfs, whole).map_err(|error| at(initramfs, error))?;
        eprintln!("== Linux {}", kernel.version);
        match qemu::boot(&image, initramfs, options.timeout)? {
            0 => {}
            status => failed.push(format!("Linux {}: status {status}", kernel.version)),
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n")) }
}

/// The first process. Its console is `ttyS0`, of which only the last line matters; the command's
/// output goes to `ttyS1`.
const INIT: &str = "#!/bin/busybox sh
/bin/busybox --install -s /bin
/bin/busybox mkdir -p /usr/bin
/bin/busybox --install -s /usr/bin
test -x /usr/bin/sh && ln -sf /usr/bin/sh /bin/sh
mkdir -p /proc /sys /dev /tmp /root /etc
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir /dev/pts
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /tmp
mount -t tracefs tracefs /sys/kernel/tracing
mount -t debugfs debugfs /sys/kernel/debug
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ifconfig lo up
for module in /modules/*; do
    case $module in
        *.xz) unxz -c $module > /tmp/module.ko; insmod /tmp/module.ko; rm /tmp/module.ko;;
        *.ko) insmod $module;;
    esac
done
echo vm > /etc/hostname
echo root:x:0:0:root:/root:/bin/sh > /etc/passwd
echo nobody:x:65534:65534:nobody:/nonexistent:/bin/sh >> /etc/passwd
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb
stty -F /dev/ttyS1 raw -echo
setsid /command < /dev/null > /dev/ttyS1 2>&1
echo \"bombus-vm-status $?\"
sync
poweroff -f
";

/// Runs the command; a first word that is a file here is taken along.
fn command_script(archive: &mut Archive, command: &[String]) -> Result<String, String> {
    let mut words = command.to_vec();
    if let Some(program) = words.first_mut()
        && program.contains('/')
        && Path::new(program).is_file()
    {
        let name = Path::new(program).file_name().unwrap_or_default().to_string_lossy();
        let inside = format!("bin/{name}");
        archive.file(&inside, Path::new(program), 0o755)?;
        *program = format!("/{inside}");
    }
    let quoted: Vec<String> = words.iter().map(|word| quote(word)).collect();
    Ok(format!("#!/bin/sh\nexec {}\n", quoted.join(" ")))
}

fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn parse(args: &[String]) -> Result<Options, String> {
    let mut options = Options {
        kernels: Vec::new(),
        packages: Vec::new(),
        command: Vec::new(),
        timeout: Duration::from_secs(600),
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(USAGE);
        match arg.as_str() {
            "--" => options.command = args.by_ref().cloned().collect(),
            "--test" => options.packages.push(value()?.clone()),
            "--timeout" => {
                let seconds = value()?.parse().map_err(|_| USAGE)?;
                options.timeout = Duration::from_secs(seconds);
            }
            version => {
                let known = packages::KERNELS.iter().find(|kernel| kernel.version == version);
                options.kernels.push(known.ok_or(USAGE)?);
            }
        }
    }
    if options.kernels.is_empty() {
        options.kernels = packages::KERNELS.iter().collect();
    }
    if options.packages.is_empty() {
        options.packages.push("bombus-linux".into());
    }
    Ok(options)
}

/// The root of the work tree.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_path_buf()
}

/// Where cargo builds to.
pub(crate) fn target_directory() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// An error with the file that it is about.
fn at(path: &Path, error: std::io::Error) -> String {
    format!("{}: {error}", path.display())
}
