//! Functions that do something: output, and what user space does to maps.

use super::Checker;
use super::convert::convert;
use super::expr::Typed;
use super::format;
use super::infer::{ValueGuess, aggregate_name};
use super::tree::{Expr, ExprKind};
use crate::diagnostic::Span;
use crate::plan::{MapValue, PrintfKind};
use crate::syntax::ast;
use crate::types::Type;

impl Checker<'_> {
    pub(super) fn printf(&mut self, name: &str, args: &[ast::Expr], span: Span) -> Typed {
        let kind = match name {
            "errorf" => PrintfKind::Error,
            "warnf" => PrintfKind::Warning,
            _ => PrintfKind::Out,
        };
        let Some((format, values)) = args.split_first() else {
            self.error(span, format!("{name}() requires at least one argument (0 provided)"));
            return Typed::unknown(span);
        };
        let format = self.literal_text(format, &format!("{name}() format"));
        let values: Vec<Typed> = values.iter().map(|value| self.value(value)).collect();
        let Some(format) = format else { return Typed::unknown(span) };
        let types: Vec<Type> = values.iter().map(|value| value.expr.ty.clone()).collect();
        if let Err(problem) = format::check(&format, &types) {
            self.error(span, problem);
        }
        let args: Vec<Expr> = values.into_iter().map(|value| value.expr).collect();
        Typed::new(span, Type::None, ExprKind::Printf { format, args, kind })
    }

    pub(super) fn print(&mut self, args: &[ast::Expr], span: Span) -> Typed {
        if !self.arity("print", args, 1..=3, span) {
            return Typed::unknown(span);
        }
        let value = match &args[0].kind {
            ast::ExprKind::Map(name) => {
                let map = self.map_id(name);
                if self.types.maps[map].value.is_none() {
                    self.error(args[0].span, format!("Undefined map: {name}"));
                }
                if self.action.loops > 0 {
                    self.warn(
                        span,
                        "Due to it's asynchronous nature using 'print()' in a loop can lead to \
                         unexpected behavior. The map will likely be updated before the runtime \
                         can 'print' it.",
                    );
                }
                let stats = ValueGuess::is_stats;
                if args.len() > 1 && self.types.maps[map].value.as_ref().is_some_and(stats) {
                    self.warn(
                        span,
                        "print()'s top and div arguments are ignored when used on stats() maps.",
                    );
                }
                let mut number = |at: usize, what: &str| {
                    args.get(at).map(|arg| Box::new(convert(self.integer(arg, what), &Type::U64)))
                };
                let (top, div) = (number(1, "print() top"), number(2, "print() div"));
                return Typed::new(span, Type::None, ExprKind::PrintMap { map, top, div });
            }
            ast::ExprKind::MapElement { map, key } => {
                let id = self.map_id(&map.text);
                if self.is_aggregate(id) {
                    return self.print_element(id, key, args, span);
                }
                self.value(&args[0])
            }
            _ => self.value(&args[0]),
        };
        if args.len() > 1 {
            let message = format!("Non-map print() only takes 1 argument, {} found", args.len());
            self.error(span, message);
        }
        if value.is_unknown() {
            return Typed::unknown(span);
        }
        if !is_printable(&value.expr.ty) {
            self.error(span, format!("{} type passed to print() is not printable", value.expr.ty));
        }
        Typed::new(span, Type::None, ExprKind::PrintValue(Box::new(value.expr)))
    }

    fn print_element(
        &mut self,
        map: usize,
        key: &ast::Expr,
        args: &[ast::Expr],
        span: Span,
    ) -> Typed {
        if let Some(ValueGuess::Aggregate(value)) = &self.types.maps[map].value
            && matches!(value, MapValue::Hist { .. } | MapValue::LHist { .. })
        {
            let message = format!(
                "Map type {} cannot print the value of individual keys. You must print the whole \
                 map.",
                aggregate_name(value)
            );
            self.error(args[0].span, message);
            return Typed::unknown(span);
        }
        if args.len() > 1 {
            let message = "print() of one element takes no further arguments";
            self.error(span, message);
        }
        match self.map_key(map, Some(key), args[0].span) {
            Some(key) => {
                let key = Box::new(key);
                Typed::new(span, Type::None, ExprKind::PrintElement { map, key })
            }
            None => Typed::unknown(span),
        }
    }

    pub(super) fn clear(&mut self, name: &str, args: &[ast::Expr], span: Span) -> Typed {
        if !self.arity(name, args, 1..=1, span) {
            return Typed::unknown(span);
        }
        let Some(map) = self.map_argument(name, &args[0]) else { return Typed::unknown(span) };
        let kind = if name == "clear" { ExprKind::ClearMap(map) } else { ExprKind::ZeroMap(map) };
        Typed::new(span, Type::None, kind)
    }

    pub(super) fn time(&mut self, args: &[ast::Expr], span: Span) -> Typed {
        if !self.arity("time", args, 0..=1, span) {
            return Typed::unknown(span);
        }
        let format = match args.first() {
            Some(format) => self.literal_text(format, "time() format"),
            None => Some("%H:%M:%S\n".to_string()),
        };
        match format {
            Some(format) => Typed::new(span, Type::None, ExprKind::Time(format)),
            None => Typed::unknown(span),
        }
    }

    pub(super) fn join(&mut self, args: &[ast::Expr], span: Span) -> Typed {
        if !self.arity("join", args, 1..=2, span) {
            return Typed::unknown(span);
        }
        let array = self.value(&args[0]);
        let separator = match args.get(1) {
            Some(separator) => self.literal_text(separator, "join() separator"),
            None => Some(" ".to_string()),
        };
        if array.is_unknown() {
            return Typed::unknown(span);
        }
        if !matches!(array.expr.ty, Type::Int { .. } | Type::Pointer { .. }) {
            let message = format!(
                "join() only supports int or pointer arguments ({} provided)",
                array.expr.ty
            );
            self.error(args[0].span, message);
        }
        let Some(separator) = separator else { return Typed::unknown(span) };
        let user = self.is_user_address(&array.expr);
        let array = Box::new(array.expr);
        Typed::new(span, Type::None, ExprKind::Join { array, user, separator })
    }

    pub(super) fn exit(&mut self, args: &[ast::Expr], span: Span) -> Typed {
        if !self.arity("exit", args, 0..=1, span) {
            return Typed::unknown(span);
        }
        let code = args.first().map(|code| {
            let code = self.integer(code, "an exit code");
            Box::new(convert(code, &Type::I64))
        });
        Typed::new(span, Type::None, ExprKind::Exit(code))
    }
}

fn is_printable(ty: &Type) -> bool {
    match ty {
        Type::None | Type::Array { .. } | Type::Struct(_) => false,
        Type::Tuple(parts) => parts.iter().all(is_printable),
        _ => true,
    }
}
