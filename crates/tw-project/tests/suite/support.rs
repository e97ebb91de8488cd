//! What the tests share.

pub mod json;
pub mod member;
pub mod node;
pub use node::Node;
