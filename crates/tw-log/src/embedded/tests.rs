//! The engine under simulation, and its formats.

mod by_hand;
mod cut;
mod damage;
mod events;
mod formats;
mod ghosts;
mod merging;
mod model;
mod removal;
mod rig;
mod room;
mod simulation;
mod verify;
