//! x
pub(super) fn render(_: &seawall::forecast::report::Report) -> Result<String, super::plots::PlotError> { Ok(String::new()) }
