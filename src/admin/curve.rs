//! The miss-ratio curve, as `GET /stats` shows it.

use serde_json::{Value, json};

use crate::budget::Budget;
use crate::store::curve::{Curve, Point};

/// The share of keys that `curve` stands on, and its points; `None` as long as nothing has been
/// asked for.
pub(super) fn describe(curve: &Curve, budget: &Budget) -> Option<Value> {
    let sizes = Curve::sizes_of(budget.limit() as u64);
    let point = |(point, memory): (Point, u64)| {
        json!({
            "memory_bytes": memory,
            "times": point.times,
            "hit_ratio": rounded(point.hit_ratio),
            "byte_hit_ratio": rounded(point.byte_hit_ratio),
        })
    };
    let points: Vec<_> = curve.points()?.into_iter().zip(sizes).map(point).collect();
    Some(json!({ "sampled_keys": curve.sampled, "points": points }))
}

/// To a hundredth of a percent: more would look like more than is known.
fn rounded(ratio: f64) -> f64 {
    (ratio * 10_000.0).round() / 10_000.0
}
