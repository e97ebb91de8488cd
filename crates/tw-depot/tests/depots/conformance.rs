//! What every depot promises.

use bytes::Bytes;
use pollster::block_on;
use std::sync::atomic::{AtomicBool, Ordering};
use tw_depot::{Depot, Error};

/// Runs it all on a depot, under folders of its own.
pub fn all(depot: &dyn Depot) {
    what_was_put_is_got_and_listed_until_it_is_removed(depot);
    a_put_replaces_all_of_what_was_there(depot);
    a_reader_gets_all_of_one_object_or_all_of_the_other(depot);
    bounds_are_kept(depot);
    names_that_are_not_good_are_refused(depot);
}

fn what_was_put_is_got_and_listed_until_it_is_removed(depot: &dyn Depot) {
    assert_eq!(block_on(depot.list("none", 10)).unwrap(), [""; 0]);
    assert_eq!(block_on(depot.get("none/x", 10)).unwrap(), None);
    block_on(depot.remove("none/x")).unwrap();
    let names = ["some/a", "some/b/0", "some/b/1", "some/b-c/0", "some-more/0"];
    for name in names {
        block_on(depot.put(name, Bytes::from(name))).unwrap();
    }
    for name in names {
        assert_eq!(block_on(depot.get(name, 100)).unwrap(), Some(Bytes::from(name)));
    }
    let listed = |folder: &str| block_on(depot.list(folder, 10)).unwrap();
    // As bytes are compared: `-` is before `/`.
    assert_eq!(listed("some"), ["some/a", "some/b-c/0", "some/b/0", "some/b/1"]);
    assert_eq!(listed("some/b"), ["some/b/0", "some/b/1"]);
    block_on(depot.remove("some/b/0")).unwrap();
    block_on(depot.remove("some/b/0")).unwrap();
    assert_eq!(listed("some/b"), ["some/b/1"]);
    assert_eq!(block_on(depot.get("some/b/0", 100)).unwrap(), None);
    for name in names {
        block_on(depot.remove(name)).unwrap();
    }
    assert_eq!(listed("some"), [""; 0]);
    assert_eq!(listed("some-more"), [""; 0]);
}

fn a_put_replaces_all_of_what_was_there(depot: &dyn Depot) {
    for bytes in [Bytes::from(vec![7; 1 << 20]), Bytes::from_static(b"short"), Bytes::new()] {
        block_on(depot.put("replaced", bytes.clone())).unwrap();
        assert_eq!(block_on(depot.get("replaced", 1 << 20)).unwrap(), Some(bytes));
    }
    block_on(depot.remove("replaced")).unwrap();
}

fn a_reader_gets_all_of_one_object_or_all_of_the_other(depot: &dyn Depot) {
    let object = |fill: u8| Bytes::from(vec![fill; 300_000 + usize::from(fill)]);
    block_on(depot.put("contested", object(0))).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for fill in 1..20 {
                block_on(depot.put("contested", object(fill))).unwrap();
            }
            done.store(true, Ordering::SeqCst);
        });
        while !done.load(Ordering::SeqCst) {
            let got = block_on(depot.get("contested", 1 << 20)).unwrap().unwrap();
            assert_eq!(got, object(got[0]));
        }
    });
    block_on(depot.remove("contested")).unwrap();
}

fn bounds_are_kept(depot: &dyn Depot) {
    for name in ["bounded/0", "bounded/1", "bounded/2"] {
        block_on(depot.put(name, Bytes::from_static(b"1234"))).unwrap();
    }
    assert!(block_on(depot.get("bounded/0", 4)).unwrap().is_some());
    let outcome = block_on(depot.get("bounded/0", 3));
    assert!(matches!(outcome, Err(Error::TooLarge { bytes: 4, bytes_max: 3, .. })), "{outcome:?}");
    assert_eq!(block_on(depot.list("bounded", 3)).unwrap().len(), 3);
    let outcome = block_on(depot.list("bounded", 2));
    assert!(matches!(outcome, Err(Error::TooMany { names_max: 2, .. })), "{outcome:?}");
    for name in ["bounded/0", "bounded/1", "bounded/2"] {
        block_on(depot.remove(name)).unwrap();
    }
}

fn names_that_are_not_good_are_refused(depot: &dyn Depot) {
    for name in ["", "../x", "a//b", "/etc/x", "a b"] {
        let refused = [
            block_on(depot.put(name, Bytes::new())),
            block_on(depot.get(name, 1)).map(drop),
            block_on(depot.list(name, 1)).map(drop),
            block_on(depot.remove(name)),
        ];
        for outcome in refused {
            assert!(matches!(outcome, Err(Error::InvalidName(_))), "{name}: {outcome:?}");
        }
    }
}
