//! What a kernel can do: `feature probe`.

use serde_json::{Map, Value};

/// The form of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// Sentences.
    Plain,
    /// `#define`s, with this before their names.
    Macros(String),
    /// JSON.
    Json,
}

/// A report under way, section by section.
#[derive(Clone, Debug)]
pub struct Report {
    form: Form,
    text: String,
    sections: Map<String, Value>,
    /// Name and fields of the section under way.
    section: (String, Map<String, Value>),
}

impl Report {
    /// Nothing is reported yet.
    pub fn new(form: Form) -> Report {
        Report { form, text: String::new(), sections: Map::new(), section: Default::default() }
    }

    /// Starts a section: its name in JSON, its title, its title as a comment.
    pub fn start(&mut self, name: &str, title: &str, comment: &str) {
        match &self.form {
            Form::Plain => self.text += &format!("{title}\n"),
            Form::Macros(_) => self.text += &format!("{comment}\n"),
            Form::Json => self.section = (name.to_owned(), Map::new()),
        }
    }

    /// Ends it.
    pub fn end(&mut self) {
        match &self.form {
            Form::Plain | Form::Macros(_) => self.text.push('\n'),
            Form::Json => {
                let (name, fields) = std::mem::take(&mut self.section);
                self.sections.insert(name, fields.into());
            }
        }
    }

    /// A setting, which has no macro: its name in JSON, its value, its sentence.
    pub fn setting(&mut self, name: &str, value: i64, sentence: &str) {
        match &self.form {
            Form::Plain => self.text += &format!("{sentence}\n"),
            Form::Macros(_) => {}
            Form::Json => self.field(name, value),
        }
    }

    /// An option that the kernel was built with. `macros`: whether it has one.
    pub fn option(&mut self, name: &str, value: Option<&str>, macros: bool) {
        match (&self.form, value) {
            (Form::Plain, Some(value)) => self.text += &format!("{name} is set to {value}\n"),
            (Form::Plain, None) => self.text += &format!("{name} is not set\n"),
            (Form::Macros(prefix), Some(value)) if macros => {
                self.text += &format!("#define {prefix}{name} {value}\n");
            }
            (Form::Macros(prefix), None) if macros => {
                self.text += &format!("/* {prefix}{name} is not set */\n");
            }
            (Form::Macros(_), _) => {}
            (Form::Json, value) => self.field(name, value),
        }
    }

    /// Whether there is something: its name in JSON, in a sentence, in a macro.
    pub fn available(&mut self, name: &str, sentence: &str, macro_name: &str, available: bool) {
        match &self.form {
            Form::Plain => {
                let not = if available { "" } else { "NOT " };
                self.text += &format!("{sentence} is {not}available\n");
            }
            Form::Macros(prefix) => {
                let no = if available { "" } else { "NO_" };
                self.text += &format!("#define {prefix}{no}HAVE_{macro_name}\n");
            }
            Form::Json => self.field(name, available),
        }
    }

    /// What stands above the macros of helpers.
    pub fn helpers_title(&mut self) {
        let Form::Macros(prefix) = &self.form else { return };
        self.text += &format!(
            "/*\n * Use {prefix}HAVE_PROG_TYPE_HELPER(prog_type_name, helper_name)\n \
             * to determine if <helper_name> is available for <prog_type_name>,\n * e.g.\n \
             *\t#if {prefix}HAVE_PROG_TYPE_HELPER(xdp, bpf_redirect)\n \
             *\t\t// do stuff with this helper\n *\t#elif\n *\t\t// use a workaround\n *\t#endif\n \
             */\n#define {prefix}HAVE_PROG_TYPE_HELPER(prog_type, helper)\t\\\n\
             \t{prefix}BPF__PROG_TYPE_ ## prog_type ## __HELPER_ ## helper\n"
        );
    }

    /// Which helpers programs of a type may call; `supported`: whether there are such programs.
    pub fn helpers(&mut self, prog_type: &str, supported: bool, helpers: &[(String, bool)]) {
        let callable = || helpers.iter().filter(|(_, callable)| *callable).map(|(name, _)| name);
        match &self.form {
            Form::Plain => {
                let list: String = callable().map(|name| format!("\n\t- {name}")).collect();
                self.text +=
                    &format!("eBPF helpers supported for program type {prog_type}:{list}\n");
                if list.is_empty() {
                    self.text += match supported {
                        true => "\tCould not determine which helpers are available\n",
                        false => "\tProgram type not supported\n",
                    };
                }
            }
            Form::Macros(prefix) => {
                for (name, callable) in helpers {
                    let value = u8::from(*callable);
                    self.text += &format!(
                        "#define {prefix}BPF__PROG_TYPE_{prog_type}__HELPER_{name} {value}\n"
                    );
                }
            }
            Form::Json => {
                let list: Vec<String> = callable().cloned().collect();
                self.field(&format!("{prog_type}_available_helpers"), list);
            }
        }
    }

    fn field(&mut self, name: &str, value: impl Into<Value>) {
        self.section.1.insert(name.to_owned(), value.into());
    }

    /// The text forms.
    pub fn into_text(self) -> String {
        self.text
    }

    /// The JSON form.
    pub fn into_json(self) -> Value {
        self.sections.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(form: Form) -> Report {
        let mut report = Report::new(form);
        report.start("types", "Types...", "/*** types ***/");
        report.setting("limit", 7, "The limit is 7");
        report.available("have_x", "eBPF x", "X", false);
        report.option("CONFIG_HZ", Some("250"), true);
        report.option("CONFIG_BPF", None, false);
        report.helpers("xdp", true, &[("bpf_a".into(), true), ("bpf_b".into(), false)]);
        report.end();
        report
    }

    #[test]
    fn forms() {
        assert_eq!(
            report(Form::Plain).into_text(),
            "Types...\nThe limit is 7\neBPF x is NOT available\nCONFIG_HZ is set to 250\n\
             CONFIG_BPF is not set\neBPF helpers supported for program type xdp:\n\t- bpf_a\n\n"
        );
        assert_eq!(
            report(Form::Macros("P_".into())).into_text(),
            "/*** types ***/\n#define P_NO_HAVE_X\n#define P_CONFIG_HZ 250\n\
             #define P_BPF__PROG_TYPE_xdp__HELPER_bpf_a 1\n\
             #define P_BPF__PROG_TYPE_xdp__HELPER_bpf_b 0\n\n"
        );
        assert_eq!(
            report(Form::Json).into_json(),
            serde_json::json!({ "types": {
                "limit": 7, "have_x": false, "CONFIG_HZ": "250", "CONFIG_BPF": null,
                "xdp_available_helpers": ["bpf_a"],
            }})
        );
    }
}
