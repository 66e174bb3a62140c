//! Archives in the form that the kernel unpacks as its first file system: `newc`
//! (`Documentation/driver-api/early-userspace/buffer-format.rst` of the kernel).

use std::collections::BTreeSet;
use std::path::Path;

/// An archive under construction. Names have no slash at the start; directories come by
/// themselves.
pub(crate) struct Archive {
    bytes: Vec<u8>,
    directories: BTreeSet<String>,
}

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

impl Archive {
    /// An archive with the console, which the kernel opens before there is a `/dev`.
    pub(crate) fn new() -> Archive {
        let mut archive = Archive { bytes: Vec::new(), directories: BTreeSet::new() };
        archive.parents("dev/console");
        archive.entry("dev/console", CHARACTER_DEVICE | 0o600, (5, 1), &[]);
        archive
    }

    /// Takes a file of the host along.
    pub(crate) fn file(&mut self, name: &str, host: &Path, mode: u32) -> Result<(), String> {
        let data = std::fs::read(host).map_err(|error| super::at(host, error))?;
        self.bytes(name, &data, mode);
        Ok(())
    }

    /// Takes all files of a directory of the host along, at the place that they have there.
    pub(crate) fn tree(&mut self, host: &Path) -> Result<(), String> {
        for entry in std::fs::read_dir(host).map_err(|error| super::at(host, error))? {
            let path = entry.map_err(|error| super::at(host, error))?.path();
            if path.is_dir() {
                self.tree(&path)?;
            } else {
                let name = path.to_string_lossy().trim_start_matches('/').to_owned();
                self.file(&name, &path, 0o644)?;
            }
        }
        Ok(())
    }

    /// A file with these contents.
    pub(crate) fn bytes(&mut self, name: &str, data: &[u8], mode: u32) {
        self.parents(name);
        self.entry(name, REGULAR | mode, (0, 0), data);
    }

    /// The archive.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn parents(&mut self, name: &str) {
        let ends: Vec<usize> = name.match_indices('/').map(|(at, _)| at).collect();
        for end in ends {
            if self.directories.insert(name[..end].to_owned()) {
                self.entry(&name[..end], DIRECTORY | 0o755, (0, 0), &[]);
            }
        }
    }

    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), data: &[u8]) {
        let name_size = name.len() as u32 + 1;
        // ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor,
        // namesize, check.
        let size = data.len() as u32;
        let fields = [0, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, name_size, 0];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(data);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::Archive;

    /// Unpacks with the program of that name, as an independent reader.
    #[test]
    fn cpio_reads_it() {
        let mut archive = Archive::new();
        archive.bytes("a/b/one", b"1", 0o644);
        archive.bytes("a/b/two", b"22222", 0o755);
        let path = std::env::temp_dir().join(format!("bombus-cpio-{}", std::process::id()));
        std::fs::write(&path, archive.finish()).unwrap();
        let file = std::fs::File::open(&path).unwrap();
        let listed =
            std::process::Command::new("cpio").args(["-t", "--quiet"]).stdin(file).output();
        std::fs::remove_file(&path).unwrap();
        let Ok(listed) = listed else {
            println!("skipped: cpio is not installed");
            return;
        };
        let names = String::from_utf8(listed.stdout).unwrap();
        assert_eq!(names, "dev\ndev/console\na\na/b\na/b/one\na/b/two\n");
    }
}
