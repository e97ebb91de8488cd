//! The engine under simulation, and its formats.

mod by_hand;
mod cut;
mod damage;
mod elsewhere;
mod epochs;
mod events;
mod formats;
mod ghosts;
mod merging;
mod model;
mod origins;
mod removal;
mod rig;
mod room;
mod simulation;
mod verify;
