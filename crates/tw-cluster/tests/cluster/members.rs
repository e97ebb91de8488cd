//! Membership.

use crate::faulty::Faulty;
use crate::support::{dying, in_time, lasting, on_both_engines};
use tw_cluster::conformance::{Disturbance, Engine};
use tw_cluster::{
    Capacity, Error, Load, MemberEvent, Members, Outcome, Registration, Roster, Standing, Transaction,
};

on_both_engines!(
    nodes_join_report_drain_and_leave_and_others_see_it,
    clu_1_a_name_belongs_to_one_node_at_a_time,
    clu_2_a_node_that_goes_silent_has_left_when_its_lease_has_ended,
    a_roster_that_was_cut_off_tells_what_differs,
);

fn registration(node: &str) -> Registration {
    Registration {
        node: node.into(),
        instance: "i".into(),
        writer: node.into(),
        roles: ["data".into(), "gateway".into()].into(),
        capacity: Capacity { cpu_millicores: 2000, memory_bytes: 1 << 30, disk_bytes: 1 << 40 },
        addresses: [("http".into(), format!("{node}:7070"))].into(),
        version: "0.1.0".into(),
    }
}

async fn next(engine: &dyn Engine, roster: &mut Roster) -> MemberEvent {
    in_time(engine, roster.next()).await.unwrap()
}

async fn nodes_join_report_drain_and_leave_and_others_see_it(engine: &dyn Engine) {
    let on = engine.connect();
    let members = Members::new(on.clone()).unwrap();
    let lease = lasting(&on).await;
    let first = members.join(&lease, &registration("n1")).await.unwrap();
    // A name that looks like somebody else's load is a name.
    members.join(&lease, &registration("n1/load")).await.unwrap();
    let mut roster = members.watch();
    let MemberEvent::Joined(member) = next(engine, &mut roster).await else { panic!("n1 is there") };
    assert_eq!((&member.registration, member.standing), (&registration("n1"), Standing::Active));
    assert_eq!((member.epoch, member.lease, member.load), (first.epoch(), Some(lease.id()), None));
    assert!(matches!(next(engine, &mut roster).await, MemberEvent::Joined(_)));

    let load = Load {
        cpu_millicores: 1500,
        memory_bytes: 1 << 29,
        in_flight: 3,
        queued_writes: 2,
        lag_events: 9,
        at_ms: 0,
    };
    first.report(&load).await.unwrap();
    let MemberEvent::Reported { node, load: told } = next(engine, &mut roster).await else {
        panic!("a report")
    };
    assert_eq!((node.as_str(), Load { at_ms: 0, ..told }), ("n1", load));
    assert!(told.at_ms > 1_600_000_000_000);
    assert_eq!(roster.members().get("n1").and_then(|member| member.load), Some(told));

    // By another node, on an operator's behalf.
    let other = Members::new(engine.connect()).unwrap();
    assert!(other.set_standing("n1", Standing::Draining).await.unwrap());
    assert!(!other.set_standing("n1", Standing::Draining).await.unwrap());
    let MemberEvent::Changed(member) = next(engine, &mut roster).await else { panic!("it is to be drained") };
    assert_eq!((member.standing, member.epoch, member.load), (Standing::Draining, first.epoch(), Some(told)));
    first.report(&Load { in_flight: 4, ..load }).await.unwrap();
    assert!(
        matches!(next(engine, &mut roster).await, MemberEvent::Reported { load, .. } if load.in_flight == 4)
    );
    let (_, listed) = other.list().await.unwrap();
    assert_eq!(&listed, roster.members());

    first.leave().await.unwrap();
    let MemberEvent::Left { member, .. } = next(engine, &mut roster).await else { panic!("it has left") };
    assert_eq!((member.registration.node.as_str(), member.epoch), ("n1", listed["n1"].epoch));
    let (_, listed) = other.list().await.unwrap();
    assert_eq!(listed.keys().collect::<Vec<_>>(), ["n1/load"]);
    let error = other.set_standing("n1", Standing::Active).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no node `n1`: it has left, or its lease has ended");
}

async fn clu_1_a_name_belongs_to_one_node_at_a_time(engine: &dyn Engine) {
    let on = engine.connect();
    let members = Members::new(on.clone()).unwrap();
    let (first, second) = (lasting(&on).await, lasting(&on).await);
    let old = members.join(&first, &registration("n1")).await.unwrap();
    let error = members.join(&second, &registration("n1")).await.unwrap_err();
    assert!(matches!(&error, Error::NodeTaken { lease, .. } if *lease == Some(first.id())), "{error:?}");
    // Joining again under the same lease is how an unknown outcome is settled.
    assert_eq!(members.join(&first, &registration("n1")).await.unwrap().epoch(), old.epoch());
    // The same node after a restart, which knows the lease that it had.
    on.revoke(first.id()).await.unwrap();
    let new = members.join(&second, &registration("n1")).await.unwrap();
    assert!(new.epoch() > old.epoch(), "CLU-1: epochs do not rise");
    assert!(matches!(old.report(&Load::default()).await, Err(Error::NoLease(_))));
    let stale = on.commit(Transaction::new().when(old.guard())).await.unwrap();
    assert!(matches!(stale, Outcome::Failed { .. }), "CLU-1: the old registration still counts");
    // What is not registered any more has nothing to unregister, least of all the new one.
    old.leave().await.unwrap();
    assert_eq!(members.list().await.unwrap().1.get("n1").map(|member| member.epoch), Some(new.epoch()));
}

async fn clu_2_a_node_that_goes_silent_has_left_when_its_lease_has_ended(engine: &dyn Engine) {
    let on = engine.connect();
    let cut = Faulty::new(engine.connect());
    let members = Members::new(on.clone()).unwrap();
    let lease = dying(cut.clone()).await;
    let node = members.join(&lease, &registration("n1")).await.unwrap();
    node.report(&Load::default()).await.unwrap();
    let _stays = members.join(&lasting(&on).await, &registration("n2")).await.unwrap();
    let mut roster = members.watch();
    for _ in 0..2 {
        assert!(matches!(next(engine, &mut roster).await, MemberEvent::Joined(_)));
    }
    cut.lose_leases();
    let MemberEvent::Left { member, .. } = next(engine, &mut roster).await else {
        panic!("nobody else left")
    };
    assert_eq!((member.registration.node.as_str(), member.epoch), ("n1", node.epoch()));
    assert!(!lease.is_held(), "it is gone for others before it has noticed");
}

async fn a_roster_that_was_cut_off_tells_what_differs(engine: &dyn Engine) {
    let on = engine.connect();
    let members = Members::new(on.clone()).unwrap();
    let lease = lasting(&on).await;
    let stays = members.join(&lease, &registration("stays")).await.unwrap();
    let leaves = members.join(&lease, &registration("leaves")).await.unwrap();
    let again = members.join(&lease, &registration("again")).await.unwrap();
    let mut roster = members.watch();
    for _ in 0..3 {
        next(engine, &mut roster).await;
    }
    tokio::task::block_in_place(|| engine.disturb(Disturbance::Kill));
    let (epoch, left) = (again.epoch(), leaves.epoch());
    again.leave().await.unwrap();
    leaves.leave().await.unwrap();
    let again = members.join(&lease, &registration("again")).await.unwrap();
    let new = members.join(&lease, &registration("new")).await.unwrap();
    stays.report(&Load { in_flight: 5, ..Load::default() }).await.unwrap();
    let (now, listed) = members.list().await.unwrap();
    on.compact(now).await.unwrap();
    let mut told = Vec::new();
    for _ in 0..5 {
        told.push(match next(engine, &mut roster).await {
            MemberEvent::Joined(member) => format!("{} joined {}", member.registration.node, member.epoch),
            MemberEvent::Changed(member) => format!("{} changed", member.registration.node),
            MemberEvent::Reported { node, load } => format!("{node} reported {}", load.in_flight),
            MemberEvent::Left { member, .. } => format!("{} left {}", member.registration.node, member.epoch),
        });
    }
    let expected = [
        format!("again left {epoch}"),
        format!("again joined {}", again.epoch()),
        format!("leaves left {left}"),
        format!("new joined {}", new.epoch()),
        "stays reported 5".to_owned(),
    ];
    assert_eq!(told, expected);
    assert_eq!((roster.members(), roster.revision()), (&listed, now));
}
