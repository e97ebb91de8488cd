//! What the tests share.

mod json;
pub mod node;
pub use node::Node;
