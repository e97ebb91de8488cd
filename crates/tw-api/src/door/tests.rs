//! Tickets by example; what limits do is tested where they are decided, in `tw-plan`.

use super::*;
use http::HeaderMap;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::oneshot;
use tw_plan::overload::Priority;

/// A clock that goes on by one millisecond whenever it is looked at.
#[derive(Default)]
struct Ticking(AtomicU64);

impl Clock for Ticking {
    fn now_ms(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.now_ms())
    }
}

fn doors() -> Arc<Doors> {
    let options =
        OverloadOptions { reads_min: 1, reads_start: 1, reads_max: 1, ..OverloadOptions::default() };
    Arc::new(Doors::new(&options, Arc::new(Ticking::default())).unwrap())
}

fn kind() -> Kind {
    Kind { class: Class::Reads, priority: Priority::NORMAL, is_measured: true }
}

fn in_flight(doors: &Doors) -> u32 {
    doors.reads.locked().state.limiter.in_flight()
}

/// Waits until so many are inside; the others make it so.
async fn until(doors: &Doors, count: u32) {
    let reached = async {
        while in_flight(doors) != count {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), reached).await.unwrap();
}

#[test]
fn whoever_has_a_ticket_takes_room_until_it_is_done_or_dropped() {
    let doors = doors();
    let ticket = Doors::admit(&doors, kind()).unwrap();
    let refused = Doors::admit(&doors, kind()).map(drop).unwrap_err();
    assert_eq!(refused.code(), Code::OverCapacity);
    let said = "more reads come than this node works on in time, which are 1 at once now: try again in ";
    assert!(refused.detail().starts_with(said), "{refused}");
    ticket.done(Outcome::Finished);
    drop(Doors::admit(&doors, kind()).unwrap());
    assert_eq!(in_flight(&doors), 0);
    assert!(Kind::of(crate::route::Route::Health, &HeaderMap::new()).is_none());
    Ticket::free().done(Outcome::Finished);
}

#[tokio::test]
async fn who_waits_outside_keeps_its_room_for_a_moment_only_and_its_wait_does_not_count() {
    let doors = doors();
    let ticket = Arc::new(Doors::admit(&doors, kind()).unwrap());
    ticket.outside(std::future::ready(())).await;
    assert_eq!(in_flight(&doors), 1);
    let (end, ended) = oneshot::channel::<()>();
    let waiting = tokio::spawn({
        let ticket = ticket.clone();
        async move { ticket.outside(ended).await }
    });
    until(&doors, 0).await;
    let other = Doors::admit(&doors, kind()).unwrap();
    end.send(()).unwrap();
    waiting.await.unwrap().unwrap();
    // It came back, although there was no room: now nobody is let in until both are out.
    assert_eq!(in_flight(&doors), 2);
    drop(other);
    assert!(Doors::admit(&doors, kind()).is_err());
    let stay = ticket.0.as_ref().unwrap().stay();
    assert!(stay.is_inside && stay.counts && stay.away >= Duration::from_millis(2));
    drop(stay);
    drop(ticket);
    assert_eq!(in_flight(&doors), 0);
}

#[tokio::test]
async fn who_is_sent_to_another_node_leaves_at_once_and_may_go_for_good() {
    let doors = doors();
    let ticket = Doors::admit(&doors, kind()).unwrap();
    ticket
        .elsewhere(async {
            assert_eq!(in_flight(&doors), 0);
            // A wait within a wait takes nothing a second time.
            ticket.elsewhere(std::future::ready(())).await;
            ticket.outside(std::future::ready(())).await;
            assert_eq!(in_flight(&doors), 0);
        })
        .await;
    assert_eq!(in_flight(&doors), 1);
    assert!(!ticket.0.as_ref().unwrap().stay().counts);
    // The client goes while it waits.
    let left = tokio::time::timeout(Duration::ZERO, ticket.elsewhere(std::future::pending::<()>())).await;
    assert!(left.is_err() && in_flight(&doors) == 0);
    drop(ticket);
    assert_eq!(in_flight(&doors), 0);
}
