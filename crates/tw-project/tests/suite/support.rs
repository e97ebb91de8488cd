//! What the tests share.

pub mod node;
pub use node::Node;
