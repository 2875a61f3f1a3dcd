//! The memory tier: what is stored, what it may cost, and what purges have made of it.

mod config;
mod labels;
pub mod memory;
pub mod response;
pub mod stamps;

pub use config::Config;
pub use memory::Memory;
pub use response::{Content, Part, Parts, StoredResponse, Variants};
pub use stamps::{Kind, Mode, Scope, Stamp, Standing};
