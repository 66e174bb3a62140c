//! JSON as bpftool lays it out, and the notation that it makes of it for people: the same with
//! addresses and bit fields in hexadecimal, which JSON does not have.

use serde_json::Value;

/// A value under way to its notation.
#[derive(Clone, PartialEq, Debug)]
pub enum Node {
    /// Stands as it is.
    Raw(String),
    /// Stands in quotes.
    Text(String),
    /// `[...]`
    List(Vec<Node>),
    /// `{...}`
    Object(Vec<(String, Node)>),
}

impl From<&Value> for Node {
    fn from(value: &Value) -> Node {
        match value {
            Value::Array(values) => Node::List(values.iter().map(Node::from).collect()),
            Value::Object(fields) => Node::Object(
                fields.iter().map(|(name, value)| (name.clone(), value.into())).collect(),
            ),
            // With JSON's own escapes.
            other => Node::Raw(other.to_string()),
        }
    }
}

impl Node {
    /// As a value of JSON. What is not JSON becomes a string.
    pub fn to_json(&self) -> Value {
        match self {
            Node::Raw(text) => {
                serde_json::from_str(text).unwrap_or_else(|_| Value::from(text.trim_matches('"')))
            }
            Node::Text(text) => text.clone().into(),
            Node::List(nodes) => nodes.iter().map(Node::to_json).collect(),
            Node::Object(fields) => Value::Object(
                fields.iter().map(|(name, node)| (name.clone(), node.to_json())).collect(),
            ),
        }
    }

    /// On one line.
    pub fn compact(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, None);
        text
    }

    /// A field a line; elements of lists stand one after the other.
    pub fn pretty(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, Some(0));
        text
    }

    /// `depth`: how far to the right a field stands; `None`: all on one line.
    fn write(&self, text: &mut String, depth: Option<usize>) {
        let line = |text: &mut String, depth: Option<usize>| {
            if let Some(depth) = depth {
                text.push('\n');
                text.push_str(&"    ".repeat(depth));
            }
        };
        let inner = depth.map(|depth| depth + 1);
        match self {
            Node::Raw(raw) => text.push_str(raw),
            Node::Text(content) => quote(text, content),
            Node::List(nodes) => {
                text.push('[');
                for (index, node) in nodes.iter().enumerate() {
                    if index != 0 {
                        text.push(',');
                    }
                    node.write(text, inner);
                }
                if !nodes.is_empty() {
                    line(text, depth);
                }
                text.push(']');
            }
            Node::Object(fields) => {
                text.push('{');
                for (index, (name, node)) in fields.iter().enumerate() {
                    if index != 0 {
                        text.push(',');
                    }
                    line(text, inner);
                    quote(text, name);
                    text.push_str(if depth.is_some() { ": " } else { ":" });
                    node.write(text, inner);
                }
                if !fields.is_empty() {
                    line(text, depth);
                }
                text.push('}');
            }
        }
    }
}

/// In quotes, with the escapes that bpftool knows.
fn quote(text: &mut String, content: &str) {
    text.push('"');
    for c in content.chars() {
        match c {
            '\t' => text.push_str("\\t"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\x0c' => text.push_str("\\f"),
            '\x08' => text.push_str("\\b"),
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            c => text.push(c),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_end_on_a_line_of_their_own() {
        let value = serde_json::json!({ "a": [1, 2], "b": [], "c": { "d": "x\u{1}" } });
        let node = Node::from(&value);
        assert_eq!(node.compact(), r#"{"a":[1,2],"b":[],"c":{"d":"x\u0001"}}"#);
        assert_eq!(
            node.pretty(),
            "{\n    \"a\": [1,2\n    ],\n    \"b\": [],\n    \"c\": {\n        \"d\": \"x\\u0001\"\n    }\n}"
        );
        assert_eq!(node.to_json(), value);
    }
}
