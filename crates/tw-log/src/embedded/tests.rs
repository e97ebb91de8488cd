//! The engine under simulation, and its formats.

mod damage;
mod ghosts;
mod model;
mod removal;
mod rig;
mod room;
mod simulation;
