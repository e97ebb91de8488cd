//! Clients that send bytes.

use crate::world::World;
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use tw_testing::PATIENCE;

/// A query for a name's IPv4 addresses.
pub(crate) fn query(id: u16, name: &str) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    bytes.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.extend([0, 0, 1, 0, 1]);
    bytes
}

/// A query as it stands on a connection.
pub(crate) fn framed(query: &[u8]) -> Vec<u8> {
    let mut bytes = (query.len() as u16).to_be_bytes().to_vec();
    bytes.extend_from_slice(query);
    bytes
}

/// A connection to the server.
pub(crate) fn connect(world: &World) -> TcpStream {
    let stream = TcpStream::connect(world.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The identity of the next answer, and its last four bytes, which are the address. None: the server has closed the connection.
pub(crate) fn next(stream: &mut TcpStream) -> Option<(u16, [u8; 4])> {
    let mut length = [0; 2];
    if stream.read_exact(&mut length).is_err() {
        return None;
    }
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut answer).ok()?;
    Some((u16::from_be_bytes([answer[0], answer[1]]), *answer.last_chunk().unwrap()))
}

/// Sends a query over a connection, and takes the answer.
pub(crate) fn ask(stream: &mut TcpStream, id: u16) -> Option<(u16, [u8; 4])> {
    stream.write_all(&framed(&query(id, "eu.tw.example"))).ok()?;
    next(stream)
}

/// A socket that sends to the server and takes what comes from it.
pub(crate) fn socket(world: &World) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(world.address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}
