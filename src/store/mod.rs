//! The memory tier: what is stored, what it may cost, and what purges have made of it.

mod config;
mod copies;
mod coverage;
pub mod curve;
pub mod evict;
mod hot;
mod key_hash;
mod labels;
pub mod memory;
mod refreshes;
pub mod remote;
pub mod response;
mod scope;
mod searches;
pub mod stamps;

pub use config::{Config, Optimise};
pub use copies::{CodedCopy, Copies, Pin};
pub use coverage::{Covered, Load};
pub use hot::{Hot, Sought};
pub use memory::{Insertion, Memory};
pub use refreshes::Refreshes;
pub use response::{Content, Part, Parts, StoredResponse, Variants};
pub use scope::ScopeError;
pub use searches::Search;
pub use stamps::{Kind, Mode, Scope, Stamp, Standing};
