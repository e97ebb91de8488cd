//! The engine under simulation, and its formats.

mod damage;
mod formats;
mod ghosts;
mod merging;
mod model;
mod removal;
mod rig;
mod room;
mod simulation;
mod verify;
