//! `bombus batch`: commands from a file, one a line.

use std::io::Read;

use serde_json::{Value, json};

use super::output::{Failed, Form, Output, meaning};
use super::words::Words;
use super::{Tool, dispatch, table};

/// The words of a line: quotes keep them together.
fn split(line: &str) -> Result<Vec<String>, Failed> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if matches!(c, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    match quote {
        None => Ok(words),
        Some(quote) => Err(Failed::new(format!("unterminated quoted string: {quote} in {line}"))),
    }
}

/// The lines that have commands: without comments, and with those that go on in the next joined.
fn commands(text: &str) -> Result<Vec<Vec<String>>, Failed> {
    let (mut commands, mut before) = (Vec::new(), String::new());
    for line in text.lines() {
        let line = before + line.split('#').next().unwrap_or_default();
        match line.strip_suffix('\\') {
            Some(beginning) => before = beginning.to_owned(),
            None => {
                commands.push(split(&line)?);
                before = String::new();
            }
        }
    }
    if !before.is_empty() {
        let number = commands.len();
        return Err(Failed::new(format!("missing continuation line on command {number}")));
    }
    commands.retain(|words| !words.is_empty());
    Ok(commands)
}

pub(super) fn run(tool: &Tool, mut words: Words) -> Result<Output, Failed> {
    let file = words.next().ok_or_else(|| Failed::new("too few parameters for batch"))?;
    if !words.is_empty() {
        return Err(Failed::new("too many parameters for batch"));
    }
    let mut text = String::new();
    let read = match file.as_str() {
        "-" => std::io::stdin().lock().read_to_string(&mut text),
        file => std::fs::File::open(file).and_then(|mut file| file.read_to_string(&mut text)),
    };
    read.map_err(|error| {
        let reason = meaning(error.raw_os_error().unwrap_or(libc::EIO));
        Failed::new(format!("Can't open file ({file}): {reason}"))
    })?;
    let mut done = Vec::new();
    for words in commands(&text)? {
        let outcome = carry_out(tool, &words);
        if tool.options.json {
            let (output, failed) = match outcome {
                Ok(Output::Json(value)) => (value, None),
                Ok(Output::Text(text)) => (text.into(), None),
                Ok(Output::Nothing) => (Value::Null, None),
                Err(failed) => (failed.value(), Some(failed)),
            };
            done.push(json!({ "command": words, "output": output }));
            if let Some(failed) = failed {
                return Err(Failed::silent(Some(done.into())).with_code(failed.code()));
            }
        } else {
            Form { json: false, pretty: false }.show(&outcome?);
            done.push(Value::Null);
        }
    }
    let count = done.len();
    Ok(tool.either(|| format!("processed {count} commands\n"), || done.into()))
}

fn carry_out(tool: &Tool, words: &[String]) -> Result<Output, Failed> {
    let (group, rest) = words.split_first().ok_or_else(|| Failed::new("an empty command"))?;
    let unknown = || Failed::new(format!("there is no command {}", words.join(" ")));
    let (group, command, taken) =
        table::find(group, rest.first().map(String::as_str)).ok_or_else(unknown)?;
    if group == "batch" {
        return Err(Failed::new("a batch does not run batches"));
    }
    let words = rest[taken..].iter().map(Into::into).collect();
    dispatch(tool, group, command, Words::new(command, words)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let text = "# a comment\nprog show # and another\n\nmap \\\nlookup 'a b' \"c\"\n";
        let found = commands(text).unwrap();
        assert_eq!(found, [vec!["prog", "show"], vec!["map", "lookup", "a b", "c"]]);
        assert!(commands("x \\\n").is_err());
        assert!(commands("x 'y").is_err());
    }

    #[test]
    fn words_may_be_short() {
        assert_eq!(table::find("p", Some("sh")), Some(("prog", "show", 1)));
        assert_eq!(table::find("map", Some("list")), Some(("map", "show", 1)));
        assert_eq!(table::find("net", None), Some(("net", "show", 0)));
        assert_eq!(table::find("prog", Some("nothing")), None);
        assert_eq!(table::find("nothing", None), None);
    }
}
