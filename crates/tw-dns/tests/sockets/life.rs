//! How a server starts and ends.

use crate::clients::{ask, connect, query, socket};
use crate::world::{World, options};
use std::io::Read as _;
use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;
use tokio::runtime::Runtime;
use tw_dns::{Error, Known, Regions, Server};
use tw_testing::eventually;

/// Regions of which nothing is known.
struct Nothing;

impl Regions for Nothing {
    fn known(&self) -> Option<Arc<Known>> {
        None
    }
}

#[test]
fn a_server_that_has_ended_has_closed_its_connections_and_freed_its_address() {
    let mut world = alone();
    let mut stream = connect(&world);
    assert_eq!(ask(&mut stream, 1), Some((1, [192, 0, 2, 1])));
    world.shutdown();
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
    let runtime = Runtime::new().unwrap();
    let start = || runtime.block_on(Server::start(options_at(&world), Arc::new(Nothing))).ok();
    // Not at once: a program that another test is just starting has all sockets of this one for a moment.
    let again = eventually(start, || "the address stays in use".to_owned());
    runtime.block_on(again.shutdown());
}

#[test]
fn a_server_that_is_dropped_ends() {
    let mut world = alone();
    let udp = socket(&world);
    udp.send(&query(1, "eu.tw.example")).unwrap();
    udp.recv(&mut [0; 512]).unwrap();
    let mut stream = connect(&world);
    assert_eq!(ask(&mut stream, 1), Some((1, [192, 0, 2, 1])));
    world.drop_server();
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
    eventually(|| UdpSocket::bind(world.address).ok(), || "the address stays in use".to_owned());
}

#[test]
fn an_address_in_use_and_options_out_of_bounds_are_errors() {
    let runtime = Runtime::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut options = options();
    options.listen = taken.local_addr().unwrap();
    let error = runtime.block_on(Server::start(options.clone(), Arc::new(Nothing))).unwrap_err();
    let expected = format!("cannot listen on `{}` for DNS: choose another address or port", options.listen);
    assert!(error.to_string().starts_with(&expected), "{error}");
    options.ttl_s = 0;
    let error = runtime.block_on(Server::start(options, Arc::new(Nothing))).unwrap_err();
    assert!(matches!(&error, Error::Options(option) if option.option == "ttl_s"), "{error}");
}

/// A server on an address that no other test uses: nobody takes its port when it is free.
fn alone() -> World {
    World::with(|options| options.listen = "127.0.0.7:0".parse().unwrap())
}

fn options_at(world: &World) -> tw_dns::Options {
    tw_dns::Options { listen: world.address, ..options() }
}
