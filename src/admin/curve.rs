//! The miss-ratio curve, as `GET /stats` shows it.

use serde_json::{Value, json};

use crate::budget::Budget;
use crate::store::curve::{Curve, Point};

/// The share of keys that `curve` stands on, and its points; `None` as long as nothing has been
/// asked for.
pub(super) fn describe(curve: &Curve, budget: &Budget) -> Option<Value> {
    let point = |point: Point| {
        json!({
            "memory_bytes": (point.times * budget.limit() as f64) as u64,
            "times": point.times,
            "hit_ratio": rounded(point.hit_ratio),
            "byte_hit_ratio": rounded(point.byte_hit_ratio),
        })
    };
    let points = curve.points()?.map(point);
    Some(json!({ "sampled_keys": curve.sampled, "points": points }))
}

/// To a hundredth of a percent: more would look like more than is known.
fn rounded(ratio: f64) -> f64 {
    (ratio * 10_000.0).round() / 10_000.0
}
