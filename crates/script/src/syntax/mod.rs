//! From text to a tree, and from a tree back to text.

pub mod ast;
mod dump;
mod lexer;
mod literal;
mod names;
mod operator;
mod parser;
mod print;
pub mod provider;
pub mod visit;

pub use dump::dump;
pub use parser::parse;
pub use print::{escape, print};
