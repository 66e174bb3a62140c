//! `bombus perf`.

use bombus_inspect::perf;
use bombus_kernel::inspect::Inspect;

use super::Tool;
use super::output::{Failed, Output, because};
use super::words::Words;

pub(super) fn run(tool: &Tool, words: Words) -> Result<Output, Failed> {
    words.end()?;
    let traced = tool.linux.task_fds().map_err(because("perf_query_support"))?;
    Ok(tool.either(
        || traced.iter().map(perf::text).collect(),
        || traced.iter().map(perf::json).collect(),
    ))
}
