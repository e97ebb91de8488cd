//! What one region accepts comes to all others.

use crate::region::{World, active_active, same_everywhere};
use tw_region::service::LinkState;
use tw_types::Version;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reg_3_what_each_region_accepts_is_in_all_of_them_once() {
    let world = World::new();
    let regions = world.mesh(3).await;
    for region in &regions {
        region.create(active_active("orders", 3)).await;
    }
    let writers = regions.iter().enumerate().map(|(number, region)| async move {
        for n in 0..200 {
            region.append("orders", &format!("order-{}", n % 17), &format!("{number}-{n}")).await;
        }
    });
    futures_util::future::join_all(writers).await;
    for region in &regions {
        region.has("orders", 600).await;
    }
    same_everywhere(&regions, "orders").await;
    for region in &regions {
        let state = region.in_sync().await;
        assert!(state.peers.iter().all(|peer| peer.lag_events == 0 && peer.error.is_none()), "{state:#?}");
        // Versions of a subject are dense here, whoever wrote.
        let history =
            region.events.history(region.stream("orders").id, "order-3", Version(1), 100).await.unwrap();
        assert!(history.iter().zip(1..).all(|(stored, version)| stored.version == Version(version)));
        assert!(history.len() > 30);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reg_2_an_answer_is_nowhere_before_its_question() {
    let world = World::new();
    let regions = world.mesh(3).await;
    for region in &regions {
        region.create(active_active("questions", 2)).await;
        region.create(active_active("answers", 2)).await;
    }
    // Region 2 answers what it sees of region 1; region 3 looks all the time.
    let asks = async {
        for n in 0..150 {
            regions[0].append("questions", &format!("q{n}"), &format!("{n}")).await;
        }
    };
    let answers = async {
        for n in 0..150u64 {
            regions[1].has("questions", n + 1).await;
            regions[1].append("answers", &format!("a{n}"), &format!("{n}")).await;
        }
    };
    let looks = async {
        for n in 0..150 {
            regions[2].has("answers", n + 1).await;
            let (answers, questions) = (regions[2].count("answers"), regions[2].count("questions"));
            assert!(questions >= answers, "REG-2: {answers} answers to {questions} questions");
        }
    };
    tokio::join!(asks, answers, looks);
    for region in &regions {
        region.has("answers", 150).await;
    }
    same_everywhere(&regions, "questions").await;
    same_everywhere(&regions, "answers").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_local_or_differ_stay_where_they_are_and_say_so() {
    let world = World::new();
    let regions = world.mesh(2).await;
    regions[0].create(tw_log::NewStream::plain(tw_types::StreamName::new("local").unwrap(), 1)).await;
    regions[0].append("local", "s", "1").await;
    regions[0].create(active_active("differs", 2)).await;
    regions[1].create(active_active("differs", 3)).await;
    regions[0].create(active_active("shared", 1)).await;
    regions[0].append("shared", "s", "before the other has it").await;
    let state = regions[1]
        .state_until("noted", |state| state.peers[0].notes.iter().any(|note| note.contains("`shared`")))
        .await;
    let notes: Vec<&str> = state.peers[0].notes.iter().map(String::as_str).collect();
    assert!(
        notes.iter().any(|note| note.contains("`differs`") && note.contains("`3` here and `2` there")),
        "{notes:?}"
    );
    assert!(
        notes.iter().any(|note| note.contains("`shared`")
            && note.contains("it is created with 1 partitions when its definition comes")),
        "{notes:?}"
    );
    regions[1].create(active_active("shared", 1)).await;
    regions[1].has("shared", 1).await;
    same_everywhere(&regions, "shared").await;
    assert!(regions[1].events.log().streams().get("local").is_err());
    assert_eq!(regions[1].count("differs"), 0);
    assert!(matches!(
        regions[1].links.state().await.unwrap().peers[0].link,
        LinkState::InSync | LinkState::CatchingUp
    ));
}
