//! placeholder
#[derive(Clone, Debug, Default)]
pub(super) struct ReturnStack;
