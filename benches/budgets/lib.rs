//! Nothing of its own: see `budgets.rs`.
