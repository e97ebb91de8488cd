//! What is sent in which order, and what is promised.
