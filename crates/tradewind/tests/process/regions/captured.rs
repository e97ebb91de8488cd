//! A database that one region captures, and its tables in all regions.

use super::World;
use crate::support::{psql, said};
use serde_json::{Value, json};
use std::process::{Command, Stdio};
use tw_testing::{Line, Postgres, Way, eventually};

const SOURCE: &str = "TABLES (pgbench_accounts, pgbench_branches, pgbench_tellers, pgbench_history) \
     WITH (mode = 'home-region', retry_ms_max = 300, heartbeat_ms = 200)";
/// Each has as many rows as fit into a message of a test that fails.
const COMPARED: [&str; 4] = [
    "SELECT bid, bbalance FROM pgbench_branches ORDER BY bid",
    "SELECT tid, bid, tbalance FROM pgbench_tellers ORDER BY tid",
    "SELECT aid, abalance FROM pgbench_accounts WHERE abalance <> 0 ORDER BY aid",
    "SELECT tid, count(*) AS n, sum(delta) AS delta, min(aid) AS first, max(aid) AS last FROM pgbench_history GROUP BY tid ORDER BY tid",
];

fn program(server: &Postgres, name: &str, args: &[&str]) -> Command {
    let mut command = Command::new(server.install().program(name));
    command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The rows of a query as PostgreSQL has them.
fn in_postgres(server: &Postgres, sql: &str) -> Vec<String> {
    let output = program(server, "psql", &["-AtF,", "-c", sql, &server.url("postgres")]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// The same as a region has them; None while it has no such table.
fn in_region(world: &World, region: usize, sql: &str) -> Option<Vec<String>> {
    let sql = sql.replace("FROM pgbench", "FROM bank.pgbench");
    let output = world.node(region).cli(&["sql", "-o", "csv", &sql]);
    let text = String::from_utf8(output.stdout).unwrap();
    output.status.success().then(|| text.lines().skip(1).map(str::to_owned).collect())
}

/// Waits until all regions show what PostgreSQL has.
fn all_show_the_same(world: &World, server: &Postgres) {
    for sql in COMPARED {
        let wanted = in_postgres(server, sql);
        for region in 0..3 {
            let look = || (in_region(world, region, sql).as_ref() == Some(&wanted)).then_some(());
            eventually(look, || {
                let has = in_region(world, region, sql).unwrap_or_default();
                let lacks: Vec<_> = wanted.iter().filter(|row| !has.contains(row)).take(5).collect();
                let source = world.node(0).cli(&["source", "ls"]);
                let (has, wanted, source) =
                    (has.len(), wanted.len(), String::from_utf8_lossy(&source.stdout));
                format!(
                    "CAP-2: region {region} has {has} of {wanted} rows of {sql}, and lacks {lacks:?}: {source}"
                )
            });
        }
    }
}

fn source(world: &World) -> Value {
    let listed: Value = serde_json::from_str(&world.node(0).ok(&["source", "ls", "-o", "json"])).unwrap();
    listed[0].clone()
}

#[test]
fn cap_2_what_one_region_captures_is_in_all_of_them_as_the_database_has_it() {
    let server = Postgres::start();
    let url = server.url("postgres");
    let made = program(&server, "pgbench", &["-i", "-q", "-s", "1", &url]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut world = World::new();
    world.node(0).ok(&["sql", &format!("CREATE SOURCE bank FROM POSTGRES '{url}' {SOURCE}")]);
    all_show_the_same(&world, &server);
    let load =
        program(&server, "pgbench", &["-n", "-c", "4", "-R", "150", "-T", "15", &url]).spawn().unwrap();
    let has_some = || in_region(&world, 2, COMPARED[3]).filter(|rows| rows.len() > 3).map(drop);
    eventually(has_some, || "nothing of the load has come to region 2".to_owned());
    // One region is cut off, one that follows and the one that captures are killed, all under load.
    world.lines_of(2).for_each(|line| Way::BOTH.into_iter().for_each(|way| line.cut(way)));
    for region in [1, 0] {
        world.nodes[region].take().unwrap().kill();
        world.start(region);
    }
    world.lines_of(2).for_each(Line::mend);
    let ended = load.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    all_show_the_same(&world, &server);

    // A stream that has its home elsewhere is not written here, and the source says so until it is back.
    world.node(0).ok(&["region", "move", "bank.pgbench_branches", "--to", "2"]);
    psql(
        &server,
        "UPDATE pgbench_branches SET bbalance = bbalance + 1; ALTER TABLE pgbench_tellers ADD COLUMN note text DEFAULT 'new'",
    );
    let waits = || {
        let error = source(&world)["error"].as_str().unwrap_or_default().to_owned();
        (error.contains("`bank.pgbench_branches`") && error.contains("region 2")).then_some(())
    };
    eventually(waits, || source(&world).to_string());
    // Region 2 may not have heard yet that it is the home.
    let back = || world.node(1).cli(&["region", "move", "bank.pgbench_branches", "--to", "1"]);
    eventually(|| back().status.success().then_some(()), || said(&back()));
    psql(&server, "UPDATE pgbench_tellers SET note = 'x' WHERE tid = 3");
    all_show_the_same(&world, &server);
    for region in 0..3 {
        let sql = "SELECT note FROM pgbench_tellers WHERE tid = 3";
        let shows = || (in_region(&world, region, sql)? == ["x"]).then_some(());
        eventually(shows, || format!("region {region}: {:?}", in_region(&world, region, sql)));
    }
    let none = world.node(1).rows("SELECT count(*) AS n FROM bank.pgbench_history WHERE delta IS NULL", None);
    assert_eq!(none, [json!({"n": 0})]);
}
