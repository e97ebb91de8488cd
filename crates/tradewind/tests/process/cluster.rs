//! Many nodes on Kafka and etcd: real servers, real processes, kill -9.

use crate::support::{Cluster, Node, psql, said, tradewind};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tw_testing::{Postgres, eventually};

pub(crate) const DEFINITIONS: &str = "CREATE STREAM orders (id bigint NOT NULL, customer text, kind bigint, total numeric(12,2)) WITH (partitions = 6);
    CREATE PROJECTION revenue AS SELECT customer, count(*) AS orders, count(DISTINCT kind) AS kinds, sum(total) AS revenue
    FROM orders GROUP BY customer";

/// Appends orders by a node; gives the answer.
pub(crate) fn append(node: &Node, ids: std::ops::Range<u64>) -> Value {
    let lines: String = ids
        .map(|id| {
            json!({ "id": id, "customer": format!("c{}", id % 7), "kind": id / 7 % 10, "total": 1.5 })
                .to_string()
                + "\n"
        })
        .collect();
    let args = ["append", "orders", "--type", "order.placed", "--subject-from", "id", "-o", "json"];
    let output = node.cli_with(&args, &lines);
    assert!(output.status.success(), "{}", said(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The ids of all events that a node shows, each as often as it is there; none while it starts anew.
pub(crate) fn ids(node: &Node) -> Vec<u64> {
    let output = node.cli(&["sql", "SELECT _subject AS id FROM events.orders", "-o", "ndjson"]);
    let rows = String::from_utf8_lossy(&output.stdout).into_owned();
    let id = |row: &str| serde_json::from_str::<Value>(row).unwrap()["id"].as_str().unwrap().parse().unwrap();
    let mut ids: Vec<u64> = rows.lines().map(id).collect();
    ids.sort_unstable();
    ids
}

/// What a node shows of who came and who left: `registered n0`.
fn membership(node: &Node) -> Vec<String> {
    let shown = node.ok(&["replay", "$cluster", "-o", "ndjson"]);
    let said = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap();
        let [ty, subject] = ["type", "subject"].map(|member| event[member].as_str().unwrap().to_owned());
        format!("{} {}", ty.rsplit('.').next().unwrap(), subject.strip_prefix("node/").unwrap())
    };
    shown.lines().map(said).collect()
}

#[test]
fn clu_1_any_node_takes_any_request_and_a_killed_owner_is_replaced() {
    let mut cluster = Cluster::start(3);
    cluster.node(0).ok(&["sql", DEFINITIONS]);
    let mut expected = 0;
    for number in 0..3 {
        append(cluster.node(number), expected..expected + 60);
        expected += 60;
    }
    for number in 0..3 {
        let all = || (ids(cluster.node(number)) == (0..expected).collect::<Vec<_>>()).then_some(());
        eventually(all, || format!("n{number} shows {:?}", ids(cluster.node(number))));
        for subject in ["3", "77", "150"] {
            let history = cluster.node(number).ok(&["stream", "history", "orders", subject, "-o", "ndjson"]);
            assert_eq!(history.lines().count(), 1, "n{number}: {history}");
        }
    }
    for victim in [1, 2, 0] {
        cluster.kill(victim);
        let others: BTreeSet<usize> = (0..3).filter(|number| *number != victim).collect();
        for number in &others {
            append(cluster.node(*number), expected..expected + 40);
            expected += 40;
        }
        cluster.start_again(victim);
        append(cluster.node(victim), expected..expected + 40);
        expected += 40;
    }
    for number in 0..3 {
        let all = || (ids(cluster.node(number)) == (0..expected).collect::<Vec<_>>()).then_some(());
        eventually(all, || format!("n{number} shows {:?}", ids(cluster.node(number))));
    }
    // Each was killed once at least, and is back.
    let told = || {
        let told = membership(cluster.node(0));
        let count =
            |what: &str, number| told.iter().filter(|said| **said == format!("{what} n{number}")).count();
        let is_whole = |number: &usize| {
            let (came, left) = (count("registered", *number), count("left", *number));
            came > 1 && left == came - 1
        };
        [0, 1, 2].iter().all(is_whole).then_some(())
    };
    eventually(told, || format!("{:?}", membership(cluster.node(0))));
}

#[test]
fn a_node_that_is_drained_has_nothing_any_more_and_takes_its_share_once_it_starts_again() {
    let mut cluster = Cluster::start(2);
    cluster.node(0).ok(&["sql", DEFINITIONS]);
    append(cluster.node(0), 0..60);
    let owned = |cluster: &Cluster, number: usize| {
        let name = format!("n{number}");
        let units = cluster.node(0).ok(&["cluster", "partitions", "--node", &name, "-o", "ndjson"]);
        let owner = |line: &str| serde_json::from_str::<Value>(line).unwrap()["owner"] == *name;
        units.lines().filter(|line| owner(line)).count()
    };
    eventually(|| (owned(&cluster, 1) > 0).then_some(()), || "n1 gets nothing".to_owned());
    // The name as units and manifests give it.
    let mut drain = tradewind();
    drain.args(["cluster", "drain", "--wait", "2m", "--url", &cluster.node(1).url]);
    let drained = drain.env("TRADEWIND_NODE", "n1").output().unwrap();
    assert!(drained.status.success(), "{}", said(&drained));
    // The other node learns a moment later what this one has given up.
    eventually(|| (owned(&cluster, 1) == 0).then_some(()), || "n1 keeps something".to_owned());
    for (number, metric) in [(1, "units_owned 0"), (0, "nodes_draining 1"), (1, "lease_held 1")] {
        let line = format!("\ntradewind_cluster_{metric}\n");
        let told = || cluster.node(number).metrics().contains(&line).then_some(());
        eventually(told, || format!("{line}{}", cluster.node(number).metrics()));
    }
    append(cluster.node(1), 60..90);
    let last = cluster.node(0).cli(&["cluster", "drain", "n0", "--wait", "2m"]);
    assert_eq!(last.status.code(), Some(4), "{}", said(&last));
    assert!(said(&last).contains("every node drains"), "{}", said(&last));
    cluster.node(0).ok(&["cluster", "activate", "n0"]);
    assert_eq!(cluster.stop(1).code(), Some(0));
    let has_left = || (membership(cluster.node(0)).last()? == "left n1").then_some(());
    eventually(has_left, || format!("{:?}", membership(cluster.node(0))));
    cluster.start_again(1);
    eventually(|| (owned(&cluster, 1) > 0).then_some(()), || format!("{:?}", cluster.nodes(0)));
    assert!(cluster.nodes(0).iter().all(|node| node["state"] == "active"), "{:?}", cluster.nodes(0));
}

#[test]
fn what_hysteresis_and_cooldown_hold_back_is_shown_and_moved_on_request() {
    const HELD: &str =
        "epsilon_permille = 1000\nsettle_permille = 1000\nurgent_permille = 10000\ncooldown_ms = 86400000";
    let mut cluster = Cluster::start_with(2, HELD);
    cluster.node(0).ok(&["sql", DEFINITIONS]);
    append(cluster.node(0), 0..60);
    cluster.add();
    let json = |cluster: &Cluster, number: usize, args: &[&str]| -> Value {
        serde_json::from_str(&cluster.node(number).ok(&[&["cluster"], args, &["-o", "json"]].concat()))
            .unwrap()
    };
    let settled = |cluster: &Cluster| {
        let plan = json(cluster, 1, &["plan"]);
        (plan["nodes"].as_array().unwrap().len() == 3 && plan["moves"] == json!([])).then_some(plan)
    };
    let before = eventually(|| settled(&cluster), || json(&cluster, 1, &["plan"]).to_string());
    assert_eq!((&before["nodes"][2]["planned"], &before["nodes"][2]["state"]), (&json!(0), &json!("active")));
    // Whoever is asked knows the same.
    for number in 0..3 {
        let shown = json(&cluster, number, &["rebalance", "--dry-run"]);
        assert_eq!(
            (&shown["carried_out"], &shown["plan_version"]),
            (&json!(false), &before["version"]),
            "{shown}"
        );
        let peak = |when: &str| shown[format!("peak_permille_{when}")].as_u64().unwrap();
        assert!(peak("before") >= 1_500 && peak("after") < 1_300, "{shown}");
        let moves = shown["moves"].as_array().unwrap();
        assert!(!moves.is_empty() && moves.iter().all(|one| one["to"] == "n2"), "{shown}");
    }
    assert_eq!(json(&cluster, 1, &["plan"])["version"], before["version"], "showing changes nothing");
    let done = json(&cluster, 2, &["rebalance"]);
    assert_eq!(done["carried_out"], true, "{done}");
    assert!(done["plan_version"].as_u64() > before["version"].as_u64(), "{done}");
    let has = |cluster: &Cluster| {
        let node = settled(cluster)?["nodes"][2].clone();
        (node["actual"].as_u64()? > 0 && node["actual"] == node["planned"]).then_some(())
    };
    eventually(|| has(&cluster), || json(&cluster, 1, &["plan"]).to_string());
    append(cluster.node(2), 60..90);
    let table = cluster.node(0).ok(&["cluster", "plan"]);
    assert!(table.contains("planned") && table.contains("active"), "{table}");
    // What was appended weighs more than it did at first: that may be worth another move or two.
    let again = || cluster.node(0).ok(&["cluster", "rebalance"]);
    let is_even = || again().contains("nothing: it is as even as moves can make it").then_some(());
    eventually(is_even, again);
}

#[test]
fn clu_1_a_node_that_was_paused_past_its_lease_writes_nothing_and_comes_back() {
    let cluster = Cluster::start(3);
    cluster.node(0).ok(&["sql", "CREATE STREAM orders WITH (partitions = 6)"]);
    append(cluster.node(0), 0..60);
    // Requests that are under way at the zombie when it wakes up.
    let zombie = cluster.node(1);
    zombie.send("-STOP");
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| append(zombie, 60..90));
        // Its partitions are taken over.
        append(cluster.node(0), 90..150);
        append(cluster.node(2), 150..210);
        zombie.send("-CONT");
        waiting.join().unwrap()
    });
    assert!(waiting["token"].is_string(), "{waiting}");
    // It starts anew, because others have shut it out, and gets its share again: it says so itself once it can write.
    let is_back = || {
        let owned = zombie.cli(&["cluster", "partitions", "-o", "ndjson"]);
        String::from_utf8_lossy(&owned.stdout).contains(r#""owner":"n1""#).then_some(())
    };
    eventually(is_back, || "the zombie owns nothing".to_owned());
    append(zombie, 210..240);
    for number in 0..3 {
        let all = || (ids(cluster.node(number)) == (0..240).collect::<Vec<_>>()).then_some(());
        eventually(all, || format!("n{number} shows {:?}", ids(cluster.node(number))));
    }
}

#[test]
fn prj_1_prj_2_sql_is_exact_on_every_node_while_owners_are_killed() {
    let mut cluster = Cluster::start(3);
    cluster.node(0).ok(&["sql", DEFINITIONS]);
    let total = |node: &Node, token: &str| {
        let sql = "SELECT sum(orders) AS orders, count(*) AS customers, sum(kinds) AS kinds FROM revenue";
        node.rows(sql, Some(token)).swap_remove(0)
    };
    let mut orders = 0;
    for round in 0..6 {
        let victim = round % 3;
        if round == 3 {
            cluster.node(0).ok(&["config", "set", "query.read_from", "standbys"]);
        }
        for number in 0..3 {
            let known =
                || cluster.node(number).cli(&["sql", "SELECT 1 FROM revenue"]).status.success().then_some(());
            eventually(known, || format!("n{number} cannot read the projection"));
            let token =
                append(cluster.node(number), orders..orders + 70)["token"].as_str().unwrap().to_owned();
            orders += 70;
            for reader in 0..3 {
                let seen = total(cluster.node(reader), &token);
                let number = |name: &str| seen[name].to_string().trim_matches('"').parse::<u64>().unwrap();
                // Customers are in every partition, subjects in one.
                assert_eq!((number("orders"), number("customers")), (orders, 7), "{seen}");
                assert_eq!(number("kinds"), 7 * 10, "{seen}");
            }
        }
        cluster.kill(victim);
        cluster.start_again(victim);
    }
}

#[test]
fn prj_1_every_node_computes_aggregates_where_the_rows_are_and_tells_how_a_projection_is_on_all() {
    let cluster = Cluster::start(3);
    cluster.node(0).ok(&["sql", DEFINITIONS]);
    cluster
        .node(0)
        .ok(&["sql", "CREATE PROJECTION some AS SELECT id, customer, total FROM orders WHERE id >= 60"]);
    let token = append(cluster.node(0), 0..600)["token"].as_str().unwrap().to_owned();
    let sql =
        "SELECT customer, count(*) AS n, sum(total) AS total, max(id) AS last FROM some GROUP BY customer";
    for number in 0..3 {
        let node = cluster.node(number);
        let show =
            || String::from_utf8(node.cli(&["projection", "show", "some", "-o", "json"]).stdout).unwrap();
        let is_told = || {
            let told: Value = serde_json::from_str(&show()).ok()?;
            let all =
                told["state"] == "running" && told["lag_events"] == 0 && told["token"] == token.as_str();
            all.then_some(())
        };
        eventually(is_told, || format!("n{number}: {}, not {token}", show()));
        let standings = "SHOW PROJECTIONS";
        let runs = |shown: &Value| {
            shown["name"] == "some" && shown["state"] == "running" && shown["lag_events"] == 0
        };
        let is_shown = || node.rows(standings, None).iter().any(runs).then_some(());
        eventually(is_shown, || format!("n{number}: {:?}", node.rows(standings, None)));
        let mut groups = node.rows(sql, Some(&token));
        groups.sort_by_key(|group| group["customer"].to_string());
        assert_eq!(groups.len(), 7, "{groups:?}");
        assert_eq!(groups[3], json!({ "customer": "c3", "n": 77, "total": "115.50", "last": 598 }));
        let explained = node.ok(&["sql", &format!("EXPLAIN {sql}")]);
        assert!(
            explained.contains("parts of groups of some: customer, count(*), sum(total), max(id)"),
            "{explained}"
        );
    }
}

#[test]
fn cap_1_cap_2_a_source_whose_owner_is_killed_goes_on_at_another_node_exactly_once() {
    let server = Postgres::start();
    psql(&server, "CREATE TABLE orders (id int PRIMARY KEY, total int)");
    let mut cluster = Cluster::start(3);
    let url = server.url("postgres");
    cluster.node(0).ok(&["sql", &format!("CREATE SOURCE shop FROM POSTGRES '{url}' TABLES (orders)")]);
    let insert = |from: usize, count: usize| {
        let to = from + count - 1;
        psql(&server, &format!("INSERT INTO orders SELECT g, 1 FROM generate_series({from}, {to}) g"));
    };
    let shows = |node: &Node, events: usize| {
        // Each change is one event; the table shows the rows as they are.
        let questions = [
            ("SELECT count(*) AS n, count(DISTINCT _subject) AS rows FROM events.\"shop.orders\"", events),
            ("SELECT count(*) AS n, sum(total) AS rows FROM shop.orders", events),
        ];
        questions.iter().all(|(question, count)| {
            let answer = node.cli(&["sql", question, "-o", "ndjson"]);
            let row = serde_json::from_slice::<Value>(&answer.stdout).unwrap_or_default();
            (&row["n"], &row["rows"]) == (&json!(count), &json!(count))
        })
    };
    insert(1, 100);
    eventually(|| shows(cluster.node(0), 100).then_some(()), || "the first rows are missing".to_owned());
    let mut rows = 100;
    for round in 0..3 {
        let asked = round % 3;
        let owner = || cluster.owner(asked, "source/shop");
        let victim = eventually(owner, || "nobody captures".to_owned());
        // In the middle of its work.
        insert(rows + 1, 500);
        cluster.kill(victim);
        insert(rows + 501, 100);
        rows += 600;
        let other = (victim + 1) % 3;
        let heir = || cluster.owner(other, "source/shop").filter(|heir| *heir != victim);
        eventually(heir, || format!("nobody captures after n{victim} was killed"));
        eventually(|| shows(cluster.node(other), rows).then_some(()), || format!("n{other} lacks rows"));
        cluster.start_again(victim);
    }
    for number in 0..3 {
        eventually(|| shows(cluster.node(number), rows).then_some(()), || format!("n{number} lacks rows"));
    }
    cluster.node(0).ok(&["sql", "DROP SOURCE shop"]);
    psql(&server, "SELECT 1 / (count(*) = 0)::int FROM pg_replication_slots");
}
