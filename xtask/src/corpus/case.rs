//! The cases of an object: what its annotations expect of each program.
//!
//! They stand in the object's types, as tags of functions: `comment:NUMBER:test_expect_msg=TEXT`
//! (`tools/testing/selftests/bpf/progs/bpf_misc.h` and `test_loader.c` say what they mean).

use std::collections::BTreeMap;

use bombus_btf::{Btf, Kind, Type, TypeId};
use bombus_spec::ObjectSpec;
use bombus_verifier::Privileges;

use super::pattern::Pattern;

/// Who loads the program.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Mode {
    /// root, in most files without `CAP_SYS_ADMIN`.
    Privileged,
    /// Somebody with few capabilities or none.
    Unprivileged,
}

/// One load of one program.
#[derive(Clone, Debug)]
pub(super) struct Case {
    /// The object's name, without its endings.
    pub(super) object: String,
    /// The program's name.
    pub(super) program: String,
    pub(super) mode: Mode,
    /// Whether it is to be accepted.
    pub(super) accepted: bool,
    /// What the log has to hold.
    pub(super) messages: Vec<Pattern>,
    /// What a test run returns.
    pub(super) retval: Option<i32>,
    /// Bytes of a test run's packet that lie in one piece; 0: all.
    pub(super) linear: u32,
    /// The log's level.
    pub(super) log_level: u32,
    /// `BPF_F_*` flags that are added.
    pub(super) flags: u32,
    /// Capabilities in unprivileged mode, by their bits.
    pub(super) capabilities: u64,
    /// Programs that are loaded with it.
    pub(super) companions: Vec<String>,
    /// It is for other processors, or for kernels without a JIT.
    pub(super) elsewhere: bool,
}

impl Case {
    /// `OBJECT/PROGRAM`, with `@unpriv` after it where it is that.
    pub(super) fn name(&self) -> String {
        let mode = if self.mode == Mode::Unprivileged { "@unpriv" } else { "" };
        format!("{}/{}{mode}", self.object, self.program)
    }

    /// What the loading process may do; `without_admin`: this is one of the files that are loaded
    /// without `CAP_SYS_ADMIN` (`RUN` in `prog_tests/verifier.c`).
    pub(super) fn privileges(&self, without_admin: bool) -> Privileges {
        /// Numbers of `include/uapi/linux/capability.h`.
        const SYS_ADMIN: u32 = 21;
        const PERFMON: u32 = 38;
        const BPF: u32 = 39;
        if self.mode == Mode::Privileged {
            return Privileges { sys_admin: !without_admin, ..Privileges::ALL };
        }
        let has = |capability: u32| self.capabilities >> capability & 1 != 0;
        let sys_admin = has(SYS_ADMIN);
        Privileges { bpf: has(BPF) || sys_admin, perfmon: has(PERFMON) || sys_admin, sys_admin }
    }
}

/// The cases of an object, in the order of its programs.
pub(super) fn read(name: &str, object: &ObjectSpec) -> Result<Vec<Case>, String> {
    let Some(blob) = object.btf.clone() else { return Ok(Vec::new()) };
    let types = Btf::parse(blob).map_err(|error| error.to_string())?;
    let mut tags: BTreeMap<TypeId, Vec<(u32, &str)>> = BTreeMap::new();
    for (_, ty) in types.types() {
        if let Type::DeclTag { tag, ty, component: None } = ty
            && let Some((number, text)) = numbered(tag)
        {
            tags.entry(ty).or_default().push((number, text));
        }
    }
    let mut annotated = Vec::new();
    for program in &object.programs {
        let Some(function) = types.find(Kind::Func, &program.name) else { continue };
        let Some(mut tags) = tags.remove(&function) else { continue };
        // The compiler keeps no order.
        tags.sort_unstable();
        let read = Annotations::read(tags.into_iter().map(|(_, text)| text));
        let read = read.map_err(|error| format!("{name}/{}: {error}", program.name))?;
        annotated.push((&program.name, read));
    }
    let mut cases = Vec::new();
    for (program, annotations) in &annotated {
        if annotations.auxiliary {
            continue;
        }
        for mode in [Mode::Privileged, Mode::Unprivileged] {
            let companions =
                annotated.iter().filter(|(_, other)| other.auxiliary && other.of(mode).wanted);
            let companions = companions.map(|(name, _)| (*name).clone()).collect();
            cases.extend(annotations.case(name, program, mode, companions));
        }
    }
    Ok(cases)
}

/// A tag without its number, which orders them.
fn numbered(tag: &str) -> Option<(u32, &str)> {
    let (number, text) = tag.strip_prefix("comment:")?.split_once(':')?;
    Some((number.parse().ok()?, text))
}

/// What the tags of one function say.
#[derive(Default)]
struct Annotations {
    privileged: Expected,
    unprivileged: Expected,
    log_level: u32,
    flags: u32,
    capabilities: u64,
    linear: u32,
    auxiliary: bool,
    /// The processors that it is for, when that is said.
    processors: Vec<String>,
    without_jit: bool,
}

/// What they say about one mode.
#[derive(Default)]
struct Expected {
    /// Whether there is a case of this mode.
    wanted: bool,
    refused: Option<bool>,
    messages: Vec<Pattern>,
    retval: Option<i32>,
}

impl Annotations {
    fn read<'t>(tags: impl Iterator<Item = &'t str>) -> Result<Annotations, String> {
        let mut all = Annotations::default();
        for tag in tags {
            let (key, value) = tag.split_once('=').unwrap_or((tag, ""));
            let (key, unprivileged) = match key.strip_suffix("_unpriv") {
                Some(key) => (key, true),
                None => (key, false),
            };
            let expected = if unprivileged { &mut all.unprivileged } else { &mut all.privileged };
            match key {
                "test_expect_failure" => expected.refused = Some(true),
                "test_expect_success" => expected.refused = Some(false),
                "test_auxiliary" => all.auxiliary = true,
                "test_expect_msg" => expected.messages.push(Pattern::new(value, false)?),
                "test_expect_not_msg" => expected.messages.push(Pattern::new(value, true)?),
                "test_retval" => expected.retval = Some(number(value)?),
                "test_caps" => all.capabilities = capabilities(value)?,
                "test_jited" | "test_expect_xlated" => {}
                "test_log_level" => {
                    all.log_level = number(value)? as u32;
                    continue;
                }
                "test_prog_flags" => {
                    match value.strip_prefix('!') {
                        Some(value) => all.flags &= !flag(value)?,
                        None => all.flags |= flag(value)?,
                    }
                    continue;
                }
                "test_arch" => {
                    all.processors.push(value.to_owned());
                    continue;
                }
                "test_linear_size" => {
                    all.linear = number(value)? as u32;
                    continue;
                }
                "load_mode" => {
                    all.without_jit = value == "no_jited";
                    continue;
                }
                _ => continue,
            }
            expected.wanted = true;
        }
        Ok(all)
    }

    fn of(&self, mode: Mode) -> &Expected {
        match mode {
            Mode::Privileged => &self.privileged,
            Mode::Unprivileged => &self.unprivileged,
        }
    }

    fn case(
        &self,
        object: &str,
        program: &str,
        mode: Mode,
        companions: Vec<String>,
    ) -> Option<Case> {
        let own = self.of(mode);
        // Programs of which only the return value is said are tests of something else.
        let judged = |of: &Expected| of.refused.is_some() || !of.messages.is_empty();
        if !own.wanted || !(judged(own) || judged(&self.privileged)) {
            return None;
        }
        // What is not said of the unprivileged is as for the others.
        let other = &self.privileged;
        let messages = if own.messages.is_empty() { &other.messages } else { &own.messages };
        Some(Case {
            object: object.to_owned(),
            program: program.to_owned(),
            mode,
            accepted: !own.refused.or(other.refused).unwrap_or(false),
            messages: messages.clone(),
            retval: own.retval.or(other.retval),
            linear: self.linear,
            log_level: self.log_level,
            flags: self.flags,
            capabilities: self.capabilities,
            companions,
            elsewhere: self.without_jit
                || (!self.processors.is_empty()
                    && !self.processors.iter().any(|processor| processor == "X86_64")),
        })
    }
}

fn number(text: &str) -> Result<i32, String> {
    if text == "_INT_MIN" {
        return Ok(i32::MIN);
    }
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16),
        None => text.parse::<i64>(),
    };
    parsed.map(|number| number as i32).map_err(|_| format!("{text} is not a number"))
}

/// Flags of `BPF_PROG_LOAD` as the annotations name them.
const FLAGS: [(&str, u32); 7] = [
    ("BPF_F_STRICT_ALIGNMENT", 1 << 0),
    ("BPF_F_ANY_ALIGNMENT", 1 << 1),
    ("BPF_F_TEST_RND_HI32", 1 << 2),
    ("BPF_F_TEST_STATE_FREQ", 1 << 3),
    ("BPF_F_SLEEPABLE", 1 << 4),
    ("BPF_F_XDP_HAS_FRAGS", 1 << 5),
    ("BPF_F_TEST_REG_INVARIANTS", 1 << 7),
];

fn flag(text: &str) -> Result<u32, String> {
    let named = FLAGS.iter().find(|(name, _)| *name == text);
    named.map_or_else(|| number(text).map(|number| number as u32), |(_, flag)| Ok(*flag))
}

/// `39 | 38`: numbers of capabilities.
fn capabilities(text: &str) -> Result<u64, String> {
    text.split('|').try_fold(0, |all, one| {
        let number: u32 = one.trim().parse().map_err(|_| format!("{one} is no capability"))?;
        Ok(all | 1u64.checked_shl(number).unwrap_or(0))
    })
}
