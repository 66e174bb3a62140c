//! Programs made of pieces that the verifier accepts: machine code that leaves out what is proved does
//! what is done when each access is checked.

use std::fmt::Write as _;

use bombus_embedded::{Embedded, Options};
use bombus_isa::asm;
use bombus_kernel::{Kernel, MapFd, ProgFd, ProgLoad, TestRun, Tracer};
use bombus_platform::{Helper, MapType, ProgType};
use bombus_spec::MapSpec;
use proptest::prelude::*;

/// Type, bytes of a value, elements. The first two lie as guest addresses do.
const MAPS: [(MapType, u32, u32); 5] = [
    (MapType::Array, 16, 4),
    (MapType::Hash, 8, 8),
    (MapType::Array, 24, 3),
    (MapType::PercpuArray, 8, 3),
    (MapType::LruHash, 32, 4),
];
/// More than the interpreter makes before there is machine code.
const RUNS: usize = 40;
const SIZES: [(&str, i16); 4] = [("u8", 1), ("u16", 2), ("u32", 4), ("u64", 8)];

/// A piece of a program. `r6` is the packet, `r7` its end, `r8` a byte that differs from run to run,
/// `r9` collects.
#[derive(Clone, Debug)]
enum Piece {
    /// Reads, or writes, the packet behind a comparison with its end.
    Packet { size: usize, at: i16, writes: bool },
    /// Looks up a key, and works on the value where there is one.
    Element { map: usize, key: u8, known: bool, size: usize, at: i16, what: u8 },
    /// Adds an element.
    Update { map: usize, key: u8 },
    /// Works on the stack at a place that is computed.
    Stack { size: usize, writes: bool },
    /// A comparison that always goes one way.
    Dead,
}

fn piece() -> impl Strategy<Value = Piece> {
    let size = || 0..SIZES.len();
    prop_oneof![
        3 => (size(), 0i16..48, any::<bool>())
            .prop_map(|(size, at, writes)| Piece::Packet { size, at, writes }),
        4 => (0..MAPS.len(), 0u8..6, any::<bool>(), size(), 0i16..24, 0u8..3)
            .prop_map(|(map, key, known, size, at, what)| Piece::Element {
                map, key, known, size, at, what,
            }),
        2 => (0..MAPS.len(), 0u8..6).prop_map(|(map, key)| Piece::Update { map, key }),
        2 => (size(), any::<bool>()).prop_map(|(size, writes)| Piece::Stack { size, writes }),
        1 => Just(Piece::Dead),
    ]
}

/// The program.
fn code(pieces: &[Piece], maps: &[MapFd]) -> String {
    let mut code = String::from(
        "r6 = *(u32 *)(r1 +0)\nr7 = *(u32 *)(r1 +4)\nr9 = 0\nr8 = 0\nr1 = r6\nr1 += 14\n\
         if r1 > r7 goto +1\nr8 = *(u8 *)(r6 +0)\n",
    );
    for at in 1..=4 {
        let _ = writeln!(code, "*(u64 *)(r10 -{}) = {at}", 8 * at);
    }
    for piece in pieces {
        write_piece(piece, maps, &mut code);
    }
    code + "r0 = r9\nexit\n"
}

fn write_piece(piece: &Piece, maps: &[MapFd], code: &mut String) {
    let key = |code: &mut String, key: u8, known: bool| {
        if known {
            let _ = writeln!(code, "*(u32 *)(r10 -36) = {key}");
        } else {
            let _ = writeln!(code, "r1 = r8\nr1 &= {key}\n*(u32 *)(r10 -36) = r1");
        }
    };
    // Writing to a string does not fail.
    let _ = match *piece {
        Piece::Packet { size, at, writes } => {
            let (name, len) = SIZES[size];
            let access = match writes {
                true => format!("*({name} *)(r6 +{at}) = r8\nr9 += 1"),
                false => format!("r2 = *({name} *)(r6 +{at})\nr9 += r2"),
            };
            writeln!(code, "r1 = r6\nr1 += {}\nif r1 > r7 goto +2\n{access}", at + len)
        }
        Piece::Element { map, key: number, known, size, at, what } => {
            key(code, number, known);
            let (name, len) = SIZES[size];
            let room = MAPS[map].1 as i16 - len;
            let at = (at % (room + 1)) / len * len;
            let _ = writeln!(
                code,
                "r1 = map[fd:{}]\nr2 = r10\nr2 += -36\ncall {}",
                maps[map].0,
                Helper::MapLookupElem.id()
            );
            match what {
                0 => writeln!(code, "if r0 == 0 goto +2\nr1 = *({name} *)(r0 +{at})\nr9 += r1"),
                1 => writeln!(code, "if r0 == 0 goto +2\n*({name} *)(r0 +{at}) = r9\nr9 += 1"),
                _ => writeln!(
                    code,
                    "if r0 == 0 goto +4\nr1 = r8\nr1 &= {room}\nr0 += r1\n\
                     r9 = *({name} *)(r0 +0)"
                ),
            }
        }
        Piece::Update { map, key: number } => {
            key(code, number, false);
            writeln!(
                code,
                "r1 = map[fd:{}]\nr2 = r10\nr2 += -36\nr3 = r10\nr3 += -32\nr4 = 0\ncall {}\nr9 += r0",
                maps[map].0,
                Helper::MapUpdateElem.id()
            )
        }
        Piece::Stack { size, writes } => {
            let (name, len) = SIZES[size];
            let access = match writes {
                true => format!("*({name} *)(r1 -32) = r8"),
                false => format!("r2 = *({name} *)(r1 -32)\nr9 += r2"),
            };
            writeln!(code, "r2 = r8\nr2 &= {}\nr1 = r10\nr1 += r2\n{access}", 24 & !(len - 1))
        }
        Piece::Dead => writeln!(code, "if r8 > 255 goto +1\nr9 += 7"),
    };
}

struct Loaded {
    kernel: Embedded,
    maps: Vec<MapFd>,
    program: ProgFd,
}

fn load(pieces: &[Piece], unproved: bool) -> bombus_kernel::Result<Loaded> {
    let kernel = Embedded::new(Options { seed: Some(1), cpus: Some(2), unproved, no_agents: true });
    let map = |&(map_type, value_size, max_entries): &(MapType, u32, u32)| {
        let name = "any".into();
        kernel.map_create(&MapSpec {
            name,
            map_type,
            key_size: 4,
            value_size,
            max_entries,
            ..MapSpec::default()
        })
    };
    let maps = MAPS.iter().map(map).collect::<Result<Vec<_>, _>>()?;
    let insns = asm(&code(pieces, &maps)).expect("a program");
    let prog_type = ProgType::Xdp;
    let load = ProgLoad { prog_type, insns: &insns, license: "GPL", ..ProgLoad::default() };
    let program = kernel.prog_load(&load)?;
    Ok(Loaded { kernel, maps, program })
}

/// What a run gives, and leaves in packet and maps.
type Outcome = (u32, Vec<u8>, Vec<Vec<(Vec<u8>, Vec<u8>)>>);

fn run(loaded: &Loaded, packet: &[u8]) -> Outcome {
    let mut run = TestRun { data: packet.to_vec(), ..TestRun::default() };
    loaded.kernel.prog_run(loaded.program, &mut run).unwrap();
    let held = |map: &MapFd| loaded.kernel.map_elements(*map).unwrap();
    (run.retval, run.data, loaded.maps.iter().map(held).collect())
}

proptest! {
    #[test]
    fn nothing_changes_by_what_is_proved(
        pieces in prop::collection::vec(piece(), 1..12),
        bytes in prop::collection::vec(any::<u8>(), RUNS),
    ) {
        let proved = load(&pieces, false);
        prop_assert!(proved.is_ok(), "{:?}", proved.err());
        let (proved, checked) = (proved.unwrap(), load(&pieces, true).unwrap());
        for (index, byte) in bytes.iter().enumerate() {
            let mut packet = vec![index as u8; 14 + index];
            packet[0] = *byte;
            prop_assert_eq!(run(&proved, &packet), run(&checked, &packet));
        }
        prop_assert_eq!(proved.kernel.summary(), Vec::<String>::new());
    }
}
