//! What is written is read again; what others wrote is read; nothing makes the reader panic.

use bombus_capture::{CaptureError, Format, LinkType, Packet, Reader, Resolution, Writer};
use proptest::prelude::*;

type Owned = (Vec<u8>, u32, u64, LinkType);

fn read(bytes: &[u8]) -> Result<(Vec<Owned>, Option<CaptureError>), CaptureError> {
    let mut reader = Reader::new(bytes)?;
    let mut packets = Vec::new();
    loop {
        match reader.next() {
            Ok(Some(Packet { data, wire_len, time, link })) => {
                packets.push((data.to_vec(), wire_len, time, link));
            }
            Ok(None) => return Ok((packets, None)),
            Err(error) => {
                assert!(matches!(reader.next(), Ok(None)));
                return Ok((packets, Some(error)));
            }
        }
    }
}

fn write(packets: &[Owned], format: Format, resolution: Resolution) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer =
        Writer::new(&mut bytes, format, LinkType::ETHERNET, 262_144, resolution).unwrap();
    for (data, wire_len, time, link) in packets {
        let packet = Packet { data, wire_len: *wire_len, time: *time, link: *link };
        writer.write(&packet).unwrap();
    }
    writer.finish().unwrap();
    bytes
}

fn words(big: bool, words: &[u32]) -> Vec<u8> {
    words
        .iter()
        .flat_map(|word| if big { word.to_be_bytes() } else { word.to_le_bytes() })
        .collect()
}

#[test]
fn pcap_of_both_byte_orders() {
    for big in [false, true] {
        for (magic, unit, extra) in
            [(0xa1b2_c3d4, 1_000, 0), (0xa1b2_3c4d, 1, 0), (0xa1b2_cd34, 1_000, 8)]
        {
            // The upper bits of the link type say that frames have check sequences of 4 bytes.
            let mut bytes = words(big, &[magic]);
            bytes.extend(if big { [0, 2, 0, 4] } else { [2, 0, 4, 0] });
            bytes.extend(words(big, &[0, 0, 65_535, 0x5000_0001]));
            bytes.extend(words(big, &[3, 7, 5, 60]));
            bytes.resize(bytes.len() + extra, 0xee);
            bytes.extend(b"hello");
            let packet = (b"hello".to_vec(), 60, 3_000_000_000 + 7 * unit, LinkType::ETHERNET);
            let (packets, error) = read(&bytes).unwrap();
            assert_eq!(packets, std::slice::from_ref(&packet));
            assert!(error.is_none());
            bytes.pop();
            let (packets, error) = read(&bytes).unwrap();
            assert!(packets.is_empty());
            assert_eq!(
                error.unwrap().to_string(),
                "the file ends in the middle of what starts at byte 24"
            );
        }
    }
}

#[test]
fn pcapng_of_both_byte_orders() {
    for big in [false, true] {
        let half = |word: u16| if big { word.to_be_bytes() } else { word.to_le_bytes() };
        let mut bytes = words(big, &[0x0a0d_0d0a, 28, 0x1a2b_3c4d]);
        bytes.extend([half(1), half(0)].concat());
        bytes.extend([0xff; 8]);
        bytes.extend(words(big, &[28]));
        // An interface with microseconds, and one that counts 1/16 seconds from 1970 and 2 seconds.
        bytes.extend(words(big, &[1, 20]));
        bytes.extend([half(1), half(0)].concat());
        bytes.extend(words(big, &[0, 20]));
        bytes.extend(words(big, &[1, 44]));
        bytes.extend([half(101), half(0)].concat());
        bytes.extend(words(big, &[3]));
        bytes.extend([half(9), half(1), [0x84, 0], [0, 0], half(14), half(8)].concat());
        bytes.extend(words(big, if big { &[0, 2] } else { &[2, 0] }));
        bytes.extend(words(big, &[0, 44]));
        // A block that nobody knows; packets of all three kinds.
        bytes.extend(words(big, &[0x0bad, 16, 7, 16]));
        bytes.extend(words(big, &[6, 36, 0, 1, 2, 3, 99]));
        bytes.extend(b"abc\0");
        bytes.extend(words(big, &[36]));
        bytes.extend(words(big, &[6, 36, 1, 0, 24, 1, 1]));
        bytes.extend(b"x\0\0\0");
        bytes.extend(words(big, &[36]));
        bytes.extend(words(big, &[3, 20, 2]));
        bytes.extend(b"pq\0\0");
        bytes.extend(words(big, &[20]));
        bytes.extend(words(big, &[2, 36]));
        bytes.extend([half(1), half(0)].concat());
        bytes.extend(words(big, &[0, 8, 2, 2]));
        bytes.extend(b"st\0\0");
        bytes.extend(words(big, &[36]));
        let ether = LinkType::ETHERNET;
        let expected = [
            (b"abc".to_vec(), 99, ((1 << 32) + 2) * 1_000, ether),
            (b"x".to_vec(), 1, 3_500_000_000, LinkType::RAW),
            (b"pq".to_vec(), 2, 0, ether),
            (b"st".to_vec(), 2, 2_500_000_000, LinkType::RAW),
        ];
        let (packets, error) = read(&bytes).unwrap();
        assert!(error.is_none(), "{error:?}");
        assert_eq!(packets, expected);
    }
}

#[test]
fn what_is_no_capture() {
    let message = |bytes: &[u8]| read(bytes).unwrap_err().to_string();
    assert_eq!(message(b""), "this is neither a pcap nor a pcapng file but an empty one");
    assert_eq!(message(&[b'x'; 100]), "this is neither a pcap nor a pcapng file");
    let mut packed = vec![0x1f, 0x8b];
    packed.resize(100, 0);
    assert!(message(&packed).ends_with("but gzip's: unpack it first"));
}

#[test]
fn a_pcap_file_has_one_link_type() {
    let mut bytes = Vec::new();
    let (format, resolution) = (Format::Pcap, Resolution::Nano);
    let mut writer = Writer::new(&mut bytes, format, LinkType::ETHERNET, 0, resolution).unwrap();
    let packet = Packet { data: b"x", wire_len: 1, time: 0, link: LinkType::RAW };
    assert!(matches!(writer.write(&packet), Err(CaptureError::Unwritable(_))));
}

/// A packet that is longer than the buffer.
#[test]
fn large_packets() {
    let packets = [
        (vec![1; 3 << 20], 3 << 20, 5, LinkType::ETHERNET),
        (vec![2; 100], 100, 6, LinkType::ETHERNET),
        (vec![3; 1 << 20], 1 << 20, 7, LinkType::ETHERNET),
    ];
    for format in [Format::Pcap, Format::Pcapng] {
        assert_eq!(read(&write(&packets, format, Resolution::Nano)).unwrap().0, packets);
    }
}

fn packets() -> impl Strategy<Value = Vec<Owned>> {
    let data = prop::collection::vec(any::<u8>(), 0..200);
    let time = 0u64..4_000_000_000_000_000_000;
    let link = prop_oneof![Just(LinkType::ETHERNET), Just(LinkType::RAW)];
    prop::collection::vec((data, any::<u32>(), time, link), 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn round_trip(packets in packets()) {
        prop_assert_eq!(&read(&write(&packets, Format::Pcapng, Resolution::Nano)).unwrap().0, &packets);
        let ethernet: Vec<Owned> = packets
            .into_iter()
            .map(|(data, len, time, _)| (data, len, time, LinkType::ETHERNET))
            .collect();
        prop_assert_eq!(&read(&write(&ethernet, Format::Pcap, Resolution::Nano)).unwrap().0, &ethernet);
        let micro = read(&write(&ethernet, Format::Pcap, Resolution::Micro)).unwrap().0;
        let times = |packets: &[Owned], unit: u64| -> Vec<u64> {
            packets.iter().map(|packet| packet.2 / unit * unit).collect()
        };
        prop_assert_eq!(times(&micro, 1), times(&ethernet, 1_000));
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes);
        for start in [&[0xd4, 0xc3, 0xb2, 0xa1][..], &[0xa1, 0xb2, 0x3c, 0x4d]] {
            let _ = read(&[start, &bytes].concat());
        }
    }

    #[test]
    fn changed_captures(
        packets in packets(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = write(&packets, Format::Pcapng, Resolution::Nano);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let _ = read(&bytes);
        let _ = read(&bytes[..cut.index(bytes.len())]);
    }
}
