//! The bytes of snapshots: what was stored reads back, what is damaged is refused.

use super::*;
use proptest::prelude::*;

fn manifest() -> Manifest {
    Manifest {
        view: "projection/revenue".into(),
        definition: 7,
        life: 1,
        stream: StreamId(3),
        partition: PartitionId(2),
        position: Offset(258),
        run: "258-0a".into(),
        cursor: "01".into(),
        chunks: vec![ChunkRecord { bytes: 5, crc32c: 9 }],
    }
}

fn chunk(entries: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut builder = ChunkBuilder::default();
    entries.iter().for_each(|(key, value)| builder.push(key, value));
    builder.finish().unwrap()
}

#[test]
fn a_manifest_is_what_earlier_versions_stored() {
    let json = r#"{"view":"projection/revenue","definition":7,"life":1,"stream":3,"partition":2,"position":258,"run":"258-0a","cursor":"01","chunks":[{"bytes":5,"crc32c":9}]}"#;
    let mut golden = b"TWSM\x01".to_vec();
    golden.extend_from_slice(&crc32c::crc32c(json.as_bytes()).to_be_bytes());
    golden.extend_from_slice(json.as_bytes());
    assert_eq!(manifest().encode(), golden);
    assert_eq!(Manifest::decode(&golden), Ok(manifest()));
}

#[test]
fn a_manifest_of_chunks_that_nobody_stores_is_refused() {
    let chunk = |bytes| ChunkRecord { bytes, crc32c: 9 };
    let decode = |chunks| Manifest::decode(&Manifest { chunks, ..manifest() }.encode());
    let too_large = Err(Malformed("it is too large"));
    assert_eq!(decode(vec![chunk(CHUNK_STORED_BYTES_MAX as u64 + 1)]), too_large);
    assert_eq!(decode(vec![chunk(1); CHUNKS_MAX + 1]), too_large);
    assert!(decode(vec![chunk(CHUNK_STORED_BYTES_MAX as u64)]).is_ok());
}

#[test]
fn a_chunk_that_an_earlier_version_stored_reads_back() {
    // The compressed part is one raw block, as any zstd writes it that does not compress: magic, a single segment of 25
    // bytes, a last raw block of 25 bytes.
    let entries = b"\0\0\0\x03key\0\0\0\x05value\0\0\0\x01z\0\0\0\0";
    let mut body = 25u32.to_be_bytes().to_vec();
    body.extend_from_slice(&[0x28, 0xb5, 0x2f, 0xfd, 0x20, 25, 0xc9, 0, 0]);
    body.extend_from_slice(entries);
    let mut golden = b"TWSC\x01".to_vec();
    golden.extend_from_slice(&crc32c::crc32c(&body).to_be_bytes());
    golden.extend_from_slice(&body);
    let read = read_chunk(&golden).unwrap();
    let of = |key: &'static str, value: &'static str| (Bytes::from(key), Bytes::from(value));
    assert_eq!(read, [of("key", "value"), of("z", "")]);
}

#[test]
fn what_is_not_a_chunk_is_refused_with_the_reason() {
    let good = chunk(&[(b"a".to_vec(), b"b".to_vec())]);
    let why = |bytes: &[u8]| read_chunk(bytes).unwrap_err().0;
    assert_eq!(why(b"TWSM"), "it is not part of a snapshot");
    assert_eq!(why(&good[..7]), "it is cut off");
    assert_eq!(why(&good[..good.len() - 1]), "its checksum is wrong");
    let mut later = good.clone();
    later[4] = 2;
    assert_eq!(why(&later), "it is of an unknown version");
    let seal = |length: u32, entries: &[u8]| {
        let mut body = length.to_be_bytes().to_vec();
        zstd::stream::copy_encode(entries, &mut body, 1).unwrap();
        super::seal(CHUNK, &body)
    };
    assert_eq!(why(&seal(u32::MAX, b"")), "it is too large");
    assert_eq!(why(&seal(1, b"ab")), "its entries have another length");
    assert_eq!(why(&seal(5, b"\0\0\0\x09a")), "an entry is cut off");
    assert_eq!(
        why(&chunk(&[(b"b".to_vec(), vec![]), (b"a".to_vec(), vec![])])),
        "its keys are not in ascending order"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(tw_testing::cases(256)))]

    #[test]
    fn entries_read_back(entries in prop::collection::btree_map(prop::collection::vec(any::<u8>(), 1..40), prop::collection::vec(any::<u8>(), 0..200), 0..60)) {
        let entries: Vec<_> = entries.into_iter().collect();
        let read = read_chunk(&chunk(&entries)).unwrap();
        let read: Vec<_> = read.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
        prop_assert_eq!(read, entries);
    }

    #[test]
    fn damaged_and_arbitrary_bytes_are_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..300), flips in prop::collection::vec((any::<usize>(), 1u8..), 1..4)) {
        let _refused = (read_chunk(&bytes).is_err(), Manifest::decode(&bytes).is_err());
        for good in [chunk(&[(b"a".to_vec(), bytes.clone()), (b"b".to_vec(), bytes.clone())]), manifest().encode()] {
            bytes.clone_from(&good);
            for (at, bits) in &flips {
                let at = at % bytes.len();
                bytes[at] ^= bits;
            }
            if bytes != good {
                prop_assert!(read_chunk(&bytes).is_err() && Manifest::decode(&bytes).is_err());
            }
        }
        // With a right checksum anything can come; it must not be believed.
        let body = bytes.clone();
        let _read_or_refused = (read_chunk(&seal(CHUNK, &body)), Manifest::decode(&seal(MANIFEST, &body)));
    }
}
