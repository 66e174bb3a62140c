//! A security policy: a file that nobody may open but this process, not even root.
//!
//! `cargo run --example lsm_policy`: shows it with a file of its own;
//! `cargo run --example lsm_policy -- FILE...`: protects these until Enter is pressed.
//!
//! The kernel has to have `bpf` among its security modules (`/sys/kernel/security/lsm`).

mod support;

use std::error::Error;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use bombus::{HashMap, Linux};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// `struct file_id` of `lsm_policy.bpf.c`.
#[derive(FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct FileId {
    inode: u64,
    device: u64,
}

impl FileId {
    fn of(path: &Path) -> std::io::Result<FileId> {
        let metadata = fs::metadata(path)?;
        // Programs for user space have the numbers of a device in other bits than the kernel has
        // (`new_decode_dev`, include/linux/kdev_t.h).
        let device = metadata.dev();
        let major = (device >> 8) & 0xfff;
        let minor = (device & 0xff) | ((device >> 12) & 0xf_ff00);
        Ok(FileId { inode: metadata.ino(), device: major << 20 | minor })
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    if !support::can_load() {
        return Ok(());
    }
    let kernel = Linux::new()?;
    let mut object = support::object("lsm_policy", include_bytes!("lsm_policy.bpf.o"))?;
    object.set("owner", std::process::id())?;
    let (loaded, link) = match object.load(&kernel).and_then(|it| Ok((it.attach_all()?, it))) {
        Ok((link, loaded)) => (loaded, link),
        // A kernel without `bpf` among its security modules, or one that does not let us.
        Err(error) => {
            println!("skipped: {error}");
            return Ok(());
        }
    };
    let protected: HashMap<FileId, u64> = loaded.map("protected")?;

    let files: Vec<_> = std::env::args_os().skip(1).collect();
    if !files.is_empty() {
        for file in &files {
            protected.insert(&FileId::of(Path::new(file))?, &0)?;
        }
        println!("protected; Enter ends it");
        std::io::stdin().read_line(&mut String::new())?;
    } else {
        let path = std::env::temp_dir().join(format!("bombus-secret-{}", std::process::id()));
        fs::write(&path, "a secret\n")?;
        let id = FileId::of(&path)?;
        protected.insert(&id, &0)?;
        println!("this process: {:?}", File::open(&path).map(drop));
        let cat = Command::new("cat").arg(&path).output()?;
        print!("cat: {}", String::from_utf8_lossy(&cat.stderr));
        println!("refused {} times", protected.get(&id)?.unwrap_or(0));
        drop(link);
        let cat = Command::new("cat").arg(&path).output()?;
        print!("cat without the policy: {}", String::from_utf8_lossy(&cat.stdout));
        fs::remove_file(&path)?;
    }
    Ok(())
}
