//! What is to be proved: that operators are sound, each as a claim about words of any width. What is
//! put together from operators by "and" alone is sound when they are, and has no claim of its own.

use bombus_isa::AluOp;
use bombus_verifier::domain::{
    Comparison, Range, Scalar, Tnum, Value, Wide, Word, computed, implied,
};

use super::term::{Claim, Variable};

/// A statement and its name.
pub(super) type Statement = (String, Box<dyn Fn() -> Claim>);

fn implies(premise: Claim, conclusion: Claim) -> Claim {
    !premise | conclusion
}

fn any_tnum<T: Variable>() -> Tnum<T> {
    Tnum { value: T::any(), mask: T::any() }
}

/// What is unknown is zero in the value.
fn is_valid<T: Variable>(tnum: Tnum<T>) -> Claim {
    (tnum.value & tnum.mask).eq(T::zero())
}

fn any_range<T: Variable>() -> Range<T> {
    Range { start: T::any(), len: T::any() }
}

/// Two ranges, the second by its distance from the first.
fn two_ranges<T: Variable>() -> (Range<T>, Range<T>) {
    let first = any_range::<T>();
    (first, Range { start: first.start + T::any(), len: T::any() })
}

/// A number of a range, and that it is one: as a distance from the start, because that is what the
/// solver finds easy.
fn member<T: Variable>(range: Range<T>) -> (T, Claim) {
    let distance = T::any();
    (range.start + distance, distance.le(range.len))
}

/// The same for a value, whose bits have to be valid, too.
fn value_member<T: Variable>(value: Value<T>) -> (T, Claim) {
    let (number, is_inside) = member(value.range);
    (number, is_inside & is_valid(value.bits) & value.bits.contains(number))
}

fn any_value<T: Variable>() -> Value<T> {
    Value { bits: any_tnum(), range: any_range() }
}

/// All statements at one width.
pub(super) fn all<T: Variable + Wide + 'static>() -> Vec<Statement>
where
    T::Half: Variable,
{
    let mut all = Vec::new();
    let mut state = |name: String, claim: Box<dyn Fn() -> Claim>| all.push((name, claim));
    type Binary<T> = (&'static str, fn(Tnum<T>, Tnum<T>) -> Tnum<T>, fn(T, T) -> T);
    let bits: [Binary<T>; 5] = [
        ("tnum plus", Tnum::plus, |x, y| x + y),
        ("tnum minus", Tnum::minus, |x, y| x - y),
        ("tnum and", Tnum::and, |x, y| x & y),
        ("tnum or", Tnum::or, |x, y| x | y),
        ("tnum xor", Tnum::xor, |x, y| x ^ y),
    ];
    for (name, operator, machine) in bits {
        let claim = move || {
            let (a, b, x, y) = (any_tnum::<T>(), any_tnum(), T::any(), T::any());
            let premise = is_valid(a) & is_valid(b) & a.contains(x) & b.contains(y);
            let result = operator(a, b);
            implies(premise, result.contains(machine(x, y)) & is_valid(result))
        };
        state(name.into(), Box::new(claim));
    }
    type Shift<T> = (&'static str, fn(Tnum<T>, T) -> Tnum<T>, fn(T, T) -> T);
    let shifts: [Shift<T>; 3] = [
        ("tnum lsh", Tnum::lsh, |x, n| x.shl(n)),
        ("tnum rsh", Tnum::rsh, |x, n| x.shr(n)),
        ("tnum arsh", Tnum::arsh, |x, n| x.sar(n)),
    ];
    for (name, operator, machine) in shifts {
        let claim = move || {
            let (a, x, n) = (any_tnum::<T>(), T::any(), T::any());
            let premise = is_valid(a) & a.contains(x) & n.lt(T::of(T::BITS.into()));
            let result = operator(a, n);
            implies(premise, result.contains(machine(x, n)) & is_valid(result))
        };
        state(name.into(), Box::new(claim));
    }
    // A product is the sum of these.
    state(
        "tnum product of a bit".into(),
        Box::new(|| {
            let (a, b, sum) = (any_tnum::<T>(), any_tnum(), any_tnum());
            let (x, y, z, place) = (T::any(), T::any(), T::any(), T::any());
            let valid = is_valid(a) & is_valid(b) & is_valid(sum);
            let members = a.contains(x) & b.contains(y) & sum.contains(z);
            let is_set = !(x & T::one().shl(place)).eq(T::zero());
            let number = T::select(is_set, z + y.shl(place), z);
            let result = a.plus_product(place, b, sum);
            let premise = valid & members & place.lt(T::of(T::BITS.into()));
            implies(premise, result.contains(number) & is_valid(result))
        }),
    );
    state(
        "tnum meet".into(),
        Box::new(|| {
            let (a, b, x) = (any_tnum::<T>(), any_tnum(), T::any());
            let (met, empty) = a.meet(b);
            let premise = is_valid(a) & is_valid(b) & a.contains(x) & b.contains(x);
            implies(premise, met.contains(x) & !empty & is_valid(met))
        }),
    );
    state(
        "tnum join".into(),
        Box::new(|| {
            let (a, b, x) = (any_tnum::<T>(), any_tnum(), T::any());
            let joined = a.join(b);
            let premise = is_valid(a) & is_valid(b) & (a.contains(x) | b.contains(x));
            implies(premise, joined.contains(x) & is_valid(joined))
        }),
    );
    state(
        "tnum at least".into(),
        Box::new(|| {
            let (a, number, x) = (any_tnum::<T>(), T::any(), T::any());
            let (found, none) = a.at_least(number);
            let is_member = a.contains(found) & number.le(found);
            let premise = is_valid(a) & a.contains(x) & number.le(x);
            implies(premise, !none & found.le(x)) & implies(is_valid(a) & !none, is_member)
        }),
    );
    state(
        "tnum only between".into(),
        Box::new(|| {
            let (a, first, last, x) = (any_tnum::<T>(), T::any(), T::any(), T::any());
            let (number, is_one) = a.only_between(first, last);
            let premise = is_valid(a) & a.contains(x) & first.le(x) & x.le(last) & is_one;
            implies(premise, x.eq(number))
        }),
    );
    state(
        "tnum of range".into(),
        Box::new(|| {
            let (min, max, x) = (T::any(), T::any(), T::any());
            let tnum = Tnum::of_unsigned(min, max);
            implies(min.le(x) & x.le(max), tnum.contains(x) & is_valid(tnum))
        }),
    );
    ranges::<T>(&mut state);
    values::<T>(&mut state);
    halves::<T>(&mut state);
    all
}

fn ranges<T: Variable + 'static>(state: &mut impl FnMut(String, Box<dyn Fn() -> Claim>)) {
    state(
        "range limits".into(),
        Box::new(|| {
            let range = any_range::<T>();
            let (x, premise) = member(range);
            let unsigned = range.umin().le(x) & x.le(range.umax());
            let signed = range.smin().sle(x) & x.sle(range.smax());
            implies(premise, unsigned & signed)
        }),
    );
    type Binary<T> = (&'static str, fn(Range<T>, Range<T>) -> Range<T>, fn(T, T) -> T);
    let binaries: [Binary<T>; 2] =
        [("range plus", Range::plus, |x, y| x + y), ("range minus", Range::minus, |x, y| x - y)];
    for (name, operator, machine) in binaries {
        let claim = move || {
            let (a, b) = (any_range::<T>(), any_range());
            let ((x, first), (y, second)) = (member(a), member(b));
            implies(first & second, operator(a, b).contains(machine(x, y)))
        };
        state(name.into(), Box::new(claim));
    }
    state(
        "range meet".into(),
        Box::new(|| {
            let (a, b) = two_ranges::<T>();
            let (x, premise) = member(a);
            let (met, empty) = a.meet(b);
            implies(premise & b.contains(x), met.contains(x) & !empty)
        }),
    );
    state(
        "range join".into(),
        Box::new(|| {
            let (a, b) = two_ranges::<T>();
            let ((x, first), (y, second)) = (member(a), member(b));
            let joined = a.join(b);
            implies(first, joined.contains(x)) & implies(second, joined.contains(y))
        }),
    );
}

/// What the machine computes.
fn compute<T: Word>(op: AluOp, x: T, y: T) -> T {
    let zero = y.eq(T::zero());
    let distance = y & T::of(u64::from(T::BITS - 1));
    let quotient = x.magnitude().quotient(y.magnitude());
    let is_negative = (x ^ y).slt(T::zero());
    let quotient = T::select(is_negative, -quotient, quotient);
    match op {
        AluOp::Add => x + y,
        AluOp::Sub => x - y,
        AluOp::Mul => x * y,
        AluOp::Div => T::select(zero, T::zero(), x.quotient(y)),
        AluOp::Mod => T::select(zero, x, x.remainder(y)),
        AluOp::Sdiv => T::select(zero, T::zero(), quotient),
        AluOp::Smod => T::select(zero, x, x - quotient * y),
        AluOp::Or => x | y,
        AluOp::And => x & y,
        AluOp::Xor => x ^ y,
        AluOp::Lsh => x.shl(distance),
        AluOp::Rsh => x.shr(distance),
        AluOp::Arsh => x.sar(distance),
        AluOp::Mov => y,
    }
}

fn values<T: Variable + 'static>(state: &mut impl FnMut(String, Box<dyn Fn() -> Claim>)) {
    use AluOp::{Add, And, Arsh, Div, Lsh, Mod, Mul, Or, Rsh, Sdiv, Smod, Sub, Xor};
    state(
        "limits of bits".into(),
        Box::new(|| {
            let (bits, x) = (any_tnum::<T>(), T::any());
            let (smin, smax) = bits.signed_limits();
            let unsigned = bits.min().le(x) & x.le(bits.max());
            let premise = is_valid(bits) & bits.contains(x);
            implies(premise, unsigned & smin.sle(x) & x.sle(smax))
        }),
    );
    state(
        "range between".into(),
        Box::new(|| {
            let (first, last, x) = (T::any(), T::any(), T::any());
            let range = Range::between(first, last);
            let unsigned = implies(first.le(x) & x.le(last), range.contains(x));
            unsigned & implies(first.sle(x) & x.sle(last), range.contains(x))
        }),
    );
    for op in [Add, Sub, And, Or, Xor, Lsh, Rsh, Arsh, Div, Mod, Sdiv, Smod, Mul] {
        let claim = move || {
            let (a, b) = (any_value::<T>(), any_value());
            let ((x, first), (y, second)) = (value_member(a), value_member(b));
            // What bits alone make of products is a statement of its own.
            let result = match op {
                Mul => Value { bits: Tnum::unknown(), ..times_range(a, b) },
                op => computed(op, a, b),
            };
            implies(first & second, result.contains(compute(op, x, y)))
        };
        state(format!("value {op:?}").to_lowercase(), Box::new(claim));
    }
    for comparison in Comparison::ALL {
        let claim = move || {
            let (a, b) = (any_value::<T>(), any_value());
            let ((x, first), (y, second)) = (value_member(a), value_member(b));
            let premise = first & second & comparison.holds(x, y);
            let assumed = implied(comparison, a, b);
            let holds = assumed.a.contains(x) & assumed.b.contains(y) & !assumed.is_impossible;
            implies(premise, holds)
        };
        state(format!("assume {comparison:?}").to_lowercase(), Box::new(claim));
    }
    for n in [8, 16, 32].into_iter().filter(|&n| n < T::BITS) {
        let claim = move || {
            let value = any_value::<T>();
            let (x, premise) = value_member(value);
            let distance = T::of(u64::from(T::BITS - n));
            let signed = value.sign_extended_from(n).contains(x.shl(distance).sar(distance));
            let zero = value.zero_extended_from(n).contains(x.shl(distance).shr(distance));
            implies(premise, signed & zero)
        };
        state(format!("extend from {n}"), Box::new(claim));
    }
}

/// The range of a product.
fn times_range<T: Word>(a: Value<T>, b: Value<T>) -> Value<T> {
    let unknown = Value { bits: Tnum::unknown(), ..a };
    let product = unknown.times(Value { bits: Tnum::unknown(), ..b });
    Value { bits: Tnum::unknown(), ..product }
}

fn halves<T: Variable + Wide + 'static>(state: &mut impl FnMut(String, Box<dyn Fn() -> Claim>))
where
    T::Half: Variable,
{
    state(
        "low halves of range".into(),
        Box::new(|| {
            let range = any_range::<T>();
            let (x, premise) = member(range);
            implies(premise, range.low_halves().contains(x.low()))
        }),
    );
    state(
        "range with low half".into(),
        Box::new(|| {
            let (range, low) = (any_range::<T>(), any_range::<T::Half>());
            let (x, premise) = member(range);
            let (shorter, none) = range.with_low_half(low);
            implies(premise & low.contains(x.low()), shorter.contains(x) & !none)
        }),
    );
    state(
        "scalar zero extended".into(),
        Box::new(|| {
            let half = any_value::<T::Half>();
            let (x, premise) = value_member(half);
            let scalar = Scalar::<T>::extended(half);
            implies(premise, scalar.contains(T::zero_extended(x)) & is_valid(scalar.bits))
        }),
    );
}
