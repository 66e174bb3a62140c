//! The words of a command given with `-c`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Splits at blanks. Quotes and backslashes keep them, as in a shell (POSIX, shell command
/// language, section 2.2); nothing else of a shell is there. `None` when a quote does not end.
pub(crate) fn split(command: &OsStr) -> Option<Vec<OsString>> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut bytes = command.as_bytes().iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b' ' | b'\t' | b'\n' => words.extend(word.take()),
            b'\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match bytes.next()? {
                        b'\'' => break,
                        byte => word.push(byte),
                    }
                }
            }
            b'"' => {
                let word = word.get_or_insert_default();
                loop {
                    match bytes.next()? {
                        b'"' => break,
                        b'\\' => match bytes.next()? {
                            byte @ (b'"' | b'\\' | b'$' | b'`') => word.push(byte),
                            byte => word.extend([b'\\', byte]),
                        },
                        byte => word.push(byte),
                    }
                }
            }
            b'\\' => word.get_or_insert_default().push(bytes.next()?),
            byte => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    Some(words.into_iter().map(OsString::from_vec).collect())
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn words() {
        let split = |text: &str| {
            split(text.as_ref()).map(|words| {
                words.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>()
            })
        };
        assert_eq!(split("ls -l  /tmp").unwrap(), ["ls", "-l", "/tmp"]);
        assert_eq!(split("sh -c 'a | b'").unwrap(), ["sh", "-c", "a | b"]);
        assert_eq!(
            split(r#"echo "a \"b\" \n" c\ d '' "#).unwrap(),
            ["echo", r#"a "b" \n"#, "c d", ""]
        );
        assert_eq!(split("x'y'z").unwrap(), ["xyz"]);
        assert_eq!(split("  ").unwrap(), [""; 0]);
        assert_eq!(split("a 'b"), None);
        assert_eq!(split("a \\"), None);
        assert_eq!(split("$HOME *").unwrap(), ["$HOME", "*"]);
    }
}
