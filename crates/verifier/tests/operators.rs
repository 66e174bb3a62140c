//! Every operator on every value of short words: what it says holds for each number that the operands
//! can be.
//!
//! `cargo xtask prove` says the same of whole words.

mod short;

use bombus_isa::{AluOp, Width};
use bombus_verifier::domain::{Comparison, Scalar, Tnum, Value, Wide, Word, alu, assume};

use short::Short;
use short::all::{OPS, members, pairs, ranges, scalars, tnums, values, words};

type W2 = Short<2>;
type W4 = Short<4>;

/// All of a list, or with `SAMPLE` in the environment one of so many: what finds the verifier's mutants
/// has no time for more.
fn sample<T>(list: Vec<T>) -> impl Iterator<Item = T> {
    let step = std::env::var("SAMPLE").ok().and_then(|step| step.parse().ok());
    list.into_iter().step_by(step.unwrap_or(1))
}

/// What the machine computes.
fn compute<const W: u32>(op: AluOp, a: Short<W>, b: Short<W>) -> Short<W> {
    let (sa, sb) = (a.signed(), b.signed());
    let distance = Short(b.0 % u64::from(W));
    match op {
        AluOp::Add => a + b,
        AluOp::Sub => a - b,
        AluOp::Mul => a * b,
        AluOp::Div => Short::of(a.0.checked_div(b.0).unwrap_or(0)),
        AluOp::Mod => Short::of(a.0.checked_rem(b.0).unwrap_or(a.0)),
        AluOp::Sdiv => Short::of(sa.checked_div(sb).unwrap_or(0) as u64),
        AluOp::Smod => Short::of(sa.checked_rem(sb).unwrap_or(sa) as u64),
        AluOp::Or => a | b,
        AluOp::And => a & b,
        AluOp::Xor => a ^ b,
        AluOp::Lsh => a.shl(distance),
        AluOp::Rsh => a.shr(distance),
        AluOp::Arsh => a.sar(distance),
        AluOp::Mov => b,
    }
}

#[test]
fn arithmetic() {
    let values = sample(values::<4>());
    let listed: Vec<_> = values.map(|value| (value, members(value))).collect();
    for op in OPS {
        for (a, xs) in &listed {
            for (b, ys) in &listed {
                let result = alu(op, *a, *b);
                for &x in xs {
                    for &y in ys {
                        let number = compute(op, W4::of(x), W4::of(y));
                        let holds = result.contains(number);
                        assert!(holds, "{op:?}: {x} of {a:?}, {y} of {b:?}: {number:?} {result:?}");
                    }
                }
            }
        }
    }
}

/// Tristate numbers at one bit more.
#[test]
fn bits() {
    let tnums = tnums::<5>();
    let members = |tnum: Tnum<Short<5>>| words::<5>().filter(move |&word| tnum.contains(word));
    type Operator = fn(Tnum<Short<5>>, Tnum<Short<5>>) -> Tnum<Short<5>>;
    type Machine = fn(Short<5>, Short<5>) -> Short<5>;
    let operators: [(&str, Operator, Machine); 6] = [
        ("plus", Tnum::plus, |x, y| x + y),
        ("minus", Tnum::minus, |x, y| x - y),
        ("times", Tnum::times, |x, y| x * y),
        ("and", Tnum::and, |x, y| x & y),
        ("or", Tnum::or, |x, y| x | y),
        ("xor", Tnum::xor, |x, y| x ^ y),
    ];
    for (name, operator, machine) in operators {
        for (a, b) in pairs(&tnums) {
            let result = operator(a, b);
            assert_eq!((result.value & result.mask).0, 0, "{name} {a:?} {b:?}");
            for x in members(a) {
                for y in members(b) {
                    assert!(result.contains(machine(x, y)), "{name}: {x:?} {a:?} {y:?} {b:?}");
                }
            }
        }
    }
}

/// Sums, differences and what bits do is as exact as it can be.
#[test]
fn bits_are_exact() {
    let tnums = tnums::<4>();
    let best = |numbers: &[W4]| {
        let start = Tnum::exact(numbers[0]);
        numbers.iter().fold(start, |all, &number| all.join(Tnum::exact(number)))
    };
    type Operator = fn(Tnum<W4>, Tnum<W4>) -> Tnum<W4>;
    type Machine = fn(W4, W4) -> W4;
    let operators: [(Operator, Machine); 5] = [
        (Tnum::plus, |x, y| x + y),
        (Tnum::minus, |x, y| x - y),
        (Tnum::and, |x, y| x & y),
        (Tnum::or, |x, y| x | y),
        (Tnum::xor, |x, y| x ^ y),
    ];
    for (operator, machine) in operators {
        for (a, b) in pairs(&tnums) {
            let xs: Vec<W4> = words().filter(|&word| a.contains(word)).collect();
            let ys: Vec<W4> = words().filter(|&word| b.contains(word)).collect();
            let all: Vec<W4> =
                xs.iter().flat_map(|&x| ys.iter().map(move |&y| machine(x, y))).collect();
            assert_eq!(operator(a, b), best(&all), "{a:?} {b:?}");
        }
    }
}

#[test]
fn bits_from_a_number_on() {
    for bits in tnums::<5>() {
        for number in words::<5>() {
            let best = words::<5>()
                .filter(|&word| bits.contains(word) && number.0 <= word.0)
                .min_by_key(|word| word.0);
            let (found, none) = bits.at_least(number);
            assert_eq!((!none).then_some(found), best, "{bits:?} from {number:?} on");
        }
    }
}

#[test]
fn ranges_meet_and_join() {
    for (a, b) in pairs(&ranges::<4>()) {
        let ((met, empty), joined) = (a.meet(b), a.join(b));
        let common: Vec<W4> =
            words().filter(|&word| a.contains(word) && b.contains(word)).collect();
        assert_eq!(empty, common.is_empty(), "{a:?} {b:?}");
        for word in words() {
            let (inside, either) = (common.contains(&word), a.contains(word) || b.contains(word));
            assert!(!inside || met.contains(word), "{word:?} of {a:?} and {b:?}: {met:?}");
            assert!(!either || joined.contains(word), "{word:?} of {a:?} or {b:?}: {joined:?}");
        }
        let least = a.len.0.max(b.len.0);
        assert!(joined.len.0 >= least);
        assert!(empty || met.len.0 <= a.len.0.min(b.len.0), "{a:?} {b:?} {met:?}");
    }
}

/// What bits and range say of each other loses no number.
#[test]
fn reductions() {
    for bits in tnums::<4>() {
        let (smin, smax) = bits.signed_limits();
        let signed = |word: W4| smin.signed() <= word.signed() && word.signed() <= smax.signed();
        assert!(words().all(|word| !bits.contains(word) || signed(word)), "{bits:?}");
        for range in ranges::<4>() {
            let value = Value { bits, range };
            let (reduced, empty) = value.reduced();
            let (met, none) = range.meet_bits(bits);
            for word in words().filter(|&word| value.contains(word)) {
                assert!(!empty && reduced.contains(word), "{word:?} of {value:?}: {reduced:?}");
                assert!(!none && met.contains(word), "{word:?} of {value:?}: {met:?}");
            }
        }
        for other in tnums::<4>() {
            let ((met, none), joined) = (bits.meet(other), bits.join(other));
            for word in words() {
                let (a, b) = (bits.contains(word), other.contains(word));
                assert_eq!(!none && met.contains(word), a && b, "{bits:?} {other:?} {met:?}");
                assert!(!(a || b) || joined.contains(word), "{bits:?} {other:?} {joined:?}");
            }
        }
    }
}

#[test]
fn bits_between_numbers() {
    for first in words::<4>() {
        for last in words::<4>().filter(|last| first.0 <= last.0) {
            let inside = |word: &W4| first.0 <= word.0 && word.0 <= last.0;
            let bits = Tnum::of_unsigned(first, last);
            assert!(words().filter(inside).all(|word| bits.contains(word)), "{first:?} {last:?}");
            for bits in tnums::<4>() {
                let both: Vec<W4> =
                    words().filter(|word| inside(word) && bits.contains(*word)).collect();
                let (number, is_one) = bits.only_between(first, last);
                assert_eq!(is_one, both.len() == 1, "{bits:?} {first:?} {last:?}");
                assert!(!is_one || both == [number], "{bits:?} {first:?} {last:?}");
            }
        }
    }
}

/// What is said of low halves, and of whole numbers by their low halves.
#[test]
fn ranges_of_halves() {
    for range in ranges::<4>() {
        let numbers: Vec<W4> = words().filter(|&word| range.contains(word)).collect();
        let lows = range.low_halves();
        assert!(numbers.iter().all(|number| lows.contains(number.low())), "{range:?} {lows:?}");
        for low in ranges::<2>() {
            let (found, none) = range.with_low_half(low);
            for number in numbers.iter().filter(|number| low.contains(number.low())) {
                assert!(!none && found.contains(*number), "{range:?} {low:?} {found:?}");
            }
        }
    }
}

#[test]
fn limits() {
    for range in ranges::<5>() {
        let numbers: Vec<u64> = words().filter(|&w| range.contains(w)).map(|w| w.0).collect();
        let signed: Vec<i64> =
            words::<5>().filter(|&w| range.contains(w)).map(|w| w.signed()).collect();
        assert_eq!(Some(&range.umin().0), numbers.iter().min());
        assert_eq!(Some(&range.umax().0), numbers.iter().max());
        assert_eq!(Some(range.smin().signed()), signed.iter().min().copied());
        assert_eq!(Some(range.smax().signed()), signed.iter().max().copied());
    }
}

/// What comparisons say of numbers.
#[test]
fn comparisons_of_numbers() {
    for x in words::<4>() {
        for y in words::<4>() {
            let (a, b) = (x.signed(), y.signed());
            let holds = [x == y, x != y, x.0 < y.0, x.0 <= y.0, a < b, a <= b];
            let common = x.0 & y.0 != 0;
            let holds = holds.into_iter().chain([common, !common]);
            for (comparison, holds) in Comparison::ALL.into_iter().zip(holds) {
                assert_eq!(comparison.holds(x, y), holds, "{comparison:?} {x:?} {y:?}");
            }
        }
    }
}

#[test]
fn comparisons() {
    let values = sample(values::<4>());
    let listed: Vec<_> = values.map(|value| (value, members(value))).collect();
    for comparison in Comparison::ALL {
        for (a, xs) in &listed {
            for (b, ys) in &listed {
                let assumed = assume(comparison, *a, *b);
                for &x in xs {
                    for &y in ys {
                        let (x, y) = (W4::of(x), W4::of(y));
                        if comparison.holds(x, y) {
                            let sound = !assumed.is_impossible
                                && assumed.a.contains(x)
                                && assumed.b.contains(y);
                            assert!(sound, "{comparison:?} {x:?} {a:?} {y:?} {b:?}: {assumed:?}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn extensions() {
    for value in values::<4>() {
        for n in 1..=4 {
            let (signed, zero) = (value.sign_extended_from(n), value.zero_extended_from(n));
            for x in members(value) {
                let distance = Short(u64::from(4 - n));
                let x = W4::of(x);
                assert!(signed.contains(x.shl(distance).sar(distance)), "{n} {value:?}");
                assert!(zero.contains(x.shl(distance).shr(distance)), "{n} {value:?}");
            }
        }
    }
}

#[test]
fn halves() {
    let scalars: Vec<_> = sample(scalars()).collect();
    for op in OPS {
        for (a, xs) in &scalars {
            for (b, ys) in &scalars {
                for width in [Width::W32, Width::W64] {
                    let result = a.alu(op, width, *b);
                    for &x in xs {
                        for &y in ys {
                            let (x, y) = (W4::of(x), W4::of(y));
                            let number = match width {
                                Width::W64 => compute(op, x, y),
                                Width::W32 => W4::zero_extended(compute::<2>(op, x.low(), y.low())),
                            };
                            let holds = result.contains(number);
                            assert!(holds, "{op:?} {width:?}: {x:?} {a:?} {y:?} {b:?}: {result:?}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn comparisons_of_halves() {
    let scalars: Vec<_> = sample(scalars()).collect();
    for comparison in Comparison::ALL {
        for width in [Width::W32, Width::W64] {
            for (a, xs) in &scalars {
                for (b, ys) in &scalars {
                    let (first, second, none) = Scalar::assume(comparison, width, *a, *b);
                    for &x in xs {
                        for &y in ys {
                            let (x, y) = (W4::of(x), W4::of(y));
                            let holds = match width {
                                Width::W64 => comparison.holds(x, y),
                                Width::W32 => comparison.holds::<W2>(x.low(), y.low()),
                            };
                            let sound = !none && first.contains(x) && second.contains(y);
                            assert!(!holds || sound, "{comparison:?} {width:?} {a:?} {b:?}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn joins_and_unaries() {
    let scalars = scalars();
    for (a, xs) in &scalars {
        for width in [Width::W32, Width::W64] {
            let negated = a.negated(width);
            for &x in xs {
                let x = W4::of(x);
                let number = match width {
                    Width::W64 => -x,
                    Width::W32 => W4::zero_extended(-x.low()),
                };
                assert!(negated.contains(number), "{a:?} {width:?} {negated:?}");
            }
        }
        for (b, ys) in &scalars {
            let joined = a.join(*b);
            assert!(xs.iter().chain(ys).all(|&x| joined.contains(W4::of(x))), "{a:?} {b:?}");
        }
    }
}
