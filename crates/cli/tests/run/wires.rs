//! Programs at a wire of the embedded kernel.

use std::process::Command;

use libtest_mimic::Trial;

use crate::{check, output, path, run, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("at a wire", true, || at_a_wire(run("wire"))),
        trial("at a wire in a user namespace", true, in_a_user_namespace),
    ]
}

/// Without the privilege to make a network namespace, a user namespace gives it.
fn in_a_user_namespace() -> Result<(), String> {
    let bombus = run("wire");
    let mut command = Command::new("setpriv");
    command.arg("--bounding-set=-sys_admin").arg(bombus.get_program()).args(bombus.get_args());
    match Command::new("setpriv").args(["--bounding-set=-sys_admin", "true"]).output() {
        Ok(tried) if tried.status.success() => at_a_wire(command),
        _ => {
            println!("skipped: setpriv cannot take privileges away here");
            Ok(())
        }
    }
}

fn at_a_wire(mut command: Command) -> Result<(), String> {
    command.args(["--wire", "w0", "--attach", "receive=xdp:w0"]);
    command.args(["--attach", "transmit=tcx:w0:egress", "-c"]);
    command.arg(format!("bash {}", path("wire.sh").display()));
    let output = output(&mut command)?;
    let errors = String::from_utf8_lossy(&output.stderr);
    // Not everybody has such devices, or may make a network.
    if ["/dev/net/tun", "a network of its own", "user namespaces"]
        .iter()
        .any(|no| errors.contains(no))
    {
        println!("skipped: {errors}");
        return Ok(());
    }
    if output.status.code() != Some(3) || !errors.is_empty() {
        return Err(format!("{:?}, {errors}", output.status));
    }
    // How many packets pass that nobody asked for (ARP, ICMP) is their business.
    let text = String::from_utf8_lossy(&output.stdout);
    let passed = |line: &str| ["XDP_PASS", "TC_ACT_OK"].iter().any(|name| line.starts_with(name));
    if text.lines().filter(|line| passed(line)).count() != 2 {
        return Err(format!("nothing passed: {text}"));
    }
    let lines = text.lines().filter(|line| !passed(line)).map(|line| format!("{line}\n"));
    check("wire.txt", &lines.collect::<String>())
}
