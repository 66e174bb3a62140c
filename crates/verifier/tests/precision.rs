//! How much every operator knows: over all values of four bits, how many numbers its results can be,
//! and how long their ranges are. Fewer is better; that they are not too few is what `operators.rs`
//! sees. Columns: numbers, lengths, contradictions that were found. With `UPDATE_EXPECT=1` in the environment the tables are written anew.

mod short;

use std::fmt::Write as _;

use bombus_isa::Width;
use bombus_verifier::domain::{Comparison, Range, Scalar, Tnum, Value, alu, assume};
use expect_test::{Expect, expect};

use short::Short;
use short::all::{OPS, members, pairs, ranges, scalars, tnums, values, words};

type W4 = Short<4>;

/// Of all pairs one of so many is looked at: of values, and of numbers with halves.
const STEPS: (usize, usize) = (11, 127);

/// What was known.
#[derive(Default)]
struct Known {
    /// So many numbers are possible, over all results.
    numbers: usize,
    /// So long are their ranges.
    lengths: u64,
    /// So many contradictions were found.
    contradictions: usize,
}

impl Known {
    fn value(&mut self, value: Value<W4>) {
        self.numbers += members(value).len();
        self.lengths += value.range.len.0;
    }

    fn scalar(&mut self, scalar: Scalar<W4>) {
        self.numbers += words::<4>().filter(|&word| scalar.contains(word)).count();
        self.lengths += scalar.range.len.0 + scalar.low.len.0;
    }

    fn range<const W: u32>(&mut self, range: Range<Short<W>>, contradiction: bool) {
        self.lengths += range.len.0;
        self.contradictions += usize::from(contradiction);
    }
}

/// A table of what is known by whom.
#[derive(Default)]
struct Table(String);

impl Table {
    fn row(&mut self, name: &str, fill: impl FnOnce(&mut Known)) {
        let mut known = Known::default();
        fill(&mut known);
        let Known { numbers, lengths, contradictions } = known;
        let _ = writeln!(self.0, "{name:27} {numbers:9} {lengths:9} {contradictions:7}");
    }

    fn is(self, expected: &Expect) {
        expected.assert_eq(&self.0);
    }
}

#[test]
fn values_of_one_width() {
    let values = values::<4>();
    let pairs = || short::all::pairs(&values).step_by(STEPS.0);
    let mut table = Table::default();
    for op in OPS {
        table.row(&format!("{op:?}"), |known| {
            pairs().for_each(|(a, b)| known.value(alu(op, a, b)));
        });
    }
    for comparison in Comparison::ALL {
        table.row(&format!("{comparison:?}"), |known| {
            for (a, b) in pairs() {
                let assumed = assume(comparison, a, b);
                known.contradictions += usize::from(assumed.is_impossible);
                if !assumed.is_impossible {
                    known.value(assumed.a);
                    known.value(assumed.b);
                }
            }
        });
    }
    table.row("join", |known| pairs().for_each(|(a, b)| known.value(a.join(b))));
    table.row("meet", |known| {
        for (a, b) in pairs() {
            let (met, contradiction) = a.meet(b);
            known.contradictions += usize::from(contradiction);
            if !contradiction {
                known.value(met);
            }
        }
    });
    for n in 1..=4 {
        table.row(&format!("sign extended from {n}"), |known| {
            values.iter().for_each(|value| known.value(value.sign_extended_from(n)));
        });
        table.row(&format!("zero extended from {n}"), |known| {
            values.iter().for_each(|value| known.value(value.zero_extended_from(n)));
        });
    }
    table.is(&expect![[r#"
        Add                           1025753   1099868       0
        Sub                           1025400   1099533       0
        Mul                            938709   1186608       0
        Div                            801312    715599       0
        Sdiv                          1067049    981336       0
        Or                             586887    873592       0
        And                            584299    865285       0
        Lsh                           1351128   1272162       0
        Rsh                           1137658   1053860       0
        Mod                           1001467    920388       0
        Smod                           945435    860036       0
        Xor                           1057455   1196911       0
        Mov                            418779    646793       0
        Arsh                           991260    907615       0
        Equal                          272571    433005   29829
        Different                      837268   1292986       7
        Less                           698049   1012881    4111
        NotGreater                     733345   1082740    2926
        LessSigned                     701807   1020771    4127
        NotGreaterSigned               736158   1088435    2888
        Common                         830367   1283643     632
        NoneCommon                     593510    983277   11543
        join                           970513    998167       0
        meet                           136294    216479   29829
        sign extended from 1             1456       485       0
        zero extended from 1             1456       485       0
        sign extended from 2             2316      1955       0
        zero extended from 2             2317      1652       0
        sign extended from 3             3987      5564       0
        zero extended from 3             4024      4615       0
        sign extended from 4             4744      7327       0
        zero extended from 4             6780     10035       0
    "#]]);
}

#[test]
fn bits_and_ranges() {
    let (tnums, ranges) = (tnums::<4>(), ranges::<4>());
    let mut table = Table::default();
    table.row("product of bits", |known| {
        for (a, b) in pairs(&tnums) {
            known.value(Value { bits: a.times(b), range: Range::full() });
        }
    });
    table.row("bits between", |known| {
        for (first, last) in pairs(&words::<4>().collect::<Vec<_>>()) {
            if first.0 <= last.0 {
                let bits = Tnum::of_unsigned(first, last);
                known.value(Value { bits, range: Range::full() });
                for bits in &tnums {
                    let (_, is_one) = bits.only_between(first, last);
                    known.contradictions += usize::from(is_one);
                }
            }
        }
    });
    let both = || tnums.iter().flat_map(|&bits| ranges.iter().map(move |&range| (bits, range)));
    table.row("range meets bits", |known| {
        for (bits, range) in both() {
            let (range, contradiction) = range.meet_bits(bits);
            known.range(range, contradiction);
        }
    });
    table.row("reduced", |known| {
        for (bits, range) in both() {
            let (value, contradiction) = Value { bits, range }.reduced();
            known.value(value);
            known.contradictions += usize::from(contradiction);
        }
    });
    table.row("settled", |known| {
        for (bits, range) in both() {
            known.scalar(Scalar { bits, range, low: Range::full() }.settled());
        }
    });
    table.row("low halves", |known| {
        ranges.iter().for_each(|range| known.range(range.low_halves(), false));
    });
    table.row("with low half", |known| {
        for range in &ranges {
            for low in short::all::ranges::<2>() {
                let (range, contradiction) = range.with_low_half(low);
                known.range(range, contradiction);
            }
        }
    });
    table.is(&expect![[r#"
        product of bits                 48827     98415       0
        bits between                     1376      2040    3072
        range meets bits                    0     67620    5640
        reduced                         38590     56676    5784
        settled                         35376    166936       0
        low halves                          0       672       0
        with low half                       0     26240     160
    "#]]);
}

#[test]
fn numbers_and_their_halves() {
    let scalars: Vec<Scalar<W4>> = scalars().into_iter().map(|(scalar, _)| scalar).collect();
    let pairs = || pairs(&scalars).step_by(STEPS.1);
    let mut table = Table::default();
    for width in [Width::W32, Width::W64] {
        for op in OPS {
            table.row(&format!("{op:?} {width:?}"), |known| {
                pairs().for_each(|(a, b)| known.scalar(a.alu(op, width, b)));
            });
        }
        for comparison in Comparison::ALL {
            table.row(&format!("{comparison:?} {width:?}"), |known| {
                for (a, b) in pairs() {
                    let (a, b, contradiction) = Scalar::assume(comparison, width, a, b);
                    known.contradictions += usize::from(contradiction);
                    if !contradiction {
                        known.scalar(a);
                        known.scalar(b);
                    }
                }
            });
        }
        table.row(&format!("negated {width:?}"), |known| {
            scalars.iter().for_each(|scalar| known.scalar(scalar.negated(width)));
        });
        for n in 1..=2 * (1 + u32::from(width == Width::W64)) {
            table.row(&format!("sign extended from {n} {width:?}"), |known| {
                scalars.iter().for_each(|a| known.scalar(a.sign_extended_from(n, width)));
            });
        }
    }
    table.row("join", |known| pairs().for_each(|(a, b)| known.scalar(a.join(b))));
    table.row("reduced", |known| {
        for bits in tnums() {
            for range in ranges() {
                for low in short::all::ranges::<2>() {
                    let (scalar, contradiction) = Scalar { bits, range, low }.reduced();
                    known.contradictions += usize::from(contradiction);
                    if !contradiction {
                        known.scalar(scalar);
                    }
                }
            }
        }
    });
    table.is(&expect![[r#"
        Add W32                         46099     69210       0
        Sub W32                         46099     69235       0
        Mul W32                         43979     66744       0
        Div W32                         41425     58752       0
        Sdiv W32                        44024     66763       0
        Or W32                          38300     55254       0
        And W32                         38355     55378       0
        Lsh W32                         46020     68488       0
        Rsh W32                         41980     59920       0
        Mod W32                         39867     55721       0
        Smod W32                        37971     59201       0
        Xor W32                         47135     70658       0
        Mov W32                         33675     49655       0
        Arsh W32                        39855     59993       0
        Equal W32                      103206    184810     532
        Different W32                  142842    232755       9
        Less W32                        98466    176257     678
        NotGreater W32                 131519    218443     148
        LessSigned W32                 100199    179606     688
        NotGreaterSigned W32           132793    220281     142
        Common W32                     132791    219893     388
        NoneCommon W32                 133709    222179     188
        negated W32                      3456      5094       0
        sign extended from 1 W32         2288      4204       0
        sign extended from 2 W32         3456      5094       0
        Add W64                        167244    195750       0
        Sub W64                        167198    195699       0
        Mul W64                        175202    210332       0
        Div W64                        117993    137521       0
        Sdiv W64                       156603    179747       0
        Or W64                         108882    155264       0
        And W64                        108790    154920       0
        Lsh W64                        190758    215338       0
        Rsh W64                        163192    187109       0
        Mod W64                        146384    170350       0
        Smod W64                       137899    161709       0
        Xor W64                        179778    209302       0
        Mov W64                         72018    117117       0
        Arsh W64                       143325    167110       0
        Equal W64                       67707    107391    2152
        Different W64                  143995    234205       1
        Less W64                       121388    191506     404
        NotGreater W64                 127489    203045     270
        LessSigned W64                 122176    192701     395
        NotGreaterSigned W64           127896    203630     271
        Common W64                     143442    233466      33
        NoneCommon W64                 120342    201519     547
        negated W64                      8064     12006       0
        sign extended from 1 W64         2288      2102       0
        sign extended from 2 W64         3456      5220       0
        sign extended from 3 W64         5936      8616       0
        sign extended from 4 W64         7392     12026       0
        join                           142060    175463       0
        reduced                        352280    541904  154290
    "#]]);
}
