//! Text to tokens, one at a time: where the next token ends can depend on what the parser expects
//! (attach points and C are not made of tokens), so nothing is read ahead. A lexer is a position;
//! to look ahead, copy it.

use crate::diagnostic::Span;

/// The kinds of tokens. What they say is in the text at their span.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Token {
    /// The end of the text.
    End,
    /// A name or keyword.
    Ident,
    /// A digit and the digits, letters and underscores after it.
    Int,
    /// A string in double quotes.
    Str {
        /// Whether the closing quote is there.
        closed: bool,
    },
    /// Text in single quotes: not of the language, but a common slip.
    SingleQuoted,
    /// `$name`
    Var,
    /// `$1`
    Positional,
    /// `$#`
    PositionalCount,
    /// `@name` or `@`
    Map,
    /// An operator or punctuation.
    Punct(&'static str),
    /// A character that no token starts with.
    Unknown,
}

/// A token and where it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Lexeme {
    pub(super) token: Token,
    pub(super) span: Span,
}

/// Operators and punctuation; a longer one stands before its own beginning.
pub(super) const PUNCTUATION: [&str; 48] = [
    "<<=", ">>=", "==", "!=", "<=", ">=", "&&", "||", "<<", ">>", "++", "--", "->", "+=", "-=",
    "*=", "/=", "%=", "&=", "|=", "^=", "..", "{", "}", "(", ")", "[", "]", ",", ";", ":", "?",
    ".", "=", "<", ">", "+", "-", "*", "/", "%", "&", "|", "^", "!", "~", "#", "\\",
];

/// A position in the text, from where tokens are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lexer<'s> {
    text: &'s str,
    offset: usize,
    /// A `/*` without its `*/`.
    unclosed_comment: Option<Span>,
}

impl<'s> Lexer<'s> {
    /// At the start of the text.
    pub(super) fn new(text: &'s str) -> Lexer<'s> {
        Lexer { text, offset: 0, unclosed_comment: None }
    }

    /// The same text, from another place.
    pub(super) fn seek(self, offset: usize) -> Lexer<'s> {
        Lexer { offset, ..self }
    }

    /// The comment that runs into the end of the text, if the lexer came upon one.
    pub(super) fn unclosed_comment(self) -> Option<Span> {
        self.unclosed_comment
    }

    /// The next token.
    pub(super) fn next(&mut self) -> Lexeme {
        self.skip_layout();
        let start = self.offset;
        let token = self.scan();
        Lexeme { token, span: Span::new(start as u32, self.offset as u32) }
    }

    /// Passes over white space and comments.
    fn skip_layout(&mut self) {
        loop {
            self.skip_while(|byte| byte.is_ascii_whitespace() || byte == b'\x0b');
            let rest = self.rest();
            if rest.starts_with("//") {
                self.offset += rest.find('\n').unwrap_or(rest.len());
            } else if let Some(comment) = rest.strip_prefix("/*") {
                match comment.find("*/") {
                    Some(end) => self.offset += "/*".len() + end + "*/".len(),
                    None => {
                        let start = self.offset as u32;
                        self.unclosed_comment = Some(Span::new(start, start + 2));
                        self.offset = self.text.len();
                    }
                }
            } else {
                return;
            }
        }
    }

    /// Passes over the token at the current place and says what it is.
    fn scan(&mut self) -> Token {
        let rest = self.rest();
        let mut bytes = rest.bytes();
        let Some(first) = bytes.next() else { return Token::End };
        let second = bytes.next();
        match first {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                self.skip_while(is_ident_byte);
                Token::Ident
            }
            b'0'..=b'9' => {
                self.skip_while(is_ident_byte);
                Token::Int
            }
            b'"' => Token::Str { closed: self.skip_quoted(b'"') },
            b'\'' => {
                self.skip_quoted(b'\'');
                Token::SingleQuoted
            }
            b'$' => {
                self.offset += 1;
                match second {
                    Some(b'#') => {
                        self.offset += 1;
                        Token::PositionalCount
                    }
                    Some(b'0'..=b'9') => {
                        self.skip_while(|byte| byte.is_ascii_digit());
                        Token::Positional
                    }
                    Some(byte) if is_ident_byte(byte) => {
                        self.skip_while(is_ident_byte);
                        Token::Var
                    }
                    _ => Token::Unknown,
                }
            }
            b'@' => {
                self.offset += 1;
                if second.is_some_and(|byte| !byte.is_ascii_digit()) {
                    self.skip_while(is_ident_byte);
                }
                Token::Map
            }
            _ => match PUNCTUATION.into_iter().find(|punct| rest.starts_with(punct)) {
                Some(punct) => {
                    self.offset += punct.len();
                    Token::Punct(punct)
                }
                None => {
                    self.offset += rest.chars().next().map_or(0, char::len_utf8);
                    Token::Unknown
                }
            },
        }
    }

    /// Passes over quoted text, which ends before a line break at the latest; says whether it was
    /// closed.
    fn skip_quoted(&mut self, quote: u8) -> bool {
        let bytes = self.text.as_bytes();
        self.offset += 1;
        while let Some(&byte) = bytes.get(self.offset) {
            match byte {
                b'\n' => return false,
                b'\\' if !matches!(bytes.get(self.offset + 1), None | Some(b'\n')) => {
                    self.offset += 1;
                    self.offset += self.rest().chars().next().map_or(0, char::len_utf8);
                }
                _ => self.offset += 1,
            }
            if byte == quote {
                return true;
            }
        }
        false
    }

    fn skip_while(&mut self, accept: impl Fn(u8) -> bool) {
        let rest = &self.text.as_bytes()[self.offset..];
        self.offset += rest.iter().position(|&byte| !accept(byte)).unwrap_or(rest.len());
    }

    fn rest(&self) -> &'s str {
        &self.text[self.offset..]
    }
}

/// Whether a name can go on with this.
pub(super) fn is_ident_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<(Token, &str)> {
        let mut lexer = Lexer::new(text);
        let mut tokens = Vec::new();
        loop {
            let Lexeme { token, span } = lexer.next();
            if token == Token::End {
                return tokens;
            }
            tokens.push((token, &text[span.start as usize..span.end as usize]));
        }
    }

    #[test]
    fn the_longest_token_wins() {
        let puncts = |text| tokens(text).into_iter().map(|token| token.1).collect::<Vec<_>>();
        assert_eq!(puncts("a<<=b<<c<=d<e"), ["a", "<<=", "b", "<<", "c", "<=", "d", "<", "e"]);
        assert_eq!(puncts("1..10 $a.0.1"), ["1", "..", "10", "$a", ".", "0", ".", "1"]);
        assert_eq!(puncts("@=@[1]"), ["@", "=", "@", "[", "1", "]"]);
        assert_eq!(puncts("$1a $# $_"), ["$1", "a", "$#", "$_"]);
        for punct in PUNCTUATION {
            assert_eq!(tokens(punct), [(Token::Punct(punct), punct)]);
        }
    }

    #[test]
    fn strings_and_comments_end() {
        assert_eq!(tokens(r#""a\"b" // "c"#), [(Token::Str { closed: true }, r#""a\"b""#)]);
        assert_eq!(tokens("\"a\\\n"), [(Token::Str { closed: false }, "\"a\\")]);
        assert_eq!(tokens("'x' /* y */"), [(Token::SingleQuoted, "'x'")]);
        let mut lexer = Lexer::new("a /* b");
        lexer.next();
        assert_eq!(lexer.next().token, Token::End);
        assert_eq!(lexer.unclosed_comment(), Some(Span::new(2, 4)));
    }
}
