//! Whatever the input, nothing panics, and JSON lines stay single lines of valid UTF-8.

use bombus_report::{Entry, Format, Histogram, Map, MapKind, Message, Value, printf};
use proptest::prelude::*;

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Value::Int),
        any::<u64>().prop_map(Value::Uint),
        any::<bool>().prop_map(Value::Bool),
        any::<u64>().prop_map(Value::pointer),
        any::<Vec<u8>>().prop_map(Value::Str),
        any::<Vec<u8>>().prop_map(Value::Buffer),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Tuple),
            prop::collection::vec(("[a-z]+", inner), 0..4).prop_map(Value::Record),
        ]
    })
}

proptest! {
    #[test]
    fn printf(format in "([a-z]|%[-+ #0]{0,3}[0-9*]{0,2}(\\.[0-9])?[hlz]{0,2}[a-zX%])*",
              args in prop::collection::vec(any_value(), 0..4)) {
        printf::Format::parse(&format).apply(&args, &mut Vec::new());
    }

    #[test]
    fn values(value in any_value()) {
        let mut line = Vec::new();
        Format::Json.render(&Message::Value(&value), &mut line);
        let line = String::from_utf8(line).expect("JSON is UTF-8");
        prop_assert_eq!(line.matches('\n').count(), 1);
        Format::Text.render(&Message::Value(&value), &mut Vec::new());
    }

    #[test]
    fn histograms(buckets in prop::collection::vec(prop_oneof![Just(0), any::<u64>()], 0..2100),
                  bits in 0u8..6, div: u64, min: i64, max: i64, step: i64) {
        for histogram in [
            Histogram::log2(&buckets, bits, div),
            Histogram::linear(&buckets, min, max, step),
        ] {
            let contents = bombus_report::Contents::Single(Entry::Histogram(histogram));
            let map = Map { name: "@x".into(), kind: MapKind::Histogram, contents };
            for format in [Format::Text, Format::Json] {
                format.render(&Message::Map(&map), &mut Vec::new());
            }
        }
    }
}
