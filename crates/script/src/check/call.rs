//! Builtins and functions that give values. A builtin may be written with or without parentheses.

use super::Checker;
use super::convert::convert;
use super::expr::{Typed, number, text};
use super::map_call::AGGREGATIONS;
use super::tree::{Builtin, Clock, Context, Expr, ExprKind};
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast;
use crate::types::Type;

/// `AF_INET` and `AF_INET6` (`include/linux/socket.h`).
const AF_INET: i64 = 2;
const AF_INET6: i64 = 10;

/// Builtins and functions that give a value, for messages.
const NAMES: [&str; 45] = [
    "pid", "tid", "uid", "gid", "comm", "nsecs", "elapsed", "cpu", "ncpus", "numaid", "rand",
    "cgroup", "curtask", "cpid", "username", "probe", "func", "args", "arg0", "retval", "printf",
    "print", "clear", "zero", "delete", "has_key", "len", "exit", "time", "strftime", "str", "buf",
    "join", "ntop", "errorf", "warnf", "strncmp", "sizeof", "count", "sum", "min", "max", "avg",
    "stats", "hist",
];

/// What bpftrace 0.27 has beyond that.
const LATER: [&str; 54] = [
    "kstack",
    "ustack",
    "dw_ustack",
    "ksym",
    "usym",
    "kaddr",
    "uaddr",
    "percpu_kaddr",
    "reg",
    "cat",
    "system",
    "strcontains",
    "strstr",
    "strlen",
    "strcap",
    "str_concat",
    "strerror",
    "signal_name",
    "syscall_name",
    "path",
    "macaddr",
    "memcmp",
    "default_str_length",
    "pton",
    "bswap",
    "socket_cookie",
    "find",
    "offsetof",
    "typeinfo",
    "container_of",
    "is_str",
    "is_ptr",
    "is_array",
    "is_integer",
    "is_unsigned_integer",
    "is_literal",
    "is_err",
    "kptr",
    "uptr",
    "static_assert",
    "cgroupid",
    "cgroup_path",
    "signal",
    "signal_thread",
    "override",
    "write_user",
    "unwatch",
    "getopt",
    "assert",
    "fail",
    "ppid",
    "pcomm",
    "jiffies",
    "usermode",
];

impl Checker<'_> {
    /// A builtin or a call.
    pub(super) fn call(
        &mut self,
        name: &str,
        name_span: Span,
        args: &[ast::Expr],
        span: Span,
    ) -> Typed {
        if let Some(builtin) = self.builtin(name, args, span) {
            return builtin;
        }
        match name {
            "printf" | "errorf" | "warnf" => self.printf(name, args, span),
            "print" => self.print(args, span),
            "clear" | "zero" => self.clear(name, args, span),
            "time" => self.time(args, span),
            "join" => self.join(args, span),
            "exit" => self.exit(args, span),
            "str" => self.str_call(args, span),
            "buf" => self.buf(args, span),
            "ntop" => self.ntop(args, span),
            "strftime" => self.strftime(args, span),
            "strncmp" => self.strncmp(args, span),
            "has_key" => self.has_key(args, span),
            "delete" => self.delete(args, span),
            "len" => self.len(args, span),
            "args" => {
                self.error(span, "args cannot be used as a whole; take one of its fields");
                Typed::unknown(span)
            }
            _ if AGGREGATIONS.contains(&name) => {
                self.error(span, format!("{name}() must be assigned directly to a map"));
                Typed::unknown(span)
            }
            _ if LATER.contains(&name) => self.unsupported(name_span, name),
            _ => {
                let called = self.is_call(span, name_span);
                let kind = if called { "function" } else { "identifier" };
                let error = Diagnostic::error(name_span, format!("Unknown {kind}: '{name}'"))
                    .did_you_mean(name, NAMES.into_iter().chain(LATER));
                self.diagnostics.push(error);
                Typed::unknown(span)
            }
        }
    }

    fn is_call(&self, span: Span, name: Span) -> bool {
        span.end > name.end
    }

    /// Values without arguments.
    fn builtin(&mut self, name: &str, args: &[ast::Expr], span: Span) -> Option<Typed> {
        let u32_type = Type::Int { size: 4, signed: false };
        let (ty, builtin) = match name {
            "pid" => (u32_type, Builtin::Pid),
            "tid" => (u32_type, Builtin::Tid),
            "uid" => (Type::U64, Builtin::Uid),
            "gid" => (Type::U64, Builtin::Gid),
            "comm" => (Type::Str { size: 16 }, Builtin::Comm),
            "nsecs" => return Some(self.nsecs(args, span)),
            "elapsed" => (Type::U64, Builtin::Elapsed),
            "cpu" => (Type::U64, Builtin::Cpu),
            "numaid" => (Type::U64, Builtin::NumaNode),
            "rand" => (Type::U64, Builtin::Rand),
            "cgroup" => (Type::U64, Builtin::Cgroup),
            "cpid" => (Type::U64, Builtin::ChildPid),
            "curtask" => {
                let to = Box::new(Type::Struct("task_struct".to_string()));
                (Type::Pointer { to, user: false }, Builtin::CurrentTask)
            }
            "username" => (Type::Username, Builtin::Uid),
            "probe" => {
                let text_known = self.action.group.and_then(|group| group.probe_text.clone());
                if let Some(known) = text_known {
                    return Some(text(span, known.into_bytes()));
                }
                (Type::StringIndex, Builtin::Probe)
            }
            "func" => return Some(self.func(span)),
            "retval" => {
                let on_return = self.context() == Context::User { on_return: true };
                if !on_return {
                    let message = "The retval builtin can only be used with 'kretprobe' and \
                                   'uretprobe' and 'fentry' probes";
                    self.error(span, message);
                }
                (Type::U64, Builtin::ReturnValue)
            }
            "ncpus" => {
                let ncpus = i64::from(self.env.features.possible_cpus);
                self.no_arguments(name, args, span);
                return Some(Typed::new(span, Type::U64, ExprKind::Int(ncpus)));
            }
            _ => (Type::U64, self.argument(name, span)?),
        };
        let takes_namespace = matches!(builtin, Builtin::Pid | Builtin::Tid);
        let one_name = matches!(args, [ast::Expr { kind: ast::ExprKind::Ident(_), .. }]);
        if !args.is_empty() && takes_namespace && one_name {
            // Programs see the ids of the initial namespace only.
            return Some(self.unsupported(span, &format!("{name} of a given namespace")));
        }
        if name == "comm" && !args.is_empty() {
            return Some(self.unsupported(span, "comm of another process"));
        }
        self.no_arguments(name, args, span);
        Some(Typed::new(span, ty, ExprKind::Builtin(builtin)))
    }

    fn no_arguments(&mut self, name: &str, args: &[ast::Expr], span: Span) {
        if !args.is_empty() {
            let message = format!("{name}() requires 0 arguments ({} provided)", args.len());
            self.error(span, message);
        }
    }

    /// `arg0` to `arg9`.
    fn argument(&mut self, name: &str, span: Span) -> Option<Builtin> {
        let number: u8 = name.strip_prefix("arg")?.parse().ok()?;
        if number > 9 || name.len() != 4 {
            return None;
        }
        let possible =
            matches!(self.context(), Context::User { on_return: false } | Context::RawTracepoint);
        if !possible {
            let message = format!(
                "The {name} builtin can only be used with 'kprobes', 'uprobes' and 'usdt' probes"
            );
            self.error(span, message);
        }
        Some(Builtin::Arg(number))
    }

    fn func(&mut self, span: Span) -> Typed {
        let targets = self.action.group.map_or(&[][..], |group| &group.targets);
        if targets.iter().any(|target| target.function.is_none()) {
            let message = "The func builtin can only be used with probes of functions";
            self.error(span, message);
            return Typed::unknown(span);
        }
        if let [only] = targets
            && self.action.group.is_some_and(|group| group.probe_text.is_some())
        {
            let name = only.function.clone().unwrap_or_default();
            return text(span, name.into_bytes());
        }
        Typed::new(span, Type::StringIndex, ExprKind::Builtin(Builtin::Func))
    }

    fn nsecs(&mut self, args: &[ast::Expr], span: Span) -> Typed {
        let clock = match args {
            [] => Some(Clock::Boot),
            [ast::Expr { kind: ast::ExprKind::Ident(mode), .. }] => match mode.as_str() {
                "boot" => Some(Clock::Boot),
                "monotonic" => Some(Clock::Monotonic),
                "tai" => Some(Clock::Tai),
                "sw_tai" => return self.unsupported(span, "nsecs(sw_tai)"),
                _ => None,
            },
            _ => None,
        };
        let Some(clock) = clock else {
            self.diagnostics.push(
                Diagnostic::error(span, "Invalid timestamp mode")
                    .help("modes are boot, monotonic, tai"),
            );
            return Typed::unknown(span);
        };
        Typed::new(span, Type::U64, ExprKind::Builtin(Builtin::Nsecs(clock)))
    }

    /// Whether the number of arguments is right.
    pub(super) fn arity(
        &mut self,
        name: &str,
        args: &[ast::Expr],
        range: std::ops::RangeInclusive<usize>,
        span: Span,
    ) -> bool {
        if range.contains(&args.len()) {
            return true;
        }
        let (least, most) = (*range.start(), *range.end());
        let plural = |count: usize| if count == 1 { "argument" } else { "arguments" };
        let wanted = match (args.len() < least, least == most) {
            (_, true) => format!("requires {least} {}", plural(least)),
            (true, false) if least == 1 => "requires at least one argument".to_string(),
            (true, false) => format!("requires at least {least} arguments"),
            (false, false) => format!("takes up to {most} arguments"),
        };
        self.error(span, format!("{name}() {wanted} ({} provided)", args.len()));
        false
    }

    /// A literal text.
    pub(super) fn literal_text(&mut self, expr: &ast::Expr, what: &str) -> Option<String> {
        let typed = self.value(expr);
        match typed.expr.kind {
            ExprKind::Str(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            _ => {
                self.error(expr.span, format!("{what} must be a string literal"));
                None
            }
        }
    }

    /// Whether a pointer or a number taken as one points to user memory.
    pub(super) fn is_user_address(&self, address: &Expr) -> bool {
        match address.ty {
            Type::Pointer { user, .. } => user,
            _ => matches!(self.context(), Context::User { .. }),
        }
    }

    /// The length argument of `str` and `buf`: a size for the type, and, when it is only known at
    /// run time, the length itself.
    fn length(&mut self, name: &str, arg: Option<&ast::Expr>) -> (u32, Option<Box<Expr>>) {
        let most = self.settings.max_strlen;
        let Some(arg) = arg else { return (most, None) };
        let typed = self.value(arg);
        match typed.literal_value() {
            Some(value) if value < 0 => {
                self.error(arg.span, format!("{name}cannot use negative length ({value})"));
                (most, None)
            }
            Some(value) => {
                let asked = u32::try_from(value).unwrap_or(u32::MAX);
                if asked > most {
                    let message = format!(
                        "length param ({value}) is too long and will be shortened to {most} bytes \
                         (see BPFTRACE_MAX_STRLEN)"
                    );
                    self.warn(arg.span, message);
                }
                (asked.clamp(1, most), None)
            }
            None => {
                let is_int = typed.is_unknown() || matches!(typed.expr.ty, Type::Int { .. });
                if !is_int {
                    let message = format!("{name}() expects an integer as second argument");
                    self.error(arg.span, message);
                }
                (most, Some(Box::new(convert(typed.expr, &Type::U64))))
            }
        }
    }

    /// The number of a positional parameter, and what is added to its address.
    fn positional_text(&mut self, expr: &ast::Expr) -> Option<(u32, usize)> {
        match &expr.kind {
            ast::ExprKind::Positional(number) => Some((*number, 0)),
            ast::ExprKind::Binary { op: ast::BinaryOp::Add, left, right } => {
                let ast::ExprKind::Positional(number) = left.kind else { return None };
                let ast::ExprKind::Int(ref added) = right.kind else { return None };
                Some((number, usize::try_from(added.value).ok()?))
            }
            _ => None,
        }
    }

    fn str_call(&mut self, args: &[ast::Expr], span: Span) -> Typed {
        if !self.arity("str", args, 1..=2, span) {
            return Typed::unknown(span);
        }
        // A positional parameter is the text that was given, also when it looks like a number;
        // what is added to it is left out at the front.
        if let Some((number, skipped)) = self.positional_text(&args[0]) {
            let at = (number as usize).checked_sub(1);
            let given = at.and_then(|at| self.options.params.get(at)).cloned();
            let mut given = given.unwrap_or_default().into_bytes();
            given.drain(..skipped.min(given.len()));
            let (size, _) = self.length("str", args.get(1));
            if args.len() == 2 {
                given.truncate(size as usize - 1);
            } else if given.len() >= size as usize {
                let shown = String::from_utf8_lossy(&given).into_owned();
                self.error(span, format!("String is too long (over {size} bytes): {shown}"));
            }
            return text(span, given);
        }
        let address = self.value(&args[0]);
        // As in bpftrace, a literal is a text, never an address.
        if let Some(number) = address.literal_value() {
            let mut digits = number.to_string().into_bytes();
            if let Some(length) = args.get(1).and_then(|length| self.constant(length, "a length")) {
                digits.truncate(usize::try_from(length).unwrap_or(0));
            }
            return text(span, digits);
        }
        let (size, len) = self.length("str", args.get(1));
        if address.is_unknown() {
            return Typed::unknown(span);
        }
        match &address.expr.ty {
            Type::Str { .. } if args.len() == 1 => address,
            Type::Str { .. } => self.unsupported(span, "str() of a string with a length"),
            Type::Int { .. } | Type::Pointer { .. } => {
                let user = self.is_user_address(&address.expr);
                let address = Box::new(address.expr);
                Typed::new(span, Type::Str { size }, ExprKind::ReadStr { address, user, len })
            }
            ty => {
                let message = format!(
                    "str() expects a string, integer or a pointer type as first argument ({ty} \
                     provided)"
                );
                self.error(args[0].span, message);
                Typed::unknown(span)
            }
        }
    }

    fn buf(&mut self, args: &[ast::Expr], span: Span) -> Typed {
        if !self.arity("buf", args, 1..=2, span) {
            return Typed::unknown(span);
        }
        let data = self.value(&args[0]);
        let (size, len) = self.length("buf", args.get(1));
        if data.is_unknown() {
            return Typed::unknown(span);
        }
        match data.expr.ty.clone() {
            Type::Int { .. } | Type::Pointer { .. } => {
                if args.len() == 1 {
                    let message = "buf() expects a length argument for non-array type".to_string();
                    self.error(span, message);
                }
                let user = self.is_user_address(&data.expr);
                let address = Box::new(data.expr);
                let ty = Type::Buf { size };
                Typed::new(span, ty, ExprKind::ReadBuf { address, user, len })
            }
            Type::Array { .. } | Type::Str { .. } => {
                let whole = data.expr.ty.size();
                if len.is_some() {
                    return self.unsupported(span, "buf() of an array with a variable length");
                }
                let size = if args.len() == 2 { size.min(whole) } else { whole };
                let ty = Type::Buf { size };
                Typed::new(span, ty, ExprKind::Bytes(Box::new(data.expr)))
            }
            ty => {
                let message =
                    format!("buf() expects an integer, string, or array argument but saw {ty}");
                self.error(args[0].span, message);
                Typed::unknown(span)
            }
        }
    }

    fn ntop(&mut self, args: &[ast::Expr], span: Span) -> Typed {
        if !self.arity("ntop", args, 1..=2, span) {
            return Typed::unknown(span);
        }
        let (family, address) = match args {
            [family, address] => (Some(self.integer(family, "the address family")), address),
            [address, ..] => (None, address),
            [] => return Typed::unknown(span),
        };
        let typed = self.value(address);
        if typed.is_unknown() {
            return Typed::unknown(span);
        }
        let own = match &typed.expr.ty {
            Type::Int { .. } => AF_INET,
            Type::Array { .. } | Type::Str { .. } => match typed.expr.ty.size() {
                4 => AF_INET,
                16 => AF_INET6,
                _ => {
                    self.error(address.span, "ntop() argument must be 4 or 16 bytes in size");
                    return Typed::unknown(span);
                }
            },
            ty => {
                let message = format!("ntop() expects an integer or array argument, got {ty}");
                self.error(address.span, message);
                return Typed::unknown(span);
            }
        };
        let family = family.unwrap_or_else(|| number(span, own));
        let family = Box::new(convert(family, &Type::I64));
        let kind = ExprKind::Inet { family, address: Box::new(typed.expr) };
        Typed::new(span, Type::Inet, kind)
    }

    fn strftime(&mut self, args: &[ast::Expr], span: Span) -> Typed {
        if !self.arity("strftime", args, 2..=2, span) {
            return Typed::unknown(span);
        }
        let format = self.literal_text(&args[0], "strftime() format");
        let nanoseconds = self.integer(&args[1], "a time");
        let Some(format) = format else { return Typed::unknown(span) };
        let format = self.string(&format);
        let nanoseconds = Box::new(convert(nanoseconds, &Type::U64));
        Typed::new(span, Type::Timestamp, ExprKind::Timestamp(format, nanoseconds))
    }

    fn strncmp(&mut self, args: &[ast::Expr], span: Span) -> Typed {
        if !self.arity("strncmp", args, 3..=3, span) {
            return Typed::unknown(span);
        }
        let (left, right) = (self.value(&args[0]), self.value(&args[1]));
        let count = self.constant(&args[2], "the length of strncmp()");
        for (operand, arg) in [(&left, &args[0]), (&right, &args[1])] {
            if !operand.is_unknown() && !matches!(operand.expr.ty, Type::Str { .. }) {
                let message = format!("strncmp() expects strings ({} provided)", operand.expr.ty);
                self.error(arg.span, message);
                return Typed::unknown(span);
            }
        }
        let count = match count {
            Some(count) if count < 0 => {
                self.error(args[2].span, "strncmp() length must not be negative");
                0
            }
            count => u32::try_from(count.unwrap_or(0)).unwrap_or(u32::MAX),
        };
        if left.is_unknown() || right.is_unknown() {
            return Typed::unknown(span);
        }
        let kind = ExprKind::Strncmp(Box::new(left.expr), Box::new(right.expr), count);
        Typed::new(span, Type::U64, kind)
    }
}
