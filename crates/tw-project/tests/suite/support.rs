//! What the tests share.

mod json;
pub mod member;
pub mod node;
pub use node::Node;
