//! What a command gives, and how it fails.

use std::process::ExitCode;

use bombus_inspect::notation::Node;
use bombus_kernel::Error;
use serde_json::Value;

/// What a command gives.
pub(super) enum Output {
    /// Lines, whole.
    Text(String),
    /// A value.
    Json(Value),
    /// Nothing: in JSON, `null`.
    Nothing,
}

/// Why a command failed.
#[derive(Debug)]
pub(super) struct Failed {
    message: String,
    /// What the command found before it failed.
    before: Option<Value>,
    code: u8,
}

impl Failed {
    /// A sentence, in bpftool's words where it has some.
    pub(super) fn new(message: impl Into<String>) -> Failed {
        Failed { message: message.into(), before: None, code: 255 }
    }

    /// With another status than bpftool's usual one.
    pub(super) fn with_code(mut self, code: u8) -> Failed {
        self.code = code;
        self
    }

    /// With what the command found before it failed.
    pub(super) fn after(mut self, found: Value) -> Failed {
        self.before = Some(found);
        self
    }

    /// With the status that a negative error number becomes.
    pub(super) fn with_errno(self, errno: i32) -> Failed {
        self.with_code((-errno) as u8)
    }

    /// The status that the process ends with.
    pub(super) fn code(&self) -> u8 {
        self.code
    }

    /// What stands for it in JSON.
    pub(super) fn value(&self) -> Value {
        match (&self.before, self.message.as_str()) {
            (Some(before), "") => before.clone(),
            (None, "") => Value::Null,
            (_, message) => serde_json::json!({ "error": message }),
        }
    }

    /// `null` stands before the error, or nothing was said at all.
    pub(super) fn silent(before: Option<Value>) -> Failed {
        Failed { message: String::new(), before, code: 255 }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        Failed::new(error.to_string())
    }
}

/// What an error number means, as `strerror(3)` says it.
pub(super) fn meaning(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    match text.rfind(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// Why the kernel refused, without what was tried.
pub(super) fn reason(error: &Error) -> String {
    match error {
        Error::Privilege { .. } => meaning(libc::EPERM),
        error => error.errno().map_or_else(|| error.to_string(), meaning),
    }
}

/// As [`because`], with the error number as status: where bpftool hands on what libbpf returns.
pub(super) fn because_of(what: impl std::fmt::Display) -> impl Fn(Error) -> Failed {
    move |error| {
        let errno = match error {
            Error::Privilege { .. } => libc::EPERM,
            _ => error.errno().unwrap_or(1),
        };
        because(&what)(error).with_errno(errno)
    }
}

/// A failure of this form: `what: reason`.
pub(super) fn because(what: impl std::fmt::Display) -> impl Fn(Error) -> Failed {
    move |error| Failed::new(format!("{what}: {}", reason(&error)))
}

/// The form of the output.
#[derive(Clone, Copy)]
pub(super) struct Form {
    pub(super) json: bool,
    pub(super) pretty: bool,
}

impl Form {
    fn value(self, value: &Value) -> String {
        let node = Node::from(value);
        let text = if self.pretty { node.pretty() } else { node.compact() };
        text + "\n"
    }

    /// Prints what came out.
    pub(super) fn show(self, output: &Output) {
        match output {
            Output::Text(text) => crate::print(text),
            Output::Json(value) => crate::print(&self.value(value)),
            Output::Nothing if self.json => crate::print("null\n"),
            Output::Nothing => {}
        }
    }

    /// Says why nothing did.
    pub(super) fn fail(self, failed: &Failed) -> ExitCode {
        if let Some(value) = &failed.before {
            match value {
                Value::String(text) if !self.json => crate::print(text),
                value => crate::print(&self.value(value)),
            }
        }
        match failed.message.as_str() {
            "" => {}
            message if self.json => {
                crate::print(&self.value(&serde_json::json!({ "error": message })));
            }
            message => eprintln!("Error: {message}"),
        }
        ExitCode::from(failed.code)
    }
}
