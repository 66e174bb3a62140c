//! What is said when something is wrong.

use libtest_mimic::Trial;

use crate::{check, output, run, trial};

pub(crate) fn trials(linux: bool) -> Vec<Trial> {
    vec![
        trial("mistakes", true, mistakes),
        trial("places that are not there", linux, places),
        trial("programs without a place", linux, unplaced),
        trial("the verifier refuses", linux, verifier),
    ]
}

/// The messages of command lines, one after the other.
fn messages(object: &str, lines: &[&[&str]]) -> Result<String, String> {
    let mut text = String::new();
    for arguments in lines {
        let output = output(run(object).args(["-q", "--duration", "0"]).args(*arguments))?;
        if output.status.success() {
            return Err(format!("{arguments:?} is no mistake"));
        }
        text += &format!("{}\n", arguments.join(" "));
        let errors = String::from_utf8_lossy(&output.stderr);
        let message = errors.lines().filter(|line| !line.is_empty());
        message.take_while(|line| !line.starts_with("For more")).for_each(|line| {
            text += &format!("    {line}\n");
        });
    }
    Ok(text)
}

/// What can be told from the object alone.
fn mistakes() -> Result<(), String> {
    let text = messages(
        "chdir",
        &[
            &["--set", "wnted=/"],
            &["--set", "wanted=/a/path/that/is/too/long/for/it"],
            &["--set", "kind=KIND_CHDR"],
            &["--set", "kind=4294967296"],
            &["--set", "depths=[1, 2, 3, 4, 5]"],
            &["--set", "depths=[1, 2"],
            &["--set", "depths=7"],
            &["--set", "depths=[3000000000]"],
            &["--set", "serial=-1"],
            &["--set", "serial=five"],
            &["--set", "serial"],
            &["--set", "evnts[0]=1"],
            &["--set", "events[0]=1"],
            &["--map", "evnts"],
            &["--type", "events=struct evnt"],
            &["--attach", "on_chdr=xdp:lo"],
            &["--attach", "on_chdir=xpd:lo"],
            &["--attach", "on_chdir"],
            &["--btf", "/nowhere"],
        ],
    )?;
    check("mistakes.txt", &text)
}

fn places() -> Result<(), String> {
    let text = messages(
        "unplaced",
        &[
            &["--attach", "xdp:lo"],
            &["--attach", "pass=xdp:no-device"],
            &["--attach", "pass=xdp:lo:fast"],
            &["--attach", "pass=tcx:lo:sideways"],
            &["--attach", "pass=sockmap:none"],
            &["--attach", "on_call=uprobe:/bin/no-program:main"],
            &["--attach", "on_call=uprobe:sh"],
            &["--attach", "on_call=profile:often"],
        ],
    )?;
    check("places.txt", &text)
}

/// Nobody finds out later why nothing came.
fn unplaced() -> Result<(), String> {
    let output = output(&mut run("unplaced"))?;
    let both = [output.stdout, output.stderr].concat();
    check("unplaced.txt", &String::from_utf8_lossy(&both))
}

/// The line of the source, the reason, and everything with `-v`.
fn verifier() -> Result<(), String> {
    let says = |arguments: &[&str]| -> Result<String, String> {
        let output = output(run("refused").args(arguments))?;
        if output.status.code() != Some(1) {
            return Err(format!("{:?}", output.status));
        }
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let short = says(&[])?;
    let expected = ["refused program reads_null", "at return *value;", "(-v shows"];
    if let Some(missing) = expected.iter().find(|text| !short.contains(**text)) {
        return Err(format!("{missing} is missing:\n{short}"));
    }
    let reason = short.lines().any(|line| line.contains("R0 invalid mem access"));
    let whole = says(&["-v"])?;
    match reason && whole.contains("processed ") && whole.len() > short.len() {
        true => Ok(()),
        false => Err(format!("{short}{whole}")),
    }
}
