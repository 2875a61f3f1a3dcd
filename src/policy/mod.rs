//! What RFC 9111 allows, as pure functions: no I/O, no clock, `now` is an argument.

/// stub
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Overrides {}
/// stub
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// stub
    Miss,
}
impl Reason {
    /// stub
    pub const fn word(self) -> &'static str {
        "miss"
    }
}
