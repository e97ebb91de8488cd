//! Which partitions a member of a consumer group has, as Kafka's consumer protocol writes it.
//!
//! ```text
//! version i16   0 to 3 so far; later ones only add at the end
//! topics  i32   how many; then of each
//!   name  i16   its bytes, UTF-8
//!   count i32   how many partitions, then the number of each, i32
//! user data     not looked at
//! ```
//!
//! Brokers do not look into it: the leader of the group writes it, whoever that is. So nothing of it is believed before it is
//! checked, and nothing is allocated that the bytes do not hold. It is only read, never written.
//!
//! Source: Apache Kafka 4.1, `ConsumerProtocolAssignment.json`.

use tw_types::PartitionId;

/// The bytes are no assignment of the consumer protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the assignment of a member of a group is malformed: {0}")]
pub struct Malformed(&'static str);

/// Reads the topics of an assignment, and the partitions of each. Empty bytes are a member that has nothing, as it is before
/// its group has been balanced.
///
/// # Errors
/// [`Malformed`] when the bytes end too early, or say what cannot be: fewer topics than none, a name that is no UTF-8, a
/// partition below 0.
pub fn read(bytes: &[u8]) -> Result<Vec<(&str, Vec<PartitionId>)>, Malformed> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut rest = bytes;
    if i16::from_be_bytes(take(&mut rest)?) < 0 {
        return Err(Malformed("its version is below 0"));
    }
    // A topic takes six bytes at least, a partition four: what is allocated is bounded by what is there.
    let topics = count(&mut rest, 6)?;
    let mut read = Vec::with_capacity(topics);
    for _ in 0..topics {
        let length = usize::try_from(i16::from_be_bytes(take(&mut rest)?));
        let length = length.map_err(|_| Malformed("the name of a topic is shorter than nothing"))?;
        let (name, after) = rest.split_at_checked(length).ok_or(SHORT)?;
        rest = after;
        let name = std::str::from_utf8(name).map_err(|_| Malformed("the name of a topic is not UTF-8"))?;
        let numbers = count(&mut rest, 4)?;
        let mut partitions = Vec::with_capacity(numbers);
        for _ in 0..numbers {
            let number = u32::try_from(i32::from_be_bytes(take(&mut rest)?));
            partitions.push(PartitionId(number.map_err(|_| Malformed("a partition is below 0"))?));
        }
        read.push((name, partitions));
    }
    Ok(read)
}

const SHORT: Malformed = Malformed("it ends too early");

/// The next bytes.
fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Malformed> {
    let (taken, after) = rest.split_first_chunk::<N>().ok_or(SHORT)?;
    *rest = after;
    Ok(*taken)
}

/// A number of things that take so many bytes each at least.
fn count(rest: &mut &[u8], bytes_min: usize) -> Result<usize, Malformed> {
    let count = usize::try_from(i32::from_be_bytes(take(rest)?));
    let count = count.map_err(|_| Malformed("a list has fewer members than none"))?;
    if count > rest.len() / bytes_min {
        return Err(SHORT);
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn write(version: i16, topics: &[(String, Vec<u32>)], more: &[u8]) -> Vec<u8> {
        let mut bytes = version.to_be_bytes().to_vec();
        bytes.extend((topics.len() as i32).to_be_bytes());
        for (name, partitions) in topics {
            bytes.extend((name.len() as i16).to_be_bytes());
            bytes.extend(name.as_bytes());
            bytes.extend((partitions.len() as i32).to_be_bytes());
            bytes.extend(partitions.iter().flat_map(|number| (*number as i32).to_be_bytes()));
        }
        bytes.extend(more);
        bytes
    }

    #[test]
    fn what_a_broker_has_of_a_member_is_read() {
        // Of Kafka 4.1.2: a member with both partitions of the topic `t`.
        let bytes = [0, 0, 0, 0, 0, 1, 0, 1, 116, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        assert_eq!(read(&bytes), Ok(vec![("t", vec![PartitionId(0), PartitionId(1)])]));
        assert_eq!(read(&[]), Ok(Vec::new()));
    }

    #[test]
    fn what_cannot_be_is_refused_and_allocates_nothing() {
        let refused = |bytes: &[u8]| read(bytes).unwrap_err().0;
        assert_eq!(refused(&[0]), SHORT.0);
        assert_eq!(refused(&[0xff, 0xff]), "its version is below 0");
        assert_eq!(refused(&[0, 0, 0x7f, 0xff, 0xff, 0xff]), SHORT.0);
        assert_eq!(refused(&[0, 0, 0xff, 0xff, 0xff, 0xff]), "a list has fewer members than none");
        let one = |name: &[u8], partitions: &[u8]| {
            [&[0, 0, 0, 0, 0, 1], &(name.len() as i16).to_be_bytes()[..], name, partitions].concat()
        };
        assert_eq!(refused(&one(&[0xff], &[0, 0, 0, 0])), "the name of a topic is not UTF-8");
        assert_eq!(refused(&one(b"t", &[0, 0, 0, 1, 0xff, 0, 0, 0])), "a partition is below 0");
        assert_eq!(refused(&one(b"t", &[0x7f, 0, 0, 0])), SHORT.0);
        let below = [0, 0, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0];
        assert_eq!(refused(&below), "the name of a topic is shorter than nothing");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_and_nothing_shorter_is(
            version in 0i16..9,
            topics in vec(("[a-z._-]{0,9}", vec(0u32..=i32::MAX as u32, 0..5)), 0..4),
            more in vec(any::<u8>(), 0..9),
        ) {
            let bytes = write(version, &topics, &more);
            let expected: Vec<(&str, Vec<PartitionId>)> = topics
                .iter()
                .map(|(name, numbers)| (name.as_str(), numbers.iter().copied().map(PartitionId).collect()))
                .collect();
            prop_assert_eq!(read(&bytes), Ok(expected));
            for length in 1..bytes.len() - more.len() {
                let shorter: Vec<u8> = bytes.iter().copied().take(length).collect();
                prop_assert!(read(&shorter).is_err());
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200)) {
            if let Ok(topics) = read(&bytes) {
                let held: usize = topics.iter().map(|(name, partitions)| 6 + name.len() + 4 * partitions.len()).sum();
                prop_assert!(bytes.is_empty() || held + 6 <= bytes.len());
            }
        }
    }
}
