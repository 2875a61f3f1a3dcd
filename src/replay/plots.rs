//! x
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct PlotError(String);
