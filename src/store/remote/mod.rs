//! The tier behind memory that all nodes share, in Redis.

pub mod codec;
pub mod layout;
