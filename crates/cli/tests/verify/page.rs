//! The page of `--html`, in a browser without a window: its scripts run without an error, and going
//! through the steps shows what is known at each.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use super::Kernel;

/// How long a browser may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is done on the page once it is there: each state that stepping shows is written down.
const DRIVER: &str = r#"
<pre id="seen"></pre>
<script>
"use strict";
const seen = [];
window.onerror = message => seen.push("error: " + message);
const note = what => seen.push(what + "|" + find("where").textContent + "|" +
  find("side").innerText.replace(/\s+/g, " "));
const press = key => document.dispatchEvent(new KeyboardEvent("keydown", { key }));
try {
  note("start");
  press("ArrowLeft");
  note("previous");
  press("j");
  note("next");
  find("row0").click();
  note("first");
  find("explanation").querySelector("li").click();
  note("step");
} catch (error) {
  seen.push("error: " + error);
}
find("seen").textContent = seen.join("\n");
</script>
"#;

pub(super) fn shows_states() -> Result<(), Failed> {
    let kernel = Kernel::new("page")?;
    let args = ["verify/explain/memory.o", "--prog", "map_value_null", "--html", "-"];
    let output = kernel.verify(&args)?;
    let text = String::from_utf8(output.stdout)?;
    for outside in ["http://", "https://", "src=", "@import", "<link"] {
        if text.contains(outside) {
            return Err(format!("the page fetches: {outside}").into());
        }
    }
    let Some(page) = shown(&text.replace("</html>", &format!("{DRIVER}</html>")))? else {
        eprintln!("skipped: there is no chromium");
        return Ok(());
    };
    let (_, seen) = page.split_once(r#"<pre id="seen">"#).ok_or("the scripts did not run")?;
    let seen = seen.split_once("</pre>").map_or(seen, |(seen, _)| seen);
    let lines: Vec<&str> = seen.lines().collect();
    let expected = [
        // Of the refused instruction, what its register may be.
        ("start|step 7 of 7|", "R0 map_value_or_null("),
        ("previous|step 6 of 7|", "R2 fp-4"),
        ("next|step 7 of 7|", "R0 map_value_or_null("),
        ("first|step 1 of 7|", "R1 ctx()"),
        ("step|step 6 of 7|", "before instruction 6"),
    ];
    let is_right = lines.len() == expected.len()
        && lines
            .iter()
            .zip(expected)
            .all(|(line, (start, known))| line.starts_with(start) && line.contains(known));
    match is_right {
        true => Ok(()),
        false => Err(seen.to_owned().into()),
    }
}

/// What a browser makes of a page; nothing where there is no browser.
fn shown(page: &str) -> Result<Option<String>, Failed> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page");
    std::fs::create_dir_all(&directory)?;
    let (file, dom) = (directory.join("page.html"), directory.join("dom.html"));
    std::fs::write(&file, page)?;
    let started = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"])
        .arg(format!("--user-data-dir={}", directory.join("profile").display()))
        .arg(format!("file://{}", file.display()))
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&dom)?)
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut browser) = started else { return Ok(None) };
    let start = Instant::now();
    while browser.try_wait()?.is_none() {
        if start.elapsed() > PATIENCE {
            browser.kill()?;
            return Err("the browser does not end".into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let text = std::fs::read_to_string(&dom)?;
    std::fs::remove_dir_all(&directory)?;
    Ok(Some(text))
}
