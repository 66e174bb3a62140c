//! What the examples share: the object of the C beside them.

use std::path::Path;
use std::process::Command;

use bombus::Object;

/// The object of `examples/NAME.bpf.c`: compiled now where there is a clang, else as it was compiled
/// when it was written.
pub(crate) fn object(name: &str, compiled: &[u8]) -> Result<Object, Box<dyn std::error::Error>> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/{name}.bpf.c"));
    let target = std::env::temp_dir().join(format!("bombus-{}-{name}.bpf.o", std::process::id()));
    for clang in ["clang-19", "clang"] {
        let flags = ["-g", "-O2", "-Wall", "-target", "bpf", "-c"];
        let output = Command::new(clang).args(flags).arg(&source).arg("-o").arg(&target).output();
        // Not installed.
        let Ok(output) = output else { continue };
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        let object = Object::open(&target);
        std::fs::remove_file(&target)?;
        return Ok(object?);
    }
    Ok(Object::from_bytes(compiled)?)
}

/// Whether programs can be loaded here. Says why not, for an example that then has nothing to show.
pub(crate) fn can_load() -> bool {
    match bombus::can_load_programs() {
        Ok(()) => true,
        Err(error) => {
            println!("skipped: {error}");
            false
        }
    }
}
