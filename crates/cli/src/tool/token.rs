//! `bombus token`: the rights that BPF file systems pass on.

use serde_json::{Map, Value};

use super::Tool;
use super::output::{Failed, Output, meaning};
use super::words::Words;

/// What is passed on: what bpftool calls it, the option of the mount.
const RIGHTS: [(&str, &str); 4] = [
    ("allowed_cmds", "delegate_cmds"),
    ("allowed_maps", "delegate_maps"),
    ("allowed_progs", "delegate_progs"),
    ("allowed_attachs", "delegate_attachs"),
];

/// How many stand in a line.
const IN_LINE: usize = 4;

/// A file system that passes rights on.
struct Delegate {
    directory: String,
    /// As [`RIGHTS`].
    rights: [Vec<String>; 4],
}

/// Those among the mounts of `/proc/mounts`.
fn delegates(mounts: &str) -> Vec<Delegate> {
    let delegate = |line: &str| {
        let mut words = line.split(' ');
        let (directory, kind) = (words.nth(1)?, words.next()?);
        let options: Vec<&str> = words.next()?.split(',').collect();
        let right = |key: &str| options.iter().find_map(|option| option.strip_prefix(key));
        let passes_on = RIGHTS.iter().any(|(_, key)| right(key).is_some());
        (kind.starts_with("bpf") && passes_on).then(|| Delegate {
            directory: unescaped(directory),
            rights: RIGHTS.map(|(_, key)| {
                let value = right(key).and_then(|value| value.strip_prefix('='));
                let each = value.unwrap_or_default().split(':').filter(|each| !each.is_empty());
                each.map(str::to_owned).collect()
            }),
        })
    };
    mounts.lines().filter_map(delegate).collect()
}

/// Blanks in names are written as `\040` (`getmntent(3)`).
fn unescaped(name: &str) -> String {
    const ESCAPES: [(&str, &str); 4] =
        [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    ESCAPES.iter().fold(name.to_owned(), |name, (escape, c)| name.replace(escape, c))
}

impl Delegate {
    fn text(&self) -> String {
        let mut text = format!("token_info  {}", self.directory);
        for ((title, _), rights) in RIGHTS.iter().zip(&self.rights) {
            text += &format!("\n\t{title}:");
            for line in rights.chunks(IN_LINE) {
                let each = line.iter().map(|right| format!("{right:<20}"));
                text += &format!("\n\t  {}", each.collect::<String>());
            }
        }
        text + "\n"
    }

    fn json(&self) -> Value {
        let mut object =
            Map::from_iter([("token_info".to_owned(), self.directory.as_str().into())]);
        for ((title, _), rights) in RIGHTS.iter().zip(&self.rights) {
            object.insert((*title).to_owned(), rights.clone().into());
        }
        object.into()
    }
}

pub(super) fn run(tool: &Tool, words: Words) -> Result<Output, Failed> {
    words.end()?;
    let mounts = std::fs::read_to_string("/proc/mounts").map_err(|error| {
        let reason = meaning(error.raw_os_error().unwrap_or(libc::EIO));
        Failed::new(format!("Failed to open: /proc/mounts: {reason}"))
    })?;
    let delegates = delegates(&mounts);
    let text = || delegates.iter().map(Delegate::text).collect();
    Ok(tool.either(text, || delegates.iter().map(Delegate::json).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_of_mounts() {
        let found = delegates(
            "none /sys/fs/bpf bpf rw,mode=700 0 0\n\
             none /a\\040b bpf rw,delegate_cmds=prog_load:map_create,delegate_maps=any 0 0\n",
        );
        let [found] = &found[..] else { panic!("{}", found.len()) };
        assert_eq!(
            found.text(),
            "token_info  /a b\n\tallowed_cmds:\n\t  prog_load           map_create          \n\
             \tallowed_maps:\n\t  any                 \n\tallowed_progs:\n\tallowed_attachs:\n"
        );
        assert_eq!(found.json()["allowed_cmds"][1], "map_create");
        assert_eq!(found.json()["allowed_progs"], serde_json::json!([]));
    }
}
