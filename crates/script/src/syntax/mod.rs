//! From text to a tree, and from a tree back to text.

pub mod ast;
pub mod provider;
